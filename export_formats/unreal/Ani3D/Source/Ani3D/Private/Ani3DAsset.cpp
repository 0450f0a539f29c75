#include "Ani3DAsset.h"

bool UAni3DAsset::SetFile(const TArray<uint8>& InFile, const FString& FileName, FString& OutError)
{
    const TSharedPtr<ani3d::Bundle> Read = MakeShared<ani3d::Bundle>();
    std::string Error;
    if (!ani3d::ReadBundle(InFile.GetData(), static_cast<size_t>(InFile.Num()), TCHAR_TO_UTF8(*FileName), *Read, Error))
    {
        OutError = UTF8_TO_TCHAR(Error.c_str());
        return false;
    }
    File = InFile;
    Bundle = Read;
    Licence = UTF8_TO_TCHAR(Read->sourceLicence.c_str());
    GaussianCount = Read->gaussians.count;
    ClipNames.Reset();
    for (const ani3d::Clip& Clip : Read->clips) ClipNames.Add(UTF8_TO_TCHAR(Clip.name.c_str()));
    return true;
}

TSharedPtr<const ani3d::Bundle> UAni3DAsset::GetBundle()
{
    FString Error;
    if (!Bundle.IsValid() && File.Num() > 0)
    {
        const TArray<uint8> Stored = File;
        if (!SetFile(Stored, GetName(), Error)) UE_LOG(LogTemp, Error, TEXT("%s"), *Error);
    }
    return Bundle;
}
