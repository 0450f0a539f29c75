#include "Ani3DBundle.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>

#include "Ani3DArchive.h"
#include "Ani3DClipSampler.h"
#include "Ani3DJson.h"

namespace ani3d
{
namespace
{
using Dims = std::map<char, int64_t>;

float HalfToFloat(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
        : exponent == 31 ? (fraction != 0 ? NAN : INFINITY)
        : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
    return (bits & 0x8000) != 0 ? -size : size;
}

size_t SizeOf(const std::string& type)
{
    return type == "u8" || type == "i8" ? 1 : type == "u16" || type == "i16" || type == "f16" ? 2
        : type == "f64" ? 8 : 4;
}

/** Takes blocks one by one; the first thing wrong is kept in `error`, and nothing is taken after it. */
class Blocks
{
public:
    Blocks(const Json& manifestLines, const Contents& archive, const std::string& fileName)
        : lines(manifestLines), contents(archive), source(fileName)
    {
        taken.insert("manifest.json");
    }

    std::string error;

    bool Has(const std::string& name) const { return lines.object.count(name) != 0; }

    bool Fail(const std::string& what)
    {
        if (error.empty()) error = source + ": " + what;
        return false;
    }

    /** Floats of an f32 or f16 block, finite and at most `limit` in size. */
    std::vector<float> Floats(const std::string& name, const char* type, const char* shape, Dims& dims, double limit)
    {
        const std::vector<uint8_t>* content = Take(name, {type}, shape, dims);
        std::vector<float> values;
        if (content == nullptr) return values;
        if (std::strcmp(type, "f16") == 0)
            for (uint16_t bits : As<uint16_t>(*content)) values.push_back(HalfToFloat(bits));
        else values = As<float>(*content);
        for (float value : values)
            if (!(std::fabs(value) <= limit)) Fail("block " + name + " holds NaN or a value out of bounds");
        return values;
    }

    template <typename T>
    std::vector<T> Plain(const std::string& name, const char* type, const char* shape, Dims& dims)
    {
        const std::vector<uint8_t>* content = Take(name, {type}, shape, dims);
        return content == nullptr ? std::vector<T>() : As<T>(*content);
    }

    /** int8 or int16 texels, as int16. */
    std::vector<int16_t> Texels(const std::string& name, Dims& dims, bool& wide)
    {
        const std::vector<uint8_t>* content = Take(name, {"i8", "i16"}, "K M 3", dims);
        std::vector<int16_t> values;
        if (content == nullptr) return values;
        wide = lines.At(name).At("dtype").text == "i16";
        if (wide) return As<int16_t>(*content);
        for (uint8_t value : *content) values.push_back(static_cast<int8_t>(value));
        return values;
    }

    void CheckAllTaken()
    {
        // The pose residual, a network, may be ignored (BUNDLE.md); exports turn it into coefficients.
        for (const auto& entry : contents)
            if (taken.count(entry.first) == 0 && entry.first.rfind("pose/", 0) != 0) Fail("unknown block " + entry.first);
    }

private:
    const Json& lines;
    const Contents& contents;
    const std::string source;
    std::set<std::string> taken;

    template <typename T>
    static std::vector<T> As(const std::vector<uint8_t>& content)
    {
        std::vector<T> values(content.size() / sizeof(T));
        if (!values.empty()) std::memcpy(values.data(), content.data(), values.size() * sizeof(T));
        return values;
    }

    /** A block's bytes; letters of its shape met first are added to `dims`. Null after `Fail`. */
    const std::vector<uint8_t>* Take(const std::string& name, const std::set<std::string>& types, const char* shape,
                                     Dims& dims)
    {
        if (!error.empty()) return nullptr;
        const Json& line = lines.At(name);
        const std::string type = line.At("dtype").text, file = name + "." + type;
        const std::vector<Json>& sizes = line.At("shape").list;
        if (types.count(type) == 0)
        {
            Fail("block " + name + " is missing or of a wrong type");
            return nullptr;
        }
        uint64_t bytes = SizeOf(type);
        size_t axis = 0;
        for (const char* letter = shape; *letter != '\0'; letter++)
        {
            if (*letter == ' ') continue;
            if (axis == sizes.size() || !Fits(*letter, sizes[axis], dims))
            {
                Fail("block " + name + " does not have shape [" + shape + "]");
                return nullptr;
            }
            bytes *= static_cast<uint64_t>(sizes[axis++].number);
            if (bytes > MaxEntryBytes) Fail("block " + name + " is too large");
        }
        const auto found = contents.find(file);
        if (axis != sizes.size() || line.At("file").text != file || found == contents.end() ||
            found->second.size() != bytes)
            Fail("block " + name + " is not as large as the manifest says");
        if (!error.empty()) return nullptr;
        taken.insert(file);
        return &found->second;
    }

    static bool Fits(char letter, const Json& value, Dims& dims)
    {
        static const Dims limits = {{'N', 4000000}, {'J', 256}, {'W', 16}, {'T', 100000}, {'M', 4000000}, {'K', 100000}};
        if (value.kind != Json::Kind::Number || value.number < 0 || value.number > 2147483647.0 ||
            value.number != std::floor(value.number))
            return false;
        const int64_t size = static_cast<int64_t>(value.number);
        if (letter >= '0' && letter <= '9') return size == letter - '0';
        const int64_t lowest = letter == 'M' || letter == 'K' ? 0 : 1;
        return size == dims.emplace(letter, size).first->second && size >= lowest && size <= limits.at(letter);
    }
};

void ReadGaussians(Blocks& blocks, Dims& dims, Gaussians& gaussians)
{
    gaussians.means = blocks.Floats("gaussians/means", "f32", "N 3", dims, MaxMetres);
    const std::vector<int16_t> stored = blocks.Plain<int16_t>("gaussians/quats", "i16", "N 4", dims);
    gaussians.logScales = blocks.Floats("gaussians/log_scales", "f16", "N 3", dims, 30);
    gaussians.opacities = blocks.Floats("gaussians/opacity_logits", "f16", "N", dims, 30);
    gaussians.colors = blocks.Floats("gaussians/sh0", "f16", "N 3", dims, 100);
    gaussians.labels = blocks.Plain<uint8_t>("gaussians/labels", "u8", "N", dims);
    if (!blocks.error.empty()) return;
    gaussians.count = static_cast<int>(dims['N']);
    gaussians.quats.resize(stored.size());
    for (size_t n = 0; n < stored.size(); n += 4)
    {
        double squares = 0;
        for (size_t c = n; c < n + 4; c++) squares += static_cast<double>(stored[c]) * stored[c];
        const double norm = std::sqrt(squares);
        if (std::fabs(norm - QuatOne) > 2) blocks.Fail("gaussians/quats row " + std::to_string(n / 4) + " is not unit");
        for (size_t c = n; c < n + 4; c++) gaussians.quats[c] = static_cast<float>(stored[c] / norm);
    }
    for (float& value : gaussians.opacities)
        value = static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(value))));
    for (float& value : gaussians.colors)
        value = std::fmax(static_cast<float>(0.5 + 0.28209479177387814 * value), 0.0f);
    gaussians.areas.assign(1, 0);
    for (size_t n = 0; n < gaussians.opacities.size(); n++)
    {
        const double x = gaussians.logScales[3 * n], y = gaussians.logScales[3 * n + 1], z = gaussians.logScales[3 * n + 2];
        const double area = std::exp(std::min(x + y + z - std::min({x, y, z}), 50.0)) * gaussians.opacities[n];
        gaussians.areas.push_back(gaussians.areas.back() + area);
    }
}

bool IsInvertible(const double* m)
{
    const double determinant = m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) +
                               m[2] * (m[4] * m[9] - m[5] * m[8]);
    return std::fabs(determinant) >= 1e-6 && m[12] == 0 && m[13] == 0 && m[14] == 0 && m[15] == 1;
}

void ReadRig(Blocks& blocks, Dims& dims, const Json& names, Rig& rig)
{
    for (const Json& name : names.list)
    {
        if (name.kind != Json::Kind::Text) blocks.Fail("a joint has no name");
        rig.jointNames.push_back(name.text);
    }
    rig.parents = blocks.Plain<int32_t>("rig/parents", "i32", "J", dims);
    const std::vector<double> rest = blocks.Plain<double>("rig/rest", "f64", "J 4 4", dims);
    rig.skinJoints = blocks.Plain<uint8_t>("rig/skin_joints", "u8", "N W", dims);
    rig.skinWeights = blocks.Plain<uint16_t>("rig/skin_weights", "u16", "N W", dims);
    if (!blocks.error.empty()) return;
    const int joints = static_cast<int>(dims['J']);
    rig.influences = static_cast<int>(dims['W']);
    for (int j = 0; j < joints; j++)
    {
        rig.rest.insert(rig.rest.end(), rest.begin() + 16 * j, rest.begin() + 16 * j + 12);
        if (!IsInvertible(rest.data() + 16 * j))
            blocks.Fail("rig/rest holds a matrix that is not an invertible affine transform");
        const int parent = rig.parents[j];
        if (j == 0 ? parent != -1 : parent < 0 || parent >= j)
            blocks.Fail("rig/parents must have one root, first, and parents before children");
    }
    for (double value : rest)
        if (!(std::fabs(value) <= MaxMetres)) blocks.Fail("rig/rest holds NaN or a value out of bounds");
    for (size_t n = 0; n < rig.skinWeights.size(); n += rig.influences)
    {
        int sum = 0;
        for (size_t w = n; w < n + rig.influences; w++)
        {
            sum += rig.skinWeights[w];
            if (rig.skinJoints[w] >= joints)
                blocks.Fail("rig/skin_joints row " + std::to_string(n / rig.influences) + " names no joint");
        }
        if (sum != WeightOne)
            blocks.Fail("rig/skin_weights row " + std::to_string(n / rig.influences) + " does not sum to 1");
    }
}

void ReadTexture(Blocks& blocks, const std::string& prefix, const char* meanType, const Dims& clipDims,
                 OffsetTexture& texture)
{
    Dims dims = clipDims;
    texture.dense = !blocks.Has(prefix + "/coefficients");
    if (texture.dense) dims['K'] = dims['T'];
    texture.mean = blocks.Floats(prefix + "/mean", meanType, "M 3", dims, MaxMetres);
    texture.texels = blocks.Texels(prefix + "/texels", dims, texture.wideTexels);
    texture.scales = blocks.Floats(prefix + "/texel_scales", "f32", "K 3", dims, MaxMetres);
    if (!texture.dense) texture.coefficients = blocks.Floats(prefix + "/coefficients", "f32", "T K", dims, MaxMetres);
    texture.layers = static_cast<int>(dims['K']);
}

void ReadClip(Blocks& blocks, const Json& about, const std::string& prefix, const Dims& figure, Clip& clip)
{
    clip.name = about.At("name").text;
    clip.fps = about.At("fps").number;
    if (about.At("name").kind != Json::Kind::Text || !(clip.fps >= 0.1 && clip.fps <= 1000))
        blocks.Fail(prefix + " must have a name and a frame rate");
    Dims dims = figure;
    clip.roots = blocks.Floats(prefix + "/root_translations", "f32", "T 3", dims, MaxMetres);
    clip.quats = blocks.Floats(prefix + "/quats", "f32", "T J 4", dims, 1.01);
    clip.moving = blocks.Plain<uint32_t>(prefix + "/moving", "u32", "M", dims);
    if (!blocks.error.empty()) return;
    clip.frames = static_cast<int>(dims['T']);
    for (size_t q = 0; q < clip.quats.size(); q += 4)
    {
        double squares = 0;
        for (size_t c = q; c < q + 4; c++) squares += static_cast<double>(clip.quats[c]) * clip.quats[c];
        if (std::fabs(std::sqrt(squares) - 1) > 1e-3)
            blocks.Fail(prefix + "/quats holds a rotation that is not a unit quaternion");
    }
    for (size_t m = 0; m < clip.moving.size(); m++)
        if (clip.moving[m] >= dims['N'] || (m > 0 && clip.moving[m] <= clip.moving[m - 1]))
            blocks.Fail(prefix + "/moving must be ascending rows below " + std::to_string(dims['N']));
    dims.erase('W');
    ReadTexture(blocks, prefix + "/d_means", "f32", dims, clip.dMeans);
    ReadTexture(blocks, prefix + "/d_rotations", "f16", dims, clip.dRotations);
    ReadTexture(blocks, prefix + "/d_log_scales", "f16", dims, clip.dLogScales);
    if (blocks.error.empty()) clip.loop = LoopOf(clip);
}

std::string OtherVersion(double version)
{
    char text[160];
    std::snprintf(text, sizeof text, "version %.9g, this player knows %d; export the plugin again with the ani3d that "
                  "made the file", version, BundleVersion);
    return text;
}

bool ReadManifest(const Contents& contents, Json& manifest, std::string& why)
{
    const auto text = contents.find("manifest.json");
    if (text == contents.end() || text->second.size() > (1u << 20))
        why = "is missing or too long; give a file made by ani3d bake";
    else if (!Json::Parse(std::string(text->second.begin(), text->second.end()), manifest)) why = "is not JSON";
    else if (manifest.At("format").text != "ani3d") why = "is not an ani3d manifest; give a file made by ani3d bake";
    else if (manifest.At("version").kind != Json::Kind::Number || manifest.At("version").number != BundleVersion)
        why = OtherVersion(manifest.At("version").number);
    else if (manifest.At("joint_names").list.empty() || manifest.At("joint_names").list.size() > 256 ||
             manifest.At("clips").list.empty() || manifest.At("clips").list.size() > 64 ||
             manifest.At("blocks").kind != Json::Kind::Object)
        why = "its joints, clips or blocks are not usable";
    return why.empty();
}
}

bool ReadBundle(const uint8_t* file, size_t bytes, const std::string& source, Bundle& bundle, std::string& error)
{
    Contents contents;
    if (!ReadArchive(file, bytes, source, contents, error)) return false;
    Json manifest;
    std::string why;
    if (!ReadManifest(contents, manifest, why))
    {
        error = source + "/manifest.json: " + why;
        return false;
    }
    bundle.name = manifest.At("name").text;
    bundle.sourceLicence = manifest.At("source_licence").text;
    Blocks blocks(manifest.At("blocks"), contents, source);
    Dims dims = {{'J', static_cast<int64_t>(manifest.At("joint_names").list.size())}};
    ReadGaussians(blocks, dims, bundle.gaussians);
    ReadRig(blocks, dims, manifest.At("joint_names"), bundle.rig);
    const std::vector<Json>& clips = manifest.At("clips").list;
    bundle.clips.resize(clips.size());
    for (size_t i = 0; i < clips.size() && blocks.error.empty(); i++)
        ReadClip(blocks, clips[i], "clip" + std::to_string(i), dims, bundle.clips[i]);
    if (blocks.error.empty()) blocks.CheckAllTaken();
    error = blocks.error;
    return error.empty();
}
}
