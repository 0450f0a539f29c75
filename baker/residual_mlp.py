"""Training the pose-driven residual (DESIGN §7): recent poses to the coefficients of a baked clip's textures.

There are few frames to learn from, so the network is small, sees poses through a few principal components, and its
inputs are blurred by noise while it learns. Letters: T frames, P inputs, D components, K coefficients.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from baker.avatar import Avatar, SkinnedMesh
from baker.field import one_thread
from baker.motions import clip_name, load_motion
from runtime.actor_loop import loop_of
from runtime.bundle import read_bundle, write_bundle
from runtime.decoders import load_decoder
from runtime.errors import InputError
from runtime.pose_residual import INPUT_LIMIT, check_pose_residual, pose_features
from runtime.types import GROUPS, Bundle, Clip, Motion, OffsetTexture, PoseResidual, Residual


@dataclass(frozen=True)
class MlpConfig:
    """How the network is made."""

    lags: tuple[float, ...] = (0.0, 0.15, 0.3)
    """Poses it looks at [s]: a skirt's swing takes half a second to die."""
    joints: int = 12
    """Most joints it looks at: those that carry the moving Gaussians."""
    components: int = 8
    """Most principal components of the inputs."""
    hidden: int = 32
    """Width of its two hidden layers."""
    textures: int = 24
    """Most textures driven of a group: the leading ones, until `energy` is reached."""
    energy: float = 0.995
    """Share of a group's squared offsets that is driven."""
    steps: int = 400
    """Steps of Adam over all frames."""
    noise: float = 0.6
    """Standard deviation of the noise on normalised components. On the built-in person's simulated skirt, learnt from
    one walk: 0.3 and 0.6 equal on other walks (24 to 33 mm off, rigid skinning 79), 0.6 better on a run (67 against
    73 mm)."""
    weight_decay: float = 1e-3
    margin: float = 0.1
    """Outputs may leave the range seen in training by this share of it."""
    seed: int = 0


def train(bundle: Bundle, config: MlpConfig) -> PoseResidual:
    """A pose residual over the textures of the bundle's longest baked clip, learnt from all its baked clips.

    Raises `InputError` where no clip has offset textures with coefficients, or none moves.
    """
    baked = [index for index, clip in enumerate(bundle.clips) if len(clip.residual.moving)
             and all(getattr(clip.residual, name).coefficients is not None for name in GROUPS)]
    if not baked:
        raise InputError(f"{bundle.manifest.name}: has no clip with offset textures to learn from; bake a motion first")
    driven = max(baked, key=lambda index: bundle.clips[index].motion.frames)
    residual = bundle.clips[driven].residual
    counts = tuple(_leading(getattr(residual, name), config) for name in GROUPS)
    lags = np.array(config.lags, np.float32)
    joints = carrying_joints(bundle, residual.moving, config.joints)

    # 1. What goes in and what should come out, frame by frame.
    inputs, targets = [], []
    for index in baked:
        clip = bundle.clips[index]
        inputs.append(window_features(bundle, clip.motion, lags, joints))
        targets.append(_coefficients_of(clip, residual, counts) if index != driven else np.concatenate(
            [getattr(residual, name).coefficients[:, :count] for name, count in zip(GROUPS, counts, strict=True)], 1))
    features, wanted = np.concatenate(inputs).astype(np.float64), np.concatenate(targets).astype(np.float64)
    mean, inverse = features.mean(0), 1.0 / np.maximum(features.std(0), 1e-3)
    # 2. Principal components of clamped, normalised inputs, whitened.
    normal = np.clip((features - mean) * inverse, -INPUT_LIMIT, INPUT_LIMIT)
    _, singular, axes = np.linalg.svd(normal - normal.mean(0), full_matrices=False)
    if singular[0] < 1e-6:
        raise InputError(f"{bundle.manifest.name}: its clips hold one pose only, nothing to learn from; bake a motion")
    kept = max(min(config.components, int((singular > 0.05 * singular[0]).sum())), 1)
    project = axes[:kept] * (math.sqrt(len(normal)) / np.maximum(singular[:kept, None], 1e-9))
    components = normal @ project.T
    # 3. The network itself, on coefficients scaled by how much they move the Gaussians.
    importance = np.concatenate([_sizes(getattr(residual, name))[:count] / _total(getattr(residual, name))
                                 for name, count in zip(GROUPS, counts, strict=True)])
    centre, spread = wanted.mean(0), np.maximum(wanted.std(0), 1e-9)
    with one_thread():
        weights, biases = _fit(components, (wanted - centre) / spread, importance * spread, config)
    # 4. Components and scales become part of the first and last layer.
    weights[0] = weights[0] @ project
    weights[-1], biases[-1] = weights[-1] * spread[:, None], biases[-1] * spread + centre
    least, largest = wanted.min(0), wanted.max(0)
    room = config.margin * (largest - least)
    return check_pose_residual(PoseResidual(
        clip=driven, counts=(counts[0], counts[1], counts[2]), lags=lags, joints=joints,
        input_range=np.stack([mean, inverse], 1).astype(np.float32),
        output_range=np.stack([least - room, largest + room], 1).astype(np.float32),
        weights=tuple(np.ascontiguousarray(w, np.float32) for w in weights),
        biases=tuple(np.ascontiguousarray(b, np.float32) for b in biases)),
        bundle.manifest.name, joints=bundle.rig.joint_count,
        textures=tuple(len(getattr(residual, name).texels) for name in GROUPS))


def with_pose_residual(bundle: Bundle, config: MlpConfig) -> tuple[Bundle, dict[str, float | int | str]]:
    """The bundle with a trained pose residual, and how far its positions are from the clip it learnt from [mm].

    Where there is nothing to learn from the bundle stays as it is; the figures then say why.
    """
    try:
        own = train(bundle, config)
    except InputError as error:
        return bundle, {"residual_mlp": str(error)}
    clip = bundle.clips[own.clip]
    group, count = clip.residual.d_means, own.counts[0]
    decoder = load_decoder("numpy", own)
    predicted = np.stack([decoder(row) for row in window_features(bundle, clip.motion, own.lags, own.joints)])
    planes = _planes(group, np.arange(len(group.mean)))
    assert group.coefficients is not None
    baked = group.coefficients.astype(np.float64) @ planes
    missed = baked - predicted[:, :count] @ planes[:count]
    off, moved = (1000 * float(np.linalg.norm(offsets.reshape(-1, 3), axis=1).mean()) for offsets in (missed, baked))
    return replace(bundle, pose_residual=own), {
        "residual_mlp_weights": sum(weight.size for weight in own.weights), "residual_mlp_outputs": own.output_count,
        "residual_mlp_error_mm": off, "residual_mlp_rigid_error_mm": moved}


def with_driven_clip(bundle: Bundle, motion: Motion, *, name: str, config: MlpConfig) -> Bundle:
    """The bundle with another motion whose cloth the pose residual moves; trained first if the bundle has none."""
    own = bundle.pose_residual or train(bundle, config)
    nothing = OffsetTexture(mean=np.zeros((0, 3), np.float32), texels=np.zeros((0, 0, 3), np.int8),
                            texel_scales=np.zeros((0, 3), np.float32),
                            coefficients=np.zeros((motion.frames, 0), np.float32))
    residual = Residual(moving=np.zeros(0, np.int64), **dict.fromkeys(GROUPS, nothing))
    clip = Clip(name=name, motion=motion.check(name, rig=bundle.rig), residual=residual)
    return replace(bundle, clips=(*bundle.clips, clip), pose_residual=own)


def drive(path: Path, motion: str, output: Path, config: MlpConfig) -> Bundle:
    """Write a bundle again with another motion (a name or a file) whose cloth the pose residual moves.

    Raises `InputError` for a bundle or motion that cannot be used.
    """
    bundle = read_bundle(path)
    still = np.flatnonzero(~bundle.gaussians.may_move)
    still = still if len(still) else np.arange(bundle.gaussians.count)
    # Who stands on the floor: the Gaussians themselves, in place of the mesh that a bundle does not keep.
    body = SkinnedMesh(vertices=bundle.gaussians.means[still], faces=np.zeros((0, 3), np.int64),
                       skin_joints=bundle.rig.skin_joints[still], skin_weights=bundle.rig.skin_weights[still])
    avatar = Avatar(name=bundle.manifest.name, gaussians=bundle.gaussians, rig=bundle.rig, body=body, garments=(),
                    licence=bundle.manifest.source_licence)
    driven = with_driven_clip(bundle, load_motion(motion, avatar), name=_new_name(clip_name(motion), bundle),
                              config=config)
    write_bundle(driven, output)
    return driven


def _new_name(name: str, bundle: Bundle) -> str:
    """The name, numbered where a clip of the bundle has it: players choose clips by name."""
    taken = {clip.name for clip in bundle.clips}
    return next(new for new in itertools.chain([name], (f"{name} {n}" for n in itertools.count(2))) if new not in taken)


def carrying_joints(bundle: Bundle, moving: np.ndarray, most: int) -> np.ndarray:
    """The joints, root excepted, that carry most of the moving Gaussians' weight, ascending."""
    rig = bundle.rig
    carried = np.bincount(rig.skin_joints[moving].reshape(-1), weights=rig.skin_weights[moving].reshape(-1),
                          minlength=rig.joint_count)
    # A knee moves the hem that its thigh carries: children of carriers count half.
    carried = np.maximum(carried, 0.5 * np.where(rig.parents > 0, carried[rig.parents], 0))
    carried[0] = 0
    chosen = np.argsort(-carried, kind="stable")[:most]
    return np.sort(chosen[carried[chosen] > 1e-3 * max(len(moving), 1)])


def window_features(bundle: Bundle, motion: Motion, lags: np.ndarray, joints: np.ndarray) -> Float[np.ndarray, "T P"]:
    """Inputs of every frame of a motion."""
    loop = loop_of(motion)
    return np.stack([pose_features(bundle.rig, motion, float(frame), lags=lags, joints=joints, loop=loop)
                     for frame in range(motion.frames)])


def _sizes(texture: OffsetTexture) -> Float[np.ndarray, " K"]:
    """Root mean square of each texture, per unit of its coefficient."""
    values = texture.texels.astype(np.float64) * texture.texel_scales[:, None]
    return np.sqrt((values ** 2).sum(axis=(1, 2)) / max(len(texture.mean), 1))


def _total(texture: OffsetTexture) -> float:
    """Root mean square of what all textures of a group add over time."""
    assert texture.coefficients is not None
    return math.sqrt(max(float(((texture.coefficients * _sizes(texture)) ** 2).sum(1).mean()), 1e-18))


def _leading(texture: OffsetTexture, config: MlpConfig) -> int:
    """How many leading textures hold the asked share of what the group does."""
    assert texture.coefficients is not None
    energy = _sizes(texture) ** 2 * (texture.coefficients.astype(np.float64) ** 2).mean(0)
    if not energy.sum() > 0:
        return 0
    enough = int(np.searchsorted(np.cumsum(energy) / energy.sum(), config.energy)) + 1
    return min(enough, config.textures, len(energy))


def _coefficients_of(clip: Clip, basis: Residual, counts: tuple[int, ...]) -> Float[np.ndarray, "T K"]:
    """Another clip's offsets in the driven textures, by least squares over the Gaussians that both move."""
    _, mine, theirs = np.intersect1d(clip.residual.moving, basis.moving, return_indices=True)
    columns = []
    for name, count in zip(GROUPS, counts, strict=True):
        own, other = getattr(clip.residual, name), getattr(basis, name)
        textures = _planes(other, theirs)[:count]
        values = _planes(own, mine)
        offset = (own.mean[mine] - other.mean[theirs]).reshape(-1).astype(np.float64)
        gram = textures @ textures.T + 1e-9 * np.eye(count)
        columns.append((own.coefficients @ (values @ textures.T) + offset @ textures.T) @ np.linalg.inv(gram))
    return np.concatenate(columns, axis=1)


def _planes(texture: OffsetTexture, rows: np.ndarray) -> Float[np.ndarray, "K P"]:
    """Some rows of each texture, in the group's unit."""
    values = texture.texels[:, rows] * texture.texel_scales[:, None].astype(np.float64)
    return values.reshape(len(values), 3 * len(rows))


def _fit(inputs: Float[np.ndarray, "T D"], outputs: Float[np.ndarray, "T K"], importance: Float[np.ndarray, " K"],
         config: MlpConfig) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases of a tanh network, inputs unit, outputs unit."""
    generator = torch.Generator().manual_seed(config.seed)
    sizes = (inputs.shape[1], config.hidden, config.hidden, outputs.shape[1])
    weights = [(torch.randn(o, i, generator=generator) / math.sqrt(i)).requires_grad_()
               for i, o in itertools.pairwise(sizes)]
    biases = [torch.zeros(o, requires_grad=True) for o in sizes[1:]]
    x, y = torch.as_tensor(inputs, dtype=torch.float32), torch.as_tensor(outputs, dtype=torch.float32)
    weight = torch.as_tensor(importance, dtype=torch.float32)
    optimiser = torch.optim.AdamW([*weights, *biases], lr=5e-3, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    for _ in range(config.steps):
        value = x + config.noise * torch.randn(x.shape, generator=generator)
        for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
            value = (value if index == 0 else torch.tanh(value)) @ w.T + b
        loss = (((value - y) * weight) ** 2).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return ([w.detach().numpy().astype(np.float64) for w in weights],
            [b.detach().numpy().astype(np.float64) for b in biases])
