using System;

namespace Ani3D.Core
{
    /// <summary>The arrays of Ani3D.compute's buffers, as its names say.</summary>
    public static class GpuData
    {
        /// <summary>RestMeans: centre, opacity.</summary>
        public static float[] RestMeans(Gaussians gaussians) => Wide(gaussians.Means, n => gaussians.Opacities[n]);

        /// <summary>RestLogScales: log scales, 0.</summary>
        public static float[] RestLogScales(Gaussians gaussians) => Wide(gaussians.LogScales, n => 0);

        /// <summary>Rows: each Gaussian's row in the clip's residual, -1 where it is rigid.</summary>
        public static int[] Rows(Gaussians gaussians, Clip clip)
        {
            var rows = new int[gaussians.Count];
            for (int n = 0; n < rows.Length; n++) rows[n] = -1;
            for (int row = 0; row < clip.Moving.Length; row++) rows[clip.Moving[row]] = row;
            return rows;
        }

        /// <summary>Colors: sRGB, opacity.</summary>
        public static float[] Colors(Gaussians gaussians) => Wide(gaussians.Colors, n => gaussians.Opacities[n]);

        /// <summary>Skin: joint in the upper half of each word, weight in the lower.</summary>
        public static uint[] Skin(Rig rig)
        {
            var words = new uint[rig.SkinJoints.Length];
            for (int i = 0; i < words.Length; i++) words[i] = (uint)rig.SkinJoints[i] << 16 | rig.SkinWeights[i];
            return words;
        }

        /// <summary>GroupMeans: M of the centres, M of the rotations, M of the log scales.</summary>
        public static float[] GroupMeans(Clip clip)
        {
            int rows = clip.Moving.Length;
            var values = new float[12 * Math.Max(rows, 1)];
            OffsetTexture[] groups = { clip.DMeans, clip.DRotations, clip.DLogScales };
            for (int g = 0; g < 3; g++)
                for (int i = 0; i < 3 * rows; i++) values[4 * (g * rows + i / 3) + i % 3] = groups[g].Mean[i];
            return values;
        }

        /// <summary>…Texels: one word (8 bit) or two (16 bit) a texel, x lowest.</summary>
        public static uint[] Texels(OffsetTexture texture)
        {
            int count = texture.Texels.Length / 3;
            var words = new uint[Math.Max(count * (texture.WideTexels ? 2 : 1), 1)];
            for (int i = 0; i < count; i++)
            {
                short x = texture.Texels[3 * i], y = texture.Texels[3 * i + 1], z = texture.Texels[3 * i + 2];
                if (texture.WideTexels)
                {
                    words[2 * i] = (ushort)x | (uint)(ushort)y << 16;
                    words[2 * i + 1] = (ushort)z;
                }
                else words[i] = (byte)x | (uint)(byte)y << 8 | (uint)(byte)z << 16;
            }
            return words;
        }

        /// <summary>Joints: three rows a joint.</summary>
        public static void Joints(double[] skinning, float[] rows)
        {
            for (int i = 0; i < skinning.Length; i++) rows[i] = (float)skinning[i];
        }

        static float[] Wide(float[] triples, Func<int, float> fourth)
        {
            var values = new float[triples.Length / 3 * 4];
            for (int n = 0; n < values.Length / 4; n++)
            {
                Array.Copy(triples, 3 * n, values, 4 * n, 3);
                values[4 * n + 3] = fourth(n);
            }
            return values;
        }
    }

    /// <summary>All arrays of a figure's buffers; made away from the main thread.</summary>
    public sealed class GpuFigure
    {
        public readonly float[] RestMeans, RestQuats, RestLogScales, Colors;
        public readonly uint[] SkinWords;
        public readonly GpuClip[] Clips;
        public readonly float Reach;
        /// <summary>What they were packed of.</summary>
        public readonly Bundle Bundle;

        public GpuFigure(Bundle bundle)
        {
            Bundle = bundle;
            Gaussians gaussians = bundle.Gaussians;
            RestMeans = GpuData.RestMeans(gaussians);
            RestQuats = gaussians.Quats;
            RestLogScales = GpuData.RestLogScales(gaussians);
            Colors = GpuData.Colors(gaussians);
            SkinWords = GpuData.Skin(bundle.Rig);
            Reach = gaussians.Reach(bundle.Rig);
            Clips = new GpuClip[bundle.Clips.Length];
            for (int i = 0; i < Clips.Length; i++) Clips[i] = new GpuClip(gaussians, bundle.Clips[i]);
        }
    }

    /// <summary>The arrays of a clip's buffers.</summary>
    public sealed class GpuClip
    {
        public readonly int[] Rows;
        public readonly float[] GroupMeans;
        public readonly uint[] MeanTexels, RotationTexels, LogScaleTexels;
        /// <summary>Words a texel of centres, rotations and log scales; 0.</summary>
        public readonly int[] TexelWords;

        public GpuClip(Gaussians gaussians, Clip clip)
        {
            Rows = GpuData.Rows(gaussians, clip);
            GroupMeans = GpuData.GroupMeans(clip);
            MeanTexels = GpuData.Texels(clip.DMeans);
            RotationTexels = GpuData.Texels(clip.DRotations);
            LogScaleTexels = GpuData.Texels(clip.DLogScales);
            TexelWords = new[] { Words(clip.DMeans), Words(clip.DRotations), Words(clip.DLogScales), 0 };
        }

        static int Words(OffsetTexture texture) => texture.WideTexels ? 2 : 1;
    }
}
