"""Training clips for the embedded prior, made from seeds: random persons in random motions with simulated cloth.

A clip is the truth (simulated cloth), the coarse video (the same rigidly skinned), the pose video, the masks and
the reference. Clips lie uncompressed in one file each, so that training can read crops through
the page cache. Letters as in `runtime/__init__.py`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from baker import cloth
from baker.avatar import Avatar
from baker.conditions import MIRRORED, draw_pose, keypoints, project, reference_image
from baker.meshes import ride
from baker.motion_files import KINDS, read_motion
from baker.motions import MotionOptions, load_motion
from baker.person import make_person, random_person
from baker.trajectories import DISTANCE, diagonal, root_targets
from baker.videos import PoseAt, to_uint8
from runtime.errors import InputError
from runtime.fast_skinning import pose_gaussians
from runtime.raster import render
from runtime.skinning import skinning_matrices
from runtime.types import Camera, GaussianSet, Motion

Report = Callable[[int, int, str], None]
"""Progress: done, total, what is being done."""


@dataclass(frozen=True)
class PriorDataConfig:
    """What clips are made."""

    seed: int = 20
    """Seeds persons, motions, cameras and backgrounds."""
    simulations: int = 40
    """Cloth simulations, one person in one motion each. May be raised between runs of one training."""
    held_out: int = 4
    """The first simulations, kept for validation."""
    clips_per_simulation: int = 6
    """Clips rendered of each."""
    frames: int = 33
    """Frames of a clip, 4 k + 1."""
    width: int = 128
    """Picture width [px]."""
    height: int = 224
    """Picture height [px]."""
    motion_folder: str = ""
    """Folder of motion files (AMASS-layout .npz, .bvh, .glb and the other kinds that are read), searched with its
    subfolders, mixed in half and half; empty for procedural ones only."""
    materials: bool = True
    """Draw the cloth's weight, stiffness, drag and friction for each simulation; else `ClothConfig`'s."""


@dataclass(frozen=True)
class TrainingClip:
    """One clip; X is the width."""

    truth: UInt8[np.ndarray, "T H X 3"]
    coarse: UInt8[np.ndarray, "T H X 3"]
    pose: UInt8[np.ndarray, "T H X 3"]
    pose_exchanged: UInt8[np.ndarray, "T H X 3"]
    """The pose video with left and right exchanged: flipped, it is the pose video of the flipped picture."""
    preserved: UInt8[np.ndarray, "T H X"]
    """Preserved mask of the coarse video, 0..255."""
    garment: UInt8[np.ndarray, "T H X"]
    """Coverage by garment and hair, in the truth or the coarse video, whichever is more, 0..255."""
    truth_garment: UInt8[np.ndarray, "T H X"]
    """The same in the truth alone."""
    flow: UInt8[np.ndarray, "T H X 2"]
    """Where in the coarse frame the surface seen at a pixel of the truth lies, as `encode_flow` stores it."""
    reference: UInt8[np.ndarray, "H X 3"]


RATE = 30.0
"""Frames a second of every clip."""
TRUTH, COARSE, POSE, EXCHANGED = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)
PRESERVED, GARMENT = 12, 13
FLOW = slice(14, 16)
TRUTH_GARMENT = 16
CHANNELS = 17
"""Channels of a clip's array [T + 1, H, X, 17]; the last frame holds the reference in the truth's channels."""


@dataclass(frozen=True)
class ClipStore:
    """Clips in a folder, by simulation and number."""

    folder: Path

    def path(self, simulation: int, clip: int) -> Path:
        """The file of a clip."""
        return self.folder / f"clip_{simulation:04d}_{clip:02d}.npy"

    def write(self, simulation: int, clip: int, content: TrainingClip) -> None:
        """Store a clip, atomically."""
        frames, height, width, _ = content.truth.shape
        packed = np.zeros((frames + 1, height, width, CHANNELS), np.uint8)
        packed[:frames, ..., TRUTH], packed[:frames, ..., COARSE] = content.truth, content.coarse
        packed[:frames, ..., POSE], packed[:frames, ..., EXCHANGED] = content.pose, content.pose_exchanged
        packed[:frames, ..., PRESERVED], packed[:frames, ..., GARMENT] = content.preserved, content.garment
        packed[:frames, ..., FLOW], packed[:frames, ..., TRUTH_GARMENT] = content.flow, content.truth_garment
        packed[frames, ..., TRUTH] = content.reference
        temporary = self.folder / f".{simulation}_{clip}.tmp"
        with open(temporary, "wb") as file:
            np.save(file, packed)
        os.replace(temporary, self.path(simulation, clip))

    def read(self, simulation: int, clip: int) -> UInt8[np.ndarray, "T1 H X 17"]:
        """A clip's array, mapped from its file."""
        return np.load(self.path(simulation, clip), mmap_mode="r", allow_pickle=False)

    def list(self) -> list[tuple[int, int]]:
        """(simulation, clip) of every stored clip, in order."""
        names = (re.fullmatch(r"clip_(\d+)_(\d+)", path.stem) for path in self.folder.glob("clip_*.npy"))
        return sorted((int(name[1]), int(name[2])) for name in names if name)


def make_dataset(config: PriorDataConfig, folder: Path, progress: Report | None = None) -> ClipStore:
    """Make the clips that are not there yet; a simulation is repeated only while a clip of it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    store = ClipStore(folder)
    present = set(store.list())
    for simulation in range(config.simulations):
        missing = [k for k in range(config.clips_per_simulation) if (simulation, k) not in present]
        if missing:
            scene = simulate_scene(config, simulation)
            for clip in missing:
                store.write(simulation, clip, render_clip(config, scene, simulation, clip))
        if progress is not None:
            progress(simulation + 1, config.simulations, "simulating and rendering training clips")
    return store


@dataclass(frozen=True)
class Scene:
    """One simulated performance."""

    avatar: Avatar
    motion: Motion
    truth: PoseAt
    """Gaussians with simulated cloth."""
    rigid: PoseAt
    """The same, rigidly skinned."""


def simulate_scene(config: PriorDataConfig, simulation: int) -> Scene:
    """Person, motion and cloth of one simulation: a function of (seed, simulation). The default person and the
    motions' default variations, which the demo bakes, are never drawn."""
    rng = np.random.default_rng((config.seed, simulation))
    binding = "diffused" if rng.random() < 0.75 else "nearest_vertex"
    person_seed = 10_000 + 1_000 * config.seed + simulation
    avatar = make_person(replace(random_person(person_seed), binding=binding))
    motion = _draw_motion(config, avatar, rng)
    material = draw_material(np.random.default_rng((config.seed, simulation, 77))) if config.materials else (
        cloth.ClothConfig())
    return scene_of(avatar, motion, material)


def scene_of(avatar: Avatar, motion: Motion, material: cloth.ClothConfig) -> Scene:
    """An avatar's garments simulated over a motion."""
    simulated = cloth.simulate(avatar, motion, material)

    @cache
    def rigid(t: int) -> GaussianSet:
        return pose_gaussians(avatar.gaussians, avatar.rig, skinning_matrices(avatar.rig, motion, t))

    @cache
    def truth(t: int) -> GaussianSet:
        # As `Truth.posed`, on the fast skinning.
        posed = rigid(t)
        means, quats, log_scales = posed.means.copy(), posed.quats_wxyz.copy(), posed.log_scales.copy()
        for garment, vertices in zip(avatar.garments, simulated.garment_vertices, strict=True):
            rows = garment.gaussian_indices
            means[rows], quats[rows], log_scales[rows] = ride(avatar.gaussians, garment, vertices[t])
        return replace(posed, means=means, quats_wxyz=quats, log_scales=log_scales)

    return Scene(avatar=avatar, motion=motion, truth=truth, rigid=rigid)


def draw_material(rng: np.random.Generator) -> cloth.ClothConfig:
    """A cloth from chiffon to denim: weight, bending, shear, air and friction, each spread about `ClothConfig`'s."""
    usual = cloth.ClothConfig()
    weight = float(np.exp(rng.uniform(np.log(0.5), np.log(1.8))))
    # Heavier cloth is stiffer on the whole: compliance goes against weight, with a spread of its own.
    bend = float(np.exp(rng.normal(0.0, 0.7))) / weight
    return replace(usual, density=usual.density * weight, bend_compliance=usual.bend_compliance * bend,
                   shear_compliance=usual.shear_compliance * float(np.exp(rng.normal(0.0, 0.4))),
                   drag=float(rng.uniform(0.9, 1.5)), friction=float(rng.uniform(0.2, 0.45)),
                   damping=float(rng.uniform(0.3, 0.9)))


def motion_files_in(folder: Path, *, frames: int) -> list[Path]:
    """Motion files in a folder and its subfolders, sorted, that last `frames` at 30 a second. Raises `InputError` where
    there is none, or for a file that cannot be read."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in KINDS and path.is_file())
    long_enough = []
    for path in files:
        clip = read_motion(str(path))
        if (clip.frames - 1) / clip.fps * RATE + 1 >= frames:
            long_enough.append(path)
    if not long_enough:
        raise InputError(f"{folder}: holds no motions of {frames} frames or more ({', '.join(KINDS)}); "
                         "give another folder or none")
    return long_enough


@cache
def _motion_files(folder: str, frames: int) -> list[Path]:
    return motion_files_in(Path(folder), frames=frames)


def _draw_motion(config: PriorDataConfig, avatar: Avatar, rng: np.random.Generator) -> Motion:
    variation = int(rng.integers(1, 2**31))
    files = _motion_files(config.motion_folder, config.frames) if config.motion_folder else []
    if files and rng.random() < 0.5:
        source = files[int(rng.integers(len(files)))]
        motion = load_motion(str(source), avatar, options=MotionOptions(fps=RATE))
        length = min(motion.frames, 3 * config.frames)
        start = int(rng.integers(motion.frames - length + 1))
        return motion.slice(start, start + length)
    name = ("walk", "run", "twirl", "jump")[int(rng.choice(4, p=[0.35, 0.2, 0.3, 0.15]))]
    return load_motion(name, avatar, variation_seed=variation)


def render_clip(config: PriorDataConfig, scene: Scene, simulation: int, clip: int) -> TrainingClip:
    """One clip of a scene: a function of (seed, simulation, clip)."""
    rng = np.random.default_rng((config.seed, simulation, clip))
    # The pipeline's background is mid-grey; half of the clips vary it.
    grey = 0.5 if rng.random() < 0.5 else float(rng.uniform(0.35, 0.65))
    background = (grey, grey, grey)
    if scene.motion.frames < config.frames:
        raise ValueError(f"a motion of {scene.motion.frames} frames is shorter than a clip of {config.frames}")
    start = int(rng.integers(scene.motion.frames - config.frames + 1))
    motion = scene.motion.slice(start, start + config.frames)
    cameras = _draw_cameras(config, root_targets(scene.avatar.rig, motion), rng)

    def rigid(t: int):
        return scene.rigid(start + t)

    truth, _, truth_garment, flow = _render(lambda t: scene.truth(start + t), rigid, cameras, background)
    coarse, preserved, coarse_garment, _ = _render(rigid, rigid, cameras, background)
    positions, seen = keypoints(scene.avatar.rig, motion, cameras, rigid)
    size = {"height": config.height, "width": config.width}
    return TrainingClip(
        truth=truth, coarse=coarse, preserved=preserved, flow=flow,
        garment=np.maximum(truth_garment, coarse_garment), truth_garment=truth_garment,
        pose=draw_pose(positions, seen, **size),
        pose_exchanged=draw_pose(positions[:, MIRRORED], seen[:, MIRRORED], **size),
        reference=reference_image(scene.avatar.gaussians, scene.avatar.rig, size=(config.width, config.height),
                                  background=background))


def _draw_cameras(config: PriorDataConfig, targets: np.ndarray, rng: np.random.Generator) -> tuple[Camera, ...]:
    """Any start, up to 160 degrees of turn in a clip (the pipeline turns 132 a window), around 10 degrees up."""
    turn = float(rng.uniform(-1, 1)) * math.radians(160) if rng.random() < 0.3 else math.radians(
        float(rng.uniform(90, 150)))
    return diagonal(targets, start_azimuth=float(rng.uniform(0, 2 * math.pi)), turn=turn,
                    size=(config.width, config.height), elevation=math.radians(float(rng.uniform(5, 15))),
                    distance=DISTANCE * float(rng.uniform(0.92, 1.08)))


def _render(pose_at: PoseAt, rigid: PoseAt, cameras: tuple[Camera, ...],
            background: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colours [T H X 3], preserved mask [T H X], garment coverage [T H X] and flow to the rigid pose [T H X 2],
    uint8. As `render_video`, which keeps no opacity to tell garment from background."""
    rgb, preserved, garment, flow = [], [], [], []
    for frame, camera in enumerate(cameras):
        gaussians = pose_at(frame)
        moved = project(rigid(frame).means, camera)[0] - project(gaussians.means, camera)[0]
        features = np.concatenate([~gaussians.may_move[:, None], moved], axis=1).astype(np.float32)
        image = render(gaussians, camera, features=features)
        alpha, still = image.rgba[..., 3:], image.features[..., 0]
        rgb.append(to_uint8(image.rgba[..., :3] + (1 - alpha) * np.asarray(background, np.float32)))
        preserved.append(to_uint8(still))
        garment.append(to_uint8(alpha[..., 0] - still))
        flow.append(encode_flow(image.features[..., 1:] / np.maximum(alpha, 1e-6), alpha[..., 0] > 0.5))
    return np.stack(rgb), np.stack(preserved), np.stack(garment), np.stack(flow)


def encode_flow(flow: Float[np.ndarray, "*S 2"], known: Bool[np.ndarray, "*S"]) -> UInt8[np.ndarray, "*S 2"]:
    """Displacements [px] in steps of half a pixel, +-63 px, 128 for none; 0 where unknown."""
    return np.where(known[..., None], np.clip(np.rint(2 * flow) + 128, 1, 255), 0).astype(np.uint8)
