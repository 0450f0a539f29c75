using System;
using Ani3D.Core;
using UnityEngine;

namespace Ani3D
{
    /// <summary>One player's posed Gaussians, and the passes of Ani3D.compute over them.</summary>
    public sealed class Ani3DGpu : IDisposable
    {
        const int Threads = 64, Bins = 65536, ScanThreads = 256;

        /// <summary>Posed Gaussians in the avatar's own axes (right-handed): centre and opacity; wxyz; log scales.</summary>
        public readonly GraphicsBuffer PosedMeans, PosedQuats, PosedLogScales;
        /// <summary>sRGB, opacity.</summary>
        public GraphicsBuffer Colors => Figure.Colors;
        /// <summary>Gaussians posed last.</summary>
        public int Count { get; private set; }
        public readonly Ani3DFigure Figure;

        readonly ComputeShader shader;
        readonly int decode, skin, project, clear, count, scan, scatter;
        readonly GraphicsBuffer joints, steps;
        readonly float[] jointRows;
        readonly int[] ends = new int[4];

        /// <summary>What one camera needs of one player: projected and sorted Gaussians.</summary>
        public sealed class Sorted : IDisposable
        {
            public readonly GraphicsBuffer Splats, DepthBins, BinStarts, Order;
            public readonly MaterialPropertyBlock Properties = new MaterialPropertyBlock();

            public Sorted(int all)
            {
                Splats = NewBuffer(2 * all, 16);
                DepthBins = NewBuffer(all, 4);
                BinStarts = NewBuffer(Bins, 4);
                Order = NewBuffer(all, 4);
            }

            public void Dispose()
            {
                Splats.Dispose();
                DepthBins.Dispose();
                BinStarts.Dispose();
                Order.Dispose();
            }
        }

        public Ani3DGpu(Ani3DFigure figure, Sampler sampler)
        {
            Figure = figure;
            // An instance: buffers bound by one avatar are not another's.
            shader = UnityEngine.Object.Instantiate(Resources.Load<ComputeShader>("Ani3D"));
            decode = shader.FindKernel("Decode");
            skin = shader.FindKernel("Skin");
            project = shader.FindKernel("Project");
            clear = shader.FindKernel("ClearBins");
            count = shader.FindKernel("CountBins");
            scan = shader.FindKernel("ScanBins");
            scatter = shader.FindKernel("Scatter");
            int all = figure.Bundle.Gaussians.Count;
            PosedMeans = NewBuffer(all, 16);
            PosedQuats = NewBuffer(all, 16);
            PosedLogScales = NewBuffer(all, 16);
            jointRows = new float[sampler.Skinning.Length];
            joints = NewBuffer(jointRows.Length / 4, 16);
            steps = NewBuffer(sampler.Steps.Length / 4, 16);
            shader.SetInt(Id.Influences, figure.Bundle.Rig.Influences);
            shader.SetBuffer(decode, Id.RestMeans, figure.RestMeans);
            shader.SetBuffer(skin, Id.RestMeans, figure.RestMeans);
            shader.SetBuffer(decode, Id.RestQuats, figure.RestQuats);
            shader.SetBuffer(decode, Id.RestLogScales, figure.RestLogScales);
            shader.SetBuffer(decode, Id.Steps, steps);
            shader.SetBuffer(skin, Id.SkinWords, figure.SkinWords);
            shader.SetBuffer(skin, Id.Joints, joints);
            SetPosed(decode);
            SetPosed(skin);
            SetPosed(project);
        }

        /// <summary>Pose the first <paramref name="shownCount"/> Gaussians as a posed sampler says.</summary>
        public void Pose(Sampler moment, int shownCount, bool residual)
        {
            Count = shownCount;
            GpuData.Joints(moment.Skinning, jointRows);
            joints.SetData(jointRows);
            if (moment.StepCount > 0) steps.SetData(moment.Steps, 0, 0, 4 * moment.StepCount);
            shader.SetInt(Id.Count, shownCount);
            shader.SetFloat(Id.Growth, Figure.Bundle.Gaussians.Growth(shownCount));
            for (int l = 0; l < moment.LayerCount; l++)
            {
                Layer layer = moment.Layers[l];
                Ani3DFigure.ClipBuffers clip = Figure.Clips[layer.Clip];
                int list = Sampler.Lists * l;
                Array.Copy(moment.Ends, list, ends, 0, 4);
                shader.SetInt(Id.FirstStep, l == 0 ? 0 : moment.Ends[list - 1]);
                shader.SetInts(Id.ListEnds, ends);
                shader.SetInts(Id.TexelWords, clip.TexelWords);
                shader.SetInt(Id.MovingCount, residual ? clip.MovingCount : 0);
                shader.SetFloat(Id.Turn, (float)layer.Weight);
                shader.SetFloat(Id.Share, l == 0 ? 1 : (float)layer.Share);
                shader.SetBuffer(decode, Id.Rows, clip.Rows);
                shader.SetBuffer(decode, Id.GroupMeans, clip.GroupMeans);
                shader.SetBuffer(decode, Id.MeanTexels, clip.MeanTexels);
                shader.SetBuffer(decode, Id.RotationTexels, clip.RotationTexels);
                shader.SetBuffer(decode, Id.LogScaleTexels, clip.LogScaleTexels);
                Dispatch(decode, shownCount);
            }
            Dispatch(skin, shownCount);
        }

        /// <summary>Project for a camera and sort far to near, by counting: 65536 bins over the figure's depth.</summary>
        public void Sort(Sorted sorted, Vector4[] viewRows, Vector4 pinhole, bool orthographic, Vector2 size, Vector2 depths)
        {
            shader.SetInt(Id.Count, Count);
            shader.SetVectorArray(Id.ViewRows, viewRows);
            shader.SetVector(Id.Pinhole, pinhole);
            shader.SetFloat(Id.Orthographic, orthographic ? 1 : 0);
            shader.SetVector(Id.ImageSize, size);
            shader.SetVector(Id.DepthRange, depths);
            shader.SetBuffer(project, Id.Splats, sorted.Splats);
            shader.SetBuffer(project, Id.DepthBins, sorted.DepthBins);
            shader.SetBuffer(clear, Id.BinStarts, sorted.BinStarts);
            shader.SetBuffer(count, Id.BinStarts, sorted.BinStarts);
            shader.SetBuffer(count, Id.DepthBins, sorted.DepthBins);
            shader.SetBuffer(scan, Id.BinStarts, sorted.BinStarts);
            shader.SetBuffer(scatter, Id.BinStarts, sorted.BinStarts);
            shader.SetBuffer(scatter, Id.DepthBins, sorted.DepthBins);
            shader.SetBuffer(scatter, Id.Order, sorted.Order);
            Dispatch(project, Count);
            shader.Dispatch(clear, Bins / ScanThreads, 1, 1);
            Dispatch(count, Count);
            shader.Dispatch(scan, 1, 1, 1);
            Dispatch(scatter, Count);
            sorted.Properties.SetBuffer(Id.SplatRows, sorted.Splats);
            sorted.Properties.SetBuffer(Id.OrderRows, sorted.Order);
            sorted.Properties.SetBuffer(Id.Colors, Colors);
        }

        public void Dispose()
        {
            PosedMeans.Dispose();
            PosedQuats.Dispose();
            PosedLogScales.Dispose();
            joints.Dispose();
            steps.Dispose();
            if (Application.isPlaying) UnityEngine.Object.Destroy(shader);
            else UnityEngine.Object.DestroyImmediate(shader);
        }

        void SetPosed(int kernel)
        {
            shader.SetBuffer(kernel, Id.PosedMeans, PosedMeans);
            shader.SetBuffer(kernel, Id.PosedQuats, PosedQuats);
            shader.SetBuffer(kernel, Id.PosedLogScales, PosedLogScales);
        }

        void Dispatch(int kernel, int items) => shader.Dispatch(kernel, (items + Threads - 1) / Threads, 1, 1);

        static GraphicsBuffer NewBuffer(int length, int stride) =>
            new GraphicsBuffer(GraphicsBuffer.Target.Structured, length, stride);
    }
}
