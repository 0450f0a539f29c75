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
from jaxtyping import Bool, Float, Int
from torch import Tensor

from baker import density, losses, silhouette
from baker.avatar import SkinnedMesh
from baker.contact import BodyContact
from baker.field import FieldConfig, ResidualField, load_tensors, one_thread, save_tensors
from baker.posed_scene import ClothPairs, PosedScene
from baker.rasterisers import load as load_rasteriser
from baker.videos import PoseAt, Video
from runtime.errors import InputError
from runtime.skinning import apply_residual, pose_gaussians
from runtime.types import GaussianSet, Motion, Rig

Update = Callable[[int, PoseAt], list[Video]]
"""Dataset update: (round from 1, the current state) to newly restored videos. Called again with the same round
after an interruption, so it must keep what it made."""

PRESERVED_ALONE = 250
"""Preserved coverage (of 255) from which a pixel shows nothing else."""
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
    depth: float = 0.0
    """Weight of the expected depth's error [m] in the preserved region, against rigid skinning's (paper's l4, no value
    given). The preserved Gaussians cannot move here, so only cloth that hides them pays, as it does by the mask."""
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
    density_rounds: int = 0
    """How often the moving Gaussians with the largest screen-space gradients are split, evenly over the first 60 % of
    the run (paper 4.3: adaptive density); 0 for never."""
    density_budget: float = 1.2
    """Moving Gaussians after all rounds, as a multiple of those before."""
    prune_share: float = 0.6
    """A moving Gaussian that lies outside the figure in at least this share of all pictures is dropped at the end;
    above 1 for none. See `baker/density.py`."""
    update_every: int = 0
    """Steps between dataset updates (the paper: 5k); 0 for none."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    record_every: int = 20
    """Steps averaged into one row of the history."""
    field: FieldConfig = field(default_factory=FieldConfig)
    """Shape of the residual field."""


@dataclass(frozen=True)
class Learned:
    """What an optimisation leaves."""

    field: ResidualField
    """The residual, on the CPU."""
    gaussians: GaussianSet
    """The avatar's Gaussians, some of them split or dropped."""
    rig: Rig
    """Their binding."""
    history: list[dict[str, float]]
    """One row per `record_every` steps: `iteration`, `seconds`, the total `loss` and each unweighted term."""


def optimise(gaussians: GaussianSet, rig: Rig, motion: Motion, videos: list[Video], config: OptimiseConfig, *,
             checkpoint_dir: Path, background: tuple[float, float, float], body: SkinnedMesh | None = None,
             rasteriser: str = "cpu", device: str = "cpu", update: Update | None = None, seed: int = 0,
             progress: Callable[[int, int, str], None] | None = None,
             ) -> Learned:
    """Learn the residual of `motion` from `videos` of its frames over a flat sRGB `background`. `body` is the surface
    to keep out of, where the avatar has one.

    Continues from the checkpoint in `checkpoint_dir` when there is one; the result then equals an unbroken
    run's bit for bit (on a CPU; gsplat's sums on a GPU have no fixed order).

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
    return run.result()


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
        self.motion, self.body = motion, body
        moving = np.flatnonzero(gaussians.may_move)
        self.field = ResidualField(gaussians.means[moving], moving, frames=motion.frames, config=config.field,
                                   seed=seed).to(self.device)
        self.splits: list[np.ndarray] = []
        self.take(gaussians, rig)
        self.rasterise = load_rasteriser(rasteriser)
        self.background = torch.tensor(background, dtype=torch.float32, device=self.device)
        self.cloth: dict[tuple[str, int], np.ndarray] = {}
        self.depths: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self.lpips = _load_lpips(config, self.device)
        planes = [*self.field.space, *self.field.time]
        decoder = [p for layer in (self.field.hidden_in, self.field.hidden, self.field.out)
                   for p in layer.parameters()]
        self.parameters = planes + decoder
        self.base_lrs = (config.plane_lr, config.mlp_lr)
        # eps far below any gradient's size: planes see small ones, and 1e-8 would slow them (4DGaussians: 1e-15).
        self.adam = torch.optim.AdamW([{"params": planes}, {"params": decoder}], betas=(0.9, 0.99), eps=1e-15,
                                      weight_decay=config.weight_decay, fused=True)
        self.iteration, self.round = 0, 0
        self.history: list[dict[str, float]] = []
        self.pending: list[dict[str, float]] = []
        self.seconds_before, self.started = 0.0, time.monotonic()
        self.fingerprint = hashlib.sha256(json.dumps(
            [asdict(config), seed, motion.frames, int(gaussians.may_move.sum()), list(background), rasteriser, device],
            sort_keys=True).encode()).hexdigest()
        if checkpoint.exists():
            self.load()

    def take(self, gaussians: GaussianSet, rig: Rig) -> None:
        """Go on with these Gaussians; the field stays what it is."""
        self.gaussians, self.rig = gaussians, rig
        self.scene = PosedScene(gaussians, rig, self.motion, self.device)
        moving = self.scene.moving
        self.field = self.field.at(gaussians.means[moving], moving)
        self.pairs = ClothPairs(gaussians, moving, self.config.neighbours, self.device)
        self.contact = None
        if self.body is not None and self.config.contact:
            self.contact = BodyContact(self.body, rig, self.motion, rest_means=gaussians.means[moving], rows=moving,
                                       clearance=self.config.clearance)
        self.pose_at = pose_with_field(self.field, gaussians, rig, self.motion)
        self.screen_gradients = torch.zeros(gaussians.count, device=self.device)

    def split(self, rows: Int[np.ndarray, " S"]) -> None:
        """Put two Gaussians in the place of each of the rows."""
        self.splits.append(rows)
        self.take(*density.split(self.gaussians, self.rig, rows))

    def split_now(self) -> None:
        """A round of adaptive density, where one is due at this step."""
        config = self.config
        due = [round(0.6 * config.iterations * (k + 1) / config.density_rounds) for k in range(config.density_rounds)]
        if len(self.splits) < len(due) and self.iteration == due[len(self.splits)]:
            rank = torch.zeros(self.gaussians.count)
            rank[self.scene.moving] = self.screen_gradients.cpu()[self.scene.still_count:]
            first = int(self.gaussians.may_move.sum()) - sum(map(len, self.splits))
            count = round(first * max(config.density_budget - 1, 0) / config.density_rounds)
            self.split(density.most(rank.numpy(), count))

    def result(self) -> Learned:
        """The field and the avatar, without what never lies on the figure."""
        if self.config.prune_share <= 1:
            rows = self.scene.moving
            figures = [[silhouette.figure(frame, tuple(self.background.tolist())) for frame in video.rgb]
                       for video in self.videos]
            share = density.share_outside(lambda t: self.pose_at(t).means[rows], self.videos, figures)
            lost = rows[share >= self.config.prune_share]
            # Were all of them lost, the videos would be of something else; then nothing is known of any.
            if 0 < len(lost) < len(rows):
                self.take(*density.drop(self.gaussians, self.rig, lost))
        return Learned(field=self.field.cpu(), gaussians=self.gaussians, rig=self.rig, history=self.history)

    def step(self) -> None:
        """One optimiser step; before it, a dataset update or a checkpoint where one is due."""
        config = self.config
        if self.update and config.update_every and self.iteration == (self.round + 1) * config.update_every:
            self.save()
            self.round += 1
            self.videos += self.update(self.round, self.pose_at)
        elif self.iteration and self.iteration % config.checkpoint_every == 0:
            self.save()
        if config.density_rounds:
            self.split_now()
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
        image, alpha, _, depth = self.rasterise(*world, self.scene.opacities, self.scene.channels, video.cameras[frame],
                                            screen_gradients=self.screen_gradients if config.density_rounds else None,
                                            still_count=self.scene.still_count)
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
        if config.depth:
            expected = depth / alpha.clamp_min(1e-3)
            terms["depth"] = losses.depth_loss(expected, *self.preserved_depth(video, frame))
        if config.pyramid or config.start_pyramid:
            terms["pyramid"] = losses.multiscale_l1(color, target, levels=config.pyramid_levels, skip=1)
        if self.lpips:
            terms["lpips"] = self.lpips(color, target)
        return terms

    def preserved_depth(self, video: Video, frame: int) -> tuple[Float[Tensor, "H X"], Bool[Tensor, "H X"]]:
        """Expected depth [m] of the rigid avatar in a video's frame, and where only preserved parts are seen; worked
        out once."""
        key = (video.name, frame)
        if key not in self.depths:
            zero = torch.zeros_like(self.scene.rest[0])
            with torch.no_grad():
                _, alpha, _, depth = self.rasterise(*self.scene.posed(frame, zero, zero, zero), self.scene.opacities,
                                                    self.scene.channels, video.cameras[frame])
            region = torch.from_numpy(video.preserved[frame] >= PRESERVED_ALONE).to(self.device)
            self.depths[key] = depth / alpha.clamp_min(1e-3), region
        return self.depths[key]

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
        tensors["screen_gradients"] = self.screen_gradients
        tensors |= {f"split.{k}": torch.from_numpy(rows) for k, rows in enumerate(self.splits)}
        state = {"iteration": self.iteration, "round": self.round, "fingerprint": self.fingerprint,
                 "splits": len(self.splits), "history": self.history, "pending": self.pending,
                 "seconds": self.seconds()}
        save_tensors(self.checkpoint, tensors, {"state": json.dumps(state)})

    def load(self) -> None:
        """Continue from the checkpoint."""
        tensors, metadata = load_tensors(self.checkpoint)
        state = json.loads(metadata.get("state", "{}"))
        if state.get("fingerprint") != self.fingerprint:
            raise InputError(f"{self.checkpoint}: belongs to other settings; delete it to start again")
        for k in range(state["splits"]):
            self.split(tensors[f"split.{k}"].numpy())
        self.screen_gradients = tensors["screen_gradients"].to(self.device)
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


def _load_lpips(config: OptimiseConfig, device: torch.device) -> losses.Lpips | None:
    if not config.lpips:
        return None
    if not config.lpips_weights:
        print("LPIPS is off: no weights (optimise.lpips_weights)", file=sys.stderr)
        return None
    return losses.Lpips(Path(config.lpips_weights), device=device)
