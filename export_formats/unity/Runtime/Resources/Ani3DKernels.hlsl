// The passes over a figure, in their order: Pose, Project, ClearBins, CountBins, ScanBins, Scatter.
#ifndef ANI3D_KERNELS
#define ANI3D_KERNELS

#define THREADS 64
#define SCAN_THREADS 256

// The figure and the clip.
StructuredBuffer<float4> RestMeans;      // centre, opacity
StructuredBuffer<float4> RestQuats;      // wxyz
StructuredBuffer<float4> RestLogScales;  // log scales, residual row (-1: rigid)
StructuredBuffer<uint> Skin;             // joint << 16 | weight, Influences a Gaussian
StructuredBuffer<float4> GroupMeans;     // MovingCount each of centres, rotations, log scales
StructuredBuffer<uint> MeanTexels;
StructuredBuffer<uint> RotationTexels;
StructuredBuffer<uint> LogScaleTexels;
// The moment.
StructuredBuffer<float4> Joints;         // three rows a joint
StructuredBuffer<float4> Steps;          // x, y, z, layer

uint4 ListEnds;
uint4 TexelWords;    // words a texel of centres, rotations, log scales
uint Count;
uint MovingCount;    // 0: residual off
uint Influences;
float Turn;
float Growth;
// The camera.
float4 ViewRows[3];  // posed point to camera: x right, y down, z forward [m]
float4 Pinhole;      // fx, fy, cx, cy [px]
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

[numthreads(THREADS, 1, 1)]
void Pose(uint3 id : SV_DispatchThreadID)
{
    uint n = id.x;
    if (n >= Count) return;
    Posed posed = PoseGaussian(n);
    PosedMeans[n] = float4(posed.mean, RestMeans[n].w);
    PosedQuats[n] = posed.quat;
    PosedLogScales[n] = float4(posed.log_scale, 0.0);
}

[numthreads(THREADS, 1, 1)]
void Project(uint3 id : SV_DispatchThreadID)
{
    uint n = id.x;
    if (n >= Count) return;
    Posed posed;
    float4 mean = PosedMeans[n];
    posed.mean = mean.xyz;
    posed.quat = PosedQuats[n];
    posed.log_scale = PosedLogScales[n].xyz;
    Splat splat = ProjectGaussian(posed, mean.w, ViewRows[0], ViewRows[1], ViewRows[2], Pinhole, ImageSize);
    Splats[2 * n] = float4(splat.center, splat.depth, mean.w);
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
    for (uint step = 1; step < SCAN_THREADS; step *= 2)
    {
        uint before = id.x >= step ? sums[id.x - step] : 0;
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
