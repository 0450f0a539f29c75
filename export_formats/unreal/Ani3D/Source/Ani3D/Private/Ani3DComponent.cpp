#include "Ani3DComponent.h"

#include "Ani3DAxes.h"
#include "Ani3DClipSampler.h"
#include "Ani3DRenderer.h"
#include "Engine/World.h"

UAni3DComponent::UAni3DComponent()
{
    PrimaryComponentTick.bCanEverTick = true;
    // After animation, physics and Sequencer of this frame.
    PrimaryComponentTick.TickGroup = TG_PostUpdateWork;
    bTickInEditor = true;
}

bool UAni3DComponent::PlayClip(const FString& ClipName)
{
    const int32 Index = Asset != nullptr ? Asset->ClipNames.IndexOfByKey(ClipName) : INDEX_NONE;
    if (Index == INDEX_NONE) return false;
    Clip = Index;
    Time = 0;
    bPlaying = true;
    return true;
}

bool UAni3DComponent::GetJointLocation(const FString& JointName, FVector& OutLocation) const
{
    if (!Shown.IsValid()) return false;
    const std::string Wanted = TCHAR_TO_UTF8(*JointName);
    for (int32 Joint = 0; 12 * Joint + 11 < Joints.Num(); Joint++)
    {
        if (Shown->rig.jointNames[Joint] != Wanted) continue;
        const double Point[3] = {Joints[12 * Joint + 3], Joints[12 * Joint + 7], Joints[12 * Joint + 11]};
        double Unreal[3];
        ani3d::ToUnreal(Point, Unreal);
        OutLocation = GetComponentTransform().TransformPosition(FVector(Unreal[0], Unreal[1], Unreal[2]));
        return true;
    }
    return false;
}

void UAni3DComponent::TickComponent(float DeltaTime, ELevelTick TickType, FActorComponentTickFunction* ThisTick)
{
    Super::TickComponent(DeltaTime, TickType, ThisTick);
    const TSharedPtr<const ani3d::Bundle> Bundle = Asset != nullptr ? Asset->GetBundle() : nullptr;
    const int32 ClipIndex =
        Bundle.IsValid() ? FMath::Clamp(Clip, 0, static_cast<int32>(Bundle->clips.size()) - 1) : 0;
    if (Bundle != Shown || ClipIndex != ShownClip)
    {
        if (Figure.IsValid()) Figure->Remove();
        Figure = Bundle.IsValid() ? FAni3DFigure::Add(Bundle.ToSharedRef(), ClipIndex, GetWorld()->Scene) : nullptr;
        Shown = Bundle;
        ShownClip = ClipIndex;
        GrowthCount = -1;
    }
    if (!Figure.IsValid()) return;
    const ani3d::Clip& Played = Bundle->clips[ClipIndex];
    if (bPlaying && GetWorld()->IsGameWorld())
    {
        Time += DeltaTime * Speed;
        const float Duration = static_cast<float>(Played.Duration());
        Time = bLoop ? Time - FMath::FloorToFloat(Time / Duration) * Duration : FMath::Clamp(Time, 0.0f, Duration);
    }
    FAni3DMoment Moment;
    Moment.Frame = ani3d::Sample(Bundle->rig, Played, ani3d::FrameAt(Played, Time, bLoop));
    Moment.Count = FMath::Clamp(FMath::RoundToInt(Detail * Bundle->gaussians.count), 1, Bundle->gaussians.count);
    if (GrowthCount != Moment.Count)
    {
        GrowthCount = Moment.Count;
        Growth = ani3d::LevelGrowth(Bundle->gaussians, GrowthCount);
    }
    Moment.Growth = Growth;
    Moment.bResidual = bResidual;
    Moment.bVisible = IsVisible();
    Moment.LocalToWorld = GetComponentTransform().ToMatrixWithScale();
    Joints.SetNumUninitialized(static_cast<int32>(Moment.Frame.joints.size()));
    FMemory::Memcpy(Joints.GetData(), Moment.Frame.joints.data(), Moment.Frame.joints.size() * sizeof(double));
    Figure->Show(MoveTemp(Moment));
}

void UAni3DComponent::OnRegister()
{
    Super::OnRegister();
    ShownClip = -1;
}

void UAni3DComponent::OnUnregister()
{
    if (Figure.IsValid()) Figure->Remove();
    Figure = nullptr;
    Shown = nullptr;
    Super::OnUnregister();
}
