using System;

namespace Ani3D.Core
{
    /// <summary>
    /// Poses Gaussians on the CPU: what the compute shader does, for devices without one and as its reference.
    /// Equal to runtime/player.py's gaussians_at within float rounding.
    /// </summary>
    public sealed class Decoder
    {
        /// <summary>[N 3] posed centres [m], [N 4] orientations wxyz, [N 3] log scales: the first Count are filled.</summary>
        public readonly float[] Means, Quats, LogScales;

        readonly Bundle bundle;
        readonly double[] m = new double[12];

        public Decoder(Bundle bundle)
        {
            this.bundle = bundle;
            Means = new float[3 * bundle.Gaussians.Count];
            Quats = new float[4 * bundle.Gaussians.Count];
            LogScales = new float[3 * bundle.Gaussians.Count];
        }

        /// <summary>Pose the first <paramref name="count"/> Gaussians; <paramref name="growth"/> is LevelGrowth's.</summary>
        public void Decode(Clip clip, Frame frame, int count, bool residual, float growth)
        {
            Gaussians rest = bundle.Gaussians;
            Array.Copy(rest.Means, Means, 3 * count);
            Array.Copy(rest.Quats, Quats, 4 * count);
            for (int n = 0; n < count; n++) Grow(rest.LogScales, n, growth);
            if (residual)
                for (int row = 0; row < clip.Moving.Length && clip.Moving[row] < count; row++)
                    AddResidual(clip, frame, row, (int)clip.Moving[row]);
            for (int n = 0; n < count; n++) Skin(frame.Skinning, n);
        }

        /// <summary>
        /// A third of the log of the ratio of all Gaussians' areas to the first <paramref name="count"/>'s: what the two
        /// larger log scales of each grow by at that level of detail (BUNDLE.md, Order).
        /// </summary>
        public static float LevelGrowth(Gaussians gaussians, int count)
        {
            double all = 0, first = 0;
            for (int n = 0; n < gaussians.Count; n++)
            {
                double x = gaussians.LogScales[3 * n], y = gaussians.LogScales[3 * n + 1], z = gaussians.LogScales[3 * n + 2];
                double area = Math.Exp(Math.Min(x + y + z - Math.Min(x, Math.Min(y, z)), 50)) * gaussians.Opacities[n];
                all += area;
                if (n < count) first += area;
            }
            double ratio = Math.Min(all / Math.Max(first, 1e-300), (double)gaussians.Count / count);
            return (float)(Math.Log(Math.Max(ratio, 1)) / 3);
        }

        void Grow(float[] rest, int n, float growth)
        {
            int thinnest = 3 * n;
            for (int i = 3 * n + 1; i < 3 * n + 3; i++)
                if (rest[i] < rest[thinnest]) thinnest = i;
            for (int i = 3 * n; i < 3 * n + 3; i++) LogScales[i] = rest[i] + (i == thinnest ? 0 : growth);
        }

        void AddResidual(Clip clip, Frame frame, int row, int n)
        {
            Sum(clip.DMeans, frame, 0, row, out float x, out float y, out float z);
            Means[3 * n] += x;
            Means[3 * n + 1] += y;
            Means[3 * n + 2] += z;
            Sum(clip.DLogScales, frame, 3, row, out x, out y, out z);
            LogScales[3 * n] += x;
            LogScales[3 * n + 1] += y;
            LogScales[3 * n + 2] += z;
            Sum(clip.DRotations, frame, 1, row, out x, out y, out z);
            Rotation turn = Rotation.FromRotationVector(x, y, z);
            if (frame.Turn > 0)
            {
                Sum(clip.DRotations, frame, 2, row, out x, out y, out z);
                turn = turn.SlerpTo(Rotation.FromRotationVector(x, y, z), frame.Turn);
            }
            Store(turn * Rotation.Read(Quats, 4 * n), n);
        }

        /// <summary>mean + sum of the steps of one list.</summary>
        static void Sum(OffsetTexture texture, Frame frame, int list, int row, out float x, out float y, out float z)
        {
            x = texture.Mean[3 * row];
            y = texture.Mean[3 * row + 1];
            z = texture.Mean[3 * row + 2];
            for (int i = list == 0 ? 0 : frame.Ends[list - 1]; i < frame.Ends[list]; i++)
            {
                long texel = ((long)frame.Steps[4 * i + 3] * texture.Mean.Length) + 3 * row;
                x += frame.Steps[4 * i] * texture.Texels[texel];
                y += frame.Steps[4 * i + 1] * texture.Texels[texel + 1];
                z += frame.Steps[4 * i + 2] * texture.Texels[texel + 2];
            }
        }

        void Skin(double[] matrices, int n)
        {
            Rig rig = bundle.Rig;
            Array.Clear(m, 0, 12);
            for (int w = n * rig.Influences; w < (n + 1) * rig.Influences; w++)
            {
                if (rig.SkinWeights[w] == 0) continue;
                double weight = rig.SkinWeights[w] / (double)Bundle.WeightOne;
                int joint = 12 * rig.SkinJoints[w];
                for (int i = 0; i < 12; i++) m[i] += weight * matrices[joint + i];
            }
            double x = Means[3 * n], y = Means[3 * n + 1], z = Means[3 * n + 2];
            for (int r = 0; r < 3; r++)
                Means[3 * n + r] = (float)(m[4 * r] * x + m[4 * r + 1] * y + m[4 * r + 2] * z + m[4 * r + 3]);
            Store(Rotation.Nearest(m) * Rotation.Read(Quats, 4 * n), n);
        }

        void Store(Rotation q, int n)
        {
            Quats[4 * n] = (float)q.W;
            Quats[4 * n + 1] = (float)q.X;
            Quats[4 * n + 2] = (float)q.Y;
            Quats[4 * n + 3] = (float)q.Z;
        }
    }
}
