using UnrealBuildTool;

public class Ani3DEditor : ModuleRules
{
    public Ani3DEditor(ReadOnlyTargetRules Target) : base(Target)
    {
        PCHUsage = PCHUsageMode.UseExplicitOrSharedPCHs;
        PrivateDependencyModuleNames.AddRange(new[] { "Core", "CoreUObject", "Engine", "UnrealEd", "Ani3D" });
    }
}
