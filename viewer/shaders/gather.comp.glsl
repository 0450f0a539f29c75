// Instances for drawing, in sorted order: mean 3, covariance 6, colour 2 (four halves).

layout(local_size_x = GROUP) in;

layout(std430, binding = 0) readonly buffer Posed { uint posed[]; };
layout(std430, binding = 1) readonly buffer Order { uint order[]; };
layout(std430, binding = 2) readonly buffer Colors { uvec2 colors[]; };
layout(std430, binding = 3) writeonly buffer Instances { uint instances[]; };

uniform int count;

void main() {
    int i = int(gl_GlobalInvocationID.x);
    if (i >= count) return;
    uint n = order[i];
    for (int word = 0; word < 9; ++word) instances[11 * i + word] = posed[9 * int(n) + word];
    instances[11 * i + 9] = colors[n].x;
    instances[11 * i + 10] = colors[n].y;
}
