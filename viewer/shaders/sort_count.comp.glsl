// Radix sort, step 1: how often each digit occurs in each block of GROUP keys.

layout(local_size_x = GROUP) in;

layout(std430, binding = 0) readonly buffer Keys { uint keys[]; };
layout(std430, binding = 2) writeonly buffer Counts { uint counts[]; };   // [DIGITS blocks]

uniform int count, blocks, shift;

shared uint histogram[DIGITS];

void main() {
    uint lane = gl_LocalInvocationID.x, n = gl_GlobalInvocationID.x;
    if (lane < uint(DIGITS)) histogram[lane] = 0u;
    barrier();
    if (n < uint(count)) atomicAdd(histogram[(keys[n] >> uint(shift)) & uint(DIGITS - 1)], 1u);
    barrier();
    if (lane < uint(DIGITS)) counts[int(lane) * blocks + int(gl_WorkGroupID.x)] = histogram[lane];
}
