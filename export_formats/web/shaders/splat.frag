// One Gaussian's contribution to a pixel, premultiplied (runtime/_raster_blend.py).
precision highp float;

flat in vec2 v_center;
flat in vec3 v_conic;
flat in vec4 v_color;
uniform vec2 u_size;
out vec4 out_color;

void main() {
  vec2 d = vec2(gl_FragCoord.x, u_size.y - gl_FragCoord.y) - v_center;
  float sigma = 0.5 * (v_conic.x * d.x * d.x + v_conic.z * d.y * d.y) + v_conic.y * d.x * d.y;
  float alpha = min(v_color.a * exp(-sigma), ALPHA_MAX);
  if (sigma < 0.0 || alpha < ALPHA_MIN) discard;
  out_color = vec4(v_color.rgb * alpha, alpha);
}
