#include "Ani3DFactory.h"

#include "Ani3DAsset.h"
#include "Misc/FeedbackContext.h"
#include "Modules/ModuleManager.h"

UAni3DFactory::UAni3DFactory()
{
    SupportedClass = UAni3DAsset::StaticClass();
    bEditorImport = true;
    bText = false;
    Formats.Add(TEXT("ani3d;Ani3D avatar"));
}

UObject* UAni3DFactory::FactoryCreateBinary(UClass* Class, UObject* Parent, FName Name, EObjectFlags Flags,
                                            UObject* Context, const TCHAR* Type, const uint8*& Buffer,
                                            const uint8* BufferEnd, FFeedbackContext* Warn)
{
    UAni3DAsset* Asset = NewObject<UAni3DAsset>(Parent, Class, Name, Flags);
    TArray<uint8> File(Buffer, static_cast<int32>(BufferEnd - Buffer));
    FString Error;
    if (Asset->SetFile(MoveTemp(File), Name.ToString() + TEXT(".ani3d"), Error)) return Asset;
    Warn->Logf(ELogVerbosity::Error, TEXT("%s"), *Error);
    return nullptr;
}

IMPLEMENT_MODULE(FDefaultModuleImpl, Ani3DEditor)
