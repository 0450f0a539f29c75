"""Videos along camera trajectories, as stages hand them to each other."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


def save_video(path: Path, video: Video) -> None:
    """Write a video as npz, atomically: a file that exists is whole."""
    partial = path.with_name(path.name + ".tmp")
    with open(partial, "wb") as file:
        np.savez_compressed(
            file, name=np.array(video.name), rgb=video.rgb, preserved=video.preserved,
            sizes=np.array([(c.width, c.height) for c in video.cameras]),
            intrinsics=np.array([(c.fx, c.fy, c.cx, c.cy) for c in video.cameras]),
            T_camera_world=np.stack([c.T_camera_world for c in video.cameras]))
    os.replace(partial, path)


def load_video(path: Path) -> Video:
    """Read what `save_video` wrote."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    cameras = tuple(
        Camera(width=int(size[0]), height=int(size[1]), fx=float(k[0]), fy=float(k[1]), cx=float(k[2]),
               cy=float(k[3]), T_camera_world=pose)
        for size, k, pose in zip(arrays["sizes"], arrays["intrinsics"], arrays["T_camera_world"], strict=True))
    return Video(name=str(arrays["name"]), cameras=cameras, rgb=arrays["rgb"], preserved=arrays["preserved"])


def to_uint8(image: Float[np.ndarray, ...]) -> UInt8[np.ndarray, ...]:
    """[0, 1] to 0..255, rounded, clipped."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray, *, weight: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio [dB] of two uint8 images or videos [... 3]; `weight` [...] selects a region."""
    error = ((a.astype(np.float64) - b.astype(np.float64)) / 255.0) ** 2
    mean = error.mean() if weight is None else (error.mean(-1) * weight).sum() / max(float(weight.sum()), 1e-9)
    return float("inf") if mean == 0 else float(-10 * np.log10(mean))
