// Signatures of the Unreal API that the plugin uses, written by hand from Epic's documentation and public plugins
// (5.4): the plugin's Unreal-facing sources are type-checked against them where there is no Unreal. What session.cpp runs
// has as much behaviour as it looks at: containers, futures that are ready when asked twice, and counts of passes.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
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
struct FString
{
    std::string Text;
    FString() {}
    FString(const TCHAR* text) : Text(text) {}
    const TCHAR* operator*() const { return Text.c_str(); }
    FString operator+(const TCHAR* more) const { return (Text + more).c_str(); }
    bool operator==(const FString& other) const { return Text == other.Text; }
};
struct FName { FString ToString() const { return {}; } };
template <typename T> struct TArray
{
    std::vector<T> Values;
    TArray() {}
    TArray(const T* from, int32 count) : Values(from, from + count) {}
    const T* GetData() const { return Values.data(); }
    T* GetData() { return Values.data(); }
    int32 Num() const { return static_cast<int32>(Values.size()); }
    void Reset() { Values.clear(); }
    template <typename P> void Sort(const P& p) { std::sort(Values.begin(), Values.end(), [&p](T a, T b) { return p(*a, *b); }); }
    void SetNumUninitialized(int32 count) { Values.resize(static_cast<size_t>(count)); }
    int32 Add(const T& value) { Values.push_back(value); return Num() - 1; }
    int32 Remove(const T& value) { Values.erase(std::remove(Values.begin(), Values.end(), value), Values.end()); return 0; }
    int32 IndexOfByKey(const T& value) const
    {
        const auto at = std::find(Values.begin(), Values.end(), value);
        return at == Values.end() ? -1 : static_cast<int32>(at - Values.begin());
    }
    const T& operator[](int32 at) const { return Values.at(static_cast<size_t>(at)); }
    auto begin() const { return Values.begin(); }
    auto end() const { return Values.end(); }
};
enum class ESPMode { ThreadSafe };
template <typename T, ESPMode M = ESPMode::ThreadSafe> struct TSharedRef
{
    std::shared_ptr<T> Owned;
    explicit TSharedRef(std::shared_ptr<T> owned) : Owned(std::move(owned)) {}
    template <typename U> TSharedRef(const TSharedRef<U, M>& other) : Owned(other.Owned) {}
    T* operator->() const { return Owned.get(); }
    T& operator*() const { return *Owned; }
};
template <typename T, ESPMode M = ESPMode::ThreadSafe> struct TSharedPtr
{
    std::shared_ptr<T> Owned;
    TSharedPtr() {}
    TSharedPtr(std::nullptr_t) {}
    template <typename U> TSharedPtr(const TSharedRef<U, M>& other) : Owned(other.Owned) {}
    template <typename U> TSharedPtr(const TSharedPtr<U, M>& other) : Owned(other.Owned) {}
    T* operator->() const { return Owned.get(); }
    T& operator*() const { return *Owned; }
    bool IsValid() const { return Owned != nullptr; }
    T* Get() const { return Owned.get(); }
    TSharedRef<T, M> ToSharedRef() const { return TSharedRef<T, M>(Owned); }
    bool operator!=(const TSharedPtr& other) const { return Owned != other.Owned; }
    bool operator==(const TSharedPtr& other) const { return Owned == other.Owned; }
};
template <typename T> struct TSharedFromThis : std::enable_shared_from_this<T>
{
    TSharedRef<T> AsShared() { return TSharedRef<T>(this->shared_from_this()); }
};
template <typename T, typename... A> TSharedRef<T> MakeShared(A&&... a)
{
    return TSharedRef<T>(std::make_shared<T>(std::forward<A>(a)...));
}
template <typename T> struct TObjectPtr
{
    T* Object = nullptr;
    TObjectPtr& operator=(T* object) { Object = object; return *this; }
    T* operator->() const { return Object; }
    bool operator!=(std::nullptr_t) const { return Object != nullptr; }
};
template <typename T> struct TRefCountPtr { bool Held = false; bool IsValid() const { return Held; } };
namespace FMemory { inline void Memcpy(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); } }
struct FMath
{
    template <typename T> static T Clamp(T v, T low, T high) { return std::min(std::max(v, low), high); }
    template <typename T> static T Max(T a, T b) { return std::max(a, b); }
    static int32 RoundToInt(float v) { return static_cast<int32>(std::floor(v + 0.5f)); }
    static float FloorToFloat(float v) { return v; }
    static int32 DivideAndRoundUp(int32 a, int32 b) { return (a + b - 1) / b; }
};
struct FVector4 { double X, Y, Z, W; };
struct FVector
{
    double X = 0, Y = 0, Z = 0;
    FVector() {}
    FVector(double x, double y, double z) : X(x), Y(y), Z(z) {}
    explicit FVector(const FVector4& v) : X(v.X), Y(v.Y), Z(v.Z) {}
};
struct FVector2f { FVector2f(float, float) {} FVector2f() {} };
struct FVector4f { FVector4f(float, float, float, float) {} FVector4f() {} };
struct FUintVector4 { FUintVector4(uint32, uint32, uint32, uint32) {} FUintVector4() {} };
struct FIntVector { FIntVector(int32, int32, int32) {} };
struct FIntPoint { int32 X = 0, Y = 0; };
struct FIntRect { FIntPoint Min, Max; int32 Width() const { return 64; } int32 Height() const { return 48; } };
struct FMatrix
{
    double M[4][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}};
    static const FMatrix& Get() { static const FMatrix m; return m; }
    static const FMatrix Identity;
    double GetMaximumAxisScale() const { return 1; }
    FVector4 TransformPosition(const FVector& v) const { return {v.X, v.Y, v.Z, 1}; }
};
inline const FMatrix FMatrix::Identity{};
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
    TFuture(TFuture&&) = default;
    TFuture(const TFuture&) = delete;
    TFuture& operator=(TFuture&&) = default;
    std::shared_ptr<T> Value;
    mutable int Asked = 0;
    bool IsValid() const { return Value != nullptr; }
    bool IsReady() const { return ++Asked > 1; }
    const T& Get() const { return *Value; }
};
template <typename C> auto Async(EAsyncExecution, C&& callable) -> TFuture<decltype(callable())>
{
    TFuture<decltype(callable())> future;
    future.Value = std::make_shared<decltype(callable())>(callable());
    return future;
}
template <typename T> T* NewObject(UObject*, UClass*, FName, EObjectFlags) { return new T; }
class FSceneInterface;
class UWorld { public: FSceneInterface* Scene = nullptr; bool bGame = true; bool IsGameWorld() const { return bGame; } };
inline UWorld TheWorld;
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
    UWorld* GetWorld() const { return &TheWorld; }
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
class UEngine
{
public:
    template <typename T> T* GetEngineSubsystem() const
    {
        static T* made = nullptr;
        FSubsystemCollectionBase all;
        if (made == nullptr) (made = new T)->Initialize(all);
        return made;
    }
};
inline UEngine TheEngine;
inline UEngine* GEngine = &TheEngine;

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
struct FRDGBuffer {}; struct FRDGBufferSRV {}; struct FRDGBufferUAV {}; struct FRDGTexture {}; struct FRDGPooledBuffer {};
/** What session.cpp looks at: passes, and buffers uploaded. */
inline int Dispatches = 0, Draws = 0, Uploads = 0;
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
    const TRefCountPtr<FRDGPooledBuffer>& ConvertToExternalBuffer(FRDGBufferRef) { static TRefCountPtr<FRDGPooledBuffer> p{true}; return p; }
    FRDGBufferSRVRef CreateSRV(FRDGBufferRef) { return nullptr; }
    FRDGBufferUAVRef CreateUAV(FRDGBufferRef) { return nullptr; }
    FRDGBufferRef CreateBuffer(const FRDGBufferDesc&, const TCHAR*) { return nullptr; }
    template <typename T> T* AllocParameters() { return new T; }
    template <typename P, typename L> void AddPass(FRDGEventName&&, P*, ERDGPassFlags, L&& lambda) { std::function<void(FRHICommandList&)> pass(lambda); Draws += pass != nullptr; }
};
inline FRDGBufferRef CreateStructuredBuffer(FRDGBuilder&, const TCHAR*, uint32 stride, uint32 count, const void*, uint64 bytes)
{
    Uploads += uint64(stride) * count == bytes && count > 0 ? 1 : 1000000;
    return nullptr;
}
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
class FSceneViewFamily { public: FSceneInterface* Scene = nullptr; };
struct FConvexVolume { bool IntersectSphere(const FVector&, const float&) const { return true; } };
class FSceneView
{
public:
    FConvexVolume ViewFrustum;
    const FSceneViewFamily* Family = nullptr;
    FViewMatrices ViewMatrices;
    TUniformBufferRef<FViewUniformShaderParameters> ViewUniformBuffer;
    bool IsPerspectiveProjection() const { return true; }
    ERenderTargetLoadAction GetOverwriteLoadAction() const { return ERenderTargetLoadAction::ELoad; }
};
struct FScreenPassTextureSlice {};
struct FScreenPassTexture
{
    FRDGTextureRef Texture = nullptr;
    FIntRect ViewRect;
    bool IsValid() const { return Texture != nullptr; }
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
enum class EPostProcessingPass { Tonemap, FXAA };
struct FAfterPassCallbackDelegate
{
    std::function<FScreenPassTexture(FRDGBuilder&, const FSceneView&, const FPostProcessMaterialInputs&)> Run;
    template <typename T> static FAfterPassCallbackDelegate CreateRaw(T* object, FScreenPassTexture (T::*method)(FRDGBuilder&, const FSceneView&, const FPostProcessMaterialInputs&))
    {
        FAfterPassCallbackDelegate made;
        made.Run = [object, method](auto& builder, auto& view, auto& inputs) { return (object->*method)(builder, view, inputs); };
        return made;
    }
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
struct FSceneViewExtensions { template <typename T> static TSharedRef<T, ESPMode::ThreadSafe> NewExtension() { return TSharedRef<T>(std::make_shared<T>(FAutoRegister())); } };

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
    template <typename T> static void AddPass(FRDGBuilder&, FRDGEventName&&, const TShaderMapRef<T>&, typename T::FParameters*, FIntVector) { Dispatches++; }
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
