// The avatars on the render thread: posed, sorted and drawn after tone mapping, in display colours.
#pragma once

#include "Ani3DBuffers.h"
#include "Ani3DClipSampler.h"
#include "CoreMinimal.h"
#include "RenderGraphResources.h"
#include "SceneViewExtension.h"
#include "ScreenPass.h"
#include "Subsystems/EngineSubsystem.h"

#include "Ani3DRenderer.generated.h"

class FSceneInterface;
struct FPostProcessMaterialInputs;

/** What a component tells the renderer each frame. */
struct FAni3DMoment
{
    ani3d::Frame Frame;
    FMatrix LocalToWorld = FMatrix::Identity;
    int32 Count = 0;
    bool bResidual = true;
    bool bVisible = false;
};

/** One component's avatar. Made and told on the game thread, drawn on the render thread. */
class FAni3DFigure : public TSharedFromThis<FAni3DFigure>
{
public:
    static TSharedPtr<FAni3DFigure> Add(TSharedRef<const FAni3DBuffers> InBuffers, FSceneInterface* InScene);
    void Show(FAni3DMoment&& InMoment);
    void Remove();

    /** True where the view can see it. Render thread. */
    bool IsIn(const FSceneView& View) const;
    /** From the camera of the view [cm]. Render thread. */
    double Distance(const FSceneView& View) const;
    /** Pose, sort and draw on `Output`, hidden by the scene's depth. Render thread. */
    void Draw(FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs,
              const FScreenPassRenderTarget& Output) const;

    FAni3DFigure(TSharedRef<const FAni3DBuffers> InBuffers, FSceneInterface* InScene);

private:
    /** Splats in a view's picture, and their order from far to near. */
    struct FSorted
    {
        FRDGBufferRef Splats, Order;
        FVector4f Pinhole;
        float Orthographic;
    };

    FSorted Sort(FRDGBuilder& GraphBuilder, const FSceneView& View, const FIntRect& Rect) const;
    /** Of the figure in the world. */
    FVector Middle() const;
    double Radius() const;

    FSceneInterface* const Scene;
    const TSharedRef<const FAni3DBuffers> Buffers;
    FAni3DMoment Moment;
};

/** Draws all avatars of a view's world. */
class FAni3DViewExtension : public FSceneViewExtensionBase
{
public:
    explicit FAni3DViewExtension(const FAutoRegister& AutoRegister) : FSceneViewExtensionBase(AutoRegister) {}

    virtual void SetupViewFamily(FSceneViewFamily& InViewFamily) override {}
    virtual void SetupView(FSceneViewFamily& InViewFamily, FSceneView& InView) override {}
    virtual void BeginRenderViewFamily(FSceneViewFamily& InViewFamily) override {}
#if ENGINE_MAJOR_VERSION == 5 && ENGINE_MINOR_VERSION < 5
    virtual void SubscribeToPostProcessingPass(EPostProcessingPass Pass, FAfterPassCallbackDelegateArray& Callbacks,
                                               bool bIsPassEnabled) override;
#else
    virtual void SubscribeToPostProcessingPass(EPostProcessingPass Pass, const FSceneView& InView,
                                               FAfterPassCallbackDelegateArray& Callbacks, bool bIsPassEnabled) override;
#endif

    /** Render thread only. */
    TArray<TSharedPtr<FAni3DFigure>> Figures;

private:
    void Subscribe(EPostProcessingPass Pass, FAfterPassCallbackDelegateArray& Callbacks);
    FScreenPassTexture Draw(FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs);
};

/** Owns the view extension: engine subsystems start once views can be extended. */
UCLASS()
class UAni3DSubsystem : public UEngineSubsystem
{
    GENERATED_BODY()

public:
    virtual void Initialize(FSubsystemCollectionBase& Collection) override;
    virtual void Deinitialize() override;

    TSharedPtr<FAni3DViewExtension, ESPMode::ThreadSafe> Extension;
};
