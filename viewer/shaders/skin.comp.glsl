// Linear blend skinning: centre by the blended matrix, orientation by its nearest rotation (runtime/fast_skinning.py
// has the derivation), then the world covariance and the depth key (runtime/fast_sort.py). One invocation a Gaussian.

layout(local_size_x = GROUP) in;

struct Rest { vec4 mean; vec4 quat; vec4 log_scale; };        // mean.w: row of its offset, -1 none; quat xyzw
struct Offset { vec4 mean; vec4 quat; vec4 log_scale; };

layout(std430, binding = 0) readonly buffer Rests { Rest rests[]; };
layout(std430, binding = 1) readonly buffer Influences { uint influences[]; };   // joint << 16 | weight * WEIGHT_ONE
layout(std430, binding = 2) readonly buffer Matrices { vec4 matrices[]; };       // three rows a joint
layout(std430, binding = 3) readonly buffer Offsets { Offset offsets[]; };
layout(std430, binding = 4) writeonly buffer Posed { float posed[]; };           // mean 3, covariance 6
layout(std430, binding = 5) writeonly buffer Keys { uint keys[]; };
layout(std430, binding = 6) writeonly buffer Order { uint order[]; };

uniform int count, influence_count;
uniform vec4 depth_row;          // third row of T_camera_world

vec4 turned(vec4 a, vec4 b) {    // the rotation b, then a
    return vec4(a.w * b.xyz + b.w * a.xyz + cross(a.xyz, b.xyz), a.w * b.w - dot(a.xyz, b.xyz));
}

mat3 rotation(vec4 q) {          // columns
    return mat3(1.0 - 2.0 * (q.y * q.y + q.z * q.z), 2.0 * (q.x * q.y + q.w * q.z), 2.0 * (q.x * q.z - q.w * q.y),
                2.0 * (q.x * q.y - q.w * q.z), 1.0 - 2.0 * (q.x * q.x + q.z * q.z), 2.0 * (q.y * q.z + q.w * q.x),
                2.0 * (q.x * q.z + q.w * q.y), 2.0 * (q.y * q.z - q.w * q.x), 1.0 - 2.0 * (q.x * q.x + q.y * q.y));
}

vec4 nearest_rotation(vec3 x, vec3 y, vec3 z) {               // rows of a 3x3; xyzw
    float norm = dot(x, x) + dot(y, y) + dot(z, z);
    if (!(norm >= 1e-20)) return vec4(0.0, 0.0, 0.0, 1.0);
    float shift = sqrt(norm / 3.0);
    // Horn's symmetric 4x4 matrix in the order w, x, y, z: its leading eigenvector is the quaternion.
    mat4 p = mat4(x.x + y.y + z.z + shift, z.y - y.z, x.z - z.x, y.x - x.y,
                  z.y - y.z, x.x - y.y - z.z + shift, x.y + y.x, x.z + z.x,
                  x.z - z.x, x.y + y.x, y.y - x.x - z.z + shift, y.z + z.y,
                  y.x - x.y, x.z + z.x, y.z + z.y, z.z - x.x - y.y + shift);
    for (int squaring = 0; squaring < SQUARINGS; ++squaring) {
        float trace = p[0][0] + p[1][1] + p[2][2] + p[3][3];
        mat4 square = p * p;
        float next = square[0][0] + square[1][1] + square[2][2] + square[3][3];
        p = square / next;
        if (squaring > 0 && next > (1.0 - 1e-6) * trace * trace) break;
    }
    int best = 0;
    for (int c = 1; c < 4; ++c) if (p[c][c] > p[best][best]) best = c;
    vec4 q = normalize(p[best]);
    return q.x < 0.0 ? -q.yzwx : q.yzwx;
}

void main() {
    int n = int(gl_GlobalInvocationID.x);
    if (n >= count) return;
    Rest rest = rests[n];
    vec3 mean = rest.mean.xyz, log_scale = rest.log_scale.xyz;
    vec4 quat = rest.quat;
    int row = int(rest.mean.w);
    if (row >= 0) {
        Offset offset = offsets[row];
        mean += offset.mean.xyz;
        quat = turned(offset.quat, quat);
        log_scale += offset.log_scale.xyz;
    }
    vec4 x = vec4(0.0), y = vec4(0.0), z = vec4(0.0);
    for (int i = n * influence_count; i < (n + 1) * influence_count; ++i) {
        uint influence = influences[i];
        float weight = float(influence & 0xffffu) / WEIGHT_ONE;
        if (weight > 0.0) {
            uint joint = 3u * (influence >> 16);
            x += weight * matrices[joint];
            y += weight * matrices[joint + 1u];
            z += weight * matrices[joint + 2u];
        }
    }
    vec4 at = vec4(mean, 1.0);
    vec3 world = vec3(dot(x, at), dot(y, at), dot(z, at));
    mat3 half_spread = rotation(turned(nearest_rotation(x.xyz, y.xyz, z.xyz), quat));
    vec3 scale = exp(log_scale);
    half_spread = mat3(half_spread[0] * scale.x, half_spread[1] * scale.y, half_spread[2] * scale.z);
    mat3 spread = half_spread * transpose(half_spread);
    int base = 9 * n;
    posed[base] = world.x;
    posed[base + 1] = world.y;
    posed[base + 2] = world.z;
    posed[base + 3] = spread[0][0];
    posed[base + 4] = spread[0][1];
    posed[base + 5] = spread[0][2];
    posed[base + 6] = spread[1][1];
    posed[base + 7] = spread[1][2];
    posed[base + 8] = spread[2][2];
    float depth = dot(depth_row, vec4(world, 1.0));
    uint bits = floatBitsToUint(depth > NEAR ? depth : NEAR);
    keys[n] = LARGEST_KEY - min((bits - NEAREST_BITS) >> KEY_SHIFT, LARGEST_KEY);
    order[n] = uint(n);
}
