using System;
using System.Collections.Generic;

namespace Ani3D.Core
{
    /// <summary>What a moment needs of a clip: joint matrices and the residual's steps.</summary>
    public sealed class Frame
    {
        /// <summary>[J 12] world from joint, row-major 3x4.</summary>
        public double[] Joints;
        /// <summary>[J 12] rest-pose points to posed points.</summary>
        public double[] Skinning;
        /// <summary>(x, y, z, layer) each; a group's value is mean + sum of step.xyz * texels[layer].</summary>
        public float[] Steps;
        /// <summary>Where, in steps, the four lists end: centres, rotations before, rotations after, log scales.</summary>
        public readonly int[] Ends = new int[4];
        /// <summary>Between the two rotations, 0..1.</summary>
        public float Turn;
    }

    /// <summary>A clip over time, as runtime/player.py and runtime/skinning.py have it.</summary>
    public static class ClipSampler
    {
        /// <summary>The fractional frame, 0..T-1, shown at a time [s]; a looping clip interpolates nothing at its seam.</summary>
        public static double FrameAt(Clip clip, double seconds, bool loop)
        {
            double frame = seconds * clip.Fps, nearest = Math.Round(frame);
            // t / fps * fps may be a rounding error away from t; whole frames need no interpolation.
            if (Math.Abs(frame - nearest) < 1e-6) frame = nearest;
            if (loop) frame -= Math.Floor(frame / clip.Frames) * clip.Frames;
            return Math.Min(Math.Max(frame, 0), clip.Frames - 1);
        }

        public static Frame Evaluate(Bundle bundle, Clip clip, double frameAt)
        {
            Bracket(frameAt, clip.Frames, out int before, out int after, out double weight);
            var frame = new Frame { Joints = Joints(bundle.Rig, clip, before, after, weight), Turn = (float)weight };
            frame.Skinning = Skinning(bundle.Rig, frame.Joints);
            var steps = new List<float>();
            AddSteps(steps, clip.DMeans, before, after, weight);
            frame.Ends[0] = steps.Count / 4;
            AddSteps(steps, clip.DRotations, before, before, 0);
            frame.Ends[1] = steps.Count / 4;
            if (weight > 0) AddSteps(steps, clip.DRotations, after, after, 0);
            frame.Ends[2] = steps.Count / 4;
            AddSteps(steps, clip.DLogScales, before, after, weight);
            frame.Ends[3] = steps.Count / 4;
            frame.Steps = steps.ToArray();
            return frame;
        }

        /// <summary>Skinning matrices of any joint matrices, such as a game's own animation gives.</summary>
        public static double[] Skinning(Rig rig, double[] joints)
        {
            var matrices = new double[joints.Length];
            var inverse = new double[12];
            for (int j = 0; j < joints.Length; j += 12)
            {
                Affine.Inverse(rig.Rest, j, inverse, 0);
                Affine.Multiply(joints, j, inverse, 0, matrices, j);
            }
            return matrices;
        }

        /// <summary>World from joint at a fractional frame: root linear, rotations along their shortest arcs.</summary>
        static double[] Joints(Rig rig, Clip clip, int before, int after, double weight)
        {
            int count = rig.Parents.Length;
            var world = new double[12 * count];
            double[] local = new double[12], turned = new double[12], turn = new double[12], inverse = new double[12];
            for (int j = 0; j < count; j++)
            {
                int parent = rig.Parents[j];
                if (parent < 0) Array.Copy(rig.Rest, 12 * j, local, 0, 12);
                else
                {
                    Affine.Inverse(rig.Rest, 12 * parent, inverse, 0);
                    Affine.Multiply(inverse, 0, rig.Rest, 12 * j, local, 0);
                }
                Rotation.Read(clip.Quats, 4 * (before * count + j)).SlerpTo(
                    Rotation.Read(clip.Quats, 4 * (after * count + j)), weight).ToMatrix(turn);
                Affine.Multiply(local, 0, turn, 0, turned, 0);
                if (j == 0)
                    for (int c = 0; c < 3; c++)
                        turned[4 * c + 3] += (1 - weight) * clip.Roots[3 * before + c] + weight * clip.Roots[3 * after + c];
                if (parent < 0) Array.Copy(turned, 0, world, 12 * j, 12);
                else Affine.Multiply(world, 12 * parent, turned, 0, world, 12 * j);
            }
            return world;
        }

        /// <summary>One sum's steps. A group is linear in its coefficients: those are interpolated, not values.</summary>
        static void AddSteps(List<float> steps, OffsetTexture texture, int before, int after, double weight)
        {
            if (texture.Coefficients == null)
            {
                AddStep(steps, texture, before, (float)(1 - weight));
                AddStep(steps, texture, after, (float)weight);
                return;
            }
            for (int k = 0; k < texture.Layers; k++)
                AddStep(steps, texture, k, (float)((1 - weight) * texture.Coefficients[before * texture.Layers + k] +
                                                   weight * texture.Coefficients[after * texture.Layers + k]));
        }

        static void AddStep(List<float> steps, OffsetTexture texture, int layer, float factor)
        {
            if (factor == 0) return;
            for (int c = 0; c < 3; c++) steps.Add(factor * texture.Scales[3 * layer + c]);
            steps.Add(layer);
        }

        static void Bracket(double frame, int frames, out int before, out int after, out double weight)
        {
            before = (int)Math.Floor(frame);
            after = Math.Min(before + 1, frames - 1);
            weight = frame - before;
        }
    }

    /// <summary>Affine 3x4 matrices, row major, somewhere in arrays of doubles.</summary>
    public static class Affine
    {
        /// <summary>result = a b; result may not be a or b's place.</summary>
        public static void Multiply(double[] a, int ai, double[] b, int bi, double[] result, int ri)
        {
            for (int r = 0; r < 12; r += 4)
            {
                double x = a[ai + r], y = a[ai + r + 1], z = a[ai + r + 2];
                for (int c = 0; c < 4; c++)
                    result[ri + r + c] = x * b[bi + c] + y * b[bi + 4 + c] + z * b[bi + 8 + c];
                result[ri + r + 3] += a[ai + r + 3];
            }
        }

        public static void Inverse(double[] m, int mi, double[] result, int ri)
        {
            double a = m[mi], b = m[mi + 1], c = m[mi + 2], d = m[mi + 4], e = m[mi + 5], f = m[mi + 6],
                g = m[mi + 8], h = m[mi + 9], i = m[mi + 10];
            double ei = e * i - f * h, fg = f * g - d * i, dh = d * h - e * g, scale = 1 / (a * ei + b * fg + c * dh);
            double[] rows =
            {
                ei, c * h - b * i, b * f - c * e, fg, a * i - c * g, c * d - a * f, dh, b * g - a * h, a * e - b * d,
            };
            for (int r = 0; r < 3; r++)
            {
                double x = rows[3 * r] * scale, y = rows[3 * r + 1] * scale, z = rows[3 * r + 2] * scale;
                result[ri + 4 * r] = x;
                result[ri + 4 * r + 1] = y;
                result[ri + 4 * r + 2] = z;
                result[ri + 4 * r + 3] = -(x * m[mi + 3] + y * m[mi + 7] + z * m[mi + 11]);
            }
        }
    }

    /// <summary>A unit quaternion.</summary>
    public struct Rotation
    {
        public double W, X, Y, Z;

        public Rotation(double w, double x, double y, double z)
        {
            W = w;
            X = x;
            Y = y;
            Z = z;
        }

        /// <summary>wxyz at a place of an array.</summary>
        public static Rotation Read(float[] from, int at) =>
            new Rotation(from[at], from[at + 1], from[at + 2], from[at + 3]);

        /// <summary>The rotation of a vector: its length is the angle [rad].</summary>
        public static Rotation FromRotationVector(double x, double y, double z)
        {
            double angle = Math.Sqrt(x * x + y * y + z * z);
            double factor = angle < 1e-6 ? 0.5 - angle * angle / 48 : Math.Sin(angle / 2) / angle;
            return new Rotation(Math.Cos(angle / 2), factor * x, factor * y, factor * z);
        }

        /// <summary>The rotation b, then a.</summary>
        public static Rotation operator *(Rotation a, Rotation b) => new Rotation(
            a.W * b.W - a.X * b.X - a.Y * b.Y - a.Z * b.Z, a.W * b.X + a.X * b.W + a.Y * b.Z - a.Z * b.Y,
            a.W * b.Y - a.X * b.Z + a.Y * b.W + a.Z * b.X, a.W * b.Z + a.X * b.Y - a.Y * b.X + a.Z * b.W);

        /// <summary>Along the shortest arc; weight 0 is this, 1 is <paramref name="to"/>.</summary>
        public Rotation SlerpTo(Rotation to, double weight)
        {
            if (weight == 0) return this;
            Rotation step = to * new Rotation(W, -X, -Y, -Z);
            double sign = step.W < 0 ? -1 : 1;
            double sine = Math.Sqrt(step.X * step.X + step.Y * step.Y + step.Z * step.Z);
            double factor = weight * sign * (sine > 1e-8 ? 2 * Math.Atan2(sine, sign * step.W) / sine : 2);
            return FromRotationVector(factor * step.X, factor * step.Y, factor * step.Z) * this;
        }

        /// <summary>As an affine 3x4 without translation.</summary>
        public void ToMatrix(double[] m)
        {
            m[0] = 1 - 2 * (Y * Y + Z * Z);
            m[1] = 2 * (X * Y - W * Z);
            m[2] = 2 * (X * Z + W * Y);
            m[4] = 2 * (X * Y + W * Z);
            m[5] = 1 - 2 * (X * X + Z * Z);
            m[6] = 2 * (Y * Z - W * X);
            m[8] = 2 * (X * Z - W * Y);
            m[9] = 2 * (Y * Z + W * X);
            m[10] = 1 - 2 * (X * X + Y * Y);
            m[3] = m[7] = m[11] = 0;
        }

        /// <summary>
        /// The rotation nearest to the left 3x3 of an affine matrix, w not negative: it maximises q^T A q (Horn 1987);
        /// A, shifted to be positive, is squared until it is of rank one (runtime/fast_skinning.py).
        /// </summary>
        public static Rotation Nearest(double[] m)
        {
            double norm = 0;
            for (int r = 0; r < 12; r += 4) norm += m[r] * m[r] + m[r + 1] * m[r + 1] + m[r + 2] * m[r + 2];
            if (norm < 1e-24) return new Rotation(1, 0, 0, 0);
            double shift = Math.Sqrt(norm / 3);
            double[] p =
            {
                m[0] + m[5] + m[10] + shift, m[9] - m[6], m[2] - m[8], m[4] - m[1],
                m[9] - m[6], m[0] - m[5] - m[10] + shift, m[1] + m[4], m[2] + m[8],
                m[2] - m[8], m[1] + m[4], m[5] - m[0] - m[10] + shift, m[6] + m[9],
                m[4] - m[1], m[2] + m[8], m[6] + m[9], m[10] - m[0] - m[5] + shift,
            };
            var s = new double[16];
            for (int squaring = 0; squaring < 40; squaring++)
            {
                double trace = p[0] + p[5] + p[10] + p[15], square = 0;
                for (int i = 0; i < 16; i++)
                {
                    int row = i & 12, column = i & 3;
                    s[i] = p[row] * p[column] + p[row + 1] * p[4 + column] + p[row + 2] * p[8 + column] +
                           p[row + 3] * p[12 + column];
                    if (row == 4 * column) square += s[i];
                }
                for (int i = 0; i < 16; i++) p[i] = s[i] / square;
                // Only a square has no negative eigenvalues, for which equality means rank one.
                if (squaring > 0 && square > trace * trace * (1 - 1e-13)) break;
            }
            int best = 0;
            for (int c = 1; c < 4; c++)
                if (p[5 * c] > p[5 * best]) best = c;
            double w = p[4 * best], x = p[4 * best + 1], y = p[4 * best + 2], z = p[4 * best + 3];
            double scale = (w < 0 ? -1 : 1) / Math.Sqrt(w * w + x * x + y * y + z * z);
            return new Rotation(w * scale, x * scale, y * scale, z * scale);
        }
    }
}
