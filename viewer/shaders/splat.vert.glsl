// One quad per Gaussian: its projection to the image (EWA splatting), as runtime/_raster_project.py computes it.
// Instances come from far to near. Lengths in metres, pixels with y down and centres at +0.5.

layout(location = 0) in vec3 mean;
layout(location = 1) in vec3 covariance_x;    // xx, xy, xz
layout(location = 2) in vec3 covariance_yz;   // yy, yz, zz
layout(location = 3) in vec4 color;           // sRGB, opacity

uniform mat4 T_camera_world;
uniform vec4 pinhole;                         // fx, fy, cx, cy [px]
uniform vec2 size;                            // of the image [px]

out vec2 offset;                              // from the centre, in standard deviations
out vec4 tint;

const vec4 NOWHERE = vec4(2.0, 2.0, 2.0, 1.0);

void main() {
    gl_Position = NOWHERE;
    offset = vec2(0.0);
    tint = color;
    vec3 p = (T_camera_world * vec4(mean, 1.0)).xyz;
    // Comparisons are written so that a NaN is not drawn.
    if (!(p.z >= NEAR && color.a >= ALPHA_MIN)) return;
    vec2 corner = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1)) * 2.0 - 1.0;
    vec2 centre = pinhole.xy * p.xy / p.z + pinhole.zw;
#ifdef POINTS
    offset = corner;
    vec2 place = centre + corner * POINT_RADIUS;
#else
    // 1. Rows of the projection's Jacobian times the camera's rotation.
    vec2 low = -pinhole.zw / pinhole.xy - GUARD * size / pinhole.xy;
    vec2 high = (size - pinhole.zw) / pinhole.xy + GUARD * size / pinhole.xy;
    vec2 t = clamp(p.xy / p.z, low, high);
    mat3 R = transpose(mat3(T_camera_world));
    vec3 u = pinhole.x / p.z * (R[0] - t.x * R[2]);
    vec3 v = pinhole.y / p.z * (R[1] - t.y * R[2]);
    // 2. Covariance in the image.
    mat3 spread = mat3(covariance_x, vec3(covariance_x.y, covariance_yz.xy), vec3(covariance_x.z, covariance_yz.yz));
    float a = dot(u, spread * u) + EPS_2D, b = dot(u, spread * v), c = dot(v, spread * v) + EPS_2D;
    float determinant = a * c - b * b;
    if (!(determinant > 0.0 && determinant < 1e30)) return;
    // 3. Its axes, and the ellipse where alpha falls to ALPHA_MIN.
    float middle = 0.5 * (a + c), half_difference = 0.5 * (a - c);
    float radius = sqrt(half_difference * half_difference + b * b);
    float major = middle + radius, minor = max(determinant / major, 0.0);
    vec2 axis = radius < 1e-6 * middle ? vec2(1.0, 0.0)
        : half_difference > 0.0 ? normalize(vec2(half_difference + radius, b)) : normalize(vec2(b, radius - half_difference));
    offset = corner * (sqrt(2.0 * log(color.a / ALPHA_MIN)) + 1e-3);
    vec2 place = centre + offset.x * sqrt(major) * axis + offset.y * sqrt(minor) * vec2(-axis.y, axis.x);
#endif
    gl_Position = vec4(2.0 * place.x / size.x - 1.0, 1.0 - 2.0 * place.y / size.y, 0.0, 1.0);
}
