// The blended splats over a flat background.
precision highp float;
precision highp sampler2D;

uniform sampler2D u_image;
uniform vec3 u_background;
out vec4 out_color;

void main() {
  vec4 image = texelFetch(u_image, ivec2(gl_FragCoord.xy), 0);
  out_color = vec4(image.rgb + (1.0 - image.a) * u_background, 1.0);
}
