#pragma once

#include "Ani3DBundle.h"
#include "Async/Future.h"
#include "CoreMinimal.h"
#include "UObject/Object.h"

#include "Ani3DAsset.generated.h"

struct FAni3DBuffers;

/** An imported .ani3d file. Decoded once, on another thread; any number of components share it and its GPU buffers. */
UCLASS(BlueprintType, meta = (DisplayName = "Ani3D Asset"))
class ANI3D_API UAni3DAsset : public UObject
{
    GENERATED_BODY()

public:
    /** The source's licence, as the file states it. */
    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    FString Licence;

    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    TArray<FString> ClipNames;

    /** Seconds of one loop of each clip. */
    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    TArray<float> ClipSeconds;

    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    TArray<FString> JointNames;

    UPROPERTY(VisibleAnywhere, BlueprintReadOnly, Category = "Ani3D")
    int32 GaussianCount = 0;

    /** Take a file's bytes. False: OutError is one line for the user. */
    bool SetFile(TArray<uint8>&& InFile, const FString& FileName, FString& OutError);

    /** The decoded bundle and its buffers; null until they are there (see PostLoad), or where the file is damaged. */
    TSharedPtr<const FAni3DBuffers> GetBuffers();

    virtual void PostLoad() override;
    virtual void BeginDestroy() override;

private:
    /** Cooked with the asset as it is. */
    UPROPERTY()
    TArray<uint8> File;

    /** What the other thread will have read. */
    struct FRead
    {
        TSharedPtr<const FAni3DBuffers> Buffers;
        FString Error;
    };

    static FRead Read(const TArray<uint8>& InFile, const FString& FileName);

    TFuture<FRead> Reading;
    TSharedPtr<const FAni3DBuffers> Buffers;
};
