// Offsets of moving Gaussians from one clip's textures, mixed over what earlier layers left (BUNDLE.md, Playing).
// One invocation a row of all moving Gaussians of one figure. Counterpart of runtime/stage.py `_mix_offsets`.

layout(local_size_x = GROUP) in;

struct Offset { vec4 mean; vec4 quat; vec4 log_scale; };      // metres; xyzw; log

layout(std430, binding = 0) readonly buffer Texels { uint texels[]; };           // bytes or shorts, [3 K M] a group
layout(std430, binding = 1) readonly buffer Means { float means[]; };            // [3 M] a group
layout(std430, binding = 2) readonly buffer TexelOfRow { int texel_of_row[]; };  // -1: this clip does not move it
layout(std430, binding = 3) readonly buffer Steps { vec4 steps[]; };             // texture row, factors
layout(std430, binding = 4) buffer Offsets { Offset offsets[]; };

uniform int first_row, row_count, moving;
uniform ivec4 texel_words;      // where a group's texels begin; the fourth group is the rotations of the later frame
uniform ivec4 mean_start;
uniform ivec4 textures;         // K
uniform ivec4 short_texels;     // 1: int16, 0: int8
uniform ivec4 step_start;
uniform ivec4 step_count;
uniform float weight;           // of the later frame
uniform float share;            // of this layer
uniform bool rigid;             // no residual

int texel(int group, int index) {
    if (short_texels[group] == 1)
        return bitfieldExtract(int(texels[texel_words[group] + (index >> 1)]), (index & 1) * 16, 16);
    return bitfieldExtract(int(texels[texel_words[group] + (index >> 2)]), (index & 3) * 8, 8);
}

vec3 value(int group, int m) {
    int mean = mean_start[group] + m;
    vec3 sum = vec3(means[mean], means[mean + moving], means[mean + 2 * moving]);
    int plane = textures[group] * moving;
    for (int s = step_start[group]; s < step_start[group] + step_count[group]; ++s) {
        vec4 step = steps[s];
        int at = int(step.x) * moving + m;
        sum += step.yzw * vec3(texel(group, at), texel(group, at + plane), texel(group, at + 2 * plane));
    }
    return sum;
}

vec4 quaternion(vec3 turn) {
    float angle = length(turn);
    float scale = angle < 1e-2 ? 0.5 - angle * angle / 48.0 : sin(0.5 * angle) / angle;
    return vec4(scale * turn, cos(0.5 * angle));
}

vec4 slerp(vec4 a, vec4 b, float t) {
    float cosine = dot(a, b);
    if (cosine < 0.0) { b = -b; cosine = -cosine; }
    if (cosine > 0.9995) return normalize(mix(a, b, t));
    float angle = acos(cosine);
    return normalize((sin((1.0 - t) * angle) * a + sin(t * angle) * b) / sin(angle));
}

void main() {
    int row = int(gl_GlobalInvocationID.x);
    if (row >= row_count) return;
    Offset own = Offset(vec4(0.0), vec4(0.0, 0.0, 0.0, 1.0), vec4(0.0));
    int m = rigid ? -1 : texel_of_row[row];
    if (m >= 0) {
        own.mean.xyz = value(0, m);
        own.quat = quaternion(value(1, m));
        own.log_scale.xyz = value(2, m);
        if (weight > 0.0) own.quat = slerp(own.quat, quaternion(value(3, m)), weight);
    }
    if (share < 1.0) {
        Offset below = offsets[first_row + row];
        own.mean = mix(below.mean, own.mean, share);
        own.quat = slerp(below.quat, own.quat, share);
        own.log_scale = mix(below.log_scale, own.log_scale, share);
    }
    offsets[first_row + row] = own;
}
