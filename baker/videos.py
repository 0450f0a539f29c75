"""Videos along camera trajectories, as stages hand them to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from runtime.raster import render
from runtime.types import Camera, GaussianSet

PoseAt = Callable[[int], GaussianSet]
"""Frame index to the Gaussians in the world at that frame."""


@dataclass(frozen=True)
class Video:
    """T frames seen along a trajectory, composited over a flat background."""

    name: str
    """Trajectory name, also the file stem."""
    cameras: tuple[Camera, ...]
    """One per frame."""
    rgb: UInt8[np.ndarray, "T H X 3"]
    """sRGB."""
    preserved: UInt8[np.ndarray, "T H X"]
    """The preserved mask M = human minus garment, as coverage 0..255 (paper 4.2, D.1)."""


def render_video(pose_at: PoseAt, cameras: tuple[Camera, ...], *, name: str,
                 background: tuple[float, float, float]) -> Video:
    """Render one frame per camera with the forward kernels of `runtime`; frame t is `pose_at(t)`.

    The mask is exact: the accumulated weight of Gaussians whose label may not move.
    """
    rgb, preserved = [], []
    for frame, camera in enumerate(cameras):
        gaussians = pose_at(frame)
        still = (~gaussians.may_move).astype(np.float32)[:, None]
        image = render(gaussians, camera, features=still)
        color = image.rgba[..., :3] + (1 - image.rgba[..., 3:]) * np.asarray(background, np.float32)
        rgb.append(to_uint8(color))
        preserved.append(to_uint8(image.features[..., 0]))
    return Video(name=name, cameras=cameras, rgb=np.stack(rgb), preserved=np.stack(preserved))


def to_uint8(image: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """[0, 1] to 0..255, rounded, clipped."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray, *, weight: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio [dB] of two uint8 images or videos [... 3]; `weight` [...] selects a region."""
    error = ((a.astype(np.float64) - b.astype(np.float64)) / 255.0) ** 2
    mean = error.mean() if weight is None else (error.mean(-1) * weight).sum() / max(float(weight.sum()), 1e-9)
    return float("inf") if mean == 0 else float(-10 * np.log10(mean))
