"""`ani3d truth AVATAR MOTION -o DIR`: an avatar's garments simulated over a motion, written out for others to compare
with or learn from.

    DIR/avatar.npz            the avatar at rest, as bakes keep it
    DIR/motion.npz            the motion on its rig
    DIR/garments.npz          per garment NAME_faces [F 3] and NAME_vertices [T V 3], the simulated mesh [m]
    DIR/frames/00000.npz      posed Gaussians of a frame: means, quats_wxyz, log_scales; the rest is the avatar's
    DIR/videos/orbit0_*.npz   truth and rigid video of a trajectory, masks and cameras, as `baker/videos.py` has them
    DIR/videos/orbit0_*.mp4   the same to look at
World coordinates of `runtime/__init__.py`. The folder appears whole or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baker import cloth
from baker.avatar import Avatar
from baker.avatar_file import save_avatar, save_motion
from baker.trajectories import diagonal, root_targets
from baker.videos import PoseAt, render_video, save_video
from export_formats.mp4 import write_mp4
from export_formats.output import new_folder
from runtime.errors import InputError
from runtime.fast_skinning import pose_gaussians
from runtime.skinning import skinning_matrices
from runtime.types import Motion

OWNED = r"avatar\.npz|motion\.npz|garments\.npz|frames|videos"
"""Names in a folder of ours, which may be replaced."""


@dataclass(frozen=True)
class TruthConfig:
    """What is rendered of a simulation."""

    trajectories: int = 2
    """Diagonal orbits, evenly spread in azimuth."""
    turn_degrees: float = 120.0
    """Turn of an orbit over the motion [degrees]."""
    width: int = 480
    """Picture width [px]."""
    height: int = 832
    """Picture height [px]."""
    background: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """sRGB."""


def write_truth(avatar: Avatar, motion: Motion, output: Path, *, config: TruthConfig,
                progress: Callable[[int, int, str], None] | None = None) -> Path:
    """Simulate and write everything; returns `output`. Raises `InputError` for an avatar without garments and for a
    folder that holds other files."""
    if not avatar.garments:
        raise InputError(f"{avatar.name}: has no garments to simulate; use an avatar with loose cloth")
    tell = progress or (lambda done, total, text: None)
    with new_folder(output, owned=OWNED) as folder:
        simulated = cloth.simulate(avatar, motion, cloth.ClothConfig(),
                                   progress=lambda done, total: tell(done, total, "simulating cloth"))
        save_avatar(folder / "avatar.npz", avatar)
        save_motion(folder / "motion.npz", motion)
        meshes = {f"{garment.name}_{part}": values for garment, vertices in zip(
            avatar.garments, simulated.garment_vertices, strict=True)
            for part, values in (("faces", garment.mesh.faces), ("vertices", vertices))}
        np.savez_compressed(folder / "garments.npz", **meshes)
        (folder / "frames").mkdir()
        for frame in range(motion.frames):
            posed = simulated.posed(frame)
            np.savez(folder / "frames" / f"{frame:05d}.npz", means=posed.means, quats_wxyz=posed.quats_wxyz,
                     log_scales=posed.log_scales)
            tell(frame + 1, motion.frames, "posing")

        def rigid(frame: int):
            return pose_gaussians(avatar.gaussians, avatar.rig, skinning_matrices(avatar.rig, motion, frame))

        (folder / "videos").mkdir()
        targets = root_targets(avatar.rig, motion, figure=avatar.gaussians.means)
        for k in range(config.trajectories):
            cameras = diagonal(targets, start_azimuth=2 * math.pi * k / config.trajectories,
                               turn=math.radians(config.turn_degrees), size=(config.width, config.height))
            for name, pose_at in (("truth", simulated.posed), ("rigid", rigid)):
                _video(folder / "videos", f"orbit{k}_{name}", pose_at, cameras, motion.fps, config)
            tell(k + 1, config.trajectories, "rendering")
    return output


def _video(folder: Path, name: str, pose_at: PoseAt, cameras: tuple, fps: float, config: TruthConfig) -> None:
    video = render_video(pose_at, cameras, name=name, background=config.background)
    save_video(folder / f"{name}.npz", video)
    write_mp4(iter(video.rgb), folder / f"{name}.mp4", fps=fps, size=(config.width, config.height))
