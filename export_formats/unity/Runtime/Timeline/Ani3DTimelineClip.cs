using System;
using UnityEngine;
using UnityEngine.Playables;
using UnityEngine.Timeline;

namespace Ani3D.Timeline
{
    /// <summary>One of the avatar's clips on the track. Trimming, speed and blending are the timeline's own.</summary>
    [Serializable]
    public sealed class Ani3DTimelineClip : PlayableAsset, ITimelineClipAsset
    {
        [Tooltip("Index of the avatar's clip.")]
        public int clip;
        [Tooltip("Start again where the timeline's clip is longer.")]
        public bool loop = true;

        /// <summary>The player that the track is bound to; set when its mixer is made.</summary>
        internal Ani3DPlayer Player;

        public ClipCaps clipCaps => ClipCaps.ClipIn | ClipCaps.SpeedMultiplier | ClipCaps.Looping | ClipCaps.Blending;

        public override double duration
        {
            get
            {
                float[] seconds = Player != null && Player.asset != null ? Player.asset.ClipSeconds : null;
                return seconds != null && clip >= 0 && clip < seconds.Length ? seconds[clip] : base.duration;
            }
        }

        public override Playable CreatePlayable(PlayableGraph graph, GameObject owner)
        {
            ScriptPlayable<Ani3DBehaviour> playable = ScriptPlayable<Ani3DBehaviour>.Create(graph);
            playable.GetBehaviour().Asset = this;
            return playable;
        }
    }

    /// <summary>Tells the mixer which of the avatar's clips an input is.</summary>
    public sealed class Ani3DBehaviour : PlayableBehaviour
    {
        public Ani3DTimelineClip Asset;
    }

    /// <summary>Gives the bound player the timeline's clips and times: the two of most weight, mixed.</summary>
    public sealed class Ani3DMixer : PlayableBehaviour
    {
        Ani3DPlayer player;

        public override void ProcessFrame(Playable playable, FrameData info, object playerData)
        {
            player = playerData as Ani3DPlayer;
            if (player == null) return;
            int first = -1, second = -1;
            float firstWeight = 0, secondWeight = 0;
            for (int i = 0; i < playable.GetInputCount(); i++)
            {
                float weight = playable.GetInputWeight(i);
                if (weight > firstWeight)
                {
                    second = first;
                    secondWeight = firstWeight;
                    first = i;
                    firstWeight = weight;
                }
                else if (weight > secondWeight)
                {
                    second = i;
                    secondWeight = weight;
                }
            }
            if (first < 0)
            {
                player.EndShow();
                return;
            }
            Ani3DTimelineClip below = ClipOf(playable, first), upper = second < 0 ? below : ClipOf(playable, second);
            player.Show(below.clip, playable.GetInput(first).GetTime(), upper.clip,
                        second < 0 ? 0 : playable.GetInput(second).GetTime(),
                        secondWeight / (firstWeight + secondWeight), below.loop);
        }

        public override void OnPlayableDestroy(Playable playable)
        {
            if (player != null) player.EndShow();
        }

        static Ani3DTimelineClip ClipOf(Playable playable, int input) =>
            ((ScriptPlayable<Ani3DBehaviour>)playable.GetInput(input)).GetBehaviour().Asset;
    }
}
