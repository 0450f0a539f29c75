// session BUNDLE: the plugin's asset and component through an invented session, with unreal_stubs.h for Unreal. Prints a
// line for each thing that the test looks at: "joints" with every joint's place, else a name and numbers.
#include <fstream>
#include <iterator>

#include "Ani3DAsset.h"
#include "Ani3DBuffers.h"
#include "Ani3DComponent.h"
#include "Ani3DRenderer.h"

static UAni3DAsset* Avatar;
static UAni3DComponent Player;

static void Joints()
{
    std::printf("joints");
    for (int32 j = 0; j < Avatar->JointNames.Num(); j++)
    {
        FVector place;
        if (Player.GetJointLocation(Avatar->JointNames[j], place)) std::printf(" %.9g %.9g %.9g", place.X, place.Y, place.Z);
    }
    std::printf("\n");
}

static void Steps(int count, float seconds)
{
    for (int i = 0; i < count; i++)
    {
        Player.TickComponent(seconds, LEVELTICK_All, nullptr);
        Joints();
    }
}

/** A view's picture; says what it cost. */
static void Drawn(FAni3DViewExtension& views, const FSceneView& view)
{
    const int dispatches = Dispatches, draws = Draws, uploads = Uploads;
    FAfterPassCallbackDelegateArray callbacks;
#if ENGINE_MINOR_VERSION < 5
    views.SubscribeToPostProcessingPass(EPostProcessingPass::FXAA, callbacks, true);
    views.SubscribeToPostProcessingPass(EPostProcessingPass::Tonemap, callbacks, true);
#else
    views.SubscribeToPostProcessingPass(EPostProcessingPass::FXAA, view, callbacks, true);
    views.SubscribeToPostProcessingPass(EPostProcessingPass::Tonemap, view, callbacks, true);
#endif
    FRDGBuilder builder;
    FPostProcessMaterialInputs inputs;
    for (const FAfterPassCallbackDelegate& callback : callbacks) callback.Run(builder, view, inputs);
    std::printf("drawn %d %d %d %d\n", callbacks.Num(), Dispatches - dispatches, Draws - draws, Uploads - uploads);
}

int main(int, char** arguments)
{
    std::ifstream file(arguments[1], std::ios::binary);
    const std::vector<char> content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    TArray<uint8> bytes(reinterpret_cast<const uint8*>(content.data()), static_cast<int32>(content.size()));
    FString error;
    // As imported, then as loaded from a cooked game: the file alone, decoded on another thread.
    UAni3DAsset imported;
    const bool done = imported.SetFile(MoveTemp(bytes), "avatar", error);
    std::printf("imported %d %d\n", done, imported.ClipNames.Num());
    Avatar = new UAni3DAsset(MoveTemp(imported));
    Avatar->BeginDestroy();
    Avatar->PostLoad();
    Player.Asset = Avatar;
    Player.TickComponent(0.5f, LEVELTICK_All, nullptr);
    std::printf("waits %g\n", Player.Time);

    Player.Time = 0.05f;
    Steps(3, 0.1f);
    const FString stride = Avatar->ClipNames[1];
    const bool found = Player.PlayClip(stride, 0.4f);
    std::printf("played %d %d\n", found, Player.PlayClip("nothing"));
    Steps(3, 0.11f);
    Player.Speed = 2;
    Steps(4, 0.17f);
    Player.Speed = 1;
    Player.bLoop = false;
    Steps(2, 0.9f);
    Player.bLoop = true;
    // Sequencer's way.
    Player.bPlaying = false;
    Player.Clip = 0;
    Player.Time = 0.1f;
    Player.MixClip = 1;
    Player.MixTime = 0.5f;
    Player.Mix = 0.25f;
    Steps(1, 0.1f);
    Player.Mix = 0;
    Player.bRootMotion = false;
    Player.Clip = 1;
    Player.Time = 2;
    Steps(1, 0.1f);

    FAni3DViewExtension& views = *GEngine->GetEngineSubsystem<UAni3DSubsystem>()->Extension;
    FSceneViewFamily family, other;
    other.Scene = reinterpret_cast<FSceneInterface*>(&views);
    FSceneView view;
    view.Family = &family;
    Drawn(views, view);
    Drawn(views, view);
    view.Family = &other;
    Drawn(views, view);
    Player.OnUnregister();
    view.Family = &family;
    Drawn(views, view);
    return 0;
}
