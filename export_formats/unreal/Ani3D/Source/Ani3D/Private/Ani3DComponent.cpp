#include "Ani3DComponent.h"

#include "Ani3DAxes.h"
#include "Ani3DBuffers.h"
#include "Ani3DRenderer.h"
#include "Engine/World.h"

UAni3DComponent::UAni3DComponent()
{
    PrimaryComponentTick.bCanEverTick = true;
    // After animation, physics and Sequencer of this frame.
    PrimaryComponentTick.TickGroup = TG_PostUpdateWork;
    bTickInEditor = true;
}

bool UAni3DComponent::PlayClip(const FString& ClipName, float FadeSeconds)
{
    const int32 Index = Asset != nullptr ? Asset->ClipNames.IndexOfByKey(ClipName) : INDEX_NONE;
    if (Index == INDEX_NONE) return false;
    FadeClip = Clip;
    FadeTime = Now;
    FadeLeft = FadeLength = FadeSeconds;
    Clip = Index;
    Now = Time = LastTime = 0;
    bPlaying = true;
    return true;
}

bool UAni3DComponent::GetJointLocation(const FString& JointName, FVector& OutLocation) const
{
    if (!Shown.IsValid()) return false;
    const std::string Wanted = TCHAR_TO_UTF8(*JointName);
    for (int32 Joint = 0; 12 * Joint + 11 < Joints.Num(); Joint++)
    {
        if (Shown->Bundle.rig.jointNames[Joint] != Wanted) continue;
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
    const TSharedPtr<const FAni3DBuffers> Buffers = Asset != nullptr ? Asset->GetBuffers() : nullptr;
    if (Buffers != Shown)
    {
        if (Figure.IsValid()) Figure->Remove();
        Figure = Buffers.IsValid() ? FAni3DFigure::Add(Buffers.ToSharedRef(), GetWorld()->Scene) : nullptr;
        Shown = Buffers;
    }
    if (!Figure.IsValid()) return;
    const ani3d::Bundle& Bundle = Buffers->Bundle;
    if (bPlaying && GetWorld()->IsGameWorld()) Advance(DeltaTime);
    else Now = LastTime = Time;
    FAni3DMoment Moment;
    Moment.Frame = SampleFrame(Bundle);
    Moment.Count = FMath::Clamp(FMath::RoundToInt(Detail * Bundle.gaussians.count), 1, Bundle.gaussians.count);
    Moment.bResidual = bResidual;
    Moment.bVisible = IsVisible();
    Moment.LocalToWorld = GetComponentTransform().ToMatrixWithScale();
    Joints.SetNumUninitialized(static_cast<int32>(Moment.Frame.joints.size()));
    FMemory::Memcpy(Joints.GetData(), Moment.Frame.joints.data(), Moment.Frame.joints.size() * sizeof(double));
    Figure->Show(MoveTemp(Moment));
}

void UAni3DComponent::Advance(float DeltaTime)
{
    // A time that was set from outside counts.
    if (Time != LastTime) Now = Time;
    const double Step = static_cast<double>(DeltaTime) * Speed;
    Now += Step;
    FadeTime += Step;
    FadeLeft -= DeltaTime;
    if (!bLoop)
    {
        const ani3d::Bundle& Bundle = Shown->Bundle;
        const int32 Index = FMath::Clamp(Clip, 0, static_cast<int32>(Bundle.clips.size()) - 1);
        Now = FMath::Clamp(Now, 0.0, Bundle.clips[Index].frames / Bundle.clips[Index].fps);
    }
    Time = LastTime = static_cast<float>(Now);
}

ani3d::Frame UAni3DComponent::SampleFrame(const ani3d::Bundle& Bundle) const
{
    const int32 Last = static_cast<int32>(Bundle.clips.size()) - 1;
    ani3d::Frame Frame;
    if (FadeLeft > 0 && FadeLength > 0)
    {
        ani3d::AddClip(Bundle, FMath::Clamp(FadeClip, 0, Last), FadeTime, bLoop, 1, Frame);
        ani3d::AddClip(Bundle, FMath::Clamp(Clip, 0, Last), Now, bLoop, ani3d::Smooth(1 - FadeLeft / FadeLength), Frame);
    }
    else
    {
        ani3d::AddClip(Bundle, FMath::Clamp(Clip, 0, Last), Now, bLoop, 1, Frame);
        if (Mix > 0)
            ani3d::AddClip(Bundle, FMath::Clamp(MixClip, 0, Last), MixTime, bLoop, FMath::Clamp(Mix, 0.0f, 1.0f), Frame);
    }
    ani3d::Sample(Bundle, bRootMotion, bResidual, Frame);
    return Frame;
}

void UAni3DComponent::OnUnregister()
{
    if (Figure.IsValid()) Figure->Remove();
    Figure = nullptr;
    Shown = nullptr;
    Super::OnUnregister();
}
