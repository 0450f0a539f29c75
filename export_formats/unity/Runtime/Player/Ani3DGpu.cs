using System;
using System.Collections.Generic;
using Ani3D.Core;
using UnityEngine;
using UnityEngine.Rendering;

namespace Ani3D
{
    /// <summary>One avatar's buffers and the passes of Ani3D.compute over them.</summary>
    public sealed class Ani3DGpu : IDisposable
    {
        const int Threads = 64, Bins = 65536, ScanThreads = 256;
        /// <summary>Seconds of not drawing after which a camera's buffers go.</summary>
        const float CameraLifetime = 2;

        /// <summary>Posed Gaussians in the avatar's own axes (right-handed): centre and opacity; wxyz; log scales.</summary>
        public readonly GraphicsBuffer PosedMeans, PosedQuats, PosedLogScales;
        /// <summary>sRGB, opacity.</summary>
        public readonly GraphicsBuffer Colors;
        /// <summary>Gaussians posed last.</summary>
        public int Count { get; private set; }

        readonly Bundle bundle;
        readonly ComputeShader shader;
        readonly Material material;
        readonly List<GraphicsBuffer> buffers = new List<GraphicsBuffer>();
        readonly Dictionary<string, GraphicsBuffer> inputs = new Dictionary<string, GraphicsBuffer>();
        readonly Dictionary<Camera, CameraView> views = new Dictionary<Camera, CameraView>();
        readonly float[] jointRows;
        readonly int movingCount, pose, project, clear, count, scan, scatter;
        readonly float radius;
        readonly float[] rows = new float[12], pinholeValues = new float[4];
        float growth;
        GraphicsBuffer joints, steps;
        Vector3 root;
        int growthCount = -1;

        sealed class CameraView
        {
            public GraphicsBuffer Splats, DepthBins, BinStarts, Order;
            public MaterialPropertyBlock Properties = new MaterialPropertyBlock();
            public float LastUse;

            public void Dispose()
            {
                foreach (GraphicsBuffer buffer in new[] { Splats, DepthBins, BinStarts, Order }) buffer.Dispose();
            }
        }

        public Ani3DGpu(Bundle bundle, Clip clip)
        {
            this.bundle = bundle;
            // An instance: buffers bound by one avatar are not another's.
            shader = UnityEngine.Object.Instantiate(Resources.Load<ComputeShader>("Ani3D"));
            material = new Material(Resources.Load<Shader>("Ani3DSplat"));
            pose = shader.FindKernel("Pose");
            project = shader.FindKernel("Project");
            clear = shader.FindKernel("ClearBins");
            count = shader.FindKernel("CountBins");
            scan = shader.FindKernel("ScanBins");
            scatter = shader.FindKernel("Scatter");
            Gaussians gaussians = bundle.Gaussians;
            Upload("RestMeans", GpuData.RestMeans(gaussians), 16);
            Upload("RestQuats", gaussians.Quats, 16);
            Upload("RestLogScales", GpuData.RestLogScales(gaussians, clip), 16);
            Upload("Skin", GpuData.Skin(bundle.Rig), 4);
            Upload("GroupMeans", GpuData.GroupMeans(clip), 16);
            Upload("MeanTexels", GpuData.Texels(clip.DMeans), 4);
            Upload("RotationTexels", GpuData.Texels(clip.DRotations), 4);
            Upload("LogScaleTexels", GpuData.Texels(clip.DLogScales), 4);
            Colors = Upload("Colors", GpuData.Colors(gaussians), 16);
            PosedMeans = Make(gaussians.Count, 16);
            PosedQuats = Make(gaussians.Count, 16);
            PosedLogScales = Make(gaussians.Count, 16);
            jointRows = new float[12 * bundle.Rig.JointNames.Length];
            joints = Make(3 * bundle.Rig.JointNames.Length, 16);
            movingCount = clip.Moving.Length;
            shader.SetInts("TexelWords", clip.DMeans.WideTexels ? 2 : 1, clip.DRotations.WideTexels ? 2 : 1,
                clip.DLogScales.WideTexels ? 2 : 1, 0);
            shader.SetInt("Influences", bundle.Rig.Influences);
            radius = Radius(gaussians, bundle.Rig);
        }

        /// <summary>Pose the first <paramref name="shownCount"/> Gaussians at a moment.</summary>
        public void Pose(Frame frame, int shownCount, bool residual)
        {
            Count = shownCount;
            GpuData.Joints(frame.Skinning, jointRows);
            joints.SetData(jointRows);
            if (steps == null || steps.count * 4 < frame.Steps.Length)
            {
                if (steps != null) Release(steps);
                steps = Make(Math.Max(frame.Steps.Length / 4 * 2, 1), 16);
            }
            if (frame.Steps.Length > 0) steps.SetData(frame.Steps);
            if (growthCount != shownCount)
            {
                growthCount = shownCount;
                growth = Decoder.LevelGrowth(bundle.Gaussians, shownCount);
            }
            shader.SetInts("ListEnds", frame.Ends);
            shader.SetInt("Count", shownCount);
            shader.SetInt("MovingCount", residual ? movingCount : 0);
            shader.SetFloat("Turn", frame.Turn);
            shader.SetFloat("Growth", growth);
            foreach (KeyValuePair<string, GraphicsBuffer> input in inputs)
                if (input.Key != "Colors") shader.SetBuffer(pose, input.Key, input.Value);
            shader.SetBuffer(pose, "Joints", joints);
            shader.SetBuffer(pose, "Steps", steps);
            SetPosed(pose);
            Dispatch(pose, shownCount);
            // The core's root joint, mirrored into Unity's axes.
            root = new Vector3(-(float)frame.Joints[3], (float)frame.Joints[7], (float)frame.Joints[11]);
        }

        /// <summary>Project, sort and draw for a camera; call while it is about to be rendered.</summary>
        public void Draw(Camera camera, Matrix4x4 worldFromUnityLocal, int layer)
        {
            if (Count == 0) return;
            CameraView view = ViewOf(camera);
            Axes.ViewRows(Values(worldFromUnityLocal), Values(camera.worldToCameraMatrix), rows);
            Axes.Pinhole(Values(camera.projectionMatrix), camera.pixelWidth, camera.pixelHeight, pinholeValues);
            var pinhole = new Vector4(pinholeValues[0], pinholeValues[1], pinholeValues[2], pinholeValues[3]);
            var viewRows = new Vector4[3];
            for (int r = 0; r < 3; r++)
                viewRows[r] = new Vector4(rows[4 * r], rows[4 * r + 1], rows[4 * r + 2], rows[4 * r + 3]);
            float scale = worldFromUnityLocal.lossyScale.magnitude / Mathf.Sqrt(3);
            float middle = -(camera.worldToCameraMatrix * worldFromUnityLocal).MultiplyPoint3x4(root).z;
            shader.SetVectorArray("ViewRows", viewRows);
            shader.SetVector("Pinhole", pinhole);
            shader.SetVector("ImageSize", new Vector2(camera.pixelWidth, camera.pixelHeight));
            shader.SetVector("DepthRange", new Vector2(Mathf.Max(middle - radius * scale, 0), middle + radius * scale));
            SetPosed(project);
            shader.SetBuffer(project, "Splats", view.Splats);
            shader.SetBuffer(project, "DepthBins", view.DepthBins);
            Dispatch(project, Count);
            Sort(view);
            view.Properties.SetBuffer("SplatRows", view.Splats);
            view.Properties.SetBuffer("OrderRows", view.Order);
            view.Properties.SetBuffer("Colors", Colors);
            view.Properties.SetVector("SplatPinhole", pinhole);
            Vector3 center = worldFromUnityLocal.MultiplyPoint3x4(root);
            var parameters = new RenderParams(material)
            {
                camera = camera, layer = layer, matProps = view.Properties,
                worldBounds = new Bounds(center, 2 * radius * scale * Vector3.one),
            };
            Graphics.RenderPrimitives(parameters, MeshTopology.Triangles, 6 * Count);
        }

        /// <summary>Far to near, by counting: 65536 bins over the figure's depth.</summary>
        void Sort(CameraView view)
        {
            foreach (int kernel in new[] { clear, count, scan, scatter }) shader.SetBuffer(kernel, "BinStarts", view.BinStarts);
            foreach (int kernel in new[] { count, scatter }) shader.SetBuffer(kernel, "DepthBins", view.DepthBins);
            shader.SetBuffer(scatter, "Order", view.Order);
            shader.Dispatch(clear, Bins / ScanThreads, 1, 1);
            Dispatch(count, Count);
            shader.Dispatch(scan, 1, 1, 1);
            Dispatch(scatter, Count);
        }

        public void Dispose()
        {
            foreach (GraphicsBuffer buffer in buffers) buffer.Dispose();
            buffers.Clear();
            foreach (CameraView view in views.Values) view.Dispose();
            views.Clear();
            Destroy(shader);
            Destroy(material);
        }

        /// <summary>Buffers of a camera; those of cameras that stopped drawing are freed.</summary>
        CameraView ViewOf(Camera camera)
        {
            float now = Time.realtimeSinceStartup;
            if (!views.TryGetValue(camera, out CameraView view))
            {
                var gone = new List<Camera>();
                foreach (KeyValuePair<Camera, CameraView> each in views)
                    if (each.Key == null || now - each.Value.LastUse > CameraLifetime) gone.Add(each.Key);
                foreach (Camera each in gone)
                {
                    views[each].Dispose();
                    views.Remove(each);
                }
                int all = bundle.Gaussians.Count;
                view = new CameraView
                {
                    Splats = NewBuffer(2 * all, 16), DepthBins = NewBuffer(all, 4), BinStarts = NewBuffer(Bins, 4),
                    Order = NewBuffer(all, 4),
                };
                views.Add(camera, view);
            }
            view.LastUse = now;
            return view;
        }

        /// <summary>The farthest a Gaussian comes from the root joint [m]: twice the rest pose's reach.</summary>
        static float Radius(Gaussians gaussians, Rig rig)
        {
            double farthest = 0;
            for (int n = 0; n < gaussians.Count; n++)
            {
                double squares = 0;
                for (int c = 0; c < 3; c++)
                    squares += Math.Pow(gaussians.Means[3 * n + c] - rig.Rest[4 * c + 3], 2);
                farthest = Math.Max(farthest, squares);
            }
            return (float)(2 * Math.Sqrt(farthest) + 0.1);
        }

        static double[] Values(Matrix4x4 matrix)
        {
            var values = new double[16];
            for (int i = 0; i < 16; i++) values[i] = matrix[i / 4, i % 4];
            return values;
        }

        void SetPosed(int kernel)
        {
            shader.SetBuffer(kernel, "PosedMeans", PosedMeans);
            shader.SetBuffer(kernel, "PosedQuats", PosedQuats);
            shader.SetBuffer(kernel, "PosedLogScales", PosedLogScales);
        }

        void Dispatch(int kernel, int items) => shader.Dispatch(kernel, (items + Threads - 1) / Threads, 1, 1);

        GraphicsBuffer Upload(string name, Array values, int stride)
        {
            GraphicsBuffer buffer = Make(Math.Max(Buffer.ByteLength(values) / stride, 1), stride);
            buffer.SetData(values);
            inputs.Add(name, buffer);
            return buffer;
        }

        GraphicsBuffer Make(int length, int stride)
        {
            GraphicsBuffer buffer = NewBuffer(length, stride);
            buffers.Add(buffer);
            return buffer;
        }

        static GraphicsBuffer NewBuffer(int length, int stride) =>
            new GraphicsBuffer(GraphicsBuffer.Target.Structured, length, stride);

        void Release(GraphicsBuffer buffer)
        {
            buffers.Remove(buffer);
            buffer.Dispose();
        }

        static void Destroy(UnityEngine.Object thing)
        {
            if (Application.isPlaying) UnityEngine.Object.Destroy(thing);
            else UnityEngine.Object.DestroyImmediate(thing);
        }
    }
}
