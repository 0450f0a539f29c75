#pragma once

#include "Ani3DBundle.h"
#include "CoreMinimal.h"
#include "UObject/Object.h"

#include "Ani3DAsset.generated.h"

/** An imported .ani3d file. Decoded once, when first used; any number of components share it. */
UCLASS(BlueprintType)
class ANI3D_API UAni3DAsset : public UObject
{
    GENERATED_BODY()

public:
    /** The source's licence, as the file states it. */
    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    FString Licence;

    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    TArray<FString> ClipNames;

    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    int32 GaussianCount = 0;

    /** Take a file's bytes. False: OutError is one line for the user. */
    bool SetFile(const TArray<uint8>& InFile, const FString& FileName, FString& OutError);

    /** The decoded bundle; null where the asset is empty or damaged. Game thread. */
    TSharedPtr<const ani3d::Bundle> GetBundle();

private:
    UPROPERTY()
    TArray<uint8> File;

    TSharedPtr<const ani3d::Bundle> Bundle;
};
