using System.IO;
using UnrealBuildTool;

public class Ani3D : ModuleRules
{
    public Ani3D(ReadOnlyTargetRules Target) : base(Target)
    {
        PCHUsage = PCHUsageMode.UseExplicitOrSharedPCHs;
        // The core's files keep their own anonymous names.
        bUseUnity = false;
        PublicIncludePaths.Add(Path.Combine(ModuleDirectory, "Core"));
        PublicDependencyModuleNames.AddRange(new[] { "Core", "CoreUObject", "Engine" });
        PrivateDependencyModuleNames.AddRange(new[] { "Projects", "RenderCore", "Renderer", "RHI" });
    }
}
