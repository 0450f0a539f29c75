using System;
using UnityEngine;
using UnityEngine.Playables;
using UnityEngine.Timeline;

namespace Ani3D.Timeline
{
    /// <summary>One of the avatar's clips on the track. Trimming and speed are the timeline's own.</summary>
    [Serializable]
    public sealed class Ani3DTimelineClip : PlayableAsset, ITimelineClipAsset
    {
        [Tooltip("Index of the avatar's clip.")]
        public int clip;
        [Tooltip("Start again where the timeline's clip is longer.")]
        public bool loop = true;

        public ClipCaps clipCaps => ClipCaps.ClipIn | ClipCaps.SpeedMultiplier | ClipCaps.Looping;

        public override Playable CreatePlayable(PlayableGraph graph, GameObject owner)
        {
            ScriptPlayable<Ani3DBehaviour> playable = ScriptPlayable<Ani3DBehaviour>.Create(graph);
            playable.GetBehaviour().Asset = this;
            return playable;
        }
    }

    /// <summary>Gives the bound player the timeline's time.</summary>
    public sealed class Ani3DBehaviour : PlayableBehaviour
    {
        public Ani3DTimelineClip Asset;

        public override void ProcessFrame(Playable playable, FrameData info, object playerData)
        {
            var player = playerData as Ani3DPlayer;
            if (player == null || info.weight <= 0) return;
            player.play = false;
            player.loop = Asset.loop;
            player.clip = Asset.clip;
            player.time = (float)playable.GetTime();
        }
    }
}
