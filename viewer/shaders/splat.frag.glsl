// What one Gaussian adds to a pixel: premultiplied colour, blended over what is behind it.

in vec2 offset;
in vec4 tint;
out vec4 pixel;

void main() {
#ifdef POINTS
    if (dot(offset, offset) > 1.0) discard;
    float alpha = 1.0;
#else
    float alpha = min(ALPHA_MAX, tint.a * exp(-0.5 * dot(offset, offset)));
    if (alpha < ALPHA_MIN) discard;
#endif
    pixel = vec4(tint.rgb * alpha, alpha);
}
