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

/** The largest turn of a joint between two frames [rad]. */
double Turn(const Clip& clip, size_t from, size_t to)
{
    const size_t values = clip.quats.size() / static_cast<size_t>(clip.frames);
    double largest = 0;
    for (size_t at = 0; at < values; at += 4)
    {
        double dot = 0;
        for (size_t c = 0; c < 4; c++)
            dot += static_cast<double>(clip.quats[from * values + at + c]) * clip.quats[to * values + at + c];
        largest = std::max(largest, 2 * std::acos(std::min(std::fabs(dot), 1.0)));
    }
    return largest;
}

double Rise(const Clip& clip, size_t from, size_t to)
{
    return std::fabs(static_cast<double>(clip.roots[3 * to + 1]) - clip.roots[3 * from + 1]);
}

Layer MakeLayer(int clip, double frame, int last, double share, double x, double z)
{
    Layer layer;
    layer.clip = clip;
    layer.before = std::min(static_cast<int>(std::floor(frame)), last);
    layer.after = std::min(layer.before + 1, last);
    layer.weight = frame - layer.before;
    layer.share = share;
    layer.beforeX = layer.afterX = x;
    layer.beforeZ = layer.afterZ = z;
    return layer;
}

/** The root's offset [3] and the joints' local rotations of all layers, mixed. */
void MixPoses(const Bundle& bundle, const Frame& frame, double* root, std::vector<Quat>& rotations)
{
    const size_t joints = rotations.size();
    for (size_t l = 0; l < frame.layers.size(); l++)
    {
        const Layer& layer = frame.layers[l];
        const Clip& clip = bundle.clips[static_cast<size_t>(layer.clip)];
        const size_t before = static_cast<size_t>(layer.before), after = static_cast<size_t>(layer.after);
        const double share = l == 0 ? 1 : layer.share;
        const double early[3] = {layer.beforeX, 0, layer.beforeZ}, late[3] = {layer.afterX, 0, layer.afterZ};
        for (size_t c = 0; c < 3; c++)
        {
            const double own = (1 - layer.weight) * (clip.roots[3 * before + c] + early[c]) +
                               layer.weight * (clip.roots[3 * after + c] + late[c]);
            root[c] = (1 - share) * root[c] + share * own;
        }
        for (size_t j = 0; j < joints; j++)
        {
            const Quat own = Slerp(ReadQuat(clip.quats.data() + 4 * (before * joints + j)),
                                   ReadQuat(clip.quats.data() + 4 * (after * joints + j)), layer.weight);
            rotations[j] = l == 0 ? own : Slerp(rotations[j], own, share);
        }
    }
}

void SampleJoints(const Bundle& bundle, bool rootMotion, Frame& frame)
{
    const Rig& rig = bundle.rig;
    const size_t joints = rig.parents.size();
    frame.joints.resize(12 * joints);
    frame.skinning.resize(12 * joints);
    std::vector<Quat> rotations(joints);
    double root[3] = {}, inverse[12], local[12], turn[12], turned[12];
    MixPoses(bundle, frame, root, rotations);
    if (!rootMotion) root[0] = root[2] = 0;
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
        ToMatrix(rotations[j], turn);
        Multiply(local, turn, turned);
        if (j == 0)
            for (int c = 0; c < 3; c++) turned[4 * c + 3] += root[c];
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

/** mean + sum of the steps of one of a layer's lists. */
Offset Sum(const OffsetTexture& texture, const Frame& frame, const Layer& layer, int list, size_t row)
{
    Offset value = {texture.mean[3 * row], texture.mean[3 * row + 1], texture.mean[3 * row + 2]};
    for (uint32_t i = list == 0 ? layer.firstStep : layer.ends[list - 1]; i < layer.ends[list]; i++)
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

/** What a layer's two frames turn a Gaussian by. */
Quat ResidualTurn(const Clip& clip, const Frame& frame, const Layer& layer, size_t row)
{
    const Offset before = Sum(clip.dRotations, frame, layer, 1, row);
    const Quat turn = FromRotationVector(before.x, before.y, before.z);
    if (layer.weight <= 0) return turn;
    const Offset after = Sum(clip.dRotations, frame, layer, 2, row);
    return Slerp(turn, FromRotationVector(after.x, after.y, after.z), static_cast<float>(layer.weight));
}

/** Rest-pose Gaussians with one layer's residual, mixed over the layers below. */
void AddLayer(const Bundle& bundle, const Frame& frame, size_t l, size_t count, bool residual, float growth,
              PosedGaussians& posed)
{
    const Gaussians& rest = bundle.gaussians;
    const Layer& layer = frame.layers[l];
    const Clip& clip = bundle.clips[static_cast<size_t>(layer.clip)];
    const float share = l == 0 ? 1 : static_cast<float>(layer.share);
    size_t row = 0;
    for (size_t n = 0; n < count; n++)
    {
        Offset mean = {}, scale = {};
        Quat own = ReadQuat(rest.quats.data() + 4 * n);
        if (row < clip.moving.size() && clip.moving[row] == n)
        {
            if (residual)
            {
                mean = Sum(clip.dMeans, frame, layer, 0, row);
                own = ResidualTurn(clip, frame, layer, row) * own;
                scale = Sum(clip.dLogScales, frame, layer, 3, row);
            }
            row++;
        }
        const float* logScales = rest.logScales.data() + 3 * n;
        const auto thinnest = std::min_element(logScales, logScales + 3) - logScales;
        const float means[3] = {mean.x, mean.y, mean.z}, scales[3] = {scale.x, scale.y, scale.z};
        for (size_t c = 0; c < 3; c++)
        {
            float& center = posed.means[3 * n + c];
            center = (1 - share) * center + share * (rest.means[3 * n + c] + means[c]);
            float& logScale = posed.logScales[3 * n + c];
            const float grown = logScales[c] + scales[c] + (static_cast<size_t>(thinnest) == c ? 0 : growth);
            logScale = (1 - share) * logScale + share * grown;
        }
        float* quat = posed.quats.data() + 4 * n;
        StoreQuat(l == 0 ? own : Slerp(ReadQuat(quat), own, share), quat);
    }
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

double Smooth(double share)
{
    share = std::min(std::max(share, 0.0), 1.0);
    return share * share * (3 - 2 * share);
}

Loop LoopOf(const Clip& clip)
{
    constexpr double seamTolerance = 2, fadeSeconds = 0.25;
    Loop loop;
    loop.period = clip.frames;
    if (clip.frames < 3) return loop;
    const size_t last = static_cast<size_t>(clip.frames) - 1;
    double fastestTurn = 0, fastestRise = 0;
    for (size_t t = 0; t < last; t++)
    {
        fastestTurn = std::max(fastestTurn, Turn(clip, t, t + 1));
        fastestRise = std::max(fastestRise, Rise(clip, t, t + 1));
    }
    loop.closed = Turn(clip, last, 0) <= seamTolerance * fastestTurn + 1e-3 &&
                  Rise(clip, last, 0) <= seamTolerance * fastestRise + 1e-3;
    if (!loop.closed) loop.fade = std::min(static_cast<int>(std::nearbyint(fadeSeconds * clip.fps)), clip.frames / 3);
    loop.period = clip.frames - loop.fade;
    // A closed clip's last step is not stored; it goes as far as the mean of the others.
    const size_t end = loop.closed ? last : loop.fade > 0 ? static_cast<size_t>(loop.period) : 0;
    const double share = loop.closed ? clip.frames / static_cast<double>(last) : 1;
    loop.travelX = (clip.roots[3 * end] - static_cast<double>(clip.roots[0])) * share;
    loop.travelZ = (clip.roots[3 * end + 2] - static_cast<double>(clip.roots[2])) * share;
    return loop;
}

void AddClip(const Bundle& bundle, int clipIndex, double seconds, bool loop, double share, Frame& frame)
{
    const Clip& clip = bundle.clips[static_cast<size_t>(clipIndex)];
    const Loop& looping = clip.loop;
    const int last = clip.frames - 1;
    double at = seconds * clip.fps;
    const double nearest = std::floor(at + 0.5);
    // t / fps * fps may be a rounding error away from t; whole frames need no interpolation.
    if (std::fabs(at - nearest) < 1e-6) at = nearest;
    if (!loop)
    {
        const double held = std::min(std::max(at, 0.0), static_cast<double>(last));
        frame.layers.push_back(MakeLayer(clipIndex, held, last, share, 0, 0));
        return;
    }
    // The first pass begins at frame 0, later ones at frame `fade`, where the fade has led.
    const bool begun = at >= 0 && at < looping.fade;
    const double turns = begun ? 0 : std::floor((at - looping.fade) / looping.period);
    const double place = at - turns * looping.period, x = turns * looping.travelX, z = turns * looping.travelZ;
    if (looping.closed && place > last)
    {
        Layer seam = MakeLayer(clipIndex, last, last, share, x, z);
        seam.after = 0;
        seam.weight = place - last;
        seam.afterX += looping.travelX;
        seam.afterZ += looping.travelZ;
        frame.layers.push_back(seam);
        return;
    }
    const double head = place - looping.period, held = std::min(place, static_cast<double>(last));
    if (head < 0 || looping.fade == 0)
    {
        frame.layers.push_back(MakeLayer(clipIndex, held, last, share, x, z));
        return;
    }
    // Of two layers mixed over others, the upper keeps its share of the lower.
    const double upper = share * Smooth(head / looping.fade);
    frame.layers.push_back(MakeLayer(clipIndex, held, last, (share - upper) / std::max(1 - upper, 1e-9), x, z));
    frame.layers.push_back(MakeLayer(clipIndex, head, last, upper, x + looping.travelX, z + looping.travelZ));
}

void Sample(const Bundle& bundle, bool rootMotion, bool residual, Frame& frame)
{
    SampleJoints(bundle, rootMotion, frame);
    frame.steps.clear();
    const auto end = [&frame] { return static_cast<uint32_t>(frame.steps.size() / 4); };
    for (Layer& layer : frame.layers)
    {
        const Clip& clip = bundle.clips[static_cast<size_t>(layer.clip)];
        const bool moving = residual && !clip.moving.empty();
        layer.firstStep = end();
        if (moving) AddSteps(frame.steps, clip.dMeans, layer.before, layer.after, layer.weight);
        layer.ends[0] = end();
        if (moving) AddSteps(frame.steps, clip.dRotations, layer.before, layer.before, 0);
        layer.ends[1] = end();
        if (moving && layer.weight > 0) AddSteps(frame.steps, clip.dRotations, layer.after, layer.after, 0);
        layer.ends[2] = end();
        if (moving) AddSteps(frame.steps, clip.dLogScales, layer.before, layer.after, layer.weight);
        layer.ends[3] = end();
    }
}

float Gaussians::Growth(int first) const
{
    const double ratio = std::min(areas.back() / std::max(areas[static_cast<size_t>(first)], 1e-300),
                                  static_cast<double>(count) / first);
    return static_cast<float>(std::log(std::max(ratio, 1.0)) / 3);
}

void PoseGaussians(const Bundle& bundle, const Frame& frame, int count, bool residual, PosedGaussians& posed)
{
    const size_t rows = static_cast<size_t>(count);
    posed.means.assign(3 * rows, 0);
    posed.quats.assign(4 * rows, 0);
    posed.logScales.assign(3 * rows, 0);
    const float growth = bundle.gaussians.Growth(count);
    for (size_t l = 0; l < frame.layers.size(); l++) AddLayer(bundle, frame, l, rows, residual, growth, posed);
    for (size_t n = 0; n < rows; n++) Skin(bundle.rig, frame.skinning, n, posed);
}
}
