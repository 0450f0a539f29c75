// The passes over a figure, in their order: Decode once for each layer, Skin; then for each camera Project, ClearBins,
// CountBins, ScanBins, Scatter. The sort counts, with atomics in memory only: no wave operations are needed.
#ifndef ANI3D_KERNELS
#define ANI3D_KERNELS

#define THREADS 64
#define SCAN_THREADS 256

// The figure.
StructuredBuffer<float4> RestMeans;      // centre, opacity
StructuredBuffer<float4> RestQuats;      // wxyz
StructuredBuffer<float4> RestLogScales;
StructuredBuffer<uint> SkinWords;        // joint << 16 | weight, Influences a Gaussian
// The layer's clip.
StructuredBuffer<int> Rows;              // of each Gaussian in the residual, -1: rigid
StructuredBuffer<float4> GroupMeans;     // MovingCount each of centres, rotations, log scales
StructuredBuffer<uint> MeanTexels;
StructuredBuffer<uint> RotationTexels;
StructuredBuffer<uint> LogScaleTexels;
// The moment.
StructuredBuffer<float4> Joints;         // three rows a joint
StructuredBuffer<float4> Steps;          // x, y, z, texture's layer; all layers' lists

uint FirstStep;      // of the layer
uint4 ListEnds;      // centres, rotations before, rotations after, log scales
uint4 TexelWords;    // words a texel of centres, rotations, log scales
uint Count;
uint MovingCount;    // 0: residual off
uint Influences;
float Turn;          // between the layer's two rotations
float Share;         // of the layer over those below; 1 for the first
float Growth;
// The camera.
float4 ViewRows[3];  // posed point to camera: x right, y down, z forward [m]
float4 Pinhole;      // fx, fy, cx, cy [px]
float Orthographic;  // 1, else 0
float2 ImageSize;    // [px]
float2 DepthRange;   // nearest, farthest [m]

RWStructuredBuffer<float4> PosedMeans;      // centre, opacity
RWStructuredBuffer<float4> PosedQuats;      // wxyz
RWStructuredBuffer<float4> PosedLogScales;
RWStructuredBuffer<float4> Splats;          // 2 a Gaussian: centre [px], depth [m], opacity; covariance [px2], -
RWStructuredBuffer<uint> DepthBins;
RWStructuredBuffer<uint> BinStarts;         // BINS
RWStructuredBuffer<uint> Order;

#define ANI3D_POSE
#include "Ani3DDecode.hlsl"

Posed Stored(uint n)
{
    Posed posed;
    posed.mean = PosedMeans[n].xyz;
    posed.quat = PosedQuats[n];
    posed.log_scale = PosedLogScales[n].xyz;
    return posed;
}

void Store(Posed posed, uint n)
{
    PosedMeans[n] = float4(posed.mean, RestMeans[n].w);
    PosedQuats[n] = posed.quat;
    PosedLogScales[n] = float4(posed.log_scale, 0.0);
}

[numthreads(THREADS, 1, 1)]
void Decode(uint3 id : SV_DispatchThreadID)
{
    uint n = id.x;
    if (n >= Count) return;
    Posed posed = DecodeGaussian(n);
    if (Share < 1.0) posed = MixGaussians(Stored(n), posed, Share);
    Store(posed, n);
}

[numthreads(THREADS, 1, 1)]
void Skin(uint3 id : SV_DispatchThreadID)
{
    if (id.x < Count) Store(SkinGaussian(Stored(id.x), id.x), id.x);
}

[numthreads(THREADS, 1, 1)]
void Project(uint3 id : SV_DispatchThreadID)
{
    uint n = id.x;
    if (n >= Count) return;
    float opacity = PosedMeans[n].w;
    Splat splat = ProjectGaussian(Stored(n), opacity, ViewRows[0], ViewRows[1], ViewRows[2], Pinhole, ImageSize,
                                  Orthographic);
    Splats[2 * n] = float4(splat.center, splat.depth, opacity);
    Splats[2 * n + 1] = float4(splat.covariance, 0.0);
    DepthBins[n] = DepthBin(splat.depth, DepthRange.x, DepthRange.y);
}

[numthreads(SCAN_THREADS, 1, 1)]
void ClearBins(uint3 id : SV_DispatchThreadID)
{
    BinStarts[id.x] = 0;
}

[numthreads(THREADS, 1, 1)]
void CountBins(uint3 id : SV_DispatchThreadID)
{
    if (id.x < Count) InterlockedAdd(BinStarts[DepthBins[id.x]], 1);
}

groupshared uint sums[SCAN_THREADS];

// One group: counts become starts. Each thread owns BINS / SCAN_THREADS neighbouring bins.
[numthreads(SCAN_THREADS, 1, 1)]
void ScanBins(uint3 id : SV_GroupThreadID)
{
    uint first = id.x * (BINS / SCAN_THREADS), last = first + BINS / SCAN_THREADS, own = 0, i;
    for (i = first; i < last; i++) own += BinStarts[i];
    sums[id.x] = own;
    GroupMemoryBarrierWithGroupSync();
    for (uint reach = 1; reach < SCAN_THREADS; reach *= 2)
    {
        uint before = id.x >= reach ? sums[id.x - reach] : 0;
        GroupMemoryBarrierWithGroupSync();
        sums[id.x] += before;
        GroupMemoryBarrierWithGroupSync();
    }
    uint start = sums[id.x] - own;
    for (i = first; i < last; i++)
    {
        uint count = BinStarts[i];
        BinStarts[i] = start;
        start += count;
    }
}

[numthreads(THREADS, 1, 1)]
void Scatter(uint3 id : SV_DispatchThreadID)
{
    if (id.x >= Count) return;
    uint place;
    InterlockedAdd(BinStarts[DepthBins[id.x]], 1, place);
    Order[place] = id.x;
}

#endif
