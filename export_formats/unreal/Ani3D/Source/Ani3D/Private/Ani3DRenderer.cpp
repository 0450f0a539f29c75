#include "Ani3DRenderer.h"

#include "Ani3DAxes.h"
#include "Ani3DGpuData.h"
#include "CommonRenderResources.h"
#include "Engine/Engine.h"
#include "FXRenderingUtils.h"
#include "GlobalShader.h"
#include "PipelineStateCache.h"
#include "PostProcess/PostProcessMaterialInputs.h"
#include "RenderGraphUtils.h"
#include "SceneRenderTargetParameters.h"
#include "SceneView.h"
#include "ShaderParameterStruct.h"

BEGIN_SHADER_PARAMETER_STRUCT(FAni3DParameters, )
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, RestMeans)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, RestQuats)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, RestLogScales)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, Skin)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, GroupMeans)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, MeanTexels)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, RotationTexels)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, LogScaleTexels)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, Joints)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, Steps)
    SHADER_PARAMETER(FUintVector4, ListEnds)
    SHADER_PARAMETER(FUintVector4, TexelWords)
    SHADER_PARAMETER(uint32, Count)
    SHADER_PARAMETER(uint32, MovingCount)
    SHADER_PARAMETER(uint32, Influences)
    SHADER_PARAMETER(float, Turn)
    SHADER_PARAMETER(float, Growth)
    SHADER_PARAMETER_ARRAY(FVector4f, ViewRows, [3])
    SHADER_PARAMETER(FVector4f, Pinhole)
    SHADER_PARAMETER(FVector2f, ImageSize)
    SHADER_PARAMETER(FVector2f, DepthRange)
    SHADER_PARAMETER_RDG_BUFFER_UAV(RWStructuredBuffer<float4>, PosedMeans)
    SHADER_PARAMETER_RDG_BUFFER_UAV(RWStructuredBuffer<float4>, PosedQuats)
    SHADER_PARAMETER_RDG_BUFFER_UAV(RWStructuredBuffer<float4>, PosedLogScales)
    SHADER_PARAMETER_RDG_BUFFER_UAV(RWStructuredBuffer<float4>, Splats)
    SHADER_PARAMETER_RDG_BUFFER_UAV(RWStructuredBuffer<uint>, DepthBins)
    SHADER_PARAMETER_RDG_BUFFER_UAV(RWStructuredBuffer<uint>, BinStarts)
    SHADER_PARAMETER_RDG_BUFFER_UAV(RWStructuredBuffer<uint>, Order)
END_SHADER_PARAMETER_STRUCT()

BEGIN_SHADER_PARAMETER_STRUCT(FAni3DDrawParameters, )
    SHADER_PARAMETER_STRUCT_REF(FViewUniformShaderParameters, View)
    SHADER_PARAMETER_STRUCT_INCLUDE(FSceneTextureShaderParameters, SceneTextures)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, SplatRows)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, OrderRows)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, Colors)
    SHADER_PARAMETER(FVector4f, SplatPinhole)
    SHADER_PARAMETER(FVector4f, TargetRect)
    SHADER_PARAMETER(FVector4f, DepthRect)
    RENDER_TARGET_BINDING_SLOTS()
END_SHADER_PARAMETER_STRUCT()

// One class for each entry point.
#define ANI3D_SHADER(Name, Parameters, File, Entry, Stage)                                                    \
    class Name : public FGlobalShader                                                                         \
    {                                                                                                         \
    public:                                                                                                   \
        DECLARE_GLOBAL_SHADER(Name);                                                                          \
        SHADER_USE_PARAMETER_STRUCT(Name, FGlobalShader);                                                     \
        using FParameters = Parameters;                                                                       \
        static bool ShouldCompilePermutation(const FGlobalShaderPermutationParameters& Permutation)           \
        {                                                                                                     \
            return IsFeatureLevelSupported(Permutation.Platform, ERHIFeatureLevel::SM5);                      \
        }                                                                                                     \
    };                                                                                                        \
    IMPLEMENT_GLOBAL_SHADER(Name, File, Entry, Stage)

ANI3D_SHADER(FAni3DPoseCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "Pose", SF_Compute);
ANI3D_SHADER(FAni3DProjectCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "Project", SF_Compute);
ANI3D_SHADER(FAni3DClearBinsCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "ClearBins", SF_Compute);
ANI3D_SHADER(FAni3DCountBinsCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "CountBins", SF_Compute);
ANI3D_SHADER(FAni3DScanBinsCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "ScanBins", SF_Compute);
ANI3D_SHADER(FAni3DScatterCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "Scatter", SF_Compute);
ANI3D_SHADER(FAni3DSplatVS, FAni3DDrawParameters, "/Plugin/Ani3D/Private/Ani3DDraw.usf", "SplatVert", SF_Vertex);
ANI3D_SHADER(FAni3DSplatPS, FAni3DDrawParameters, "/Plugin/Ani3D/Private/Ani3DDraw.usf", "SplatFrag", SF_Pixel);

namespace
{
constexpr int32 Threads = 64;
constexpr int32 ScanThreads = 256;
constexpr int32 Bins = 65536;

/** A buffer with contents. */
template <typename T>
FRDGBufferRef Upload(FRDGBuilder& GraphBuilder, const TCHAR* Name, uint32 Stride, const std::vector<T>& Values)
{
    const uint64 Bytes = Values.size() * sizeof(T);
    return CreateStructuredBuffer(GraphBuilder, Name, Stride, static_cast<uint32>(Bytes / Stride), Values.data(), Bytes);
}

/** A buffer that is made once and kept. */
template <typename TMake>
FRDGBufferSRVRef Kept(FRDGBuilder& GraphBuilder, TRefCountPtr<FRDGPooledBuffer>& Pooled, const TCHAR* Name,
                      uint32 Stride, TMake&& Make)
{
    FRDGBufferRef Buffer = nullptr;
    if (Pooled.IsValid()) Buffer = GraphBuilder.RegisterExternalBuffer(Pooled);
    else
    {
        Buffer = Upload(GraphBuilder, Name, Stride, Make());
        Pooled = GraphBuilder.ConvertToExternalBuffer(Buffer);
    }
    return GraphBuilder.CreateSRV(Buffer);
}

FRDGBufferRef Scratch(FRDGBuilder& GraphBuilder, const TCHAR* Name, uint32 Stride, int32 Count)
{
    return GraphBuilder.CreateBuffer(FRDGBufferDesc::CreateStructuredDesc(Stride, static_cast<uint32>(Count)), Name);
}

/** Each pass has its own copy: AddPass clears what a shader does not use. */
template <typename TShader>
void AddKernel(FRDGBuilder& GraphBuilder, const FAni3DParameters& Parameters, int32 Items, int32 GroupSize)
{
    FAni3DParameters* Own = GraphBuilder.AllocParameters<FAni3DParameters>();
    *Own = Parameters;
    const TShaderMapRef<TShader> Shader(GetGlobalShaderMap(GMaxRHIFeatureLevel));
    FComputeShaderUtils::AddPass(GraphBuilder, RDG_EVENT_NAME("Ani3D"), Shader, Own,
                                 FIntVector(FMath::DivideAndRoundUp(Items, GroupSize), 1, 1));
}

uint32 WordsOf(const ani3d::OffsetTexture& Texture) { return Texture.wideTexels ? 2 : 1; }

TSharedPtr<FAni3DViewExtension, ESPMode::ThreadSafe> Extension()
{
    const UAni3DSubsystem* Subsystem = GEngine != nullptr ? GEngine->GetEngineSubsystem<UAni3DSubsystem>() : nullptr;
    return Subsystem != nullptr ? Subsystem->Extension : nullptr;
}
}

FAni3DFigure::FAni3DFigure(TSharedRef<const ani3d::Bundle> InBundle, int32 InClip, FSceneInterface* InScene)
    : Scene(InScene), Bundle(InBundle), Clip(InClip), Reach(ani3d::Reach(*InBundle))
{
}

TSharedPtr<FAni3DFigure> FAni3DFigure::Add(TSharedRef<const ani3d::Bundle> Bundle, int32 Clip, FSceneInterface* Scene)
{
    const TSharedPtr<FAni3DViewExtension, ESPMode::ThreadSafe> Views = Extension();
    if (!Views.IsValid()) return nullptr;
    const TSharedPtr<FAni3DFigure> Figure = MakeShared<FAni3DFigure>(Bundle, Clip, Scene);
    ENQUEUE_RENDER_COMMAND(Ani3DAdd)([Views, Figure](FRHICommandListImmediate&) { Views->Figures.Add(Figure); });
    return Figure;
}

void FAni3DFigure::Show(FAni3DMoment&& InMoment)
{
    ENQUEUE_RENDER_COMMAND(Ani3DShow)([Figure = AsShared(), Shown = MoveTemp(InMoment)](FRHICommandListImmediate&) mutable
    {
        Figure->Moment = MoveTemp(Shown);
    });
}

void FAni3DFigure::Remove()
{
    const TSharedPtr<FAni3DViewExtension, ESPMode::ThreadSafe> Views = Extension();
    if (!Views.IsValid()) return;
    const TSharedPtr<FAni3DFigure> Figure = AsShared();
    ENQUEUE_RENDER_COMMAND(Ani3DRemove)([Views, Figure](FRHICommandListImmediate&) { Views->Figures.Remove(Figure); });
}

void FAni3DFigure::Draw(FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs,
                        const FScreenPassRenderTarget& Output)
{
    if (!Moment.bVisible || Moment.Count == 0 || !View.IsPerspectiveProjection()) return;
    const ani3d::Gaussians& Rest = Bundle->gaussians;
    const ani3d::Clip& Played = Bundle->clips[Clip];
    const int32 Count = Moment.Count;
    const FIntRect Rect = Output.ViewRect;

    // 1. The camera.
    const FMatrix ViewMatrix = View.ViewMatrices.GetViewMatrix();
    const FMatrix Projection = View.ViewMatrices.GetProjectionNoAAMatrix();
    float Rows[12];
    ani3d::ViewRows(&Moment.LocalToWorld.M[0][0], &ViewMatrix.M[0][0], Rows);
    const FVector4f Pinhole(0.5f * Rect.Width() * Projection.M[0][0], 0.5f * Rect.Height() * Projection.M[1][1],
                            0.5f * Rect.Width() * (1 + Projection.M[2][0]), 0.5f * Rect.Height() * (1 - Projection.M[2][1]));
    const std::vector<double>& Joints = Moment.Frame.joints;
    const float Middle =
        static_cast<float>(Rows[8] * Joints[3] + Rows[9] * Joints[7] + Rows[10] * Joints[11] + Rows[11]);
    const float Far = Reach * static_cast<float>(Moment.LocalToWorld.GetMaximumAxisScale());

    // 2. Pose, project, sort.
    FAni3DParameters Parameters;
    Parameters.RestMeans = Kept(GraphBuilder, RestMeans, TEXT("Ani3D.RestMeans"), 16, [&] { return ani3d::GpuRestMeans(Rest); });
    Parameters.RestQuats = Kept(GraphBuilder, RestQuats, TEXT("Ani3D.RestQuats"), 16, [&] { return Rest.quats; });
    Parameters.RestLogScales = Kept(GraphBuilder, RestLogScales, TEXT("Ani3D.RestLogScales"), 16,
                                    [&] { return ani3d::GpuRestLogScales(Rest, Played); });
    Parameters.Skin = Kept(GraphBuilder, Skin, TEXT("Ani3D.Skin"), 4, [&] { return ani3d::GpuSkin(Bundle->rig); });
    Parameters.GroupMeans = Kept(GraphBuilder, GroupMeans, TEXT("Ani3D.GroupMeans"), 16,
                                 [&] { return ani3d::GpuGroupMeans(Played); });
    Parameters.MeanTexels = Kept(GraphBuilder, MeanTexels, TEXT("Ani3D.MeanTexels"), 4,
                                 [&] { return ani3d::GpuTexels(Played.dMeans); });
    Parameters.RotationTexels = Kept(GraphBuilder, RotationTexels, TEXT("Ani3D.RotationTexels"), 4,
                                     [&] { return ani3d::GpuTexels(Played.dRotations); });
    Parameters.LogScaleTexels = Kept(GraphBuilder, LogScaleTexels, TEXT("Ani3D.LogScaleTexels"), 4,
                                     [&] { return ani3d::GpuTexels(Played.dLogScales); });
    const std::vector<float> Skinning(Moment.Frame.skinning.begin(), Moment.Frame.skinning.end());
    std::vector<float> Steps = Moment.Frame.steps;
    if (Steps.empty()) Steps.resize(4);
    Parameters.Joints = GraphBuilder.CreateSRV(Upload(GraphBuilder, TEXT("Ani3D.Joints"), 16, Skinning));
    Parameters.Steps = GraphBuilder.CreateSRV(Upload(GraphBuilder, TEXT("Ani3D.Steps"), 16, Steps));
    const uint32* Ends = Moment.Frame.ends;
    Parameters.ListEnds = FUintVector4(Ends[0], Ends[1], Ends[2], Ends[3]);
    Parameters.TexelWords = FUintVector4(WordsOf(Played.dMeans), WordsOf(Played.dRotations), WordsOf(Played.dLogScales), 0);
    Parameters.Count = Count;
    Parameters.MovingCount = Moment.bResidual ? static_cast<uint32>(Played.moving.size()) : 0;
    Parameters.Influences = Bundle->rig.influences;
    Parameters.Turn = Moment.Frame.turn;
    Parameters.Growth = Moment.Growth;
    for (int32 Row = 0; Row < 3; Row++)
        Parameters.ViewRows[Row] = FVector4f(Rows[4 * Row], Rows[4 * Row + 1], Rows[4 * Row + 2], Rows[4 * Row + 3]);
    Parameters.Pinhole = Pinhole;
    Parameters.ImageSize = FVector2f(Rect.Width(), Rect.Height());
    Parameters.DepthRange = FVector2f(FMath::Max(Middle - Far, 0.0f), Middle + Far);
    const FRDGBufferRef Splats = Scratch(GraphBuilder, TEXT("Ani3D.Splats"), 16, 2 * Count);
    const FRDGBufferRef Order = Scratch(GraphBuilder, TEXT("Ani3D.Order"), 4, Count);
    Parameters.PosedMeans = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.PosedMeans"), 16, Count));
    Parameters.PosedQuats = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.PosedQuats"), 16, Count));
    Parameters.PosedLogScales = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.PosedLogScales"), 16, Count));
    Parameters.Splats = GraphBuilder.CreateUAV(Splats);
    Parameters.DepthBins = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.DepthBins"), 4, Count));
    Parameters.BinStarts = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.BinStarts"), 4, Bins));
    Parameters.Order = GraphBuilder.CreateUAV(Order);
    AddKernel<FAni3DPoseCS>(GraphBuilder, Parameters, Count, Threads);
    AddKernel<FAni3DProjectCS>(GraphBuilder, Parameters, Count, Threads);
    AddKernel<FAni3DClearBinsCS>(GraphBuilder, Parameters, Bins, ScanThreads);
    AddKernel<FAni3DCountBinsCS>(GraphBuilder, Parameters, Count, Threads);
    AddKernel<FAni3DScanBinsCS>(GraphBuilder, Parameters, ScanThreads, ScanThreads);
    AddKernel<FAni3DScatterCS>(GraphBuilder, Parameters, Count, Threads);

    // 3. Draw, hidden by the scene's depth.
    const FIntRect DepthRect = UE::FXRenderingUtils::GetRawViewRectUnsafe(View);
    FAni3DDrawParameters* Draw = GraphBuilder.AllocParameters<FAni3DDrawParameters>();
    Draw->View = View.ViewUniformBuffer;
    Draw->SceneTextures = Inputs.SceneTextures;
    Draw->SplatRows = GraphBuilder.CreateSRV(Splats);
    Draw->OrderRows = GraphBuilder.CreateSRV(Order);
    Draw->Colors = Kept(GraphBuilder, Colors, TEXT("Ani3D.Colors"), 16, [&] { return ani3d::GpuColors(Rest); });
    Draw->SplatPinhole = Pinhole;
    Draw->TargetRect = FVector4f(Rect.Min.X, Rect.Min.Y, Rect.Width(), Rect.Height());
    Draw->DepthRect = FVector4f(DepthRect.Min.X, DepthRect.Min.Y, DepthRect.Width(), DepthRect.Height());
    Draw->RenderTargets[0] = FRenderTargetBinding(Output.Texture, ERenderTargetLoadAction::ELoad);
    const TShaderMapRef<FAni3DSplatVS> VertexShader(GetGlobalShaderMap(GMaxRHIFeatureLevel));
    const TShaderMapRef<FAni3DSplatPS> PixelShader(GetGlobalShaderMap(GMaxRHIFeatureLevel));
    GraphBuilder.AddPass(RDG_EVENT_NAME("Ani3D.Draw"), Draw, ERDGPassFlags::Raster,
        [VertexShader, PixelShader, Draw, Rect, Count](FRHICommandList& RHICmdList)
    {
        RHICmdList.SetViewport(Rect.Min.X, Rect.Min.Y, 0.0f, Rect.Max.X, Rect.Max.Y, 1.0f);
        FGraphicsPipelineStateInitializer Pipeline;
        RHICmdList.ApplyCachedRenderTargets(Pipeline);
        Pipeline.BlendState = TStaticBlendState<CW_RGB, BO_Add, BF_One, BF_InverseSourceAlpha>::GetRHI();
        Pipeline.RasterizerState = TStaticRasterizerState<FM_Solid, CM_None>::GetRHI();
        Pipeline.DepthStencilState = TStaticDepthStencilState<false, CF_Always>::GetRHI();
        Pipeline.BoundShaderState.VertexDeclarationRHI = GEmptyVertexDeclaration.VertexDeclarationRHI;
        Pipeline.BoundShaderState.VertexShaderRHI = VertexShader.GetVertexShader();
        Pipeline.BoundShaderState.PixelShaderRHI = PixelShader.GetPixelShader();
        Pipeline.PrimitiveType = PT_TriangleList;
        SetGraphicsPipelineState(RHICmdList, Pipeline, 0);
        SetShaderParameters(RHICmdList, VertexShader, VertexShader.GetVertexShader(), *Draw);
        SetShaderParameters(RHICmdList, PixelShader, PixelShader.GetPixelShader(), *Draw);
        RHICmdList.SetStreamSource(0, nullptr, 0);
        RHICmdList.DrawPrimitive(0, 2 * Count, 1);
    });
}

#if ENGINE_MAJOR_VERSION == 5 && ENGINE_MINOR_VERSION < 5
void FAni3DViewExtension::SubscribeToPostProcessingPass(EPostProcessingPass Pass,
                                                        FAfterPassCallbackDelegateArray& Callbacks, bool bIsPassEnabled)
{
    Subscribe(Pass, Callbacks);
}
#else
void FAni3DViewExtension::SubscribeToPostProcessingPass(EPostProcessingPass Pass, const FSceneView& InView,
                                                        FAfterPassCallbackDelegateArray& Callbacks, bool bIsPassEnabled)
{
    Subscribe(Pass, Callbacks);
}
#endif

void FAni3DViewExtension::Subscribe(EPostProcessingPass Pass, FAfterPassCallbackDelegateArray& Callbacks)
{
    if (Pass == EPostProcessingPass::Tonemap)
        Callbacks.Add(FAfterPassCallbackDelegate::CreateRaw(this, &FAni3DViewExtension::Draw));
}

FScreenPassTexture FAni3DViewExtension::Draw(FRDGBuilder& GraphBuilder, const FSceneView& View,
                                             const FPostProcessMaterialInputs& Inputs)
{
    const FSceneInterface* Scene = View.Family != nullptr ? View.Family->Scene : nullptr;
    const auto InView = [Scene](const TSharedPtr<FAni3DFigure>& Figure) { return Figure->Scene == Scene; };
    if (!Figures.ContainsByPredicate(InView)) return Inputs.ReturnUntouchedSceneColorForPostProcessing(GraphBuilder);
    const FScreenPassTexture Color =
        FScreenPassTexture::CopyFromSlice(GraphBuilder, Inputs.GetInput(EPostProcessMaterialInput::SceneColor));
    FScreenPassRenderTarget Output = Inputs.OverrideOutput;
    if (!Output.IsValid())
        Output = FScreenPassRenderTarget::CreateFromInput(GraphBuilder, Color, View.GetOverwriteLoadAction(), TEXT("Ani3D"));
    AddDrawTexturePass(GraphBuilder, View, Color, Output);
    for (const TSharedPtr<FAni3DFigure>& Figure : Figures)
        if (InView(Figure)) Figure->Draw(GraphBuilder, View, Inputs, Output);
    return MoveTemp(Output);
}

void UAni3DSubsystem::Initialize(FSubsystemCollectionBase& Collection)
{
    Extension = FSceneViewExtensions::NewExtension<FAni3DViewExtension>();
}

void UAni3DSubsystem::Deinitialize()
{
    Extension = nullptr;
}
