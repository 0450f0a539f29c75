#include "Ani3DClipSampler.h"

#include <algorithm>
#include <cmath>

namespace ani3d
{
namespace
{
struct Quat
{
    double w, x, y, z;
};

Quat ReadQuat(const float* from) { return {from[0], from[1], from[2], from[3]}; }

/** The rotation b, then a. */
Quat operator*(const Quat& a, const Quat& b)
{
    return {a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
            a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

/** The rotation of a vector whose length is the angle [rad]. */
Quat FromRotationVector(double x, double y, double z)
{
    const double angle = std::sqrt(x * x + y * y + z * z);
    const double factor = angle < 1e-6 ? 0.5 - angle * angle / 48 : std::sin(angle / 2) / angle;
    return {std::cos(angle / 2), factor * x, factor * y, factor * z};
}

/** Along the shortest arc. */
Quat Slerp(const Quat& a, const Quat& b, double weight)
{
    if (weight == 0) return a;
    const Quat step = b * Quat{a.w, -a.x, -a.y, -a.z};
    const double sign = step.w < 0 ? -1 : 1;
    const double sine = std::sqrt(step.x * step.x + step.y * step.y + step.z * step.z);
    const double factor = weight * sign * (sine > 1e-8 ? 2 * std::atan2(sine, sign * step.w) / sine : 2);
    return FromRotationVector(factor * step.x, factor * step.y, factor * step.z) * a;
}

/** As an affine 3x4 without translation. */
void ToMatrix(const Quat& q, double* m)
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
Quat NearestRotation(const double* m)
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
void Multiply(const double* a, const double* b, double* result)
{
    for (int r = 0; r < 12; r += 4)
    {
        for (int c = 0; c < 4; c++) result[r + c] = a[r] * b[c] + a[r + 1] * b[4 + c] + a[r + 2] * b[8 + c];
        result[r + 3] += a[r + 3];
    }
}

void Inverse(const double* m, double* result)
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

void SampleJoints(const Rig& rig, const Clip& clip, int before, int after, double weight, Frame& frame)
{
    const size_t joints = rig.parents.size();
    frame.joints.resize(12 * joints);
    frame.skinning.resize(12 * joints);
    double inverse[12], local[12], turn[12], turned[12];
    for (size_t j = 0; j < joints; j++)
    {
        const int parent = rig.parents[j];
        const double* rest = rig.rest.data() + 12 * j;
        if (parent < 0) std::copy(rest, rest + 12, local);
        else
        {
            Inverse(rig.rest.data() + 12 * parent, inverse);
            Multiply(inverse, rest, local);
        }
        ToMatrix(Slerp(ReadQuat(clip.quats.data() + 4 * (before * joints + j)),
                       ReadQuat(clip.quats.data() + 4 * (after * joints + j)), weight), turn);
        Multiply(local, turn, turned);
        if (j == 0)
            for (int c = 0; c < 3; c++)
                turned[4 * c + 3] += (1 - weight) * clip.roots[3 * before + c] + weight * clip.roots[3 * after + c];
        double* joint = frame.joints.data() + 12 * j;
        if (parent < 0) std::copy(turned, turned + 12, joint);
        else Multiply(frame.joints.data() + 12 * parent, turned, joint);
        Inverse(rest, inverse);
        Multiply(joint, inverse, frame.skinning.data() + 12 * j);
    }
}

void AddStep(std::vector<float>& steps, const OffsetTexture& texture, int layer, float factor)
{
    if (factor == 0) return;
    for (int c = 0; c < 3; c++) steps.push_back(factor * texture.scales[3 * layer + c]);
    steps.push_back(static_cast<float>(layer));
}

/** One sum's steps. A group is linear in its coefficients: those are interpolated, not values. */
void AddSteps(std::vector<float>& steps, const OffsetTexture& texture, int before, int after, double weight)
{
    if (texture.dense)
    {
        AddStep(steps, texture, before, static_cast<float>(1 - weight));
        AddStep(steps, texture, after, static_cast<float>(weight));
        return;
    }
    const float* early = texture.coefficients.data() + static_cast<size_t>(before) * texture.layers;
    const float* late = texture.coefficients.data() + static_cast<size_t>(after) * texture.layers;
    for (int k = 0; k < texture.layers; k++)
        AddStep(steps, texture, k, static_cast<float>((1 - weight) * early[k] + weight * late[k]));
}

struct Offset
{
    float x, y, z;
};

/** mean + sum of the steps of one list. */
Offset Sum(const OffsetTexture& texture, const Frame& frame, int list, size_t row)
{
    Offset value = {texture.mean[3 * row], texture.mean[3 * row + 1], texture.mean[3 * row + 2]};
    for (uint32_t i = list == 0 ? 0 : frame.ends[list - 1]; i < frame.ends[list]; i++)
    {
        const float* step = frame.steps.data() + 4 * i;
        const int16_t* texel = texture.texels.data() + static_cast<size_t>(step[3]) * texture.mean.size() + 3 * row;
        value.x += step[0] * texel[0];
        value.y += step[1] * texel[1];
        value.z += step[2] * texel[2];
    }
    return value;
}

void StoreQuat(const Quat& q, float* to)
{
    to[0] = static_cast<float>(q.w);
    to[1] = static_cast<float>(q.x);
    to[2] = static_cast<float>(q.y);
    to[3] = static_cast<float>(q.z);
}

void AddResidual(const Clip& clip, const Frame& frame, size_t row, PosedGaussians& posed)
{
    const size_t n = clip.moving[row];
    const Offset mean = Sum(clip.dMeans, frame, 0, row), scale = Sum(clip.dLogScales, frame, 3, row);
    const Offset rotation = Sum(clip.dRotations, frame, 1, row);
    Quat turn = FromRotationVector(rotation.x, rotation.y, rotation.z);
    if (frame.turn > 0)
    {
        const Offset after = Sum(clip.dRotations, frame, 2, row);
        turn = Slerp(turn, FromRotationVector(after.x, after.y, after.z), frame.turn);
    }
    posed.means[3 * n] += mean.x;
    posed.means[3 * n + 1] += mean.y;
    posed.means[3 * n + 2] += mean.z;
    posed.logScales[3 * n] += scale.x;
    posed.logScales[3 * n + 1] += scale.y;
    posed.logScales[3 * n + 2] += scale.z;
    StoreQuat(turn * ReadQuat(posed.quats.data() + 4 * n), posed.quats.data() + 4 * n);
}

void Skin(const Rig& rig, const std::vector<double>& skinning, size_t n, PosedGaussians& posed)
{
    double m[12] = {};
    for (size_t w = n * rig.influences; w < (n + 1) * rig.influences; w++)
    {
        const double weight = rig.skinWeights[w] / static_cast<double>(WeightOne);
        const double* joint = skinning.data() + 12 * rig.skinJoints[w];
        for (int i = 0; i < 12; i++) m[i] += weight * joint[i];
    }
    float* mean = posed.means.data() + 3 * n;
    const double x = mean[0], y = mean[1], z = mean[2];
    for (int r = 0; r < 3; r++)
        mean[r] = static_cast<float>(m[4 * r] * x + m[4 * r + 1] * y + m[4 * r + 2] * z + m[4 * r + 3]);
    StoreQuat(NearestRotation(m) * ReadQuat(posed.quats.data() + 4 * n), posed.quats.data() + 4 * n);
}
}

double FrameAt(const Clip& clip, double seconds, bool loop)
{
    double frame = seconds * clip.fps;
    const double nearest = std::floor(frame + 0.5);
    // t / fps * fps may be a rounding error away from t; whole frames need no interpolation.
    if (std::fabs(frame - nearest) < 1e-6) frame = nearest;
    if (loop) frame -= std::floor(frame / clip.frames) * clip.frames;
    return std::min(std::max(frame, 0.0), static_cast<double>(clip.frames - 1));
}

Frame Sample(const Rig& rig, const Clip& clip, double frameAt)
{
    const int before = static_cast<int>(std::floor(frameAt)), after = std::min(before + 1, clip.frames - 1);
    const double weight = frameAt - before;
    Frame frame;
    frame.turn = static_cast<float>(weight);
    SampleJoints(rig, clip, before, after, weight, frame);
    const auto end = [&frame](int list) { frame.ends[list] = static_cast<uint32_t>(frame.steps.size() / 4); };
    AddSteps(frame.steps, clip.dMeans, before, after, weight);
    end(0);
    AddSteps(frame.steps, clip.dRotations, before, before, 0);
    end(1);
    if (weight > 0) AddSteps(frame.steps, clip.dRotations, after, after, 0);
    end(2);
    AddSteps(frame.steps, clip.dLogScales, before, after, weight);
    end(3);
    return frame;
}

float LevelGrowth(const Gaussians& gaussians, int count)
{
    double all = 0, first = 0;
    for (int n = 0; n < gaussians.count; n++)
    {
        const double x = gaussians.logScales[3 * n], y = gaussians.logScales[3 * n + 1], z = gaussians.logScales[3 * n + 2];
        const double area = std::exp(std::min(x + y + z - std::min({x, y, z}), 50.0)) * gaussians.opacities[n];
        all += area;
        if (n < count) first += area;
    }
    const double ratio = std::min(all / std::max(first, 1e-300), static_cast<double>(gaussians.count) / count);
    return static_cast<float>(std::log(std::max(ratio, 1.0)) / 3);
}

void PoseGaussians(const Bundle& bundle, const Clip& clip, const Frame& frame, int count, bool residual, float growth,
                   PosedGaussians& posed)
{
    const Gaussians& rest = bundle.gaussians;
    posed.means.assign(rest.means.begin(), rest.means.begin() + 3 * count);
    posed.quats.assign(rest.quats.begin(), rest.quats.begin() + 4 * count);
    posed.logScales.assign(rest.logScales.begin(), rest.logScales.begin() + 3 * count);
    for (int n = 0; n < count; n++)
    {
        float* scales = posed.logScales.data() + 3 * n;
        const auto thinnest = std::min_element(scales, scales + 3) - scales;
        for (int c = 0; c < 3; c++) scales[c] += c == thinnest ? 0 : growth;
    }
    if (residual)
        for (size_t row = 0; row < clip.moving.size() && clip.moving[row] < static_cast<uint32_t>(count); row++)
            AddResidual(clip, frame, row, posed);
    for (int n = 0; n < count; n++) Skin(bundle.rig, frame.skinning, static_cast<size_t>(n), posed);
}
}
