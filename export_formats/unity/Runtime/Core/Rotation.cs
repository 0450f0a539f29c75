using System;

namespace Ani3D.Core
{
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
            Row(m, mi, result, ri, ei * scale, (c * h - b * i) * scale, (b * f - c * e) * scale);
            Row(m, mi, result, ri + 4, fg * scale, (a * i - c * g) * scale, (c * d - a * f) * scale);
            Row(m, mi, result, ri + 8, dh * scale, (b * g - a * h) * scale, (a * e - b * d) * scale);
        }

        static void Row(double[] m, int mi, double[] result, int at, double x, double y, double z)
        {
            result[at] = x;
            result[at + 1] = y;
            result[at + 2] = z;
            result[at + 3] = -(x * m[mi + 3] + y * m[mi + 7] + z * m[mi + 11]);
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
        /// <paramref name="scratch"/> holds 32 values.
        /// </summary>
        public static Rotation Nearest(double[] m, double[] scratch)
        {
            double norm = 0;
            for (int r = 0; r < 12; r += 4) norm += m[r] * m[r] + m[r + 1] * m[r + 1] + m[r + 2] * m[r + 2];
            if (norm < 1e-24) return new Rotation(1, 0, 0, 0);
            double shift = Math.Sqrt(norm / 3);
            double[] p = scratch;
            p[0] = m[0] + m[5] + m[10] + shift;
            p[5] = m[0] - m[5] - m[10] + shift;
            p[10] = m[5] - m[0] - m[10] + shift;
            p[15] = m[10] - m[0] - m[5] + shift;
            p[1] = p[4] = m[9] - m[6];
            p[2] = p[8] = m[2] - m[8];
            p[3] = p[12] = m[4] - m[1];
            p[6] = p[9] = m[1] + m[4];
            p[7] = p[13] = m[2] + m[8];
            p[11] = p[14] = m[6] + m[9];
            for (int squaring = 0; squaring < 40; squaring++)
            {
                double trace = p[0] + p[5] + p[10] + p[15], square = 0;
                for (int i = 0; i < 16; i++)
                {
                    int row = i & 12, column = i & 3;
                    double value = p[row] * p[column] + p[row + 1] * p[4 + column] + p[row + 2] * p[8 + column] +
                                   p[row + 3] * p[12 + column];
                    p[16 + i] = value;
                    if (row == 4 * column) square += value;
                }
                for (int i = 0; i < 16; i++) p[i] = p[16 + i] / square;
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
