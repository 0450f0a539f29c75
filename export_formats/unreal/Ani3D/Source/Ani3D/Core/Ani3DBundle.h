// A bundle (BUNDLE.md), checked and decoded as runtime/bundle.py does. Plain C++17, no Unreal types, no exceptions.
// Metres, right-handed, +Y up, the figure faces +Z. Letters: N Gaussians, J joints, W influences, T frames, M moving
// Gaussians, K basis textures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ani3d
{
constexpr int WeightOne = 32768;
constexpr int QuatOne = 32767;
constexpr int BundleVersion = 1;
constexpr double MaxMetres = 1e4;

/** Limits of a file (runtime/archive.py). */
constexpr size_t MaxEntries = 1024;
constexpr uint64_t MaxEntryBytes = 1ull << 30;
constexpr uint64_t MaxTotalBytes = 2ull << 30;
constexpr uint64_t FreeBytes = 64ull << 20;
constexpr uint64_t MaxRatio = 100;

/** N Gaussians of the rest pose. */
struct Gaussians
{
    /** A third of the log of what the first `first` Gaussians' areas grow by to cover what all did (BUNDLE.md, Order). */
    float Growth(int first) const;

    int count = 0;
    std::vector<float> means;       // [N 3] m
    std::vector<float> quats;       // [N 4] wxyz, unit
    std::vector<float> logScales;   // [N 3] ln m
    std::vector<float> opacities;   // [N]
    std::vector<float> colors;      // [N 3] sRGB, not negative
    std::vector<uint8_t> labels;    // [N]
    std::vector<double> areas;      // [N + 1] sums of the first Gaussians' areas
};

/** J joints and the binding of N Gaussians to them. */
struct Rig
{
    std::vector<std::string> jointNames;
    std::vector<int32_t> parents;        // [J] -1 for joint 0
    std::vector<double> rest;            // [J 3 4] world from joint
    int influences = 0;                  // W
    std::vector<uint8_t> skinJoints;     // [N W]
    std::vector<uint16_t> skinWeights;   // [N W] of WeightOne
};

/** mean + sum_k coefficients[t, k] scales[k] texels[k]; dense (K = T) where coefficients is empty. */
struct OffsetTexture
{
    int layers = 0;
    bool dense = false;
    bool wideTexels = false;             // stored with 16 bits
    std::vector<float> mean;             // [M 3]
    std::vector<int16_t> texels;         // [K M 3]
    std::vector<float> scales;           // [K 3]
    std::vector<float> coefficients;     // [T K]
};

/** How a clip repeats (runtime/actor_loop.py): across its seam where it closes, else by a fade into its beginning. */
struct Loop
{
    int period = 0;                      // frames after which it repeats
    int fade = 0;                        // frames over which its end fades into its beginning
    bool closed = false;                 // the frame after the last is the first
    double travelX = 0, travelZ = 0;     // what a period adds to the root [m]
};

/** A motion and its residual. */
struct Clip
{
    std::string name;
    double fps = 0;
    int frames = 0;
    std::vector<float> roots;            // [T 3] m
    std::vector<float> quats;            // [T J 4] wxyz
    std::vector<uint32_t> moving;        // [M] ascending rows
    OffsetTexture dMeans, dRotations, dLogScales;
    Loop loop;

    /** Seconds after which the clip repeats. */
    double Duration() const { return loop.period / fps; }
};

struct Bundle
{
    std::string name;
    std::string sourceLicence;
    Gaussians gaussians;
    Rig rig;
    std::vector<Clip> clips;
};

/** Read a file's bytes. False: `error` is one line that names `source`, what is wrong and what to do. */
bool ReadBundle(const uint8_t* file, size_t bytes, const std::string& source, Bundle& bundle, std::string& error);
}
