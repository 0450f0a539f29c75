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
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, SkinWords)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<int>, Rows)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, GroupMeans)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, MeanTexels)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, RotationTexels)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<uint>, LogScaleTexels)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, Joints)
    SHADER_PARAMETER_RDG_BUFFER_SRV(StructuredBuffer<float4>, Steps)
    SHADER_PARAMETER(uint32, FirstStep)
    SHADER_PARAMETER(FUintVector4, ListEnds)
    SHADER_PARAMETER(FUintVector4, TexelWords)
    SHADER_PARAMETER(uint32, Count)
    SHADER_PARAMETER(uint32, MovingCount)
    SHADER_PARAMETER(uint32, Influences)
    SHADER_PARAMETER(float, Turn)
    SHADER_PARAMETER(float, Share)
    SHADER_PARAMETER(float, Growth)
    SHADER_PARAMETER_ARRAY(FVector4f, ViewRows, [3])
    SHADER_PARAMETER(FVector4f, Pinhole)
    SHADER_PARAMETER(float, Orthographic)
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
    SHADER_PARAMETER(float, SplatOrthographic)
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

ANI3D_SHADER(FAni3DDecodeCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "Decode", SF_Compute);
ANI3D_SHADER(FAni3DSkinCS, FAni3DParameters, "/Plugin/Ani3D/Private/Ani3D.usf", "Skin", SF_Compute);
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

/** A buffer that is uploaded once and kept. */
template <typename T>
FRDGBufferSRVRef Kept(FRDGBuilder& GraphBuilder, TAni3DBuffer<T>& Buffer, const TCHAR* Name, uint32 Stride)
{
    FRDGBufferRef Graph = nullptr;
    if (Buffer.Pooled.IsValid()) Graph = GraphBuilder.RegisterExternalBuffer(Buffer.Pooled);
    else
    {
        Graph = Upload(GraphBuilder, Name, Stride, Buffer.Values);
        Buffer.Pooled = GraphBuilder.ConvertToExternalBuffer(Graph);
        // The graph has copied them.
        std::vector<T>().swap(Buffer.Values);
    }
    return GraphBuilder.CreateSRV(Graph);
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

/** What of the parameters is a layer's. */
void SetLayer(FRDGBuilder& GraphBuilder, const ani3d::Layer& Layer, const ani3d::Clip& Source, FAni3DClipBuffers& Clip,
              bool bResidual, FAni3DParameters& Parameters)
{
    Parameters.Rows = Kept(GraphBuilder, Clip.Rows, TEXT("Ani3D.Rows"), 4);
    Parameters.GroupMeans = Kept(GraphBuilder, Clip.GroupMeans, TEXT("Ani3D.GroupMeans"), 16);
    Parameters.MeanTexels = Kept(GraphBuilder, Clip.MeanTexels, TEXT("Ani3D.MeanTexels"), 4);
    Parameters.RotationTexels = Kept(GraphBuilder, Clip.RotationTexels, TEXT("Ani3D.RotationTexels"), 4);
    Parameters.LogScaleTexels = Kept(GraphBuilder, Clip.LogScaleTexels, TEXT("Ani3D.LogScaleTexels"), 4);
    Parameters.FirstStep = Layer.firstStep;
    Parameters.ListEnds = FUintVector4(Layer.ends[0], Layer.ends[1], Layer.ends[2], Layer.ends[3]);
    Parameters.TexelWords = FUintVector4(ani3d::GpuTexelWords(Source.dMeans), ani3d::GpuTexelWords(Source.dRotations),
                                         ani3d::GpuTexelWords(Source.dLogScales), 0);
    Parameters.MovingCount = bResidual ? static_cast<uint32>(Source.moving.size()) : 0;
    Parameters.Turn = static_cast<float>(Layer.weight);
    Parameters.Share = static_cast<float>(Layer.share);
}

TSharedPtr<FAni3DViewExtension, ESPMode::ThreadSafe> Extension()
{
    const UAni3DSubsystem* Subsystem = GEngine != nullptr ? GEngine->GetEngineSubsystem<UAni3DSubsystem>() : nullptr;
    return Subsystem != nullptr ? Subsystem->Extension : nullptr;
}
}

FAni3DFigure::FAni3DFigure(TSharedRef<const FAni3DBuffers> InBuffers, FSceneInterface* InScene)
    : Scene(InScene), Buffers(InBuffers)
{
}

TSharedPtr<FAni3DFigure> FAni3DFigure::Add(TSharedRef<const FAni3DBuffers> InBuffers, FSceneInterface* InScene)
{
    const TSharedPtr<FAni3DViewExtension, ESPMode::ThreadSafe> Views = Extension();
    if (!Views.IsValid()) return nullptr;
    const TSharedPtr<FAni3DFigure> Figure = MakeShared<FAni3DFigure>(InBuffers, InScene);
    ENQUEUE_RENDER_COMMAND(Ani3DAdd)([Views, Figure](FRHICommandListImmediate&) { Views->Figures.Add(Figure); });
    return Figure;
}

void FAni3DFigure::Show(FAni3DMoment&& InMoment)
{
    ENQUEUE_RENDER_COMMAND(Ani3DShow)([Figure = AsShared(), Next = MoveTemp(InMoment)](FRHICommandListImmediate&) mutable
    {
        Figure->Moment = MoveTemp(Next);
    });
}

void FAni3DFigure::Remove()
{
    const TSharedPtr<FAni3DViewExtension, ESPMode::ThreadSafe> Views = Extension();
    if (!Views.IsValid()) return;
    const TSharedPtr<FAni3DFigure> Figure = AsShared();
    ENQUEUE_RENDER_COMMAND(Ani3DRemove)([Views, Figure](FRHICommandListImmediate&) { Views->Figures.Remove(Figure); });
}

FVector FAni3DFigure::Middle() const
{
    const std::vector<double>& Joints = Moment.Frame.joints;
    const double Root[3] = {Joints[3], Joints[7], Joints[11]};
    double Local[3];
    ani3d::ToUnreal(Root, Local);
    return FVector(Moment.LocalToWorld.TransformPosition(FVector(Local[0], Local[1], Local[2])));
}

double FAni3DFigure::Radius() const
{
    return ani3d::UnrealPerMetre * Buffers->Reach * Moment.LocalToWorld.GetMaximumAxisScale();
}

bool FAni3DFigure::IsIn(const FSceneView& View) const
{
    return View.Family != nullptr && View.Family->Scene == Scene && Moment.bVisible && Moment.Count > 0 &&
           View.ViewFrustum.IntersectSphere(Middle(), static_cast<float>(Radius()));
}

double FAni3DFigure::Distance(const FSceneView& View) const
{
    return View.ViewMatrices.GetViewMatrix().TransformPosition(Middle()).Z;
}

FAni3DFigure::FSorted FAni3DFigure::Sort(FRDGBuilder& GraphBuilder, const FSceneView& View, const FIntRect& Rect) const
{
    const ani3d::Bundle& Bundle = Buffers->Bundle;
    const int32 Count = Moment.Count;
    FSorted Sorted;

    // 1. The camera.
    const FMatrix ViewMatrix = View.ViewMatrices.GetViewMatrix();
    const FMatrix Projection = View.ViewMatrices.GetProjectionNoAAMatrix();
    float Rows[12], Lens[4];
    ani3d::ViewRows(&Moment.LocalToWorld.M[0][0], &ViewMatrix.M[0][0], Rows);
    ani3d::Pinhole(&Projection.M[0][0], Rect.Width(), Rect.Height(), !View.IsPerspectiveProjection(), Lens);
    Sorted.Pinhole = FVector4f(Lens[0], Lens[1], Lens[2], Lens[3]);
    Sorted.Orthographic = View.IsPerspectiveProjection() ? 0.0f : 1.0f;
    const float Depth = static_cast<float>(Distance(View) / ani3d::UnrealPerMetre);
    const float Far = static_cast<float>(Radius() / ani3d::UnrealPerMetre);

    // 2. Pose each layer, skin, project, sort.
    FAni3DParameters Parameters;
    Parameters.RestMeans = Kept(GraphBuilder, Buffers->RestMeans, TEXT("Ani3D.RestMeans"), 16);
    Parameters.RestQuats = Kept(GraphBuilder, Buffers->RestQuats, TEXT("Ani3D.RestQuats"), 16);
    Parameters.RestLogScales = Kept(GraphBuilder, Buffers->RestLogScales, TEXT("Ani3D.RestLogScales"), 16);
    Parameters.SkinWords = Kept(GraphBuilder, Buffers->SkinWords, TEXT("Ani3D.SkinWords"), 4);
    const std::vector<float> Skinning(Moment.Frame.skinning.begin(), Moment.Frame.skinning.end());
    std::vector<float> Steps = Moment.Frame.steps;
    if (Steps.empty()) Steps.resize(4);
    Parameters.Joints = GraphBuilder.CreateSRV(Upload(GraphBuilder, TEXT("Ani3D.Joints"), 16, Skinning));
    Parameters.Steps = GraphBuilder.CreateSRV(Upload(GraphBuilder, TEXT("Ani3D.Steps"), 16, Steps));
    Parameters.Count = Count;
    Parameters.Influences = Bundle.rig.influences;
    Parameters.Growth = Bundle.gaussians.Growth(Count);
    for (int32 Row = 0; Row < 3; Row++)
        Parameters.ViewRows[Row] = FVector4f(Rows[4 * Row], Rows[4 * Row + 1], Rows[4 * Row + 2], Rows[4 * Row + 3]);
    Parameters.Pinhole = Sorted.Pinhole;
    Parameters.Orthographic = Sorted.Orthographic;
    Parameters.ImageSize = FVector2f(Rect.Width(), Rect.Height());
    Parameters.DepthRange = FVector2f(FMath::Max(Depth - Far, 0.0f), Depth + Far);
    Sorted.Splats = Scratch(GraphBuilder, TEXT("Ani3D.Splats"), 16, 2 * Count);
    Sorted.Order = Scratch(GraphBuilder, TEXT("Ani3D.Order"), 4, Count);
    Parameters.PosedMeans = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.PosedMeans"), 16, Count));
    Parameters.PosedQuats = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.PosedQuats"), 16, Count));
    Parameters.PosedLogScales = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.PosedLogScales"), 16, Count));
    Parameters.Splats = GraphBuilder.CreateUAV(Sorted.Splats);
    Parameters.DepthBins = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.DepthBins"), 4, Count));
    Parameters.BinStarts = GraphBuilder.CreateUAV(Scratch(GraphBuilder, TEXT("Ani3D.BinStarts"), 4, Bins));
    Parameters.Order = GraphBuilder.CreateUAV(Sorted.Order);
    for (const ani3d::Layer& Layer : Moment.Frame.layers)
    {
        SetLayer(GraphBuilder, Layer, Bundle.clips[Layer.clip], Buffers->Clips[Layer.clip], Moment.bResidual, Parameters);
        // What lies below the first layer is not yet there to be mixed with.
        if (&Layer == Moment.Frame.layers.data()) Parameters.Share = 1;
        AddKernel<FAni3DDecodeCS>(GraphBuilder, Parameters, Count, Threads);
    }
    AddKernel<FAni3DSkinCS>(GraphBuilder, Parameters, Count, Threads);
    AddKernel<FAni3DProjectCS>(GraphBuilder, Parameters, Count, Threads);
    AddKernel<FAni3DClearBinsCS>(GraphBuilder, Parameters, Bins, ScanThreads);
    AddKernel<FAni3DCountBinsCS>(GraphBuilder, Parameters, Count, Threads);
    AddKernel<FAni3DScanBinsCS>(GraphBuilder, Parameters, ScanThreads, ScanThreads);
    AddKernel<FAni3DScatterCS>(GraphBuilder, Parameters, Count, Threads);
    return Sorted;
}

void FAni3DFigure::Draw(FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs,
                        const FScreenPassRenderTarget& Output) const
{
    const int32 Count = Moment.Count;
    const FIntRect Rect = Output.ViewRect;
    const FIntRect DepthRect = UE::FXRenderingUtils::GetRawViewRectUnsafe(View);
    const FSorted Sorted = Sort(GraphBuilder, View, Rect);
    FAni3DDrawParameters* Parameters = GraphBuilder.AllocParameters<FAni3DDrawParameters>();
    Parameters->View = View.ViewUniformBuffer;
    Parameters->SceneTextures = Inputs.SceneTextures;
    Parameters->SplatRows = GraphBuilder.CreateSRV(Sorted.Splats);
    Parameters->OrderRows = GraphBuilder.CreateSRV(Sorted.Order);
    Parameters->Colors = Kept(GraphBuilder, Buffers->Colors, TEXT("Ani3D.Colors"), 16);
    Parameters->SplatPinhole = Sorted.Pinhole;
    Parameters->SplatOrthographic = Sorted.Orthographic;
    Parameters->TargetRect = FVector4f(Rect.Min.X, Rect.Min.Y, Rect.Width(), Rect.Height());
    Parameters->DepthRect = FVector4f(DepthRect.Min.X, DepthRect.Min.Y, DepthRect.Width(), DepthRect.Height());
    Parameters->RenderTargets[0] = FRenderTargetBinding(Output.Texture, ERenderTargetLoadAction::ELoad);
    const TShaderMapRef<FAni3DSplatVS> VertexShader(GetGlobalShaderMap(GMaxRHIFeatureLevel));
    const TShaderMapRef<FAni3DSplatPS> PixelShader(GetGlobalShaderMap(GMaxRHIFeatureLevel));
    GraphBuilder.AddPass(RDG_EVENT_NAME("Ani3D.Draw"), Parameters, ERDGPassFlags::Raster,
        [VertexShader, PixelShader, Parameters, Rect, Count](FRHICommandList& RHICmdList)
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
        SetShaderParameters(RHICmdList, VertexShader, VertexShader.GetVertexShader(), *Parameters);
        SetShaderParameters(RHICmdList, PixelShader, PixelShader.GetPixelShader(), *Parameters);
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
    // The farthest first.
    TArray<FAni3DFigure*> Visible;
    for (const TSharedPtr<FAni3DFigure>& Figure : Figures)
        if (Figure->IsIn(View)) Visible.Add(Figure.Get());
    if (Visible.Num() == 0) return Inputs.ReturnUntouchedSceneColorForPostProcessing(GraphBuilder);
    Visible.Sort([&View](const FAni3DFigure& A, const FAni3DFigure& B) { return A.Distance(View) > B.Distance(View); });
    RDG_EVENT_SCOPE(GraphBuilder, "Ani3D");
    const FScreenPassTexture Color =
        FScreenPassTexture::CopyFromSlice(GraphBuilder, Inputs.GetInput(EPostProcessMaterialInput::SceneColor));
    FScreenPassRenderTarget Output = Inputs.OverrideOutput;
    if (!Output.IsValid())
        Output = FScreenPassRenderTarget::CreateFromInput(GraphBuilder, Color, View.GetOverwriteLoadAction(), TEXT("Ani3D"));
    AddDrawTexturePass(GraphBuilder, View, Color, Output);
    for (FAni3DFigure* Figure : Visible) Figure->Draw(GraphBuilder, View, Inputs, Output);
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
