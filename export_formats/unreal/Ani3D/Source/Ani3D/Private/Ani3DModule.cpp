#include "Interfaces/IPluginManager.h"
#include "Misc/Paths.h"
#include "Modules/ModuleManager.h"
#include "ShaderCore.h"

/** Tells the engine where the plugin's shaders are. */
class FAni3DModule : public IModuleInterface
{
public:
    virtual void StartupModule() override
    {
        const FString Folder = IPluginManager::Get().FindPlugin(TEXT("Ani3D"))->GetBaseDir();
        AddShaderSourceDirectoryMapping(TEXT("/Plugin/Ani3D"), FPaths::Combine(Folder, TEXT("Shaders")));
    }
};

IMPLEMENT_MODULE(FAni3DModule, Ani3D)
