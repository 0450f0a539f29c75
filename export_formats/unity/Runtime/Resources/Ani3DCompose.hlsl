// The picture that Ani3DOffscreen made, laid over the scene: linear light, each pixel at its own depth. The includer
// declares VIEW_TO_CLIP and DEVICE_DEPTH(clip).
#ifndef ANI3D_COMPOSE
#define ANI3D_COMPOSE

#include "Ani3DCamera.hlsl"
#include "Ani3DDecode.hlsl"

Texture2D<float4> Picture;
Texture2D<float4> PictureDepth;
SamplerState sampler_LinearClamp;

struct ComposeVertex
{
    float4 position : SV_POSITION;
    float2 pixel : TEXCOORD0;
};

ComposeVertex ComposeVert(uint id : SV_VertexID)
{
    ComposeVertex result;
    // Corners 0 1 2, 2 1 3 of a quad.
    uint index = id < 3 ? id : (id == 3 ? 2 : (id == 4 ? 1 : 3));
    result.pixel = float2((index & 1) == 1 ? PictureRect.z : PictureRect.x, index >= 2 ? PictureRect.w : PictureRect.y);
    result.position = VIEW_TO_CLIP(PointAtPixel(result.pixel, PictureDistance, SplatPinhole, SplatOrthographic));
    if (IS_STALE) result.position = float4(0.0, 0.0, -2.0, 1.0);  // outside every clip volume
    return result;
}

// sRGB to linear light (IEC 61966-2-1).
float3 LinearLight(float3 color)
{
    return lerp(color / 12.92, pow((max(color, 0.04045) + 0.055) / 1.055, 2.4), step(0.04045, color));
}

struct ComposePixel
{
    float4 color : SV_Target;
    float depth : SV_Depth;
};

ComposePixel ComposeFrag(ComposeVertex input)
{
    ComposePixel pixel;
    float2 uv = input.pixel * PictureSize.zw;
    float4 color = Picture.SampleLevel(sampler_LinearClamp, uv, 0.0);
    if (color.a < ALPHA_MIN) discard;
    float depth = PictureDepth.SampleLevel(sampler_LinearClamp, uv, 0.0).x / color.a;
    pixel.depth = DEVICE_DEPTH(VIEW_TO_CLIP(PointAtPixel(input.pixel, depth, SplatPinhole, SplatOrthographic)));
    pixel.color = float4(LinearLight(color.rgb / color.a) * color.a, color.a);
    return pixel;
}

#endif
