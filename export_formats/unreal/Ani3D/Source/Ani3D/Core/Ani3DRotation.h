// Rotations as quaternions and affine matrices: runtime/rotations.py in plain C++17. Matrices are row-major 3x4.
#pragma once

#include <algorithm>
#include <cmath>

namespace ani3d
{
struct Quat
{
    double w, x, y, z;
};

inline Quat ReadQuat(const float* from) { return {from[0], from[1], from[2], from[3]}; }

inline void StoreQuat(const Quat& q, float* to)
{
    to[0] = static_cast<float>(q.w);
    to[1] = static_cast<float>(q.x);
    to[2] = static_cast<float>(q.y);
    to[3] = static_cast<float>(q.z);
}

/** The rotation b, then a. */
inline Quat operator*(const Quat& a, const Quat& b)
{
    return {a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
            a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

/** The rotation of a vector whose length is the angle [rad]. */
inline Quat FromRotationVector(double x, double y, double z)
{
    const double angle = std::sqrt(x * x + y * y + z * z);
    const double factor = angle < 1e-6 ? 0.5 - angle * angle / 48 : std::sin(angle / 2) / angle;
    return {std::cos(angle / 2), factor * x, factor * y, factor * z};
}

/** Along the shortest arc. */
inline Quat Slerp(const Quat& a, const Quat& b, double weight)
{
    if (weight == 0) return a;
    const Quat step = b * Quat{a.w, -a.x, -a.y, -a.z};
    const double sign = step.w < 0 ? -1 : 1;
    const double sine = std::sqrt(step.x * step.x + step.y * step.y + step.z * step.z);
    const double factor = weight * sign * (sine > 1e-8 ? 2 * std::atan2(sine, sign * step.w) / sine : 2);
    return FromRotationVector(factor * step.x, factor * step.y, factor * step.z) * a;
}

/** As an affine 3x4 without translation. */
inline void ToMatrix(const Quat& q, double* m)
{
    const double values[12] = {
        1 - 2 * (q.y * q.y + q.z * q.z), 2 * (q.x * q.y - q.w * q.z), 2 * (q.x * q.z + q.w * q.y), 0,
        2 * (q.x * q.y + q.w * q.z), 1 - 2 * (q.x * q.x + q.z * q.z), 2 * (q.y * q.z - q.w * q.x), 0,
        2 * (q.x * q.z - q.w * q.y), 2 * (q.y * q.z + q.w * q.x), 1 - 2 * (q.x * q.x + q.y * q.y), 0};
    std::copy(values, values + 12, m);
}

/**
 * The rotation nearest to the left 3x3 of an affine matrix, w not negative: it maximises q^T A q (Horn 1987); A,
 * shifted to be positive, is squared until it is of rank one (runtime/fast_skinning.py).
 */
inline Quat NearestRotation(const double* m)
{
    double norm = 0;
    for (int r = 0; r < 12; r += 4) norm += m[r] * m[r] + m[r + 1] * m[r + 1] + m[r + 2] * m[r + 2];
    if (norm < 1e-24) return {1, 0, 0, 0};
    const double shift = std::sqrt(norm / 3);
    double p[16] = {m[0] + m[5] + m[10] + shift, m[9] - m[6], m[2] - m[8], m[4] - m[1],
                    m[9] - m[6], m[0] - m[5] - m[10] + shift, m[1] + m[4], m[2] + m[8],
                    m[2] - m[8], m[1] + m[4], m[5] - m[0] - m[10] + shift, m[6] + m[9],
                    m[4] - m[1], m[2] + m[8], m[6] + m[9], m[10] - m[0] - m[5] + shift};
    for (int squaring = 0; squaring < 40; squaring++)
    {
        const double trace = p[0] + p[5] + p[10] + p[15];
        double s[16], square = 0;
        for (int i = 0; i < 16; i++)
        {
            const int row = i & 12, column = i & 3;
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
    const double* q = p + 4 * best;
    const double scale = (q[0] < 0 ? -1 : 1) / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    return {q[0] * scale, q[1] * scale, q[2] * scale, q[3] * scale};
}

/** result = a b, affine 3x4; result may not be a or b. */
inline void Multiply(const double* a, const double* b, double* result)
{
    for (int r = 0; r < 12; r += 4)
    {
        for (int c = 0; c < 4; c++) result[r + c] = a[r] * b[c] + a[r + 1] * b[4 + c] + a[r + 2] * b[8 + c];
        result[r + 3] += a[r + 3];
    }
}

inline void Inverse(const double* m, double* result)
{
    const double a = m[0], b = m[1], c = m[2], d = m[4], e = m[5], f = m[6], g = m[8], h = m[9], i = m[10];
    const double rows[9] = {e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f,
                            d * h - e * g, b * g - a * h, a * e - b * d};
    const double scale = 1 / (a * rows[0] + b * rows[3] + c * rows[6]);
    for (int r = 0; r < 3; r++)
    {
        for (int k = 0; k < 3; k++) result[4 * r + k] = rows[3 * r + k] * scale;
        result[4 * r + 3] = -(result[4 * r] * m[3] + result[4 * r + 1] * m[7] + result[4 * r + 2] * m[11]);
    }
}
}
