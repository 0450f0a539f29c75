#include "Ani3DGpuData.h"

#include <algorithm>
#include <cmath>

namespace ani3d
{
namespace
{
std::vector<float> Wide(const std::vector<float>& triples, const std::vector<float>& fourth)
{
    std::vector<float> values(4 * fourth.size());
    for (size_t n = 0; n < fourth.size(); n++)
    {
        std::copy(triples.begin() + 3 * n, triples.begin() + 3 * n + 3, values.begin() + 4 * n);
        values[4 * n + 3] = fourth[n];
    }
    return values;
}
}

std::vector<float> GpuRestMeans(const Gaussians& gaussians) { return Wide(gaussians.means, gaussians.opacities); }

std::vector<float> GpuRestLogScales(const Gaussians& gaussians)
{
    return Wide(gaussians.logScales, std::vector<float>(static_cast<size_t>(gaussians.count)));
}

std::vector<int32_t> GpuRows(const Gaussians& gaussians, const Clip& clip)
{
    std::vector<int32_t> rows(static_cast<size_t>(gaussians.count), -1);
    for (size_t row = 0; row < clip.moving.size(); row++) rows[clip.moving[row]] = static_cast<int32_t>(row);
    return rows;
}

std::vector<float> GpuColors(const Gaussians& gaussians) { return Wide(gaussians.colors, gaussians.opacities); }

std::vector<uint32_t> GpuSkin(const Rig& rig)
{
    std::vector<uint32_t> words(rig.skinJoints.size());
    for (size_t i = 0; i < words.size(); i++)
        words[i] = static_cast<uint32_t>(rig.skinJoints[i]) << 16 | rig.skinWeights[i];
    return words;
}

std::vector<float> GpuGroupMeans(const Clip& clip)
{
    const size_t rows = clip.moving.size();
    std::vector<float> values(12 * std::max<size_t>(rows, 1));
    const OffsetTexture* groups[] = {&clip.dMeans, &clip.dRotations, &clip.dLogScales};
    for (size_t g = 0; g < 3; g++)
        for (size_t i = 0; i < 3 * rows; i++) values[4 * (g * rows + i / 3) + i % 3] = groups[g]->mean[i];
    return values;
}

std::vector<uint32_t> GpuTexels(const OffsetTexture& texture)
{
    const size_t count = texture.texels.size() / 3, words = texture.wideTexels ? 2 : 1;
    std::vector<uint32_t> packed(std::max<size_t>(count * words, 1));
    for (size_t i = 0; i < count; i++)
    {
        const uint32_t mask = texture.wideTexels ? 0xffff : 0xff;
        const uint32_t x = static_cast<uint32_t>(texture.texels[3 * i]) & mask;
        const uint32_t y = static_cast<uint32_t>(texture.texels[3 * i + 1]) & mask;
        const uint32_t z = static_cast<uint32_t>(texture.texels[3 * i + 2]) & mask;
        packed[words * i] = texture.wideTexels ? x | y << 16 : x | y << 8 | z << 16;
        if (texture.wideTexels) packed[words * i + 1] = z;
    }
    return packed;
}

float Reach(const Bundle& bundle)
{
    double farthest = 0;
    for (int n = 0; n < bundle.gaussians.count; n++)
    {
        double squares = 0;
        for (int c = 0; c < 3; c++)
        {
            const double d = bundle.gaussians.means[3 * n + c] - bundle.rig.rest[4 * c + 3];
            squares += d * d;
        }
        farthest = std::max(farthest, squares);
    }
    return static_cast<float>(2 * std::sqrt(farthest) + 0.1);
}
}
