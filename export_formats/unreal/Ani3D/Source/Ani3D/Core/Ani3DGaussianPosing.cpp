#include <algorithm>
#include <cmath>

#include "Ani3DClipSampler.h"
#include "Ani3DRotation.h"

namespace ani3d
{
namespace
{
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
