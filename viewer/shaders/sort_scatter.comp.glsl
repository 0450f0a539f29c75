// Radix sort, step 3: every key to its place. Stable: of equal digits in a block, the earlier goes first.
// Needs no subgroups: the block's digits, eight in a word of shared memory, are compared a word at a time.

layout(local_size_x = GROUP) in;

layout(std430, binding = 0) readonly buffer Keys { uint keys[]; };
layout(std430, binding = 1) readonly buffer Order { uint order[]; };
layout(std430, binding = 2) readonly buffer Counts { uint counts[]; };    // [DIGITS blocks], where each begins
layout(std430, binding = 3) writeonly buffer KeysOut { uint keys_out[]; };
layout(std430, binding = 4) writeonly buffer OrderOut { uint order_out[]; };

uniform int count, blocks, shift;

shared uint digits[GROUP / 8];

void main() {
    uint lane = gl_LocalInvocationID.x, n = gl_GlobalInvocationID.x;
    if (lane < uint(GROUP / 8)) digits[lane] = 0u;
    barrier();
    uint key = n < uint(count) ? keys[n] : 0u;
    uint digit = (key >> uint(shift)) & 15u;
    atomicOr(digits[lane >> 3], digit << (4u * (lane & 7u)));
    barrier();
    if (n >= uint(count)) return;
    uint pattern = digit * 0x11111111u, before = 0u;
    for (uint word = 0u; word <= lane >> 3; ++word) {
        uint different = digits[word] ^ pattern;
        different |= different >> 1;
        different |= different >> 2;
        uint equal = ~different & 0x11111111u;
        if (word == lane >> 3) equal &= (1u << (4u * (lane & 7u))) - 1u;
        before += uint(bitCount(equal));
    }
    uint place = counts[int(digit) * blocks + int(gl_WorkGroupID.x)] + before;
    keys_out[place] = key;
    order_out[place] = order[n];
}
