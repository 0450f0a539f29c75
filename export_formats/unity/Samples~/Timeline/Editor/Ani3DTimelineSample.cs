using Ani3D.Timeline;
using UnityEditor;
using UnityEngine;
using UnityEngine.Playables;
using UnityEngine.Timeline;

namespace Ani3D.Samples
{
    /// <summary>
    /// GameObject ▸ Ani3D ▸ Timeline of the selected avatar: makes Assets/Ani3D.playable with the avatar's first clip
    /// twice its length and its second (or the first again) fading in over it, and a director that plays it.
    /// </summary>
    static class Ani3DTimelineSample
    {
        [MenuItem("GameObject/Ani3D/Timeline of the selected avatar")]
        static void Make()
        {
            var player = Selection.activeGameObject != null ? Selection.activeGameObject.GetComponent<Ani3DPlayer>() : null;
            if (player == null || player.asset == null)
            {
                Debug.LogError("Select an avatar in the scene first.");
                return;
            }
            var timeline = ScriptableObject.CreateInstance<TimelineAsset>();
            AssetDatabase.CreateAsset(timeline, AssetDatabase.GenerateUniqueAssetPath("Assets/Ani3D.playable"));
            var track = timeline.CreateTrack<Ani3DTrack>(null, player.name);
            float[] seconds = player.asset.ClipSeconds;
            int second = seconds.Length > 1 ? 1 : 0;
            const double fade = 0.5;
            TimelineClip first = AddClip(track, player, 0, 0, 2 * seconds[0]);
            AddClip(track, player, second, first.end - fade, 2 * seconds[second]);
            var director = Undo.AddComponent<PlayableDirector>(player.gameObject);
            director.playableAsset = timeline;
            director.extrapolationMode = DirectorWrapMode.Loop;
            director.SetGenericBinding(track, player);
            AssetDatabase.SaveAssets();
        }

        static TimelineClip AddClip(Ani3DTrack track, Ani3DPlayer player, int clip, double start, double seconds)
        {
            TimelineClip added = track.CreateClip<Ani3DTimelineClip>();
            ((Ani3DTimelineClip)added.asset).clip = clip;
            added.displayName = player.asset.ClipNames[clip];
            added.start = start;
            added.duration = seconds;
            return added;
        }
    }
}
