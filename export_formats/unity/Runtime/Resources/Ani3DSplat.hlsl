// Drawing of sorted splats as quads, six vertices each. The includer declares VIEW_TO_CLIP, TO_TARGET_COLOR
// and IS_HIDDEN (what lies behind the scene, where no depth buffer is bound); and IS_STALE where all may have to vanish.
#ifndef ANI3D_SPLAT
#define ANI3D_SPLAT

#include "Ani3DDecode.hlsl"

StructuredBuffer<float4> SplatRows;
StructuredBuffer<uint> OrderRows;
StructuredBuffer<float4> Colors;  // sRGB, opacity
#ifndef IS_STALE
#define IS_STALE false
#endif
#ifndef SplatPinhole
float4 SplatPinhole;              // fx, fy, cx, cy [px]
float SplatOrthographic;          // 1, else 0
#endif

struct SplatVertex
{
    float4 position : SV_POSITION;
    float2 offset : TEXCOORD0;                        // from the centre [px]
    nointerpolation float4 conic : TEXCOORD1;         // inverse covariance, depth [m]
    nointerpolation float4 color : TEXCOORD2;
};

SplatVertex SplatVert(uint id : SV_VertexID)
{
    SplatVertex result;
    uint n = OrderRows[id / 6], corner = id % 6;
    float4 splat = SplatRows[2 * n];
    float3 covariance = SplatRows[2 * n + 1].xyz;
    result.color = Colors[n];
    result.conic = float4(SplatConic(covariance), splat.z);
    result.offset = float2(0.0, 0.0);
    result.position = float4(0.0, 0.0, -2.0, 1.0);  // outside every clip volume
    if (splat.z <= 0.0 || IS_STALE) return result;
    // Corners 0 1 2, 2 1 3 of a quad.
    uint index = corner < 3 ? corner : (corner == 3 ? 2 : (corner == 4 ? 1 : 3));
    result.offset = SplatCorner(covariance, splat.w, float2(index & 1, index >> 1) * 2.0 - 1.0);
    // Back to the camera's space at the centre's depth: the engine's own projection then does flips, jitter and
    // reversed depth.
    result.position = VIEW_TO_CLIP(PointAtPixel(splat.xy + result.offset, splat.z, SplatPinhole, SplatOrthographic));
    return result;
}

float4 SplatFrag(SplatVertex input) : SV_Target
{
    float alpha = SplatAlpha(input.conic.xyz, input.color.a, input.offset);
    if (alpha <= 0.0 || IS_HIDDEN(input)) discard;
    return float4(TO_TARGET_COLOR(input.color.rgb) * alpha, alpha);
}

#endif
