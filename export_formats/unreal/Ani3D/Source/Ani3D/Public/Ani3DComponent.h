#pragma once

#include "Ani3DAsset.h"
#include "Components/SceneComponent.h"
#include "CoreMinimal.h"

#include "Ani3DComponent.generated.h"

class FAni3DFigure;

/**
 * Plays an avatar where the component stands: +Z up, facing +X, life size. Time, Clip, Speed and Detail can be keyed
 * in Sequencer; switch bPlaying off there, so that the sequence is the only clock.
 */
UCLASS(ClassGroup = (Ani3D), meta = (BlueprintSpawnableComponent))
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

    /** Seconds from the clip's first frame. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Interp, Category = "Ani3D")
    float Time = 0;

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

    /** Switch to a clip by name, from its first frame. False where the asset has none of that name. */
    UFUNCTION(BlueprintCallable, Category = "Ani3D")
    bool PlayClip(const FString& ClipName);

    /** Where a joint is now, in the world: attach things to hands. False where there is no such joint. */
    UFUNCTION(BlueprintCallable, Category = "Ani3D")
    bool GetJointLocation(const FString& JointName, FVector& OutLocation) const;

    virtual void TickComponent(float DeltaTime, ELevelTick TickType, FActorComponentTickFunction* ThisTick) override;
    virtual void OnRegister() override;
    virtual void OnUnregister() override;

private:
    TSharedPtr<FAni3DFigure> Figure;
    TSharedPtr<const ani3d::Bundle> Shown;
    int32 ShownClip = -1;
    int32 GrowthCount = -1;
    float Growth = 0;
    TArray<double> Joints;
};
