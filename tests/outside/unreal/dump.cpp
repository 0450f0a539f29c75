// dump BUNDLE FOLDER COUNT RESIDUAL LOOP TIME...: what the core decodes and what it sends to the GPU, as raw
// little-endian files, for the test to compare. Prints the reader's error and exits with 2.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "Ani3DAxes.h"
#include "Ani3DBundle.h"
#include "Ani3DClipSampler.h"
#include "Ani3DGpuData.h"

using namespace ani3d;

static std::string folder;

static void WriteBytes(const std::string& name, const void* bytes, size_t count)
{
    std::ofstream(folder + "/" + name, std::ios::binary).write(static_cast<const char*>(bytes), static_cast<long>(count));
}

template <typename T>
static void Write(const std::string& name, const std::vector<T>& values)
{
    WriteBytes(name, values.data(), values.size() * sizeof(T));
}

/** dump axes FILE OUT: ViewRows of 16 + 16 doubles. */
static int Axes(char** arguments)
{
    double matrices[32];
    float rows[12];
    std::ifstream(arguments[2], std::ios::binary).read(reinterpret_cast<char*>(matrices), sizeof matrices);
    ViewRows(matrices, matrices + 16, rows);
    std::ofstream(arguments[3], std::ios::binary).write(reinterpret_cast<const char*>(rows), sizeof rows);
    return 0;
}

int main(int, char** arguments)
{
    if (std::string(arguments[1]) == "axes") return Axes(arguments);
    std::ifstream file(arguments[1], std::ios::binary);
    const std::vector<char> content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::string path = arguments[1];
    Bundle bundle;
    std::string error;
    // An allocation of exactly the file's size: reading beyond it is seen by the address sanitiser.
    if (!ReadBundle(reinterpret_cast<const uint8_t*>(content.data()), content.size(), path.substr(path.rfind('/') + 1),
                    bundle, error))
    {
        std::printf("%s\n", error.c_str());
        return 2;
    }
    folder = arguments[2];
    const int count = std::atoi(arguments[3]);
    const bool residual = arguments[4][0] == '1', loop = arguments[5][0] == '1';
    const Clip& clip = bundle.clips[0];
    Write("rest_means.f4", GpuRestMeans(bundle.gaussians));
    Write("rest_quats.f4", bundle.gaussians.quats);
    Write("rest_log_scales.f4", GpuRestLogScales(bundle.gaussians, clip));
    Write("colors.f4", GpuColors(bundle.gaussians));
    Write("labels.u1", bundle.gaussians.labels);
    Write("skin.u4", GpuSkin(bundle.rig));
    Write("group_means.f4", GpuGroupMeans(clip));
    Write("mean_texels.u4", GpuTexels(clip.dMeans));
    Write("rotation_texels.u4", GpuTexels(clip.dRotations));
    Write("log_scale_texels.u4", GpuTexels(clip.dLogScales));
    const float growth = LevelGrowth(bundle.gaussians, count);
    WriteBytes("growth.f4", &growth, sizeof growth);
    for (int i = 6; arguments[i] != nullptr; i++)
    {
        const Frame frame = Sample(bundle.rig, clip, FrameAt(clip, std::atof(arguments[i]), loop));
        PosedGaussians posed;
        PoseGaussians(bundle, clip, frame, count, residual, growth, posed);
        const std::string prefix = "time" + std::to_string(i - 6) + "_";
        Write(prefix + "joints.f8", frame.joints);
        Write(prefix + "skinning.f4", std::vector<float>(frame.skinning.begin(), frame.skinning.end()));
        Write(prefix + "steps.f4", frame.steps);
        WriteBytes(prefix + "ends.u4", frame.ends, sizeof frame.ends);
        WriteBytes(prefix + "turn.f4", &frame.turn, sizeof frame.turn);
        Write(prefix + "means.f4", posed.means);
        Write(prefix + "quats.f4", posed.quats);
        Write(prefix + "log_scales.f4", posed.logScales);
    }
    std::printf("%s|%s|%s|%.17g|%.6g\n", bundle.name.c_str(), bundle.rig.jointNames[1].c_str(), clip.name.c_str(),
                clip.Duration(), Reach(bundle));
    return 0;
}
