using System;
using System.Collections.Generic;
using Ani3D.Core;
using UnityEngine;
using UnityEngine.Rendering;

namespace Ani3D
{
    /// <summary>
    /// Draws the players for every camera, the scene view's too, as transparent geometry: no renderer feature or custom
    /// pass has to be added to any pipeline. In a project of linear colour space the splats are first drawn together
    /// into a picture of their own, in the colours they were learned in, and laid over the scene in linear light, each
    /// pixel at its own depth; in gamma space they are drawn directly.
    /// </summary>
    static class Ani3DRenderer
    {
        /// <summary>Frames of not drawing after which a camera's buffers go.</summary>
        const int Lifetime = 120;

        static readonly List<Ani3DPlayer> Players = new List<Ani3DPlayer>();
        static readonly List<Ani3DPlayer> Visible = new List<Ani3DPlayer>();
        static readonly Dictionary<Camera, CameraView> Views = new Dictionary<Camera, CameraView>();
        static readonly List<Camera> Gone = new List<Camera>();
        static readonly Plane[] Planes = new Plane[6];
        static readonly double[] LocalToWorld = new double[16], WorldToCamera = new double[16], Projection = new double[16];
        static readonly float[] Rows = new float[12], PinholeValues = new float[4];
        static readonly Vector4[] ViewRows = new Vector4[3];
        static readonly Vector4[] Numbers = new Vector4[4];
        static Material splat, offscreen, compose;
        static bool warned;

        sealed class CameraView : IDisposable
        {
            public readonly Dictionary<Ani3DPlayer, Ani3DGpu.Sorted> Sorted = new Dictionary<Ani3DPlayer, Ani3DGpu.Sorted>();
            public readonly MaterialPropertyBlock Properties = new MaterialPropertyBlock();
            public readonly CommandBuffer Commands = new CommandBuffer { name = "Ani3D" };
            public readonly RenderTargetIdentifier[] Targets = new RenderTargetIdentifier[2];
            public readonly GraphicsBuffer Numbers = new GraphicsBuffer(GraphicsBuffer.Target.Structured, 4, 16);
            public RenderTexture Picture, Depth;
            public int LastFrame;
            /// <summary>Of what was given to the engine last; earlier ones draw nothing (Ani3DCamera.hlsl).</summary>
            public int Serial;
            public bool Shows;

            /// <summary>The pictures at a camera's size.</summary>
            public void Resize(int width, int height)
            {
                if (Picture != null && Picture.width == width && Picture.height == height) return;
                FreePictures();
                Picture = NewPicture(width, height, RenderTextureFormat.ARGBHalf);
                Depth = NewPicture(width, height, RenderTextureFormat.RHalf);
                Targets[0] = new RenderTargetIdentifier(Picture);
                Targets[1] = new RenderTargetIdentifier(Depth);
            }

            public void Forget(Ani3DPlayer player)
            {
                if (!Sorted.TryGetValue(player, out Ani3DGpu.Sorted sorted)) return;
                sorted.Dispose();
                Sorted.Remove(player);
            }

            public void Dispose()
            {
                foreach (Ani3DGpu.Sorted sorted in Sorted.Values) sorted.Dispose();
                Sorted.Clear();
                FreePictures();
                Commands.Dispose();
                Numbers.Dispose();
            }

            void FreePictures()
            {
                if (Picture == null) return;
                Free(Picture);
                Free(Depth);
                Picture = Depth = null;
            }

            static RenderTexture NewPicture(int width, int height, RenderTextureFormat format) =>
                new RenderTexture(width, height, 0, format, RenderTextureReadWrite.Linear)
                    { name = "Ani3D", hideFlags = HideFlags.HideAndDontSave };
        }

        public static void Add(Ani3DPlayer player)
        {
            if (Players.Count == 0)
            {
                // One of the two is raised, by the pipeline in use.
                Camera.onPreCull += Draw;
                RenderPipelineManager.beginCameraRendering += Draw;
            }
            Players.Add(player);
        }

        public static void Remove(Ani3DPlayer player)
        {
            Players.Remove(player);
            Forget(player);
            if (Players.Count > 0) return;
            Camera.onPreCull -= Draw;
            RenderPipelineManager.beginCameraRendering -= Draw;
            foreach (CameraView view in Views.Values) view.Dispose();
            Views.Clear();
            Free(splat);
            Free(offscreen);
            Free(compose);
            splat = offscreen = compose = null;
        }

        /// <summary>Free what cameras hold of a player; it shows another asset, or nothing.</summary>
        public static void Forget(Ani3DPlayer player)
        {
            foreach (CameraView view in Views.Values) view.Forget(player);
        }

        static void Draw(ScriptableRenderContext context, Camera camera) => Draw(camera);

        static void Draw(Camera camera)
        {
            if (camera.stereoEnabled)
            {
                if (!warned) Debug.LogWarning("Ani3D does not draw for stereo (XR) cameras yet.", camera);
                warned = true;
                return;
            }
            FindVisible(camera);
            if (Visible.Count == 0)
            {
                Hide(camera);
                return;
            }
            CameraView view = ViewOf(camera);
            // Below 2^24, where floats count.
            view.Serial = view.Serial % 1000000 + 1;
            view.Shows = true;
            Fill(camera.worldToCameraMatrix, WorldToCamera);
            Fill(camera.projectionMatrix, Projection);
            int width = camera.pixelWidth, height = camera.pixelHeight;
            bool linear = QualitySettings.activeColorSpace == ColorSpace.Linear;
            Axes.Pinhole(Projection, width, height, camera.orthographic, PinholeValues);
            var pinhole = new Vector4(PinholeValues[0], PinholeValues[1], PinholeValues[2], PinholeValues[3]);
            var rect = new Vector4(width, height, 0, 0);
            float nearest = float.MaxValue;
            foreach (Ani3DPlayer player in Visible)
            {
                Ani3DGpu.Sorted sorted = SortedOf(view, player);
                nearest = Mathf.Min(nearest, player.CameraDistance);
                Cover(camera, player, pinhole, width, height, ref rect);
                Fill(player.transform.localToWorldMatrix, LocalToWorld);
                Axes.ViewRows(LocalToWorld, WorldToCamera, Rows);
                for (int r = 0; r < 3; r++)
                    ViewRows[r] = new Vector4(Rows[4 * r], Rows[4 * r + 1], Rows[4 * r + 2], Rows[4 * r + 3]);
                float radius = player.Bounds.extents.x, middle = player.CameraDistance;
                player.Gpu.Sort(sorted, ViewRows, pinhole, camera.orthographic, new Vector2(width, height),
                                new Vector2(Mathf.Max(middle - radius, 0), middle + radius));
                sorted.Properties.SetBuffer(Id.CameraNumbers, view.Numbers);
                if (!linear) DrawDirectly(camera, view, player, sorted);
            }
            Numbers[0] = pinhole;
            Numbers[1] = new Vector4(camera.orthographic ? 1 : 0,
                                     Mathf.Clamp(nearest, 1.01f * camera.nearClipPlane, 0.99f * camera.farClipPlane), view.Serial, 0);
            Numbers[2] = rect;
            Numbers[3] = new Vector4(width, height, 1f / width, 1f / height);
            view.Numbers.SetData(Numbers);
            if (linear) DrawPicture(camera, view, width, height);
        }

        /// <summary>Players that a camera sees, posed, the farthest first.</summary>
        static void FindVisible(Camera camera)
        {
            Visible.Clear();
            // A material's or a prefab's preview shows its own scene only, as does prefab mode.
            bool ownScene = camera.scene.IsValid();
            bool planned = false;
            for (int i = Players.Count - 1; i >= 0; i--)
            {
                Ani3DPlayer player = Players[i];
                // The importer's own figure is enabled while it is made, and then gone or part of no scene.
                if (player == null) Players.RemoveAt(i);
                if (player == null || !player.gameObject.scene.IsValid()) continue;
                if (!player.DrawsItself || (camera.cullingMask & 1 << player.gameObject.layer) == 0) continue;
                if (ownScene ? camera.scene != player.gameObject.scene : camera.cameraType == CameraType.Preview) continue;
                if (!player.Refresh()) continue;
                if (!planned) GeometryUtility.CalculateFrustumPlanes(camera, Planes);
                planned = true;
                if (!GeometryUtility.TestPlanesAABB(Planes, player.Bounds)) continue;
                player.CameraDistance = -camera.worldToCameraMatrix.MultiplyPoint3x4(player.Bounds.center).z;
                player.PoseOnGpu();
                int place = 0;
                while (place < Visible.Count && Visible[place].CameraDistance > player.CameraDistance) place++;
                Visible.Insert(place, player);
            }
        }

        static void DrawDirectly(Camera camera, CameraView view, Ani3DPlayer player, Ani3DGpu.Sorted sorted)
        {
            sorted.Properties.SetFloat(Id.Serial, view.Serial);
            if (splat == null) splat = NewMaterial("Ani3DSplat");
            var parameters = new RenderParams(splat)
            {
                camera = camera, layer = player.gameObject.layer, matProps = sorted.Properties, worldBounds = player.Bounds,
            };
            Graphics.RenderPrimitives(parameters, MeshTopology.Triangles, 6 * player.Gpu.Count);
        }

        static void DrawPicture(Camera camera, CameraView view, int width, int height)
        {
            view.Resize(width, height);
            if (offscreen == null) offscreen = NewMaterial("Ani3DOffscreen");
            if (compose == null) compose = NewMaterial("Ani3DCompose");
            view.Commands.Clear();
            view.Commands.SetRenderTarget(view.Targets, view.Targets[0]);
            view.Commands.ClearRenderTarget(false, true, Color.clear);
            Bounds bounds = Visible[0].Bounds;
            foreach (Ani3DPlayer player in Visible)
            {
                view.Commands.DrawProcedural(Matrix4x4.identity, offscreen, 0, MeshTopology.Triangles,
                                             6 * player.Gpu.Count, 1, view.Sorted[player].Properties);
                bounds.Encapsulate(player.Bounds);
            }
            RenderTexture active = RenderTexture.active;
            Graphics.ExecuteCommandBuffer(view.Commands);
            RenderTexture.active = active;
            view.Properties.SetTexture(Id.Picture, view.Picture);
            view.Properties.SetTexture(Id.PictureDepth, view.Depth);
            view.Properties.SetBuffer(Id.CameraNumbers, view.Numbers);
            view.Properties.SetFloat(Id.Serial, view.Serial);
            var parameters = new RenderParams(compose)
                { camera = camera, layer = Visible[0].gameObject.layer, matProps = view.Properties, worldBounds = bounds };
            Graphics.RenderPrimitives(parameters, MeshTopology.Triangles, 6);
        }

        /// <summary>What was given to the engine for a camera earlier shows nothing from now on.</summary>
        static void Hide(Camera camera)
        {
            if (!Views.TryGetValue(camera, out CameraView view) || !view.Shows) return;
            view.Shows = false;
            Array.Clear(Numbers, 0, Numbers.Length);
            view.Numbers.SetData(Numbers);
        }

        /// <summary>Widen a rectangle of the picture (left, top, right, bottom [px]) to what a player covers.</summary>
        static void Cover(Camera camera, Ani3DPlayer player, Vector4 pinhole, int width, int height, ref Vector4 rect)
        {
            Vector3 center = camera.worldToCameraMatrix.MultiplyPoint3x4(player.Bounds.center);
            float radius = player.Bounds.extents.x, near = camera.orthographic ? 1 : -center.z - radius;
            var own = new Vector4(0, 0, width, height);
            // Within the ball of the figure, the whole picture.
            if (near > camera.nearClipPlane)
            {
                float far = camera.orthographic ? 1 : -center.z + radius;
                float left = center.x - radius, right = center.x + radius, top = -center.y - radius, bottom = -center.y + radius;
                own.x = Mathf.Max(pinhole.x * left / (left < 0 ? near : far) + pinhole.z, 0);
                own.y = Mathf.Max(pinhole.y * top / (top < 0 ? near : far) + pinhole.w, 0);
                own.z = Mathf.Min(pinhole.x * right / (right > 0 ? near : far) + pinhole.z, own.z);
                own.w = Mathf.Min(pinhole.y * bottom / (bottom > 0 ? near : far) + pinhole.w, own.w);
            }
            rect = new Vector4(Mathf.Min(rect.x, own.x), Mathf.Min(rect.y, own.y), Mathf.Max(rect.z, own.z), Mathf.Max(rect.w, own.w));
        }

        static Ani3DGpu.Sorted SortedOf(CameraView view, Ani3DPlayer player)
        {
            if (!view.Sorted.TryGetValue(player, out Ani3DGpu.Sorted sorted))
                view.Sorted.Add(player, sorted = new Ani3DGpu.Sorted(player.asset.GaussianCount));
            return sorted;
        }

        /// <summary>Buffers of a camera; those of cameras that stopped drawing are freed.</summary>
        static CameraView ViewOf(Camera camera)
        {
            if (!Views.TryGetValue(camera, out CameraView view))
            {
                Gone.Clear();
                foreach (KeyValuePair<Camera, CameraView> each in Views)
                    if (each.Key == null || Time.renderedFrameCount - each.Value.LastFrame > Lifetime) Gone.Add(each.Key);
                foreach (Camera each in Gone)
                {
                    Views[each].Dispose();
                    Views.Remove(each);
                }
                Views.Add(camera, view = new CameraView());
            }
            view.LastFrame = Time.renderedFrameCount;
            return view;
        }

        static Material NewMaterial(string shader) =>
            new Material(Resources.Load<Shader>(shader)) { hideFlags = HideFlags.HideAndDontSave };

        static void Fill(Matrix4x4 matrix, double[] values)
        {
            for (int i = 0; i < 16; i++) values[i] = matrix[i / 4, i % 4];
        }

        static void Free(UnityEngine.Object thing)
        {
            if (thing == null) return;
            if (Application.isPlaying) UnityEngine.Object.Destroy(thing);
            else UnityEngine.Object.DestroyImmediate(thing);
        }
    }
}
