"""Reference pictures of textured meshes: what Gaussians made of them are measured against.

Every fragment of every triangle is kept, two-sided, sorted by depth and blended front to back with its alpha; each
pixel is the mean of `SUPERSAMPLES`^2 samples. Slow and exact. Letters: H X image, R fragments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Float

from baker.avatars.textured import TexturedPart
from runtime._raster_template import compiled
from runtime.types import Camera

SUPERSAMPLES = 3
NEAR = 0.01


def render_meshes(parts: Sequence[TexturedPart], camera: Camera) -> Float[np.ndarray, "H X 4"]:
    """Premultiplied RGBA of `parts` (their own colours, no light)."""
    height, width = SUPERSAMPLES * camera.height, SUPERSAMPLES * camera.width
    pixels, depths, rgba = [], [], []
    for part in parts:
        view = part.mesh.vertices @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
        scale = SUPERSAMPLES / np.maximum(view[:, 2:], NEAR)
        screen = np.concatenate([view[:, :1] * scale * camera.fx + SUPERSAMPLES * camera.cx,
                                 view[:, 1:2] * scale * camera.fy + SUPERSAMPLES * camera.cy, view[:, 2:]], axis=1)
        faces = part.mesh.faces.astype(np.int64)
        count = _rasterise(screen, faces, width, height, _NO_ROWS, _NO_FACES, _NO_BARY, False)
        pixel, face = np.empty(count, np.int64), np.empty(count, np.int64)
        bary = np.empty((count, 3))
        _rasterise(screen, faces, width, height, pixel, face, bary, True)
        if not count:
            continue
        color = np.asarray(part.color_at(face, bary), np.float32)
        if color.shape[1] == 3:
            color = np.concatenate([color, np.ones((count, 1), np.float32)], axis=1)
        pixels.append(pixel)
        depths.append((bary * view[part.mesh.faces[face], 2]).sum(1))
        rgba.append(color)
    image = np.zeros((height * width, 4), np.float32)
    if pixels:
        pixel, depth = np.concatenate(pixels), np.concatenate(depths)
        order = np.lexsort((depth, pixel))
        _composite(pixel[order], np.concatenate(rgba)[order], image)
    blocks = image.reshape(camera.height, SUPERSAMPLES, camera.width, SUPERSAMPLES, 4)
    return blocks.mean((1, 3)).astype(np.float32)


_NO_ROWS, _NO_FACES, _NO_BARY = np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3))


@compiled()
@no_type_check
def _rasterise(screen, faces, width, height, pixel, face, bary, write):
    """Fragments of all triangles (x, y in samples, z depth): counts them, and writes them if asked. Barycentrics are
    perspective-correct."""
    count = 0
    for f in range(len(faces)):
        a, b, c = screen[faces[f, 0]], screen[faces[f, 1]], screen[faces[f, 2]]
        if a[2] < NEAR or b[2] < NEAR or c[2] < NEAR:
            continue
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-12:
            continue
        x0 = max(int(np.floor(min(a[0], b[0], c[0]))), 0)
        x1 = min(int(np.ceil(max(a[0], b[0], c[0]))), width)
        y0 = max(int(np.floor(min(a[1], b[1], c[1]))), 0)
        y1 = min(int(np.ceil(max(a[1], b[1], c[1]))), height)
        for y in range(y0, y1):
            for x in range(x0, x1):
                px, py = x + 0.5, y + 0.5
                u = ((b[0] - px) * (c[1] - py) - (b[1] - py) * (c[0] - px)) / area
                v = ((c[0] - px) * (a[1] - py) - (c[1] - py) * (a[0] - px)) / area
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                if write:
                    u, v, w = u / a[2], v / b[2], w / c[2]
                    total = u + v + w
                    pixel[count], face[count] = y * width + x, f
                    bary[count, 0], bary[count, 1], bary[count, 2] = u / total, v / total, w / total
                count += 1
    return count


@compiled()
@no_type_check
def _composite(pixel, rgba, image):
    """Blend sorted fragments front to back into premultiplied RGBA."""
    for i in range(len(pixel)):
        p = pixel[i]
        left = 1.0 - image[p, 3]
        alpha = rgba[i, 3] * left
        for k in range(3):
            image[p, k] += alpha * rgba[i, k]
        image[p, 3] += alpha
