using System;

namespace Ani3D.Core
{
    /// <summary>The arrays of Ani3D.compute's buffers, as its names say.</summary>
    public static class GpuData
    {
        /// <summary>_RestMeans: centre, opacity.</summary>
        public static float[] RestMeans(Gaussians gaussians) => Wide(gaussians.Means, n => gaussians.Opacities[n]);

        /// <summary>_RestLogScales: log scales, residual row (-1: rigid).</summary>
        public static float[] RestLogScales(Gaussians gaussians, Clip clip)
        {
            var rows = new float[gaussians.Count];
            for (int n = 0; n < rows.Length; n++) rows[n] = -1;
            for (int row = 0; row < clip.Moving.Length; row++) rows[clip.Moving[row]] = row;
            return Wide(gaussians.LogScales, n => rows[n]);
        }

        /// <summary>_Colors: sRGB, opacity.</summary>
        public static float[] Colors(Gaussians gaussians) => Wide(gaussians.Colors, n => gaussians.Opacities[n]);

        /// <summary>_Skin: joint in the upper half of each word, weight in the lower.</summary>
        public static uint[] Skin(Rig rig)
        {
            var words = new uint[rig.SkinJoints.Length];
            for (int i = 0; i < words.Length; i++) words[i] = (uint)rig.SkinJoints[i] << 16 | rig.SkinWeights[i];
            return words;
        }

        /// <summary>_GroupMeans: M of the centres, M of the rotations, M of the log scales.</summary>
        public static float[] GroupMeans(Clip clip)
        {
            int rows = clip.Moving.Length;
            var values = new float[12 * Math.Max(rows, 1)];
            OffsetTexture[] groups = { clip.DMeans, clip.DRotations, clip.DLogScales };
            for (int g = 0; g < 3; g++)
                for (int i = 0; i < 3 * rows; i++) values[4 * (g * rows + i / 3) + i % 3] = groups[g].Mean[i];
            return values;
        }

        /// <summary>_…Texels: one word (8 bit) or two (16 bit) a texel, x lowest.</summary>
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

        /// <summary>_Joints: three rows a joint.</summary>
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
}
