using System;
using Ani3D.Core;
using UnityEngine;
using UnityEngine.Rendering;

namespace Ani3D
{
    /// <summary>
    /// Plays an avatar where its GameObject stands: +Y up, facing +Z. Set fields from code, the inspector, an Animator
    /// (clip, speed, play are animatable) or a Timeline track.
    /// </summary>
    [ExecuteAlways]
    [AddComponentMenu("Ani3D/Ani3D Player")]
    public sealed class Ani3DPlayer : MonoBehaviour
    {
        [Tooltip("An imported .ani3d file.")]
        public Ani3DAsset asset;
        [Tooltip("Index of the clip that is shown.")]
        public int clip;
        [Tooltip("Seconds from the clip's first frame.")]
        public float time;
        [Tooltip("The clock runs.")]
        public bool play = true;
        [Tooltip("Seconds of the clip per second.")]
        public float speed = 1;
        [Tooltip("Start again at the end; otherwise the last frame holds.")]
        public bool loop = true;
        [Tooltip("Cloth and hair move. Off: rigid skinning alone, cheaper.")]
        public bool residual = true;
        [Range(0.01f, 1), Tooltip("Share of the Gaussians that are drawn.")]
        public float detail = 1;
        [Tooltip("Optional: transforms that follow the joints, or (see Bones Drive) lead them. Order as in the file.")]
        public Transform[] bones;
        [Tooltip("The bones' transforms, moved by your Animator, physics or IK, pose the avatar instead of the clip.")]
        public bool bonesDrive;

        Ani3DGpu gpu;
        Ani3DAsset shown;
        int shownClip = -1;

        /// <summary>Buffers of the posed Gaussians, for other renderers; null before the first frame.</summary>
        public Ani3DGpu Gpu => gpu;
        /// <summary>Drawn by this component; a bridge to another renderer switches it off.</summary>
        public bool DrawsItself { get; set; } = true;
        public Clip Clip => asset == null ? null : asset.Bundle.Clips[Mathf.Clamp(clip, 0, asset.ClipNames.Length - 1)];
        /// <summary>Seconds of one loop.</summary>
        public float Duration => asset == null ? 0 : (float)Clip.Duration;
        /// <summary>Gaussians drawn.</summary>
        public int Count => asset == null ? 0 : Mathf.Clamp(Mathf.RoundToInt(detail * asset.GaussianCount), 1, asset.GaussianCount);

        public void Play() => play = true;

        public void Pause() => play = false;

        /// <summary>Switch to a clip by name, from its first frame; throws where the file has none of that name.</summary>
        public void PlayClip(string clipName)
        {
            int index = Array.IndexOf(asset.ClipNames, clipName);
            if (index < 0) throw new ArgumentException($"{asset.name} has no clip {clipName}: {string.Join(", ", asset.ClipNames)}");
            clip = index;
            time = 0;
            play = true;
        }

        void OnEnable()
        {
            // One of the two is raised, by the pipeline in use, for every camera, the scene view's too.
            Camera.onPreCull += DrawFor;
            RenderPipelineManager.beginCameraRendering += DrawFor;
        }

        void OnDisable()
        {
            Camera.onPreCull -= DrawFor;
            RenderPipelineManager.beginCameraRendering -= DrawFor;
            Release();
        }

        void Update()
        {
            if (asset == null || !play || !Application.isPlaying) return;
            time += Time.deltaTime * speed;
            if (loop) time = Mathf.Repeat(time, Duration);
            else time = Mathf.Clamp(time, 0, Duration);
        }

        void LateUpdate()
        {
            if (asset != shown || (asset != null && clip != shownClip)) Rebuild();
            if (gpu == null) return;
            Frame frame = ClipSampler.Evaluate(asset.Bundle, Clip, ClipSampler.FrameAt(Clip, time, loop));
            if (bones != null && bones.Length == asset.Bundle.Rig.JointNames.Length)
            {
                if (bonesDrive) frame.Skinning = ClipSampler.Skinning(asset.Bundle.Rig, Ani3DBones.Read(transform, bones));
                else Ani3DBones.Write(transform, bones, frame.Joints);
            }
            gpu.Pose(frame, Count, residual);
        }

        void DrawFor(ScriptableRenderContext context, Camera camera) => DrawFor(camera);

        void DrawFor(Camera camera)
        {
            if (gpu == null || !DrawsItself || camera.orthographic || (camera.cullingMask & 1 << gameObject.layer) == 0)
                return;
            gpu.Draw(camera, transform.localToWorldMatrix, gameObject.layer);
        }

        void Rebuild()
        {
            Release();
            shown = asset;
            shownClip = clip;
            if (asset == null) return;
            if (!SystemInfo.supportsComputeShaders)
            {
                Debug.LogError("Ani3D needs compute shaders; this device or graphics API has none.", this);
                return;
            }
            gpu = new Ani3DGpu(asset.Bundle, Clip);
        }

        void Release()
        {
            gpu?.Dispose();
            gpu = null;
            shown = null;
            shownClip = -1;
        }
    }
}
