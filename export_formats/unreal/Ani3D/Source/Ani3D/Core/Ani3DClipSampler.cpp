#include "Ani3DClipSampler.h"

#include <algorithm>
#include <cmath>

#include "Ani3DRotation.h"

namespace ani3d
{
namespace
{
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
}
