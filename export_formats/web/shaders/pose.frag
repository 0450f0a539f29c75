// One fragment per Gaussian, after pose.glsl. Writes the centre [m] and the covariance [m2] as float bits into unsigned
// targets, which every WebGL2 device can draw to.
precision highp float;
precision highp int;
precision highp sampler2D;  // lowp unless said, which phones take at its word
precision highp isampler2D;
precision highp usampler2D;

#include "pose.glsl"

uniform int u_count;

layout(location = 0) out uvec4 out_0;  // centre, covariance xx
layout(location = 1) out uvec4 out_1;  // covariance xy, xz, yy, yz
layout(location = 2) out uvec4 out_2;  // covariance zz

void main() {
  int n = int(gl_FragCoord.y) * WIDTH + int(gl_FragCoord.x);
  if (n >= u_count) discard;
  vec3 center, scale;
  vec4 quat;
  pose_gaussian(n, center, quat, scale);
  // Covariance R S S R^T.
  mat3 r = to_matrix(quat);
  mat3 rs = mat3(r[0] * scale.x, r[1] * scale.y, r[2] * scale.z);
  mat3 covariance = rs * transpose(rs);
  out_0 = uvec4(floatBitsToUint(center), floatBitsToUint(covariance[0][0]));
  out_1 = uvec4(floatBitsToUint(vec4(covariance[0][1], covariance[0][2], covariance[1][1], covariance[1][2])));
  out_2 = uvec4(floatBitsToUint(covariance[2][2]), 0u, 0u, 0u);
}
