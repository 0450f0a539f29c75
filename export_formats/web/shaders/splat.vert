// One quad per Gaussian, in sorted order: projection as runtime/_raster_project.py does it.
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;

layout(location = 0) in uint a_index;

uniform usampler2D u_pose_0;
uniform usampler2D u_pose_1;
uniform usampler2D u_pose_2;
uniform sampler2D u_colors;   // sRGB, opacity
uniform vec4 u_view[3];       // rows of T_camera_world
uniform vec4 u_pinhole;       // fx, fy, cx, cy [px]
uniform vec2 u_size;          // [px]

flat out vec2 v_center;       // [px], y down
flat out vec3 v_conic;        // inverse covariance a, b, c [1/px2]
flat out vec4 v_color;

const vec4 CULLED = vec4(2.0, 2.0, 2.0, 1.0);

void main() {
  gl_Position = CULLED;
  ivec2 at = ivec2(int(a_index) % WIDTH, int(a_index) / WIDTH);
  vec4 p0 = uintBitsToFloat(texelFetch(u_pose_0, at, 0));
  vec4 p1 = uintBitsToFloat(texelFetch(u_pose_1, at, 0));
  float zz = uintBitsToFloat(texelFetch(u_pose_2, at, 0).x);
  v_color = texelFetch(u_colors, at, 0);
  vec4 world = vec4(p0.xyz, 1.0);
  vec3 c = vec3(dot(u_view[0], world), dot(u_view[1], world), dot(u_view[2], world));
  if (!(c.z >= NEAR && v_color.a >= ALPHA_MIN)) return;
  // 1. Rows of the projection's Jacobian times the camera rotation (EWA splatting).
  vec2 focal = u_pinhole.xy, principal = u_pinhole.zw;
  vec2 lowest = -principal / focal - GUARD * u_size / focal;
  vec2 highest = (u_size - principal) / focal + GUARD * u_size / focal;
  vec2 t = clamp(c.xy / c.z, lowest, highest);
  vec3 u = focal.x / c.z * (u_view[0].xyz - t.x * u_view[2].xyz);
  vec3 v = focal.y / c.z * (u_view[1].xyz - t.y * u_view[2].xyz);
  // 2. The projected covariance and its inverse.
  mat3 covariance = mat3(p0.w, p1.x, p1.y, p1.x, p1.z, p1.w, p1.y, p1.w, zz);
  vec3 cu = covariance * u, cv = covariance * v;
  float xx = dot(u, cu) + EPS_2D, xy = dot(u, cv), yy = dot(v, cv) + EPS_2D;
  float det = xx * yy - xy * xy;
  if (!(det > 0.0)) return;
  v_conic = vec3(yy, -xy, xx) / det;
  v_center = focal * c.xy / c.z + principal;
  // 3. The ellipse where alpha falls to 1/255, along its axes.
  float reach = 2.0 * log(v_color.a / ALPHA_MIN);
  float mean = 0.5 * (xx + yy), spread = length(vec2(0.5 * (xx - yy), xy));
  vec2 axis = spread < 1e-6 * mean ? vec2(1.0, 0.0)
    : normalize(xx >= yy ? vec2(0.5 * (xx - yy) + spread, xy) : vec2(xy, 0.5 * (yy - xx) + spread));
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  vec2 half_sizes = sqrt(reach * vec2(mean + spread, max(mean - spread, 0.0))) + 0.5;
  vec2 pixel = v_center + corner.x * half_sizes.x * axis + corner.y * half_sizes.y * vec2(-axis.y, axis.x);
  gl_Position = vec4(2.0 * pixel.x / u_size.x - 1.0, 1.0 - 2.0 * pixel.y / u_size.y, 0.0, 1.0);
}
