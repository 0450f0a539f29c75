// Signatures of the Unreal API that the plugin uses, written by hand from Epic's documentation and public plugins
// (5.4), with no behaviour: the plugin's Unreal-facing sources are type-checked against them where there is no Unreal.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#ifndef ENGINE_MAJOR_VERSION
#define ENGINE_MAJOR_VERSION 5
#define ENGINE_MINOR_VERSION 4
#endif
#define ANI3D_API
#define UCLASS(...)
#define UPROPERTY(...)
#define UFUNCTION(...)
#define TEXT(text) text
#define TCHAR_TO_UTF8(text) (text)
#define UTF8_TO_TCHAR(text) (text)
#define UE_LOG(category, level, format, ...) std::printf(format, ##__VA_ARGS__)
#define IMPLEMENT_MODULE(type, name) static type name##Instance;
#define INDEX_NONE (-1)
typedef char TCHAR;
typedef uint8_t uint8;
typedef int32_t int32;
typedef uint32_t uint32;
typedef uint64_t uint64;

template <typename T> T&& MoveTemp(T& value) { return static_cast<T&&>(value); }
struct FName;
struct FString
{
    FString() {}
    FString(const TCHAR*) {}
    const TCHAR* operator*() const { return ""; }
    FString operator+(const TCHAR*) const { return *this; }
    bool operator==(const FString&) const { return true; }
};
struct FName { FString ToString() const { return {}; } };
template <typename T> struct TArray
{
    TArray() {}
    TArray(const T*, int32) {}
    const T* GetData() const { return nullptr; }
    T* GetData() { return nullptr; }
    int32 Num() const { return 0; }
    void Reset() {}
    template <typename P> void Sort(const P& p) { (void)sizeof(p(**GetData(), **GetData())); }
    void SetNumUninitialized(int32) {}
    int32 Add(const T&) { return 0; }
    int32 Remove(const T&) { return 0; }
    int32 IndexOfByKey(const T&) const { return 0; }
    template <typename P> bool ContainsByPredicate(P p) const { return p(*GetData()); }
    const T& operator[](int32) const { return *GetData(); }
    const T* begin() const { return nullptr; }
    const T* end() const { return nullptr; }
};
enum class ESPMode { ThreadSafe };
template <typename T, ESPMode M = ESPMode::ThreadSafe> struct TSharedRef
{
    T* operator->() const { return nullptr; }
    T& operator*() const { return *operator->(); }
    template <typename U> operator TSharedRef<U, M>() const { static_assert(std::is_convertible_v<T*, U*>); return {}; }
};
template <typename T, ESPMode M = ESPMode::ThreadSafe> struct TSharedPtr
{
    TSharedPtr() {}
    TSharedPtr(std::nullptr_t) {}
    template <typename U> TSharedPtr(const TSharedRef<U, M>&) { static_assert(std::is_convertible_v<U*, T*>); }
    template <typename U> TSharedPtr(const TSharedPtr<U, M>&) { static_assert(std::is_convertible_v<U*, T*>); }
    T* operator->() const { return nullptr; }
    T& operator*() const { return *operator->(); }
    bool IsValid() const { return true; }
    T* Get() const { return nullptr; }
    TSharedRef<T, M> ToSharedRef() const { return {}; }
    bool operator!=(const TSharedPtr&) const { return false; }
};
template <typename T> struct TSharedFromThis { TSharedRef<T> AsShared() { return {}; } };
template <typename T, typename... A> TSharedRef<T> MakeShared(A&&... a)
{
    (void)sizeof(T(std::forward<A>(a)...));
    return {};
}
template <typename T> struct TObjectPtr
{
    T* operator->() const { return nullptr; }
    bool operator!=(std::nullptr_t) const { return true; }
};
template <typename T> struct TRefCountPtr { bool IsValid() const { return true; } };
namespace FMemory { inline void Memcpy(void*, const void*, size_t) {} }
struct FMath
{
    template <typename T> static T Clamp(T v, T, T) { return v; }
    template <typename T> static T Max(T a, T) { return a; }
    static int32 RoundToInt(float) { return 0; }
    static float FloorToFloat(float v) { return v; }
    static int32 DivideAndRoundUp(int32 a, int32) { return a; }
};
struct FVector4 { double X, Y, Z, W; };
struct FVector { FVector() {} FVector(double, double, double) {} explicit FVector(const FVector4&) {} };
struct FVector2f { FVector2f(float, float) {} FVector2f() {} };
struct FVector4f { FVector4f(float, float, float, float) {} FVector4f() {} };
struct FUintVector4 { FUintVector4(uint32, uint32, uint32, uint32) {} FUintVector4() {} };
struct FIntVector { FIntVector(int32, int32, int32) {} };
struct FIntPoint { int32 X, Y; };
struct FIntRect { FIntPoint Min, Max; int32 Width() const { return 0; } int32 Height() const { return 0; } };
struct FMatrix
{
    double M[4][4];
    static const FMatrix Identity;
    double GetMaximumAxisScale() const { return 1; }
    FVector4 TransformPosition(const FVector&) const { return {}; }
};
struct FTransform
{
    FVector TransformPosition(const FVector& v) const { return v; }
    FMatrix ToMatrixWithScale() const { return {}; }
};

class UClass;
enum EObjectFlags { RF_NoFlags };
class UObject
{
public:
    virtual ~UObject() {}
    FString GetName() const { return {}; }
    virtual void PostLoad() {}
    virtual void BeginDestroy() {}
};
enum class EAsyncExecution { ThreadPool };
template <typename T> struct TFuture
{
    TFuture() {}
    TFuture(TFuture&&) {}
    TFuture(const TFuture&) = delete;
    TFuture& operator=(TFuture&&) { return *this; }
    bool IsValid() const { return true; }
    bool IsReady() const { return true; }
    const T& Get() const { return *static_cast<const T*>(nullptr); }
};
template <typename C> auto Async(EAsyncExecution, C&& callable) -> TFuture<decltype(callable())> { return {}; }
template <typename T> T* NewObject(UObject*, UClass*, FName, EObjectFlags) { return new T; }
class FSceneInterface;
class UWorld { public: FSceneInterface* Scene; bool IsGameWorld() const { return true; } };
enum ELevelTick { LEVELTICK_All };
enum ETickingGroup { TG_PostUpdateWork };
struct FActorComponentTickFunction { bool bCanEverTick; ETickingGroup TickGroup; };
class USceneComponent : public UObject
{
public:
    virtual ~USceneComponent() {}
    FActorComponentTickFunction PrimaryComponentTick;
    bool bTickInEditor;
    virtual void TickComponent(float, ELevelTick, FActorComponentTickFunction*) {}
    virtual void OnRegister() {}
    virtual void OnUnregister() {}
    UWorld* GetWorld() const { return nullptr; }
    bool IsVisible() const { return true; }
    const FTransform& GetComponentTransform() const { static FTransform t; return t; }
};

// Modules and subsystems.
class IModuleInterface { public: virtual ~IModuleInterface() {} virtual void StartupModule() {} };
class FDefaultModuleImpl : public IModuleInterface {};
struct IPlugin { FString GetBaseDir() const { return {}; } };
struct IPluginManager
{
    static IPluginManager& Get() { static IPluginManager m; return m; }
    TSharedPtr<IPlugin> FindPlugin(const FString&) { return {}; }
};
struct FPaths { static FString Combine(const FString& a, const TCHAR*) { return a; } };
inline void AddShaderSourceDirectoryMapping(const FString&, const FString&) {}
struct FSubsystemCollectionBase {};
class UEngineSubsystem : public UObject
{
public:
    virtual ~UEngineSubsystem() {}
    virtual void Initialize(FSubsystemCollectionBase&) {}
    virtual void Deinitialize() {}
};
class UEngine { public: template <typename T> T* GetEngineSubsystem() const { return nullptr; } };
extern UEngine* GEngine;

// Import.
namespace ELogVerbosity { enum Type { Error }; }
struct FFeedbackContext { void Logf(ELogVerbosity::Type, const TCHAR*, ...) {} };
class UFactory : public UObject
{
public:
    virtual ~UFactory() {}
    UClass* SupportedClass;
    bool bEditorImport, bText;
    TArray<FString> Formats;
    virtual UObject* FactoryCreateBinary(UClass*, UObject*, FName, EObjectFlags, UObject*, const TCHAR*, const uint8*&,
                                         const uint8*, FFeedbackContext*) { return nullptr; }
};

// The render graph.
class FRHICommandList;
class FRHICommandListImmediate {};
struct FRDGBuffer; struct FRDGBufferSRV; struct FRDGBufferUAV; struct FRDGTexture; struct FRDGPooledBuffer;
typedef FRDGBuffer* FRDGBufferRef; typedef FRDGBufferSRV* FRDGBufferSRVRef; typedef FRDGBufferUAV* FRDGBufferUAVRef;
typedef FRDGTexture* FRDGTextureRef;
struct FRDGBufferDesc { static FRDGBufferDesc CreateStructuredDesc(uint32, uint32) { return {}; } };
struct FRDGEventName { FRDGEventName(const TCHAR*) {} };
#define RDG_EVENT_NAME(name) FRDGEventName(name)
#define RDG_EVENT_SCOPE(builder, name) FRDGEventName Scope(name); (void)builder
enum class ERDGPassFlags { Raster };
class FRDGBuilder
{
public:
    FRDGBufferRef RegisterExternalBuffer(const TRefCountPtr<FRDGPooledBuffer>&) { return nullptr; }
    const TRefCountPtr<FRDGPooledBuffer>& ConvertToExternalBuffer(FRDGBufferRef) { static TRefCountPtr<FRDGPooledBuffer> p; return p; }
    FRDGBufferSRVRef CreateSRV(FRDGBufferRef) { return nullptr; }
    FRDGBufferUAVRef CreateUAV(FRDGBufferRef) { return nullptr; }
    FRDGBufferRef CreateBuffer(const FRDGBufferDesc&, const TCHAR*) { return nullptr; }
    template <typename T> T* AllocParameters() { return new T; }
    template <typename P, typename L> void AddPass(FRDGEventName&&, P*, ERDGPassFlags, L&& lambda) { (void)sizeof(std::function<void(FRHICommandList&)>(lambda)); }
};
inline FRDGBufferRef CreateStructuredBuffer(FRDGBuilder&, const TCHAR*, uint32, uint32, const void*, uint64) { return nullptr; }
template <typename L> void EnqueueRender(L&& lambda) { (void)sizeof(lambda(std::declval<FRHICommandListImmediate&>())); }
struct RenderCommand { template <typename L> void operator()(L&& lambda) const { FRHICommandListImmediate list; lambda(list); } };
#define ENQUEUE_RENDER_COMMAND(name) RenderCommand()

// Views and post processing.
struct FViewUniformShaderParameters;
template <typename T> struct TUniformBufferRef {};
struct FViewMatrices
{
    const FMatrix& GetViewMatrix() const { return FMatrix::Identity; }
    FMatrix GetProjectionNoAAMatrix() const { return FMatrix::Identity; }
};
enum class ERenderTargetLoadAction { ELoad };
class FSceneViewFamily { public: FSceneInterface* Scene; };
struct FConvexVolume { bool IntersectSphere(const FVector&, const float&) const { return true; } };
class FSceneView
{
public:
    FConvexVolume ViewFrustum;
    const FSceneViewFamily* Family;
    FViewMatrices ViewMatrices;
    TUniformBufferRef<FViewUniformShaderParameters> ViewUniformBuffer;
    bool IsPerspectiveProjection() const { return true; }
    ERenderTargetLoadAction GetOverwriteLoadAction() const { return ERenderTargetLoadAction::ELoad; }
};
struct FScreenPassTextureSlice {};
struct FScreenPassTexture
{
    FRDGTextureRef Texture;
    FIntRect ViewRect;
    bool IsValid() const { return true; }
    static FScreenPassTexture CopyFromSlice(FRDGBuilder&, const FScreenPassTextureSlice&) { return {}; }
};
struct FScreenPassRenderTarget : FScreenPassTexture
{
    static FScreenPassRenderTarget CreateFromInput(FRDGBuilder&, FScreenPassTexture, ERenderTargetLoadAction, const TCHAR*) { return {}; }
};
struct FScreenPassViewInfo { FScreenPassViewInfo(const FSceneView&) {} };
inline void AddDrawTexturePass(FRDGBuilder&, FScreenPassViewInfo, const FScreenPassTexture&, const FScreenPassRenderTarget&) {}
struct FSceneTextureShaderParameters {};
enum class EPostProcessMaterialInput { SceneColor };
struct FPostProcessMaterialInputs
{
    FScreenPassRenderTarget OverrideOutput;
    FSceneTextureShaderParameters SceneTextures;
    FScreenPassTextureSlice GetInput(EPostProcessMaterialInput) const { return {}; }
    FScreenPassTexture ReturnUntouchedSceneColorForPostProcessing(FRDGBuilder&) const { return {}; }
};
namespace UE { namespace FXRenderingUtils { inline FIntRect GetRawViewRectUnsafe(const FSceneView&) { return {}; } } }
enum class EPostProcessingPass { Tonemap };
struct FAfterPassCallbackDelegate
{
    template <typename T> static FAfterPassCallbackDelegate CreateRaw(T*, FScreenPassTexture (T::*)(FRDGBuilder&, const FSceneView&, const FPostProcessMaterialInputs&)) { return {}; }
};
typedef TArray<FAfterPassCallbackDelegate> FAfterPassCallbackDelegateArray;
struct FAutoRegister {};
class FSceneViewExtensionBase
{
public:
    FSceneViewExtensionBase(const FAutoRegister&) {}
    virtual ~FSceneViewExtensionBase() {}
    virtual void SetupViewFamily(FSceneViewFamily&) = 0;
    virtual void SetupView(FSceneViewFamily&, FSceneView&) = 0;
    virtual void BeginRenderViewFamily(FSceneViewFamily&) = 0;
#if ENGINE_MINOR_VERSION < 5
    virtual void SubscribeToPostProcessingPass(EPostProcessingPass, FAfterPassCallbackDelegateArray&, bool) {}
#else
    virtual void SubscribeToPostProcessingPass(EPostProcessingPass, const FSceneView&, FAfterPassCallbackDelegateArray&, bool) {}
#endif
};
struct FSceneViewExtensions { template <typename T> static TSharedRef<T, ESPMode::ThreadSafe> NewExtension() { FAutoRegister key; (void)sizeof(T(key)); return {}; } };

// Shaders.
#define BEGIN_SHADER_PARAMETER_STRUCT(name, api) struct name {
#define END_SHADER_PARAMETER_STRUCT() };
#define SHADER_PARAMETER(type, name) type name;
#define SHADER_PARAMETER_ARRAY(type, name, count) type name count;
#define SHADER_PARAMETER_RDG_BUFFER_SRV(type, name) FRDGBufferSRVRef name;
#define SHADER_PARAMETER_RDG_BUFFER_UAV(type, name) FRDGBufferUAVRef name;
#define SHADER_PARAMETER_STRUCT_REF(type, name) TUniformBufferRef<type> name;
#define SHADER_PARAMETER_STRUCT_INCLUDE(type, name) type name;
struct FRenderTargetBinding { FRenderTargetBinding(FRDGTextureRef, ERenderTargetLoadAction) {} FRenderTargetBinding() {} };
#define RENDER_TARGET_BINDING_SLOTS() FRenderTargetBinding RenderTargets[8];
#define DECLARE_GLOBAL_SHADER(name) static int Declared##name()
#define SHADER_USE_PARAMETER_STRUCT(name, base) typedef base ShaderBase
#define IMPLEMENT_GLOBAL_SHADER(name, file, entry, stage) static_assert(sizeof(name::FParameters) > 0 && stage >= 0)
enum { SF_Vertex, SF_Pixel, SF_Compute };
enum class ERHIFeatureLevel { SM5 };
const ERHIFeatureLevel GMaxRHIFeatureLevel = ERHIFeatureLevel::SM5;
struct FGlobalShaderPermutationParameters { int Platform; };
inline bool IsFeatureLevelSupported(int, ERHIFeatureLevel) { return true; }
struct FRHIVertexShader; struct FRHIPixelShader;
class FGlobalShader {};
struct FGlobalShaderMap;
inline FGlobalShaderMap* GetGlobalShaderMap(ERHIFeatureLevel) { return nullptr; }
template <typename T> struct TShaderMapRef
{
    typedef typename T::FParameters FParameters;
    TShaderMapRef(FGlobalShaderMap*) {}
    FRHIVertexShader* GetVertexShader() const { return nullptr; }
    FRHIPixelShader* GetPixelShader() const { return nullptr; }
};
struct FComputeShaderUtils
{
    template <typename T> static void AddPass(FRDGBuilder&, FRDGEventName&&, const TShaderMapRef<T>&, typename T::FParameters*, FIntVector) {}
};
struct FRHIBlendState; struct FRHIRasterizerState; struct FRHIDepthStencilState; struct FRHIVertexDeclaration;
enum { CW_RGB, BO_Add, BF_One, BF_InverseSourceAlpha, FM_Solid, CM_None, CF_Always, PT_TriangleList };
template <int...> struct TStaticBlendState { static FRHIBlendState* GetRHI() { return nullptr; } };
template <int...> struct TStaticRasterizerState { static FRHIRasterizerState* GetRHI() { return nullptr; } };
template <bool, int> struct TStaticDepthStencilState { static FRHIDepthStencilState* GetRHI() { return nullptr; } };
struct { FRHIVertexDeclaration* VertexDeclarationRHI; } GEmptyVertexDeclaration;
struct FGraphicsPipelineStateInitializer
{
    FRHIBlendState* BlendState; FRHIRasterizerState* RasterizerState; FRHIDepthStencilState* DepthStencilState;
    struct { FRHIVertexDeclaration* VertexDeclarationRHI; FRHIVertexShader* VertexShaderRHI; FRHIPixelShader* PixelShaderRHI; } BoundShaderState;
    int PrimitiveType;
};
class FRHICommandList
{
public:
    void SetViewport(float, float, float, float, float, float) {}
    void ApplyCachedRenderTargets(FGraphicsPipelineStateInitializer&) {}
    void SetStreamSource(uint32, void*, uint32) {}
    void DrawPrimitive(uint32, uint32, uint32) {}
};
inline void SetGraphicsPipelineState(FRHICommandList&, const FGraphicsPipelineStateInitializer&, uint32) {}
template <typename T, typename R> void SetShaderParameters(FRHICommandList&, const TShaderMapRef<T>&, R*, const typename T::FParameters&) {}
