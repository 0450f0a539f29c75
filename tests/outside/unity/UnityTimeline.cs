// Signatures of the package com.unity.timeline (1.7 and newer), as UnityEngine.cs has those of Unity.
using System;
using System.Collections.Generic;
using UnityEngine.Playables;

namespace UnityEngine.Timeline
{
    public interface IPropertyPreview { }
    public abstract class TrackAsset : PlayableAsset, IPropertyPreview
    {
        public sealed override double duration => 0;
        public sealed override Playable CreatePlayable(PlayableGraph graph, GameObject go) => default(Playable);
        public virtual Playable CreateTrackMixer(PlayableGraph graph, GameObject go, int inputCount) => default(Playable);
        public IEnumerable<TimelineClip> GetClips() => null;
        public TimelineClip CreateClip<T>() where T : ScriptableObject, IPlayableAsset => null;
    }
    public class TimelineClip
    {
        public Object asset { get; set; }
        public string displayName { get; set; }
        public double start { get; set; }
        public double duration { get; set; }
        public double end => 0;
    }
    public class TimelineAsset : PlayableAsset
    {
        public override Playable CreatePlayable(PlayableGraph graph, GameObject go) => default(Playable);
        public T CreateTrack<T>(TrackAsset parent, string name) where T : TrackAsset, new() => null;
    }
    [Flags] public enum ClipCaps { None = 0, Looping = 1, Extrapolation = 2, ClipIn = 4, SpeedMultiplier = 8, Blending = 16 }
    public interface ITimelineClipAsset { ClipCaps clipCaps { get; } }
    public class TrackColorAttribute : Attribute { public TrackColorAttribute(float r, float g, float b) { } }
    public class TrackBindingTypeAttribute : Attribute { public TrackBindingTypeAttribute(Type type) { } }
    public class TrackClipTypeAttribute : Attribute { public TrackClipTypeAttribute(Type clipClass) { } }
}
