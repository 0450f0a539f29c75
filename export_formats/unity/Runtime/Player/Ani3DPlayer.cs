using System;
using Ani3D.Core;
using UnityEngine;
using UnityEngine.Animations;

namespace Ani3D
{
    /// <summary>
    /// Plays an avatar where its GameObject stands: +Y up, facing +Z. Set fields from code, the inspector or an Animator
    /// (every number and switch can be keyed); a Timeline track calls <see cref="Show"/>.
    /// </summary>
    [ExecuteAlways]
    [AddComponentMenu("Ani3D/Ani3D Player")]
    public sealed class Ani3DPlayer : MonoBehaviour
    {
        [Tooltip("An imported .ani3d file.")]
        public Ani3DAsset asset;
        [DiscreteEvaluation, Tooltip("Index of the clip that is shown.")]
        public int clip;
        [Tooltip("Seconds since the clip began; grows through loops.")]
        public float time;
        [Tooltip("The clock runs.")]
        public bool play = true;
        [Tooltip("Seconds of the clip per second.")]
        public float speed = 1;
        [Tooltip("Start again at the end; otherwise the last frame holds.")]
        public bool loop = true;
        [Tooltip("Seconds over which a change of the clip fades.")]
        public float fade = 0.25f;
        [Tooltip("Cloth and hair move. Off: rigid skinning alone, cheaper.")]
        public bool residual = true;
        [Tooltip("The figure goes where the motion goes. Off: it stays above its GameObject.")]
        public bool rootMotion = true;
        [Range(0.01f, 1), Tooltip("Share of the Gaussians that are drawn.")]
        public float detail = 1;
        [Tooltip("Optional: transforms that follow the joints, or (see Bones Drive) lead them. Order as in the file.")]
        public Transform[] bones;
        [Tooltip("The bones' transforms, moved by your Animator, physics or IK, pose the avatar instead of the clip.")]
        public bool bonesDrive;

        /// <summary>What is shown; two moments that are equal look alike.</summary>
        struct Moment : IEquatable<Moment>
        {
            public int Below, Upper, Count;
            public double BelowTime, UpperTime, Share;
            public bool Loop, Residual, RootMotion;

            public bool Equals(Moment other) =>
                Below == other.Below && Upper == other.Upper && Count == other.Count && BelowTime == other.BelowTime &&
                UpperTime == other.UpperTime && Share == other.Share && Loop == other.Loop &&
                Residual == other.Residual && RootMotion == other.RootMotion;
        }

        Ani3DFigure figure;
        Ani3DAsset shown;
        Bundle bundle;
        Sampler sampler;
        Ani3DGpu gpu;
        Moment posed;
        bool isPosed, isOnGpu, isDriven, isBroken;
        int shownClip = -1, fromClip = -1, bonesFrame = -1;
        double now, fromTime;
        float lastTime, fadeLeft, fadeSeconds;
        Moment driven;

        /// <summary>Buffers of the posed Gaussians, for other renderers; null before the file is loaded.</summary>
        public Ani3DGpu Gpu => gpu;
        /// <summary>Drawn by this component; a bridge to another renderer switches it off.</summary>
        public bool DrawsItself { get; set; } = true;
        /// <summary>Seconds of one loop of the clip.</summary>
        public float Duration => asset == null ? 0 : asset.ClipSeconds[ClipIndex(clip)];
        /// <summary>Gaussians drawn.</summary>
        public int Count => asset == null ? 0 : Mathf.Clamp(Mathf.RoundToInt(detail * asset.GaussianCount), 1, asset.GaussianCount);
        /// <summary>Around everything that can be drawn now, in the world.</summary>
        public Bounds Bounds { get; private set; }
        /// <summary>Of the middle from the camera being drawn for [m].</summary>
        internal float CameraDistance;

        public void Play() => play = true;

        public void Pause() => play = false;

        /// <summary>Fade to a clip's beginning; throws where the file has none of that name.</summary>
        public void PlayClip(string clipName, float fadeSeconds = 0.25f)
        {
            int index = Array.IndexOf(asset.ClipNames, clipName);
            if (index < 0) throw new ArgumentException($"{asset.name} has no clip {clipName}: {string.Join(", ", asset.ClipNames)}");
            PlayClip(index, fadeSeconds);
        }

        /// <summary>Fade to a clip's beginning.</summary>
        public void PlayClip(int index, float fadeSeconds = 0.25f)
        {
            StartFade(index, fadeSeconds);
            play = true;
        }

        /// <summary>
        /// Show one clip, or two mixed (the upper with a share of 0..1), instead of what the component's own clock
        /// shows, until <see cref="EndShow"/>.
        /// </summary>
        public void Show(int below, double belowTime, int upper, double upperTime, double share, bool looping)
        {
            isDriven = true;
            driven = new Moment
                { Below = below, BelowTime = belowTime, Upper = upper, UpperTime = upperTime, Share = share, Loop = looping };
        }

        public void EndShow() => isDriven = false;

        /// <summary>
        /// Bring joints and bones up to date; false while the file is not loaded. Called each frame, and again for
        /// each camera; does nothing where nothing changed.
        /// </summary>
        public bool Refresh()
        {
            if (!Load()) return false;
            Follow();
            Moment wanted = Wanted();
            bool hasBones = bones != null && bones.Length == asset.JointCount;
            bool drives = bonesDrive && hasBones;
            // Transforms that lead are read once a frame.
            bool moved = drives && (bonesFrame != Time.frameCount || !Application.isPlaying);
            if (!isPosed || moved || !wanted.Equals(posed))
            {
                sampler.Clear();
                sampler.Add(wanted.Below, wanted.BelowTime, wanted.Loop, 1);
                if (wanted.Share > 0) sampler.Add(wanted.Upper, wanted.UpperTime, wanted.Loop, wanted.Share);
                sampler.Pose(wanted.RootMotion, wanted.Residual);
                if (drives)
                {
                    Ani3DBones.Read(transform, bones, sampler.Joints);
                    sampler.Skin();
                }
                bonesFrame = Time.frameCount;
                posed = wanted;
                isPosed = true;
                isOnGpu = false;
            }
            if (hasBones && !drives) Ani3DBones.Write(transform, bones, sampler.Joints);
            Matrix4x4 world = transform.localToWorldMatrix;
            Vector3 scale = world.lossyScale;
            // The core's root joint, mirrored into Unity's axes.
            var root = new Vector3(-(float)sampler.Joints[3], (float)sampler.Joints[7], (float)sampler.Joints[11]);
            float largest = Mathf.Max(Mathf.Abs(scale.x), Mathf.Max(Mathf.Abs(scale.y), Mathf.Abs(scale.z)));
            Bounds = new Bounds(world.MultiplyPoint3x4(root), 2 * figure.Reach * largest * Vector3.one);
            return true;
        }

        /// <summary>Pose the Gaussians on the GPU as the joints are now, where they are not yet.</summary>
        public void PoseOnGpu()
        {
            if (isOnGpu) return;
            gpu.Pose(sampler, posed.Count, posed.Residual);
            isOnGpu = true;
        }

        void OnEnable() => Ani3DRenderer.Add(this);

        void OnDisable()
        {
            Unload();
            Ani3DRenderer.Remove(this);
        }

        void Update()
        {
            if (!play || !Application.isPlaying || gpu == null) return;
            Follow();
            double step = Time.deltaTime * (double)speed;
            now += step;
            fromTime += step;
            fadeLeft -= Time.deltaTime;
            if (!loop) now = Math.Min(Math.Max(now, 0), bundle.Clips[shownClip].Frames / bundle.Clips[shownClip].Fps);
            time = lastTime = (float)now;
        }

        void LateUpdate() => Refresh();

        /// <summary>Take what an inspector, a script or an Animator put into the fields.</summary>
        void Follow()
        {
            int wanted = ClipIndex(clip);
            if (shownClip < 0)
            {
                shownClip = wanted;
                now = lastTime = time;
            }
            if (wanted != shownClip)
            {
                // A time that was set together with the clip counts.
                float begin = time != lastTime ? time : 0;
                StartFade(wanted, fade);
                time = begin;
            }
            // The clock is a double: a float would stutter after hours.
            if (time == lastTime) return;
            now = lastTime = time;
        }

        void StartFade(int index, float seconds)
        {
            bool fades = seconds > 0 && shownClip >= 0 && Application.isPlaying;
            fromClip = fades ? shownClip : -1;
            fromTime = now;
            fadeLeft = fadeSeconds = seconds;
            shownClip = clip = ClipIndex(index);
            now = time = lastTime = 0;
        }

        Moment Wanted()
        {
            Moment wanted = driven;
            if (!isDriven)
            {
                bool fades = fromClip >= 0 && fadeLeft > 0;
                if (!fades) fromClip = -1;
                double share = fades ? Sampler.Smooth(1 - fadeLeft / fadeSeconds) : 0;
                wanted = new Moment { Below = shownClip, BelowTime = now, Loop = loop };
                if (fades)
                    wanted = new Moment
                        { Below = fromClip, BelowTime = fromTime, Upper = shownClip, UpperTime = now, Share = share, Loop = loop };
            }
            wanted.Below = ClipIndex(wanted.Below);
            wanted.Upper = ClipIndex(wanted.Upper);
            wanted.Count = Count;
            wanted.Residual = residual;
            wanted.RootMotion = rootMotion;
            return wanted;
        }

        int ClipIndex(int index) => Mathf.Clamp(index, 0, asset.ClipNames.Length - 1);

        /// <summary>True where the asset's data are on the GPU.</summary>
        bool Load()
        {
            if (asset != shown)
            {
                Unload();
                shown = asset;
                if (asset != null && SystemInfo.supportsComputeShaders) figure = Ani3DFigure.Take(asset);
                else if (asset != null)
                    Debug.LogError("Ani3D needs compute shaders; this device or graphics API has none.", this);
            }
            if (figure == null || isBroken) return false;
            try
            {
                if (!figure.IsReady()) return false;
            }
            catch (InputException error)
            {
                isBroken = true;
                Debug.LogError(error.Message, this);
                return false;
            }
            if (bundle == figure.Bundle) return true;
            // First shown, or the file was imported again.
            gpu?.Dispose();
            Ani3DRenderer.Forget(this);
            bundle = figure.Bundle;
            sampler = new Sampler(bundle);
            gpu = new Ani3DGpu(figure, sampler);
            isPosed = isOnGpu = false;
            return true;
        }

        void Unload()
        {
            Ani3DRenderer.Forget(this);
            gpu?.Dispose();
            gpu = null;
            figure?.Release();
            figure = null;
            bundle = null;
            sampler = null;
            shown = null;
            isPosed = isOnGpu = isBroken = false;
            shownClip = fromClip = -1;
        }
    }
}
