using System;

namespace Ani3D.Core
{
    /// <summary>
    /// Poses Gaussians on the CPU: what the compute shader does, for devices without one and as its reference.
    /// Equal to runtime/stage_reference.py within float rounding.
    /// </summary>
    public sealed class Decoder
    {
        /// <summary>[N 3] posed centres [m], [N 4] orientations wxyz, [N 3] log scales: the first Count are filled.</summary>
        public readonly float[] Means, Quats, LogScales;

        readonly Bundle bundle;
        readonly double[] m = new double[12], scratch = new double[32];

        public Decoder(Bundle bundle)
        {
            this.bundle = bundle;
            Means = new float[3 * bundle.Gaussians.Count];
            Quats = new float[4 * bundle.Gaussians.Count];
            LogScales = new float[3 * bundle.Gaussians.Count];
        }

        /// <summary>Pose the first <paramref name="count"/> Gaussians as a posed sampler says.</summary>
        public void Decode(Sampler moment, int count, bool residual)
        {
            float growth = bundle.Gaussians.Growth(count);
            for (int l = 0; l < moment.LayerCount; l++) AddLayer(moment, l, count, residual, growth);
            for (int n = 0; n < count; n++) Skin(moment.Skinning, n);
        }

        /// <summary>Rest-pose Gaussians with one layer's residual, mixed over the layers below.</summary>
        void AddLayer(Sampler moment, int l, int count, bool residual, float growth)
        {
            Gaussians rest = bundle.Gaussians;
            Layer layer = moment.Layers[l];
            Clip clip = bundle.Clips[layer.Clip];
            float share = l == 0 ? 1 : (float)layer.Share;
            int row = 0;
            for (int n = 0; n < count; n++)
            {
                float x = 0, y = 0, z = 0, sx = 0, sy = 0, sz = 0;
                Rotation own = Rotation.Read(rest.Quats, 4 * n);
                if (row < clip.Moving.Length && clip.Moving[row] == n)
                {
                    if (residual)
                    {
                        int list = Sampler.Lists * l;
                        Sum(clip.DMeans, moment, list, row, out x, out y, out z);
                        own = Turn(clip, moment, list, row, layer.Weight) * own;
                        Sum(clip.DLogScales, moment, list + 3, row, out sx, out sy, out sz);
                    }
                    row++;
                }
                Mix(Means, 3 * n, rest.Means, x, y, z, share);
                int thinnest = 3 * n;
                for (int i = 3 * n + 1; i < 3 * n + 3; i++)
                    if (rest.LogScales[i] < rest.LogScales[thinnest]) thinnest = i;
                sx += thinnest == 3 * n ? 0 : growth;
                sy += thinnest == 3 * n + 1 ? 0 : growth;
                sz += thinnest == 3 * n + 2 ? 0 : growth;
                Mix(LogScales, 3 * n, rest.LogScales, sx, sy, sz, share);
                Store(l == 0 ? own : Rotation.Read(Quats, 4 * n).SlerpTo(own, share), n);
            }
        }

        /// <summary>What a layer's two frames turn a Gaussian by.</summary>
        static Rotation Turn(Clip clip, Sampler moment, int list, int row, double weight)
        {
            Sum(clip.DRotations, moment, list + 1, row, out float x, out float y, out float z);
            Rotation turn = Rotation.FromRotationVector(x, y, z);
            if (weight == 0) return turn;
            Sum(clip.DRotations, moment, list + 2, row, out x, out y, out z);
            return turn.SlerpTo(Rotation.FromRotationVector(x, y, z), (float)weight);
        }

        static void Mix(float[] values, int at, float[] rest, float x, float y, float z, float share)
        {
            values[at] = (1 - share) * values[at] + share * (rest[at] + x);
            values[at + 1] = (1 - share) * values[at + 1] + share * (rest[at + 1] + y);
            values[at + 2] = (1 - share) * values[at + 2] + share * (rest[at + 2] + z);
        }

        /// <summary>mean + sum of the steps of one list.</summary>
        static void Sum(OffsetTexture texture, Sampler moment, int list, int row, out float x, out float y, out float z)
        {
            x = texture.Mean[3 * row];
            y = texture.Mean[3 * row + 1];
            z = texture.Mean[3 * row + 2];
            for (int i = list == 0 ? 0 : moment.Ends[list - 1]; i < moment.Ends[list]; i++)
            {
                long texel = (long)moment.Steps[4 * i + 3] * texture.Mean.Length + 3 * row;
                x += moment.Steps[4 * i] * texture.Texels[texel];
                y += moment.Steps[4 * i + 1] * texture.Texels[texel + 1];
                z += moment.Steps[4 * i + 2] * texture.Texels[texel + 2];
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
            Store(Rotation.Nearest(m, scratch) * Rotation.Read(Quats, 4 * n), n);
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
