#pragma once

#include "CoreMinimal.h"
#include "Factories/Factory.h"

#include "Ani3DFactory.generated.h"

/** Imports .ani3d files dropped on the Content Browser. */
UCLASS()
class UAni3DFactory : public UFactory
{
    GENERATED_BODY()

public:
    UAni3DFactory();

    virtual UObject* FactoryCreateBinary(UClass* Class, UObject* Parent, FName Name, EObjectFlags Flags, UObject* Context,
                                         const TCHAR* Type, const uint8*& Buffer, const uint8* BufferEnd,
                                         FFeedbackContext* Warn) override;
};
