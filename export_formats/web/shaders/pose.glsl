// A Gaussian at a moment: residual, then skin; the numpy reference is runtime/skinning.py. What it reads is made by
// pose_textures.js; WIDTH, TEXEL_WIDTH and WEIGHT_ONE are defined when it is loaded.
uniform sampler2D u_means;        // rest centre
uniform sampler2D u_quats;        // rest orientation wxyz
uniform sampler2D u_log_scales;
uniform isampler2D u_moving;      // row of the residual, -1 where rigid
uniform usampler2D u_skin;        // W a Gaussian: joint << 16 | weight
uniform sampler2D u_joints;       // three rows of each joint's matrix
uniform sampler2D u_group_means;  // M of d_means, of d_rotations, of d_log_scales
uniform isampler2D u_texels_means;
uniform isampler2D u_texels_rotations;
uniform isampler2D u_texels_scales;
uniform sampler2D u_steps;        // (x, y, z, layer), six lists one after the other
uniform int u_list_ends[6];       // centres; rotations of two layers, before and after; log scales
uniform int u_moving_count;       // M; 0 switches the residual off
uniform int u_influences;
uniform vec3 u_turns;             // between the rotations of the lower layer, of the upper, between the layers
uniform float u_growth;           // of the two larger log scales: level of detail

ivec2 texel_of(int index) { return ivec2(index % WIDTH, index / WIDTH); }

vec3 residual_sum(int list, int group, int row, isampler2D texels) {
  vec3 value = texelFetch(u_group_means, texel_of(group * u_moving_count + row), 0).xyz;
  for (int i = list == 0 ? 0 : u_list_ends[list - 1]; i < u_list_ends[list]; i++) {
    vec4 s = texelFetch(u_steps, texel_of(i), 0);
    int index = int(s.w) * u_moving_count + row;
    value += s.xyz * vec3(texelFetch(texels, ivec2(index % TEXEL_WIDTH, index / TEXEL_WIDTH), 0).xyz);
  }
  return value;
}

vec4 multiply(vec4 a, vec4 b) {  // quaternions wxyz: b, then a
  return vec4(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));
}

vec4 from_rotvec(vec3 v) {
  float angle = length(v);
  float sinc = angle < 1e-4 ? 0.5 - angle * angle / 48.0 : sin(0.5 * angle) / angle;
  return vec4(cos(0.5 * angle), sinc * v);
}

vec4 slerp_wxyz(vec4 a, vec4 b, float weight) {
  vec4 q = multiply(b, vec4(a.x, -a.yzw));
  if (q.x < 0.0) q = -q;
  float sine = length(q.yzw);
  float angle = 2.0 * atan(sine, q.x);
  vec3 v = q.yzw * (sine > 1e-8 ? angle / sine : 2.0);
  return multiply(from_rotvec(weight * v), a);
}

// A layer's rotation: of the list of its frame before towards the next list, of the one after.
vec4 residual_turn(int list, int row, float weight) {
  vec4 turn = from_rotvec(residual_sum(list, 1, row, u_texels_rotations));
  if (weight > 0.0) turn = slerp_wxyz(turn, from_rotvec(residual_sum(list + 1, 1, row, u_texels_rotations)), weight);
  return turn;
}

mat3 to_matrix(vec4 q) {
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
              2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
              2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

// The unit quaternion q that maximises tr(R(q)^T m) = q^T A q (Horn 1987): A, shifted to be positive, is squared until
// it is of rank one; its columns are then multiples of q (runtime/fast_skinning.py).
vec4 nearest_quaternion(mat3 m) {
  float shift = sqrt((dot(m[0], m[0]) + dot(m[1], m[1]) + dot(m[2], m[2])) / 3.0);
  if (shift < 1e-12) return vec4(1.0, 0.0, 0.0, 0.0);
  float p01 = m[1][2] - m[2][1], p02 = m[2][0] - m[0][2], p03 = m[0][1] - m[1][0];
  float p12 = m[1][0] + m[0][1], p13 = m[2][0] + m[0][2], p23 = m[2][1] + m[1][2];
  mat4 p = mat4(m[0][0] + m[1][1] + m[2][2] + shift, p01, p02, p03,
                p01, m[0][0] - m[1][1] - m[2][2] + shift, p12, p13,
                p02, p12, m[1][1] - m[0][0] - m[2][2] + shift, p23,
                p03, p13, p23, m[2][2] - m[0][0] - m[1][1] + shift);
  for (int i = 0; i < 24; i++) {
    float trace = p[0][0] + p[1][1] + p[2][2] + p[3][3];
    mat4 s = p * p;
    float square = s[0][0] + s[1][1] + s[2][2] + s[3][3];
    p = s / square;
    // Only a square has no negative eigenvalues, for which equality means rank one.
    if (i > 0 && square > trace * trace * (1.0 - 1e-7)) break;
  }
  vec4 q = p[0];
  float best = p[0][0];
  for (int c = 1; c < 4; c++) {
    if (p[c][c] > best) { best = p[c][c]; q = p[c]; }
  }
  return normalize(q.x < 0.0 ? -q : q);
}

// The posed Gaussian in row n: centre [m], orientation wxyz, standard deviations [m].
void pose_gaussian(int n, out vec3 center, out vec4 quat, out vec3 scale) {
  vec3 mean = texelFetch(u_means, texel_of(n), 0).xyz;
  quat = texelFetch(u_quats, texel_of(n), 0);
  vec3 log_scale = texelFetch(u_log_scales, texel_of(n), 0).xyz;
  // 1. Level of detail: the thinnest direction (of the rest pose) does not grow.
  float least = min(log_scale.x, min(log_scale.y, log_scale.z));
  int thinnest = log_scale.x == least ? 0 : log_scale.y == least ? 1 : 2;
  log_scale += u_growth * vec3(notEqual(ivec3(thinnest), ivec3(0, 1, 2)));
  // 2. Residual, in the rest pose.
  int row = texelFetch(u_moving, texel_of(n), 0).x;
  if (row >= 0 && u_moving_count > 0) {
    mean += residual_sum(0, 0, row, u_texels_means);
    vec4 turn = residual_turn(1, row, u_turns.x);
    if (u_turns.z > 0.0) turn = slerp_wxyz(turn, residual_turn(3, row, u_turns.y), u_turns.z);
    quat = multiply(turn, quat);
    log_scale += residual_sum(5, 2, row, u_texels_scales);
  }
  // 3. Linear blend skinning; orientation by the nearest rotation of the blend.
  vec4 row0 = vec4(0.0), row1 = vec4(0.0), row2 = vec4(0.0);
  for (int w = 0; w < u_influences; w++) {
    uint packed_skin = texelFetch(u_skin, texel_of(n * u_influences + w), 0).x;
    float weight = float(packed_skin & 0xffffu) / WEIGHT_ONE;
    int joint = 3 * int(packed_skin >> 16);
    row0 += weight * texelFetch(u_joints, texel_of(joint), 0);
    row1 += weight * texelFetch(u_joints, texel_of(joint + 1), 0);
    row2 += weight * texelFetch(u_joints, texel_of(joint + 2), 0);
  }
  vec4 point = vec4(mean, 1.0);
  center = vec3(dot(row0, point), dot(row1, point), dot(row2, point));
  mat3 blended = transpose(mat3(row0.xyz, row1.xyz, row2.xyz));
  quat = multiply(nearest_quaternion(blended), quat);
  scale = exp(log_scale);
}
