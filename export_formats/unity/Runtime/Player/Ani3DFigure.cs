using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Ani3D.Core;
using UnityEngine;

namespace Ani3D
{
    /// <summary>An asset's buffers on the GPU, shared by all players that show it; freed with the last of them.</summary>
    public sealed class Ani3DFigure
    {
        /// <summary>One clip's residual.</summary>
        public sealed class ClipBuffers
        {
            public GraphicsBuffer Rows, GroupMeans, MeanTexels, RotationTexels, LogScaleTexels;
            /// <summary>Of the shader's TexelWords.</summary>
            public int[] TexelWords;
            public int MovingCount;
        }

        static readonly Dictionary<Ani3DAsset, Ani3DFigure> All = new Dictionary<Ani3DAsset, Ani3DFigure>();

        public Bundle Bundle { get; private set; }
        public GraphicsBuffer RestMeans { get; private set; }
        public GraphicsBuffer RestQuats { get; private set; }
        public GraphicsBuffer RestLogScales { get; private set; }
        public GraphicsBuffer SkinWords { get; private set; }
        /// <summary>sRGB, opacity.</summary>
        public GraphicsBuffer Colors { get; private set; }
        public ClipBuffers[] Clips { get; private set; }
        /// <summary>The farthest a Gaussian comes from the root joint [m].</summary>
        public float Reach { get; private set; }

        readonly Ani3DAsset asset;
        readonly List<GraphicsBuffer> buffers = new List<GraphicsBuffer>();
        Task<GpuFigure> packing;
        int users;

        Ani3DFigure(Ani3DAsset asset)
        {
            this.asset = asset;
        }

        /// <summary>The figure of an asset; give it back with <see cref="Release"/>.</summary>
        public static Ani3DFigure Take(Ani3DAsset asset)
        {
            if (!All.TryGetValue(asset, out Ani3DFigure figure)) All.Add(asset, figure = new Ani3DFigure(asset));
            figure.users++;
            return figure;
        }

        public void Release()
        {
            if (--users > 0) return;
            FreeBuffers();
            All.Remove(asset);
        }

        void FreeBuffers()
        {
            foreach (GraphicsBuffer buffer in buffers) buffer.Dispose();
            buffers.Clear();
            Bundle = null;
        }

        /// <summary>True once everything is on the GPU. Decoding and packing go on elsewhere; this uploads.</summary>
        public bool IsReady()
        {
            if (!asset.IsLoaded) return false;
            if (Bundle != null && Bundle == asset.Bundle) return true;
            // The file was imported again.
            if (Bundle != null) FreeBuffers();
            if (packing == null) packing = Pack(asset.Bundle);
            if (!packing.IsCompleted) return false;
            GpuFigure packed = packing.GetAwaiter().GetResult();
            packing = null;
            // Imported again while it was packed: another time.
            if (packed.Bundle != asset.Bundle) return false;
            Upload(packed);
            return true;
        }

        static Task<GpuFigure> Pack(Bundle read) =>
            Application.isPlaying ? Task.Run(() => new GpuFigure(read)) : Task.FromResult(new GpuFigure(read));

        void Upload(GpuFigure packed)
        {
            RestMeans = Buffer(packed.RestMeans, 16);
            RestQuats = Buffer(packed.RestQuats, 16);
            RestLogScales = Buffer(packed.RestLogScales, 16);
            SkinWords = Buffer(packed.SkinWords, 4);
            Colors = Buffer(packed.Colors, 16);
            Reach = packed.Reach;
            Clips = new ClipBuffers[packed.Clips.Length];
            for (int i = 0; i < Clips.Length; i++)
            {
                GpuClip clip = packed.Clips[i];
                Clips[i] = new ClipBuffers
                {
                    Rows = Buffer(clip.Rows, 4), GroupMeans = Buffer(clip.GroupMeans, 16),
                    MeanTexels = Buffer(clip.MeanTexels, 4), RotationTexels = Buffer(clip.RotationTexels, 4),
                    LogScaleTexels = Buffer(clip.LogScaleTexels, 4), TexelWords = clip.TexelWords,
                    MovingCount = packed.Bundle.Clips[i].Moving.Length,
                };
            }
            Bundle = packed.Bundle;
        }

        GraphicsBuffer Buffer(Array values, int stride)
        {
            int length = System.Buffer.ByteLength(values) / stride;
            var buffer = new GraphicsBuffer(GraphicsBuffer.Target.Structured, length, stride);
            buffers.Add(buffer);
            buffer.SetData(values);
            return buffer;
        }
    }
}
