// A clip over time, two of them mixed, and the posing of Gaussians (Ani3DGaussianPosing.cpp): runtime/actor.py,
// stage_reference.py, skinning.py and offsets.py in plain C++17.
#pragma once

#include <cstdint>
#include <vector>

#include "Ani3DBundle.h"

namespace ani3d
{
/** Two neighbouring stored frames of one clip, and how much of what is shown they are. */
struct Layer
{
    int clip = 0, before = 0, after = 0;
    double weight = 0;                   // of `after`, in [0, 1)
    double share = 1;                    // over the layers below, in [0, 1]
    double beforeX = 0, beforeZ = 0, afterX = 0, afterZ = 0;  // the way that earlier loops went [m]
    uint32_t firstStep = 0;              // of its lists in Frame::steps
    uint32_t ends[4] = {};               // of the lists: centres, rotations before, rotations after, log scales
};

/** What an avatar shows at a moment. */
struct Frame
{
    std::vector<Layer> layers;           // from the lowest up
    std::vector<double> joints;          // [J 12] world from joint, row-major 3x4
    std::vector<double> skinning;        // [J 12] rest-pose points to posed points
    std::vector<float> steps;            // (x, y, z, layer): a group is mean + sum of step.xyz * texels[layer]
};

/** How to repeat a clip, as runtime/actor_loop.py decides it. */
Loop LoopOf(const Clip& clip);

/**
 * Show a clip at a time [s], mixed with a share of 0..1 over what was added before. A looping clip's time may grow
 * without end; otherwise the ends hold.
 */
void AddClip(const Bundle& bundle, int clip, double seconds, bool loop, double share, Frame& frame);

/** Joints, skinning and steps of the frame's layers. Without root motion the root stays above its rest place. */
void Sample(const Bundle& bundle, bool rootMotion, bool residual, Frame& frame);

/** A fade that begins and ends at rest: 3 s^2 - 2 s^3. */
double Smooth(double share);

/** Posed Gaussians, wxyz; what the compute shader gives, on the CPU. */
struct PosedGaussians
{
    std::vector<float> means, quats, logScales;
};

/** Pose the first `count` Gaussians. */
void PoseGaussians(const Bundle& bundle, const Frame& frame, int count, bool residual, PosedGaussians& posed);
}
