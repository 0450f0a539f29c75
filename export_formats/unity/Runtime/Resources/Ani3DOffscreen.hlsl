// Splats into a picture of their own, in the colours they were learned in, and their depths beside it.
#ifndef ANI3D_OFFSCREEN
#define ANI3D_OFFSCREEN

#include "Ani3DCamera.hlsl"
#undef IS_STALE  // drawn at once

// The picture's first row is the top one, whichever row the graphics API calls the first.
#ifdef ANI3D_ROWS_FROM_BELOW
#define ROW_SIGN -1.0
#else
#define ROW_SIGN 1.0
#endif
#define VIEW_TO_CLIP(position) OffscreenClip(position)
#define TO_TARGET_COLOR(color) (color)
#define IS_HIDDEN(vertex) false

float4 OffscreenClip(float4 position);

#include "Ani3DSplat.hlsl"

float4 OffscreenClip(float4 position)
{
    float along = SplatOrthographic > 0.0 ? 1.0 : -position.z;
    float2 pixel = float2(position.x, -position.y) / along * SplatPinhole.xy + SplatPinhole.zw;
    return float4(2.0 * pixel.x * PictureSize.z - 1.0, ROW_SIGN * (1.0 - 2.0 * pixel.y * PictureSize.w), 0.5, 1.0);
}

struct OffscreenTargets
{
    float4 color : SV_Target0;  // sRGB, premultiplied
    float4 depth : SV_Target1;  // [m], premultiplied
};

OffscreenTargets OffscreenFrag(SplatVertex input)
{
    OffscreenTargets targets;
    targets.color = SplatFrag(input);
    targets.depth = float4(input.conic.w * targets.color.a, 0.0, 0.0, targets.color.a);
    return targets;
}

#endif
