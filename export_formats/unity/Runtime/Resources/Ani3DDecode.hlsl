// Posing and projecting Gaussians: the maths both engines' shaders share. Buffers by these names are declared by the
// includer. The numpy reference is runtime/offsets.py, skinning.py and _raster_project.py.
#ifndef ANI3D_DECODE
#define ANI3D_DECODE

// As in runtime/_raster_project.py, _raster_blend.py, bundle_blocks.py; a test compares them.
static const float NEAREST = 0.01;           // nearest depth drawn [m]
static const float EPS_2D = 0.3;           // added to the projected covariance [px2]
static const float ALPHA_MIN = 1.0 / 255.0;
static const float ALPHA_MAX = 0.999;
static const float GUARD = 0.15;           // reach of the affine approximation outside the image [image sizes]
static const float WEIGHT_ONE = 32768.0;   // stored skinning weight of 1
static const uint BINS = 65536;            // of the depth sort

float4 QuatMultiply(float4 a, float4 b)  // wxyz: b, then a
{
    return float4(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));
}

float4 QuatFromRotationVector(float3 v)
{
    float angle = length(v);
    float factor = angle < 1e-4 ? 0.5 - angle * angle / 48.0 : sin(0.5 * angle) / angle;
    return float4(cos(0.5 * angle), factor * v);
}

float4 QuatSlerp(float4 a, float4 b, float weight)
{
    float4 q = QuatMultiply(b, float4(a.x, -a.yzw));
    q = q.x < 0.0 ? -q : q;
    float sine = length(q.yzw);
    float factor = sine > 1e-8 ? 2.0 * atan2(sine, q.x) / sine : 2.0;
    return QuatMultiply(QuatFromRotationVector(weight * factor * q.yzw), a);
}

float3x3 QuatToMatrix(float4 q)
{
    float w = q.x, x = q.y, y = q.z, z = q.w;
    return float3x3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y),
                    2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x),
                    2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y));
}

// The unit quaternion q that maximises tr(R(q)^T m) = q^T A q (Horn 1987): A, shifted to be positive, is squared until
// it is of rank one; its rows are then multiples of q (runtime/fast_skinning.py).
float4 NearestQuaternion(float3x3 m)
{
    float shift = sqrt((dot(m[0], m[0]) + dot(m[1], m[1]) + dot(m[2], m[2])) / 3.0);
    if (shift < 1e-12) return float4(1.0, 0.0, 0.0, 0.0);
    float p01 = m[2][1] - m[1][2], p02 = m[0][2] - m[2][0], p03 = m[1][0] - m[0][1];
    float p12 = m[0][1] + m[1][0], p13 = m[0][2] + m[2][0], p23 = m[1][2] + m[2][1];
    float4x4 p = float4x4(m[0][0] + m[1][1] + m[2][2] + shift, p01, p02, p03,
                          p01, m[0][0] - m[1][1] - m[2][2] + shift, p12, p13,
                          p02, p12, m[1][1] - m[0][0] - m[2][2] + shift, p23,
                          p03, p13, p23, m[2][2] - m[0][0] - m[1][1] + shift);
    for (int i = 0; i < 24; i++)
    {
        float trace = p[0][0] + p[1][1] + p[2][2] + p[3][3];
        float4x4 s = mul(p, p);
        float square = s[0][0] + s[1][1] + s[2][2] + s[3][3];
        p = s * (1.0 / square);
        // Only a square has no negative eigenvalues, for which equality means rank one.
        if (i > 0 && square > trace * trace * (1.0 - 1e-7)) break;
    }
    float4 q = p[0];
    float best = p[0][0];
    if (p[1][1] > best) { best = p[1][1]; q = p[1]; }
    if (p[2][2] > best) { best = p[2][2]; q = p[2]; }
    if (p[3][3] > best) { q = p[3]; }
    return normalize(q.x < 0.0 ? -q : q);
}

int SignExtend(uint value, uint bits)
{
    return (int)(value << (32 - bits)) >> (32 - bits);
}

// A texel of one word (8 bit) or two (16 bit), x lowest.
float3 UnpackTexel(uint first, uint second, bool wide)
{
    return wide ? float3(SignExtend(first & 0xffff, 16), SignExtend(first >> 16, 16), SignExtend(second & 0xffff, 16))
                : float3(SignExtend(first & 0xff, 8), SignExtend(first >> 8 & 0xff, 8), SignExtend(first >> 16 & 0xff, 8));
}

struct Posed
{
    float3 mean;       // [m]
    float4 quat;       // wxyz
    float3 log_scale;
};

#ifdef ANI3D_POSE
// A group's value of a row: its mean and the sum of one list of steps. LIST counts from the layer's first.
#define ANI3D_SUM(NAME, TEXELS, LIST, GROUP, WORDS)                                                        \
    float3 NAME(uint row)                                                                                  \
    {                                                                                                      \
        float3 value = GroupMeans[GROUP * MovingCount + row].xyz;                                          \
        for (uint i = LIST == 0 ? FirstStep : ListEnds[max(LIST - 1, 0)]; i < ListEnds[LIST]; i++)         \
        {                                                                                                  \
            float4 s = Steps[i];                                                                           \
            uint at = ((uint)s.w * MovingCount + row) * WORDS;                                             \
            value += s.xyz * UnpackTexel(TEXELS[at], TEXELS[at + WORDS - 1], WORDS == 2);                  \
        }                                                                                                  \
        return value;                                                                                      \
    }

ANI3D_SUM(SumMeans, MeanTexels, 0, 0, TexelWords.x)
ANI3D_SUM(SumRotationsBefore, RotationTexels, 1, 1, TexelWords.y)
ANI3D_SUM(SumRotationsAfter, RotationTexels, 2, 1, TexelWords.y)
ANI3D_SUM(SumLogScales, LogScaleTexels, 3, 2, TexelWords.z)

// Gaussian n in the rest pose: level of detail and one layer's residual.
Posed DecodeGaussian(uint n)
{
    Posed posed;
    posed.mean = RestMeans[n].xyz;
    posed.quat = RestQuats[n];
    float3 rest = RestLogScales[n].xyz;
    float least = min(rest.x, min(rest.y, rest.z));
    // The thinnest direction does not grow; the first of equals.
    uint thinnest = rest.x == least ? 0 : (rest.y == least ? 1 : 2);
    posed.log_scale = rest + Growth * float3(thinnest != 0, thinnest != 1, thinnest != 2);
    int row = Rows[n];
    if (row >= 0 && MovingCount > 0)
    {
        posed.mean += SumMeans((uint)row);
        float4 turn = QuatFromRotationVector(SumRotationsBefore((uint)row));
        if (Turn > 0.0) turn = QuatSlerp(turn, QuatFromRotationVector(SumRotationsAfter((uint)row)), Turn);
        posed.quat = QuatMultiply(turn, posed.quat);
        posed.log_scale += SumLogScales((uint)row);
    }
    return posed;
}

// `upper` over `below`: centres and log scales along straight lines, orientations along their shortest arcs.
Posed MixGaussians(Posed below, Posed upper, float share)
{
    upper.mean = lerp(below.mean, upper.mean, share);
    upper.quat = QuatSlerp(below.quat, upper.quat, share);
    upper.log_scale = lerp(below.log_scale, upper.log_scale, share);
    return upper;
}

// Linear blend skinning of Gaussian n: its centre by the blended matrix, its orientation by the nearest rotation.
Posed SkinGaussian(Posed posed, uint n)
{
    float4 row0 = float4(0.0, 0.0, 0.0, 0.0), row1 = row0, row2 = row0;
    for (uint w = n * Influences; w < (n + 1) * Influences; w++)
    {
        uint word = SkinWords[w];
        float weight = (float)(word & 0xffff) / WEIGHT_ONE;
        uint joint = 3 * (word >> 16);
        row0 += weight * Joints[joint];
        row1 += weight * Joints[joint + 1];
        row2 += weight * Joints[joint + 2];
    }
    float4 position = float4(posed.mean, 1.0);
    posed.mean = float3(dot(row0, position), dot(row1, position), dot(row2, position));
    posed.quat = QuatMultiply(NearestQuaternion(float3x3(row0.xyz, row1.xyz, row2.xyz)), posed.quat);
    return posed;
}
#endif

struct Splat
{
    float2 center;      // [px], y down
    float depth;        // [m]; 0 where culled
    float3 covariance;  // xx, xy, yy [px2]
};

// Projection (EWA splatting). `view` rows take posed points to a camera with x right, y down, z forward; `pinhole` is
// fx, fy, cx, cy: of a perspective camera in px, of an orthographic one (`orthographic` 1, else 0) in px per metre.
Splat ProjectGaussian(Posed posed, float opacity, float4 view0, float4 view1, float4 view2, float4 pinhole, float2 size,
                      float orthographic)
{
    Splat splat;
    splat.center = float2(0.0, 0.0);
    splat.depth = 0.0;
    splat.covariance = float3(1.0, 0.0, 1.0);
    float4 position = float4(posed.mean, 1.0);
    float3 c = float3(dot(view0, position), dot(view1, position), dot(view2, position));
    if (!(c.z >= NEAREST && opacity >= ALPHA_MIN)) return splat;
    float2 focal = pinhole.xy, principal = pinhole.zw;
    float along = orthographic > 0.0 ? 1.0 : c.z;
    float2 t = clamp(c.xy / c.z, -principal / focal - GUARD * size / focal,
                     (size - principal) / focal + GUARD * size / focal) * (1.0 - orthographic);
    float3 u = focal.x / along * (view0.xyz - t.x * view2.xyz);
    float3 v = focal.y / along * (view1.xyz - t.y * view2.xyz);
    float3x3 r = QuatToMatrix(posed.quat);
    float3 scale = exp(posed.log_scale);
    float3 p = mul(u, r) * scale, q = mul(v, r) * scale;
    splat.covariance = float3(dot(p, p) + EPS_2D, dot(p, q), dot(q, q) + EPS_2D);
    splat.center = focal * c.xy / along + principal;
    splat.depth = c.z;
    return splat;
}

// Where a pixel is at a depth, in the camera's space: x right, y up, -z forward.
float4 PointAtPixel(float2 pixel, float depth, float4 pinhole, float orthographic)
{
    float2 at = (pixel - pinhole.zw) / pinhole.xy * (orthographic > 0.0 ? 1.0 : depth);
    return float4(at.x, -at.y, -depth, 1.0);
}

// A corner (-1 or 1 each) of the box around the ellipse where alpha falls to 1/255, from its centre [px].
float2 SplatCorner(float3 covariance, float opacity, float2 corner)
{
    float reach = 2.0 * log(opacity / ALPHA_MIN);
    float mean = 0.5 * (covariance.x + covariance.z), half_difference = 0.5 * (covariance.x - covariance.z);
    float spread = length(float2(half_difference, covariance.y));
    float2 axis = float2(1.0, 0.0);
    if (spread > 1e-6 * mean)
        axis = normalize(half_difference >= 0.0 ? float2(half_difference + spread, covariance.y)
                                                : float2(covariance.y, spread - half_difference));
    float2 half_sizes = sqrt(reach * float2(mean + spread, max(mean - spread, 0.0))) + 0.5;
    return corner.x * half_sizes.x * axis + corner.y * half_sizes.y * float2(-axis.y, axis.x);
}

// Inverse covariance a, b, c of sigma = (a dx2 + c dy2) / 2 + b dx dy.
float3 SplatConic(float3 covariance)
{
    float determinant = covariance.x * covariance.z - covariance.y * covariance.y;
    return float3(covariance.z, -covariance.y, covariance.x) / max(determinant, 1e-12);
}

// What a Gaussian adds to a pixel `offset` from its centre: its alpha, 0 where it is not drawn.
float SplatAlpha(float3 conic, float opacity, float2 offset)
{
    float sigma = 0.5 * (conic.x * offset.x * offset.x + conic.z * offset.y * offset.y) + conic.y * offset.x * offset.y;
    float alpha = min(opacity * exp(-sigma), ALPHA_MAX);
    return sigma < 0.0 || alpha < ALPHA_MIN ? 0.0 : alpha;
}

// The sorting bin of a depth: far first, culled Gaussians last.
uint DepthBin(float depth, float nearest, float farthest)
{
    if (depth <= 0.0) return BINS - 1;
    return (uint)(saturate((farthest - depth) / (farthest - nearest)) * (float)(BINS - 2));
}

#endif
