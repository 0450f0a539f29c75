namespace Ani3D.Core
{
    /// <summary>
    /// Between the core's axes (right-handed, +Y up, the figure faces +Z, its left at +X) and Unity's (left-handed,
    /// +Y up, +Z forward, +X right): x is mirrored. Matrices are row-major 4x4 and multiply column vectors.
    /// </summary>
    public static class Axes
    {
        /// <summary>
        /// Three rows (12 floats) that take a point of the core to a camera with x right, y down, z forward.
        /// <paramref name="worldToCamera"/> is Unity's: x right, y up, looking along -z.
        /// </summary>
        public static void ViewRows(double[] localToWorld, double[] worldToCamera, float[] rows)
        {
            for (int r = 0; r < 3; r++)
                for (int c = 0; c < 4; c++)
                {
                    double sum = 0;
                    for (int k = 0; k < 4; k++) sum += worldToCamera[4 * r + k] * localToWorld[4 * k + c];
                    rows[4 * r + c] = (float)((r == 0 ? sum : -sum) * (c == 0 ? -1 : 1));
                }
        }

        /// <summary>
        /// fx, fy, cx, cy, y down, of a projection as Unity's Camera.projectionMatrix has it: in pixels of a perspective
        /// camera, in pixels per metre of an orthographic one.
        /// </summary>
        public static void Pinhole(double[] projection, int width, int height, bool orthographic, float[] pinhole)
        {
            double x = orthographic ? projection[3] : -projection[2], y = orthographic ? -projection[7] : projection[6];
            pinhole[0] = (float)(0.5 * width * projection[0]);
            pinhole[1] = (float)(0.5 * height * projection[5]);
            pinhole[2] = (float)(0.5 * width * (1 + x));
            pinhole[3] = (float)(0.5 * height * (1 + y));
        }
    }
}
