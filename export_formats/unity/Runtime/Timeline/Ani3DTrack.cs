using UnityEngine;
using UnityEngine.Playables;
using UnityEngine.Timeline;

namespace Ani3D.Timeline
{
    /// <summary>
    /// A Timeline track whose clips show an avatar's clips; overlapping ones cross-fade. The timeline is the clock.
    /// </summary>
    [TrackColor(0.9f, 0.6f, 0.2f)]
    [TrackBindingType(typeof(Ani3DPlayer))]
    [TrackClipType(typeof(Ani3DTimelineClip))]
    public sealed class Ani3DTrack : TrackAsset
    {
        public override Playable CreateTrackMixer(PlayableGraph graph, GameObject owner, int inputCount)
        {
            var director = owner.GetComponent<PlayableDirector>();
            var player = director != null ? director.GetGenericBinding(this) as Ani3DPlayer : null;
            foreach (TimelineClip clip in GetClips())
                if (clip.asset is Ani3DTimelineClip shown) shown.Player = player;
            return ScriptPlayable<Ani3DMixer>.Create(graph, inputCount);
        }
    }
}
