"""Gaussian splatting on the CPU: numba kernels, forward only (playback, `ani3d render`, coarse videos).

The image is what gsplat would draw (DESIGN §9; `baker/rasterisers/reference.py` is the specification):
pixel centres at +0.5, `alpha = min(0.999, opacity exp(-sigma))`, contributions under 1/255 skipped, a pixel stops
before its transmittance falls to 1e-4, 0.3 px2 added to the projected covariance, nothing nearer than 0.01 m.
A Gaussian that holds a NaN, an infinity or a zero quaternion is not drawn and disturbs no other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt32

from runtime import _raster_bin, _raster_project, _raster_threads
from runtime._raster_blend import blend_forward
from runtime.errors import InputError
from runtime.types import Camera, GaussianSet


@dataclass(frozen=True)
class RasterImage:
    """What a camera sees of a set of Gaussians."""

    rgba: Float[np.ndarray, "H X 4"]
    """sRGB, premultiplied by alpha, not composited over anything."""
    features: Float[np.ndarray, "H X C"]
    """Blended per-Gaussian features, premultiplied like the colour; C may be 0."""
    depth: Float[np.ndarray, "H X"]
    """Sum of weight times depth [m]: divide by alpha for the expected depth."""


@dataclass(frozen=True)
class Splats:
    """N Gaussians on an image, I intersections of them with its tiles; columns as in `runtime/_raster_project.py`."""

    width: int
    """Image width [px]."""
    height: int
    """Image height [px]."""
    splats: Float32[np.ndarray, "N 8"]
    """Centre, exponent, opacity, reach, radius; radius 0 where culled."""
    channels: Float32[np.ndarray, "N K"]
    """Colours, then depth [m]; zero where culled."""
    tile_starts: Int32[np.ndarray, " starts"]
    """Where each tile's intersections begin, and where the last one's end."""
    ids: Int32[np.ndarray, " I"]
    """The Gaussian of each intersection, front to back within a tile."""
    slots: Int32[np.ndarray, " I"]
    """The row of a per-Gaussian-ordered buffer that belongs to each intersection."""
    first_slot: Int32[np.ndarray, " slots"]
    """Where each Gaussian's rows begin in that buffer, and where the last one's end: N + 1 entries."""


def render(gaussians: GaussianSet, camera: Camera, *,
           features: Float[np.ndarray, "N C"] | None = None) -> RasterImage:
    """The picture of `gaussians` and, blended the same way, of `features` (C up to 60)."""
    colors = np.maximum(gaussians.colors, 0.0)
    if features is not None:
        colors = np.concatenate([colors, features], axis=1)
    with np.errstate(over="ignore"):  # an overflow becomes an infinity, which is culled
        scales, opacities = np.exp(gaussians.log_scales), gaussians.opacities
    splats = project(gaussians.means, gaussians.quats_wxyz, scales, opacities, colors, camera)
    height, width, count = camera.height, camera.width, colors.shape[1]
    rgba = np.empty((height, width, 4), np.float32)
    depth = np.empty((height, width), np.float32)
    if count == 3:
        # Colour goes straight into rgba, four floats a pixel; alpha into the fourth.
        blend(splats, rgba.reshape(-1), 4, rgba.reshape(-1)[3:], 4, depth.reshape(-1))
        return RasterImage(rgba=rgba, features=np.empty((height, width, 0), np.float32), depth=depth)
    image, alpha = np.empty((height, width, count), np.float32), np.empty((height, width), np.float32)
    blend(splats, image.reshape(-1), count, alpha.reshape(-1), 1, depth.reshape(-1))
    rgba[..., :3], rgba[..., 3] = image[..., :3], alpha
    return RasterImage(rgba=rgba, features=np.ascontiguousarray(image[..., 3:]), depth=depth)


def project(means: Float[np.ndarray, "N 3"], quats_wxyz: Float[np.ndarray, "N 4"],
            scales: Float[np.ndarray, "N 3"], opacities: Float[np.ndarray, " N"], colors: Float[np.ndarray, "N C"],
            camera: Camera) -> Splats:
    """Project, cull and sort into tiles. `scales` in metres, `opacities` in [0, 1], any number of colours.

    Raises `InputError` when the Gaussians cover more than 2^27 tiles in all.
    """
    count, color_count = colors.shape
    splats = np.empty((count, 8), np.float32)
    channels = np.empty((count, color_count + 1), np.float32)
    rects = np.empty((count, 4), np.int32)
    view, pinhole = camera_arrays(camera)
    _raster_threads.run_taking(_raster_project.project, count, _plain(means), _plain(quats_wxyz), _plain(scales),
                        _plain(opacities), _plain(colors), view, pinhole, splats, channels, rects)
    try:
        tile_starts, ids, slots, first_slot = _raster_bin.bin_tiles(
            splats, channels.view(np.uint32), rects, camera.width, camera.height)
    except ValueError as error:  # a kernel cannot raise ours
        raise InputError(str(error)) from None
    return Splats(width=camera.width, height=camera.height, splats=splats, channels=channels,
                  tile_starts=tile_starts, ids=ids, slots=slots, first_slot=first_slot)


def blend(splats: Splats, image: Float32[np.ndarray, " pixels"], image_stride: int,
          alpha: Float32[np.ndarray, " alphas"], alpha_stride: int,
          depth: Float32[np.ndarray, " depths"]) -> UInt32[np.ndarray, " I"]:
    """Blend into flat arrays, a pixel's values `stride` floats apart; returns the pieces of its tile that each
    intersection was blended into (`runtime/_raster_blend.py`)."""
    touched = np.empty(len(splats.ids), np.uint32)
    _raster_threads.run_taking(
        blend_forward(splats.channels.shape[1]), len(splats.tile_starts) - 1, splats.splats, splats.channels,
        splats.tile_starts, splats.ids, splats.width, splats.height, image, image_stride, alpha, alpha_stride, depth,
        touched)
    return touched


def camera_arrays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """What the kernels take of a camera: world to camera [3 4], and fx, fy, cx, cy, width, height; float64."""
    view = np.ascontiguousarray(camera.T_camera_world[:3], np.float64)
    return view, np.array([camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height], np.float64)


def _plain(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)
