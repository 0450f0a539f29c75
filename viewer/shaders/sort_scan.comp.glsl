// Radix sort, step 2: counts become the places where each block's keys of each digit begin. One work group.

layout(local_size_x = GROUP) in;

layout(std430, binding = 2) buffer Counts { uint counts[]; };             // [DIGITS blocks]

uniform int blocks;

shared uint sums[GROUP];

void main() {
    int lane = int(gl_LocalInvocationID.x), total = DIGITS * blocks, piece = (total + GROUP - 1) / GROUP;
    int first = min(lane * piece, total), last = min(first + piece, total);
    uint sum = 0u;
    for (int i = first; i < last; ++i) sum += counts[i];
    sums[lane] = sum;
    barrier();
    for (int reach = 1; reach < GROUP; reach *= 2) {
        uint left = lane >= reach ? sums[lane - reach] : 0u;
        barrier();
        sums[lane] += left;
        barrier();
    }
    uint place = sums[lane] - sum;
    for (int i = first; i < last; ++i) {
        uint own = counts[i];
        counts[i] = place;
        place += own;
    }
}
