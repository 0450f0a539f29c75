// A bundle and what the GPU needs of it, packed on the thread that decoded it and shared by all who show it.
#pragma once

#include <vector>

#include "Ani3DBundle.h"
#include "CoreMinimal.h"
#include "RenderGraphResources.h"

/** An array until it is uploaded, then a buffer that stays. */
template <typename T>
struct TAni3DBuffer
{
    std::vector<T> Values;
    TRefCountPtr<FRDGPooledBuffer> Pooled;
};

struct FAni3DClipBuffers
{
    TAni3DBuffer<int32_t> Rows;
    TAni3DBuffer<float> GroupMeans;
    TAni3DBuffer<uint32_t> MeanTexels, RotationTexels, LogScaleTexels;
};

struct FAni3DBuffers
{
    explicit FAni3DBuffers(ani3d::Bundle&& InBundle);

    const ani3d::Bundle Bundle;
    /** The farthest a Gaussian comes from the root joint [m]. */
    const float Reach;

    /** Render thread, from here on. */
    mutable TAni3DBuffer<float> RestMeans, RestQuats, RestLogScales, Colors;
    mutable TAni3DBuffer<uint32_t> SkinWords;
    mutable std::vector<FAni3DClipBuffers> Clips;
};
