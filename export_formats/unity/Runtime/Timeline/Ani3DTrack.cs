using UnityEngine.Timeline;

namespace Ani3D.Timeline
{
    /// <summary>A Timeline track whose clips show an avatar's clips; the timeline is the clock.</summary>
    [TrackColor(0.9f, 0.6f, 0.2f)]
    [TrackBindingType(typeof(Ani3DPlayer))]
    [TrackClipType(typeof(Ani3DTimelineClip))]
    public sealed class Ani3DTrack : TrackAsset
    {
    }
}
