// The canvas (premultiplied) over a flat background.

uniform sampler2D canvas;
uniform vec3 background;

in vec2 place;
out vec4 pixel;

void main() {
    vec4 over = texture(canvas, place);
    pixel = vec4(clamp(over.rgb, 0.0, 1e4) + (1.0 - over.a) * background, 1.0);
}
