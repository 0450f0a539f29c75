"""4D optimisation (paper 4.3): learn the residual field from videos by differentiable rendering.

Letters: N Gaussians, M of them moving, T frames.

How the defaults were found: a built-in person of 10,000 Gaussians walks one cycle of 30 frames, her simulated skirt
101 mm (median) from rigid skinning; four orbits of 80x140 px of the simulation are learnt, a fifth is held out.
Rigid skinning gives 23.0 dB on both; after 300 steps of four views (unless said otherwise), learnt / held out:

    isometry 8, 2, 0.5, 0.2, 0.05     24.4/24.1  26.4/25.4  28.5/26.7  29.4/27.3  30.2/27.8
    isometry 0.2: shape 0             29.5/27.2 (0.01: 29.4/27.3)       mask 2 for 0.5      29.5/27.1
    isometry 0.2: plane_lr 5e-2       29.7/27.3 (2e-2: 29.4/27.3)       mlp_lr 1e-2         29.6/27.5 (3e-3: 29.4)
    600 steps of two views            30.5/27.9 at 0.7 of the processor time; 1200 of them: 32.9/29.0
    no coarse start                   as with it (26.4/25.5, isometry 2)

One view a step was tried on the full person only, with other weights, and gave as much a second. What stays wrong is
cloth more than about 20 cm from where skinning puts it, in a pattern that repeats: it locks on to another stripe.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree
from torch import Tensor

from baker import losses, silhouette
from baker.avatar import SkinnedMesh
from baker.contact import BodyContact
from baker.field import FieldConfig, ResidualField, load_tensors, one_thread, save_tensors
from baker.posing import PoseTables, pose, pose_tables
from baker.rasterisers import load as load_rasteriser
from baker.videos import PoseAt, Video
from runtime.errors import InputError
from runtime.skinning import apply_residual, pose_gaussians
from runtime.types import GaussianSet, Motion, Rig

Update = Callable[[int, PoseAt], list[Video]]
"""Dataset update: (round from 1, the current state) to newly restored videos. Called again with the same round
after an interruption, so it must keep what it made."""

CHECKPOINT = "checkpoint.safetensors"
"""The checkpoint's name in its folder."""


@dataclass(frozen=True)
class OptimiseConfig:
    """Everything the optimisation depends on besides its inputs."""

    iterations: int = 2500
    """Optimiser steps (the paper takes 25k to 30k)."""
    frames: int = 90
    """Clip length that `iterations` is meant for; a bake of a longer clip takes proportionally more."""
    views: int = 2
    """Videos whose picture of one frame is rendered in a step: one camera alone leaves the depth open, and the
    field is evaluated once for all."""
    plane_lr: float = 3e-2
    """Learning rate of the planes."""
    mlp_lr: float = 5e-3
    """Learning rate of the decoder."""
    final_lr: float = 0.05
    """Both rates fall to this part of themselves, by a cosine."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay."""
    l1: float = 1.0
    """Weight of the L1 (paper 4.3)."""
    dssim: float = 0.2
    """Weight of (1 - SSIM) / 2 (3DGS takes 0.2; the paper gives none)."""
    mask: float = 0.5
    """Weight of the preserved region's coverage (paper's l3, no value given)."""
    lpips: float = 0.1
    """Weight of LPIPS (paper's l1, no value given); off without `lpips_weights`."""
    lpips_weights: str = ""
    """Path of the LPIPS weights; see `losses.Lpips`. Empty turns the term off."""
    pyramid: float = 0.5
    """Weight of the L1 on reduced images; ours, see `losses.multiscale_l1`."""
    start_pyramid: float = 3.0
    """The same at the first step; coarse to fine, since a plaid's next stripe is nearer than the right one."""
    coarse_part: float = 0.4
    """Part of the run over which the pyramid falls to its weight and L1, dSSIM and LPIPS rise to theirs."""
    pyramid_levels: int = 4
    """Halvings of that term; the first is left out, L1 and dSSIM see as much."""
    isometry: float = 0.1
    """Weight of the mean squared relative change of distance between neighbours on the cloth; ours: cloth bends
    but hardly stretches, and it ties what no camera sees to what one does. A simulated skirt has 0.001, rigid
    skinning 0.007 to 0.014; 0.05 fits a little better than 0.1, 0.5 and more hold the cloth back."""
    neighbours: int = 6
    """Neighbours of each Gaussian in that term: the nearest, the 2nd, 4th, ... 32nd."""
    contact: float = 0.1
    """Weight of the mean squared depth below the skin [cm2]; ours, see `baker/contact.py`."""
    clearance: float = 0.004
    """Height over the skin at which that term begins [m]."""
    cover: float = 0.01
    """Weight of the mean distance [px] of the figure's pixels from the nearest moving Gaussian; ours, see
    `baker/silhouette.py`."""
    shape: float = 0.1
    """Weight of the mean square of d_log_scales and d_rotations; ours: without it a Gaussian that is off grows into
    a smear instead of moving. A simulated long skirt is matched to 40 dB by its centres alone."""
    smooth_space: float = 1e-4
    """Weight of the space planes' squared second differences (4DGaussians' plane_tv: 1e-4)."""
    smooth_time: float = 1e-3
    """Weight of the time planes' squared second differences along time (4DGaussians: 1e-2)."""
    time_l1: float = 1e-4
    """Weight of |1 - time plane| (4DGaussians: 1e-4)."""
    regularise_every: int = 4
    """Plane regularisers act every so many steps, weighted up: they cost as much as the field."""
    update_every: int = 0
    """Steps between dataset updates (the paper: 5k); 0 for none."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    record_every: int = 20
    """Steps averaged into one row of the history."""
    field: FieldConfig = field(default_factory=FieldConfig)
    """Shape of the residual field."""


def optimise(gaussians: GaussianSet, rig: Rig, motion: Motion, videos: list[Video], config: OptimiseConfig, *,
             checkpoint_dir: Path, background: tuple[float, float, float], body: SkinnedMesh | None = None,
             rasteriser: str = "cpu", device: str = "cpu", update: Update | None = None, seed: int = 0,
             progress: Callable[[int, int, str], None] | None = None,
             ) -> tuple[ResidualField, list[dict[str, float]]]:
    """Learn the residual of `motion` from `videos` of its frames over a flat sRGB `background`. `body` is the surface
    to keep out of, where the avatar has one.

    Continues from the checkpoint in `checkpoint_dir` when there is one; the result then equals an unbroken
    run's bit for bit (on a CPU; gsplat's sums on a GPU have no fixed order). Returns the field, on the CPU, and the
    history: one row per `record_every` steps with `iteration`, `seconds`, the total `loss` and each unweighted term.

    Raises `InputError` when nothing may move, a video does not fit the motion, or the checkpoint belongs to
    another configuration.
    """
    for video in videos:
        if len(video.cameras) != motion.frames:
            raise InputError(f"video {video.name}: has {len(video.cameras)} frames, the motion {motion.frames}")
    if not videos:
        raise InputError("the optimisation has no video to learn from")
    if not gaussians.may_move.any():
        raise InputError("nothing of this avatar may move (no garment, no hair); there is nothing to learn")
    run = _Run(gaussians, rig, motion, list(videos), config, checkpoint_dir / CHECKPOINT, background=background,
               body=body, rasteriser=rasteriser, device=device, update=update, seed=seed)
    with one_thread():
        while run.iteration < config.iterations:
            if progress and run.iteration % 10 == 0:
                progress(run.iteration, config.iterations, "learning the residual")
            run.step()
        run.save()
    if progress:
        progress(config.iterations, config.iterations, "learning the residual")
    return run.field.cpu(), run.history


def pose_with_field(field: ResidualField, gaussians: GaussianSet, rig: Rig, motion: Motion) -> PoseAt:
    """Gaussians in the world with the field's current residual."""
    def pose_at(frame: int) -> GaussianSet:
        with torch.no_grad():
            offsets = [value[0].cpu().numpy() for value in field(torch.tensor([float(frame)]))]
        return pose_gaussians(apply_residual(gaussians, field.moving, *offsets), rig, motion, frame)
    return pose_at


class _Run:
    """The state of one optimisation."""

    def __init__(self, gaussians: GaussianSet, rig: Rig, motion: Motion, videos: list[Video],
                 config: OptimiseConfig, checkpoint: Path, *, background: tuple[float, float, float],
                 body: SkinnedMesh | None, rasteriser: str, device: str, update: Update | None,
                 seed: int) -> None:
        self.config, self.videos, self.update, self.seed = config, videos, update, seed
        self.checkpoint = checkpoint
        self.device = torch.device(device)
        self.scene = _Scene(gaussians, rig, motion, self.device)
        self.rasterise = load_rasteriser(rasteriser)
        self.background = torch.tensor(background, dtype=torch.float32, device=self.device)
        moving = self.scene.moving
        self.field = ResidualField(gaussians.means[moving], moving, frames=motion.frames, config=config.field,
                                   seed=seed).to(self.device)
        self.pairs = _Pairs(gaussians, moving, config.neighbours, self.device)
        self.cloth: dict[tuple[str, int], np.ndarray] = {}
        self.contact = None
        if body is not None and config.contact:
            self.contact = BodyContact(body, rig, motion, rest_means=gaussians.means[moving], rows=moving,
                                       clearance=config.clearance)
        self.lpips = _load_lpips(config, self.device)
        planes = [*self.field.space, *self.field.time]
        decoder = [p for layer in (self.field.hidden_in, self.field.hidden, self.field.out)
                   for p in layer.parameters()]
        self.parameters = planes + decoder
        self.base_lrs = (config.plane_lr, config.mlp_lr)
        # eps far below any gradient's size: planes see small ones, and 1e-8 would slow them (4DGaussians: 1e-15).
        self.adam = torch.optim.AdamW([{"params": planes}, {"params": decoder}], betas=(0.9, 0.99), eps=1e-15,
                                      weight_decay=config.weight_decay, fused=True)
        self.pose_at = pose_with_field(self.field, gaussians, rig, motion)
        self.iteration, self.round = 0, 0
        self.history: list[dict[str, float]] = []
        self.pending: list[dict[str, float]] = []
        self.seconds_before, self.started = 0.0, time.monotonic()
        self.fingerprint = hashlib.sha256(json.dumps(
            [asdict(config), seed, motion.frames, len(moving), list(background), rasteriser, device],
            sort_keys=True).encode()).hexdigest()
        if checkpoint.exists():
            self.load()

    def step(self) -> None:
        """One optimiser step; before it, a dataset update or a checkpoint where one is due."""
        config = self.config
        if self.update and config.update_every and self.iteration == (self.round + 1) * config.update_every:
            self.save()
            self.round += 1
            self.videos += self.update(self.round, self.pose_at)
        elif self.iteration and self.iteration % config.checkpoint_every == 0:
            self.save()
        self.adam.zero_grad()
        frame, chosen = self.pick(self.iteration)
        d_means, d_rotations, d_log_scales = (o[0] for o in self.field(torch.tensor([float(frame)])))
        world = self.scene.posed(frame, d_means, d_rotations, d_log_scales)
        terms: dict[str, Tensor] = {}
        for video in chosen:
            for key, value in self.view_terms(self.videos[video], frame, world).items():
                terms[key] = terms.get(key, 0.0) + value / len(chosen)
        if config.isometry:
            terms["isometry"] = self.pairs.stretch(world[0][self.scene.still_count:])
        if self.contact:
            terms["contact"] = self.contact.penalty(world[0][self.scene.still_count:], frame)
        if config.shape:
            terms["shape"] = d_rotations.square().mean() + d_log_scales.square().mean()
        loss = sum((self.weight(key) * value for key, value in terms.items()), torch.zeros(()))
        if self.iteration % config.regularise_every == 0:
            loss = loss + config.regularise_every * self.plane_penalty()
        loss.backward()
        self.set_learning_rates()
        self.adam.step()
        self.iteration += 1
        self.record(loss, terms)

    def pick(self, step: int) -> tuple[int, list[int]]:
        """(frame, videos) of a step: every frame once, shuffled, before any repeats; its videos at random."""
        frames = len(self.videos[0].cameras)
        epoch, place = divmod(step, frames)
        frame = int(np.random.default_rng([self.seed, 0, epoch]).permutation(frames)[place])
        order = np.random.default_rng([self.seed, 1, step]).permutation(len(self.videos))
        return frame, order[:self.config.views].tolist()

    def view_terms(self, video: Video, frame: int, world: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """The unweighted terms of the loss on one picture."""
        config = self.config
        image, alpha, _, _ = self.rasterise(*world, self.scene.opacities, self.scene.channels, video.cameras[frame])
        color = image[..., :3] + (1 - alpha)[..., None] * self.background
        target = torch.from_numpy(video.rgb[frame]).to(self.device).float() / 255
        terms = {"l1": losses.l1(color, target)}
        if config.dssim:
            terms["dssim"] = losses.dssim(color, target)
        if config.cover:
            terms["cover"] = silhouette.uncovered(world[0][self.scene.still_count:], video.cameras[frame],
                                                  self.cloth_pixels(video, frame))
        if config.mask:
            preserved = torch.from_numpy(video.preserved[frame]).to(self.device).float() / 255
            terms["mask"] = losses.mask_loss(image[..., 3], preserved)
        if config.pyramid or config.start_pyramid:
            terms["pyramid"] = losses.multiscale_l1(color, target, levels=config.pyramid_levels, skip=1)
        if self.lpips:
            terms["lpips"] = self.lpips(color, target)
        return terms

    def cloth_pixels(self, video: Video, frame: int) -> Bool[np.ndarray, "H X"]:
        """Where a video's frame shows cloth, worked out once."""
        key = (video.name, frame)
        if key not in self.cloth:
            self.cloth[key] = silhouette.cloth_pixels(video.rgb[frame], video.preserved[frame],
                                                      tuple(self.background.tolist()))
        return self.cloth[key]

    def weight(self, term: str) -> float:
        """A term's weight now: coarse to fine over the first `coarse_part` of the run."""
        config = self.config
        fine = min(1.0, self.iteration / max(config.coarse_part * config.iterations, 1))
        value = getattr(config, term)
        if term == "pyramid":
            return value + (config.start_pyramid - value) * (1 - fine)
        return value * fine if term in ("l1", "dssim", "lpips") else value

    def plane_penalty(self) -> Tensor:
        """The weighted regularisers of the HexPlane."""
        config, total = self.config, torch.zeros(())
        for weight, term in ((config.smooth_space, self.field.smoothness_in_space),
                             (config.smooth_time, self.field.smoothness_in_time),
                             (config.time_l1, self.field.time_l1)):
            if weight:
                total = total + weight * term()
        return total

    def set_learning_rates(self) -> None:
        """A cosine from 1 to `final_lr`, after a start of 50 steps in which Adam's second moments settle."""
        config = self.config
        cosine = 0.5 * (1 + np.cos(np.pi * self.iteration / config.iterations))
        factor = (config.final_lr + (1 - config.final_lr) * cosine) * min(1.0, (self.iteration + 1) / 50)
        for group, base in zip(self.adam.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * float(factor)

    def record(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Average the losses into the history."""
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.iteration}")
        self.pending.append({"loss": loss.item()} | {key: value.item() for key, value in terms.items()})
        if len(self.pending) == self.config.record_every:
            row = {key: float(np.mean([entry[key] for entry in self.pending])) for key in self.pending[0]}
            self.history.append({"iteration": float(self.iteration), "seconds": self.seconds()} | row)
            self.pending = []

    def seconds(self) -> float:
        """Spent so far, over all the runs."""
        return round(self.seconds_before + time.monotonic() - self.started, 3)

    def save(self) -> None:
        """Write a checkpoint, whole or not at all."""
        tensors = {f"field.{key}": value for key, value in self.field.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            for key, value in self.adam.state[parameter].items():
                tensors[f"adam.{i}.{key}"] = value
        state = {"iteration": self.iteration, "round": self.round, "fingerprint": self.fingerprint,
                 "history": self.history, "pending": self.pending, "seconds": self.seconds()}
        save_tensors(self.checkpoint, tensors, {"state": json.dumps(state)})

    def load(self) -> None:
        """Continue from the checkpoint."""
        tensors, metadata = load_tensors(self.checkpoint)
        state = json.loads(metadata.get("state", "{}"))
        if state.get("fingerprint") != self.fingerprint:
            raise InputError(f"{self.checkpoint}: belongs to other settings; delete it to start again")
        self.field.load_state_dict({key[6:]: value for key, value in tensors.items() if key.startswith("field.")})
        for key, value in tensors.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                parameter = self.parameters[int(index)]
                self.adam.state[parameter][name] = value.to(parameter.device)
        self.iteration, self.round = state["iteration"], state["round"]
        self.history, self.pending = state["history"], state["pending"]
        self.seconds_before = state["seconds"]
        for finished in range(1, self.round + 1):
            assert self.update is not None
            self.videos += self.update(finished, self.pose_at)


class _Scene:
    """The avatar for the rasteriser: still Gaussians first, then the moving ones. Poses are made at first use."""

    def __init__(self, gaussians: GaussianSet, rig: Rig, motion: Motion, device: torch.device) -> None:
        self.device = device
        self.moving, still = np.flatnonzero(gaussians.may_move), np.flatnonzero(~gaussians.may_move)
        self.still_count = len(still)
        self.rig, self.motion, self.still = rig, motion, still
        order = np.concatenate([still, self.moving])
        colors = np.concatenate([gaussians.colors, (~gaussians.may_move)[:, None]], axis=1)[order]
        self.channels = torch.from_numpy(colors.astype(np.float32)).to(device)
        """RGB and whether the Gaussian is preserved."""
        self.opacities = torch.from_numpy(gaussians.opacities[order]).to(device)
        self.rest, self.rest_still = (
            tuple(torch.from_numpy(np.ascontiguousarray(value[rows])).to(device) for value in
                  (gaussians.means, gaussians.quats_wxyz, gaussians.log_scales)) for rows in (self.moving, still))
        self.still_scales = torch.exp(self.rest_still[2])
        self.tables: dict[int, tuple[PoseTables, Tensor, Tensor]] = {}

    def posed(self, frame: int, d_means: Tensor, d_rotations: Tensor, d_log_scales: Tensor) -> tuple[
            Float[Tensor, "N 3"], Float[Tensor, "N 4"], Float[Tensor, "N 3"]]:
        """World means, quaternions and scales at a frame; the gradient runs through the moving ones only."""
        if frame not in self.tables:
            self.tables[frame] = self._tables(frame)
        tables, still_means, still_quats = self.tables[frame]
        means, quats, scales = pose(*self.rest, d_means, d_rotations, d_log_scales, tables.blended[0],
                                    tables.turn_quats[0])
        return (torch.cat([still_means, means]), torch.cat([still_quats, quats]),
                torch.cat([self.still_scales, scales]))

    def _tables(self, frame: int) -> tuple[PoseTables, Tensor, Tensor]:
        still = pose_tables(self.rig, self.motion, frames=[frame], rows=self.still, device=self.device)
        zero = torch.zeros_like(self.rest_still[0])
        means, quats, _ = pose(*self.rest_still, zero, zero, zero, still.blended[0], still.turn_quats[0])
        moving = pose_tables(self.rig, self.motion, frames=[frame], rows=self.moving, device=self.device)
        return moving, means, quats


class _Pairs:
    """Neighbours on the same kind of cloth in the rest pose: the nearest, the 2nd, 4th, 8th ... of each Gaussian,
    so that both a crease and a whole panel resist stretching."""

    def __init__(self, gaussians: GaussianSet, moving: np.ndarray, neighbours: int, device: torch.device) -> None:
        first, second = [], []
        for label in np.unique(gaussians.labels[moving]):
            rows = np.flatnonzero(gaussians.labels[moving] == label)
            ranks = [2 ** i for i in range(neighbours) if 2 ** i < len(rows)]
            if not ranks:
                continue
            _, near = cKDTree(gaussians.means[moving][rows]).query(gaussians.means[moving][rows], k=ranks[-1] + 1)
            first.append(np.repeat(rows, len(ranks)))
            second.append(rows[near[:, ranks].reshape(-1)])
        pairs = np.concatenate([np.stack([np.concatenate(part) if part else np.zeros(0, np.int64)
                                          for part in (first, second)])], axis=1)
        rest = gaussians.means[moving][pairs[0]] - gaussians.means[moving][pairs[1]]
        self.first, self.second = torch.from_numpy(pairs[0]).to(device), torch.from_numpy(pairs[1]).to(device)
        # 2 mm under the root: coincident Gaussians have no direction, and a millimetre means nothing to them.
        self.floor = 0.002 ** 2
        self.rest = torch.from_numpy(np.sqrt((rest.astype(np.float32) ** 2).sum(1) + self.floor)).to(device)

    def stretch(self, points: Float[Tensor, "M 3"]) -> Float[Tensor, ""]:
        """Mean squared relative change of the pairs' distances."""
        if len(self.first) == 0:
            return torch.zeros(())
        apart = points.index_select(0, self.first) - points.index_select(0, self.second)
        distance = torch.sqrt((apart * apart).sum(1) + self.floor)
        return ((distance - self.rest) / self.rest).square().mean()


def _load_lpips(config: OptimiseConfig, device: torch.device) -> losses.Lpips | None:
    if not config.lpips:
        return None
    if not config.lpips_weights:
        print("LPIPS is off: no weights (optimise.lpips_weights)", file=sys.stderr)
        return None
    return losses.Lpips(Path(config.lpips_weights), device=device)
