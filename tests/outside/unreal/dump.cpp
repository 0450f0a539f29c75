// dump BUNDLE FOLDER COUNT RESIDUAL LOOP MOMENT...: what the core decodes and what it sends to the GPU, as raw
// little-endian files, for the test to compare. A moment is CLIP:SECONDS, or two of them and the second's share, with
// commas. Prints the reader's error and exits with 2.
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

/** dump lens FILE OUT: Pinhole of 16 doubles, width, height, orthographic. */
static int Lens(char** arguments)
{
    double values[19];
    float pinhole[4];
    std::ifstream(arguments[2], std::ios::binary).read(reinterpret_cast<char*>(values), sizeof values);
    Pinhole(values, static_cast<int>(values[16]), static_cast<int>(values[17]), values[18] > 0, pinhole);
    std::ofstream(arguments[3], std::ios::binary).write(reinterpret_cast<const char*>(pinhole), sizeof pinhole);
    return 0;
}

static void WriteFigure(const Bundle& bundle, int count)
{
    Write("rest_means.f4", GpuRestMeans(bundle.gaussians));
    Write("rest_quats.f4", bundle.gaussians.quats);
    Write("rest_log_scales.f4", GpuRestLogScales(bundle.gaussians));
    Write("colors.f4", GpuColors(bundle.gaussians));
    Write("labels.u1", bundle.gaussians.labels);
    Write("skin.u4", GpuSkin(bundle.rig));
    const float growth = bundle.gaussians.Growth(count);
    WriteBytes("growth.f4", &growth, sizeof growth);
    for (size_t i = 0; i < bundle.clips.size(); i++)
    {
        const Clip& clip = bundle.clips[i];
        const std::string prefix = "clip" + std::to_string(i) + "_";
        Write(prefix + "rows.i4", GpuRows(bundle.gaussians, clip));
        Write(prefix + "group_means.f4", GpuGroupMeans(clip));
        Write(prefix + "mean_texels.u4", GpuTexels(clip.dMeans));
        Write(prefix + "rotation_texels.u4", GpuTexels(clip.dRotations));
        Write(prefix + "log_scale_texels.u4", GpuTexels(clip.dLogScales));
        Write(prefix + "texel_words.u4", std::vector<uint32_t>{
            GpuTexelWords(clip.dMeans), GpuTexelWords(clip.dRotations), GpuTexelWords(clip.dLogScales), 0});
        Write(prefix + "loop.f8", std::vector<double>{
            static_cast<double>(clip.loop.period), static_cast<double>(clip.loop.fade), clip.loop.closed ? 1.0 : 0.0,
            clip.loop.travelX, clip.loop.travelZ});
    }
}

/** The moment that an argument names. */
static Frame Moment(const Bundle& bundle, const char* text, bool loop, bool residual)
{
    Frame frame;
    int below = 0, upper = 0;
    double seconds = 0, upperSeconds = 0, share = 0;
    const int read = std::sscanf(text, "%d:%lf,%d:%lf,%lf", &below, &seconds, &upper, &upperSeconds, &share);
    AddClip(bundle, below, seconds, loop, 1, frame);
    if (read == 5) AddClip(bundle, upper, upperSeconds, loop, share, frame);
    Sample(bundle, true, residual, frame);
    return frame;
}

int main(int, char** arguments)
{
    if (std::string(arguments[1]) == "axes") return Axes(arguments);
    if (std::string(arguments[1]) == "lens") return Lens(arguments);
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
    WriteFigure(bundle, count);
    for (int i = 6; arguments[i] != nullptr; i++)
    {
        const Frame frame = Moment(bundle, arguments[i], loop, residual);
        PosedGaussians posed;
        PoseGaussians(bundle, frame, count, residual, posed);
        const std::string prefix = "time" + std::to_string(i - 6) + "_";
        Write(prefix + "joints.f8", frame.joints);
        Write(prefix + "skinning.f4", std::vector<float>(frame.skinning.begin(), frame.skinning.end()));
        Write(prefix + "steps.f4", frame.steps);
        std::vector<uint32_t> ends;
        std::vector<double> layers;
        for (const Layer& layer : frame.layers)
        {
            ends.insert(ends.end(), layer.ends, layer.ends + 4);
            layers.insert(layers.end(), {static_cast<double>(layer.clip), layer.weight, layers.empty() ? 1 : layer.share});
        }
        Write(prefix + "ends.u4", ends);
        Write(prefix + "layers.f8", layers);
        Write(prefix + "means.f4", posed.means);
        Write(prefix + "quats.f4", posed.quats);
        Write(prefix + "log_scales.f4", posed.logScales);
    }
    std::printf("%s|%s|%s|%.17g|%.9g\n", bundle.name.c_str(), bundle.rig.jointNames[1].c_str(), bundle.clips[0].name.c_str(),
                bundle.clips[0].Duration(), Reach(bundle));
    return 0;
}
