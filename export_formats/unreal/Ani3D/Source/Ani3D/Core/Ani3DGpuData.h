// The arrays of the shaders' buffers (Shaders/Private/Ani3DKernels.ush names them).
#pragma once

#include <cstdint>
#include <vector>

#include "Ani3DBundle.h"

namespace ani3d
{
/** RestMeans: centre, opacity. */
std::vector<float> GpuRestMeans(const Gaussians& gaussians);
/** RestLogScales: log scales, 0. */
std::vector<float> GpuRestLogScales(const Gaussians& gaussians);
/** Rows: each Gaussian's row in the clip's residual, -1 where it is rigid. */
std::vector<int32_t> GpuRows(const Gaussians& gaussians, const Clip& clip);
/** Colors: sRGB, opacity. */
std::vector<float> GpuColors(const Gaussians& gaussians);
/** SkinWords: joint in the upper half of each word, weight in the lower. */
std::vector<uint32_t> GpuSkin(const Rig& rig);
/** GroupMeans: M of the centres, M of the rotations, M of the log scales; never empty. */
std::vector<float> GpuGroupMeans(const Clip& clip);
/** …Texels: one word (8 bit) or two (16 bit) a texel, x lowest; never empty. */
std::vector<uint32_t> GpuTexels(const OffsetTexture& texture);
/** Words a texel of a …Texels buffer. */
inline uint32_t GpuTexelWords(const OffsetTexture& texture) { return texture.wideTexels ? 2 : 1; }
/** The farthest a Gaussian comes from the root joint [m]: twice the rest pose's reach. */
float Reach(const Bundle& bundle);
}
