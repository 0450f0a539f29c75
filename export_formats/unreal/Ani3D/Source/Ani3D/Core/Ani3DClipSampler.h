// A clip over time, and the posing of Gaussians: runtime/player.py, skinning.py and offsets.py in plain C++17.
#pragma once

#include <cstdint>
#include <vector>

#include "Ani3DBundle.h"

namespace ani3d
{
/** What a moment needs of a clip. */
struct Frame
{
    std::vector<double> joints;    // [J 12] world from joint, row-major 3x4
    std::vector<double> skinning;  // [J 12] rest-pose points to posed points
    std::vector<float> steps;      // (x, y, z, layer): a group is mean + sum of step.xyz * texels[layer]
    uint32_t ends[4] = {};         // of the lists: centres, rotations before, rotations after, log scales
    float turn = 0;                // between the two rotations
};

/** The fractional frame, 0..T-1, shown at a time [s]; a looping clip interpolates nothing at its seam. */
double FrameAt(const Clip& clip, double seconds, bool loop);

/** The moment at a fractional frame. */
Frame Sample(const Rig& rig, const Clip& clip, double frameAt);

/** A third of the log of what the first `count` Gaussians' areas grow by to cover what all did (BUNDLE.md, Order). */
float LevelGrowth(const Gaussians& gaussians, int count);

/** Posed Gaussians, wxyz; what the compute shader gives, on the CPU. */
struct PosedGaussians
{
    std::vector<float> means, quats, logScales;
};

/** Pose the first `count` Gaussians. */
void PoseGaussians(const Bundle& bundle, const Clip& clip, const Frame& frame, int count, bool residual, float growth,
                   PosedGaussians& posed);
}
