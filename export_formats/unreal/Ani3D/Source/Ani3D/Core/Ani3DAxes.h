// Between the core's axes (right-handed, +Y up, figure faces +Z, its left at +X, metres) and Unreal's (left-handed,
// +Z up, +X forward, +Y right, centimetres). Unreal's 4x4 matrices are row-major and multiply row vectors.
#pragma once

namespace ani3d
{
constexpr double UnrealPerMetre = 100;

/** A point of the core as Unreal has it: forward, right, up. */
inline void ToUnreal(const double point[3], double unreal[3])
{
    const double x = point[0], y = point[1], z = point[2];
    unreal[0] = UnrealPerMetre * z;
    unreal[1] = -UnrealPerMetre * x;
    unreal[2] = UnrealPerMetre * y;
}

/**
 * Three rows (12 floats) that take a point of the core [m] to a camera with x right, y down, z forward [m].
 * `localToWorld` places the component; `view` is Unreal's world to view (x right, y up, z forward).
 */
inline void ViewRows(const double localToWorld[16], const double view[16], float rows[12])
{
    // Images of the core's origin and axes, through Unreal's local, world and view space.
    static const double points[4][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {0, 0, 0}};
    static const double flips[3] = {1, -1, 1};
    double images[4][3];
    for (int i = 0; i < 4; i++)
    {
        double local[4] = {0, 0, 0, 1}, world[4];
        ToUnreal(points[i], local);
        for (int c = 0; c < 4; c++)
        {
            world[c] = 0;
            for (int k = 0; k < 4; k++) world[c] += local[k] * localToWorld[4 * k + c];
        }
        for (int c = 0; c < 3; c++)
        {
            images[i][c] = 0;
            for (int k = 0; k < 4; k++) images[i][c] += world[k] * view[4 * k + c];
            images[i][c] *= flips[c] / UnrealPerMetre;
        }
    }
    for (int r = 0; r < 3; r++)
        for (int i = 0; i < 4; i++)
            rows[4 * r + i] = static_cast<float>(i < 3 ? images[i][r] - images[3][r] : images[3][r]);
}

/**
 * fx, fy, cx, cy, y down, of Unreal's view to clip matrix: in pixels of a perspective view, in pixels per metre of an
 * orthographic one.
 */
inline void Pinhole(const double projection[16], int width, int height, bool orthographic, float pinhole[4])
{
    const double unit = orthographic ? UnrealPerMetre : 1;
    const double x = orthographic ? projection[12] : projection[8], y = orthographic ? projection[13] : projection[9];
    pinhole[0] = static_cast<float>(0.5 * width * projection[0] * unit);
    pinhole[1] = static_cast<float>(0.5 * height * projection[5] * unit);
    pinhole[2] = static_cast<float>(0.5 * width * (1 + x));
    pinhole[3] = static_cast<float>(0.5 * height * (1 - y));
}
}
