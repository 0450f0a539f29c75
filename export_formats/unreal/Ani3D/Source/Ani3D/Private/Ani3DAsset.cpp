#include "Ani3DAsset.h"

#include "Ani3DBuffers.h"
#include "Ani3DGpuData.h"
#include "Async/Async.h"
#include "RenderingThread.h"

FAni3DBuffers::FAni3DBuffers(ani3d::Bundle&& InBundle) : Bundle(MoveTemp(InBundle)), Reach(ani3d::Reach(Bundle))
{
    RestMeans.Values = ani3d::GpuRestMeans(Bundle.gaussians);
    RestQuats.Values = Bundle.gaussians.quats;
    RestLogScales.Values = ani3d::GpuRestLogScales(Bundle.gaussians);
    Colors.Values = ani3d::GpuColors(Bundle.gaussians);
    SkinWords.Values = ani3d::GpuSkin(Bundle.rig);
    Clips.resize(Bundle.clips.size());
    for (size_t Index = 0; Index < Clips.size(); Index++)
    {
        const ani3d::Clip& Source = Bundle.clips[Index];
        Clips[Index].Rows.Values = ani3d::GpuRows(Bundle.gaussians, Source);
        Clips[Index].GroupMeans.Values = ani3d::GpuGroupMeans(Source);
        Clips[Index].MeanTexels.Values = ani3d::GpuTexels(Source.dMeans);
        Clips[Index].RotationTexels.Values = ani3d::GpuTexels(Source.dRotations);
        Clips[Index].LogScaleTexels.Values = ani3d::GpuTexels(Source.dLogScales);
    }
}

UAni3DAsset::FRead UAni3DAsset::Read(const TArray<uint8>& InFile, const FString& FileName)
{
    FRead Result;
    ani3d::Bundle Bundle;
    std::string Error;
    if (ani3d::ReadBundle(InFile.GetData(), static_cast<size_t>(InFile.Num()), TCHAR_TO_UTF8(*FileName), Bundle, Error))
        Result.Buffers = MakeShared<FAni3DBuffers>(MoveTemp(Bundle));
    else Result.Error = UTF8_TO_TCHAR(Error.c_str());
    return Result;
}

bool UAni3DAsset::SetFile(TArray<uint8>&& InFile, const FString& FileName, FString& OutError)
{
    const FRead Result = Read(InFile, FileName);
    OutError = Result.Error;
    if (!Result.Buffers.IsValid()) return false;
    File = MoveTemp(InFile);
    Buffers = Result.Buffers;
    const ani3d::Bundle& Bundle = Buffers->Bundle;
    Licence = UTF8_TO_TCHAR(Bundle.sourceLicence.c_str());
    GaussianCount = Bundle.gaussians.count;
    ClipNames.Reset();
    ClipSeconds.Reset();
    JointNames.Reset();
    for (const ani3d::Clip& Clip : Bundle.clips)
    {
        ClipNames.Add(UTF8_TO_TCHAR(Clip.name.c_str()));
        ClipSeconds.Add(static_cast<float>(Clip.Duration()));
    }
    for (const std::string& Joint : Bundle.rig.jointNames) JointNames.Add(UTF8_TO_TCHAR(Joint.c_str()));
    return true;
}

void UAni3DAsset::PostLoad()
{
    Super::PostLoad();
    if (File.Num() == 0 || Buffers.IsValid()) return;
    Reading = Async(EAsyncExecution::ThreadPool, [Stored = File, FileName = GetName()] { return Read(Stored, FileName); });
}

TSharedPtr<const FAni3DBuffers> UAni3DAsset::GetBuffers()
{
    if (!Buffers.IsValid() && Reading.IsValid() && Reading.IsReady())
    {
        const FRead Result = Reading.Get();
        Reading = TFuture<FRead>();
        Buffers = Result.Buffers;
        if (!Buffers.IsValid()) UE_LOG(LogTemp, Error, TEXT("%s"), *Result.Error);
    }
    return Buffers;
}

void UAni3DAsset::BeginDestroy()
{
    // The render thread lets go of the GPU's part after the last frame that shows it.
    if (Buffers.IsValid())
        ENQUEUE_RENDER_COMMAND(Ani3DFree)([Last = MoveTemp(Buffers)](FRHICommandListImmediate&) {});
    Super::BeginDestroy();
}
