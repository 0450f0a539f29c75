#pragma once

#include "Ani3DAsset.h"
#include "Ani3DClipSampler.h"
#include "Components/SceneComponent.h"
#include "CoreMinimal.h"

#include "Ani3DComponent.generated.h"

class FAni3DFigure;
struct FAni3DBuffers;

/**
 * Plays an avatar where the component stands: +Z up, facing +X, life size. Clip, Time, MixClip, MixTime, Mix, Speed and
 * Detail can be keyed in Sequencer; switch bPlaying off there, so that the sequence is the only clock.
 */
UCLASS(ClassGroup = (Ani3D), meta = (BlueprintSpawnableComponent, DisplayName = "Ani3D"))
class ANI3D_API UAni3DComponent : public USceneComponent
{
    GENERATED_BODY()

public:
    UAni3DComponent();

    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Ani3D")
    TObjectPtr<UAni3DAsset> Asset;

    /** Index of the clip that is shown. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D")
    int32 Clip = 0;

    /** Seconds since the clip began; grows through loops. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D")
    float Time = 0;

    /** A second clip, mixed over the first: its index. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D")
    int32 MixClip = 0;

    /** Seconds since the second clip began. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D")
    float MixTime = 0;

    /** How much of what is shown is the second clip. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D", meta = (ClampMin = "0", ClampMax = "1"))
    float Mix = 0;

    /** Seconds of the clip per second. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D")
    float Speed = 1;

    /** Share of the Gaussians that are drawn; any share shows the whole figure. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D", meta = (ClampMin = "0.01", ClampMax = "1"))
    float Detail = 1;

    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Ani3D")
    bool bPlaying = true;

    /** Start again at the end; otherwise the last frame holds. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Ani3D")
    bool bLoop = true;

    /** Cloth and hair move; off is rigid skinning alone. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Ani3D")
    bool bResidual = true;

    /** The figure goes where the motion goes; off, it stays above the component. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Ani3D")
    bool bRootMotion = true;

    /** Fade to a clip's beginning, by name. False where the asset has none of that name. */
    UFUNCTION(BlueprintCallable, Category = "Ani3D")
    bool PlayClip(const FString& ClipName, float FadeSeconds = 0.25f);

    /** Where a joint is now, in the world: attach things to hands. False where there is no such joint. */
    UFUNCTION(BlueprintCallable, Category = "Ani3D")
    bool GetJointLocation(const FString& JointName, FVector& OutLocation) const;

    virtual void TickComponent(float DeltaTime, ELevelTick TickType, FActorComponentTickFunction* ThisTick) override;
    virtual void OnUnregister() override;

private:
    /** What is shown now, sampled. */
    ani3d::Frame SampleFrame(const ani3d::Bundle& Bundle) const;
    void Advance(float DeltaTime);

    TSharedPtr<FAni3DFigure> Figure;
    TSharedPtr<const FAni3DBuffers> Shown;
    TArray<double> Joints;
    /** The clip that is being left, where it is, and how long it takes in all. */
    int32 FadeClip = 0;
    double FadeTime = 0;
    float FadeLeft = 0, FadeLength = 0;
    /** The clock is a double: a float would stutter after hours. */
    double Now = 0;
    float LastTime = 0;
};
