"""4D optimisation (paper 4.3): learn the residual field from videos by differentiable rendering.

Letters: N Gaussians, M of them moving, T frames. The weights are in `baker/optimise_config.py`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from baker import density, losses, silhouette
from baker.contact import BodyContact
from baker.field import ResidualField, load_tensors, one_thread, save_tensors
from baker.optimise_config import OptimiseConfig
from baker.pose_field import PoseField
from baker.posed_scene import ClothPairs, PosedScene
from baker.rasterisers import load as load_rasteriser
from baker.supervision import CPU, Backend, Shot, Subject, Supervision, check
from baker.videos import PoseAt, Video
from runtime.errors import InputError
from runtime.skinning import apply_residual, pose_gaussians
from runtime.types import GaussianSet, Motion, Rig

PRESERVED_ALONE = 250
"""Preserved coverage (of 255) from which a pixel shows nothing else."""
CHECKPOINT = "checkpoint.safetensors"
"""The checkpoint's name in its folder."""


@dataclass(frozen=True)
class Learned:
    """What an optimisation leaves."""

    field: ResidualField | PoseField
    """The residual, on the CPU."""
    gaussians: GaussianSet
    """The avatar's Gaussians, some of them split or dropped."""
    rig: Rig
    """Their binding."""
    history: list[dict[str, float]]
    """One row per `record_every` steps: `iteration`, `seconds`, the total `loss` and each unweighted term."""


def optimise(subject: Subject, supervision: Supervision, *, config: OptimiseConfig, checkpoint_dir: Path,
             backend: Backend = CPU, seed: int = 0,
             progress: Callable[[int, int, str], None] | None = None) -> Learned:
    """Learn the residual of the subject's motion.

    Continues from the checkpoint in `checkpoint_dir` when there is one; the result then equals an unbroken
    run's bit for bit (on a CPU; gsplat's sums on a GPU have no fixed order).

    Raises `InputError` when nothing may move, a video does not fit the motion, or the checkpoint belongs to
    another configuration.
    """
    check(subject, supervision)
    run = _Run(subject, supervision, config, checkpoint_dir / CHECKPOINT, backend=backend, seed=seed)
    with one_thread():
        while run.iteration < config.iterations:
            if progress and run.iteration % 10 == 0:
                progress(run.iteration, config.iterations, "learning the residual")
            run.step()
        run.save()
    if progress:
        progress(config.iterations, config.iterations, "learning the residual")
    return run.result()


def pose_with_field(field: ResidualField | PoseField, gaussians: GaussianSet, rig: Rig, motion: Motion) -> PoseAt:
    """Gaussians in the world with the field's current residual."""
    def pose_at(frame: int) -> GaussianSet:
        with torch.no_grad():
            offsets = [value[0].cpu().numpy() for value in field(torch.tensor([float(frame)]))]
        return pose_gaussians(apply_residual(gaussians, field.moving, *offsets), rig, motion, frame)
    return pose_at


class _Run:
    """The state of one optimisation."""

    def __init__(self, subject: Subject, supervision: Supervision, config: OptimiseConfig, checkpoint: Path, *,
                 backend: Backend, seed: int) -> None:
        self.config, self.seed, self.checkpoint = config, seed, checkpoint
        self.update = supervision.update
        self.device = torch.device(backend.device)
        gaussians, self.motion, self.body = subject.gaussians, subject.motion, subject.body
        moving = np.flatnonzero(gaussians.may_move)
        self.field = (subject.field or ResidualField(gaussians.means[moving], moving, frames=self.motion.frames,
                                                     config=config.field, seed=seed)).to(self.device)
        self.splits: list[np.ndarray] = []
        self.take(gaussians, subject.rig)
        self.rasterise = load_rasteriser(backend.rasteriser)
        self.background = torch.tensor(supervision.background, dtype=torch.float32, device=self.device)
        self.shots: dict[int, list[Shot]] = {}
        self.add(supervision.videos, supervision.moments)
        self.cloth: dict[tuple[str, int], np.ndarray] = {}
        self.depths: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self.lpips = _load_lpips(config, self.device)
        planes, decoder = self.field.parameter_groups()
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
            [asdict(config), seed, self.motion.frames, len(moving), list(supervision.background), asdict(backend),
             type(self.field).__name__, supervision.moments], sort_keys=True).encode()).hexdigest()
        if checkpoint.exists():
            self.load()

    def add(self, videos: Sequence[Video], moments: Sequence[Sequence[int]] | None = None) -> None:
        """Learn from these videos too."""
        for k, video in enumerate(videos):
            for picture in range(len(video.cameras)):
                frame = picture if moments is None else moments[k][picture]
                self.shots.setdefault(frame, []).append(Shot(video, picture, frame))

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
            background = tuple(self.background.tolist())
            seen = {frame: [(shot.camera, silhouette.figure(shot.rgb, background)) for shot in shots]
                    for frame, shots in self.shots.items()}
            share = density.share_outside(lambda t: self.pose_at(t).means[rows], seen)
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
            self.add(self.update(self.round, self.pose_at))
        elif self.iteration and self.iteration % config.checkpoint_every == 0:
            self.save()
        if config.density_rounds:
            self.split_now()
        self.adam.zero_grad()
        frame, chosen = self.pick(self.iteration)
        d_means, d_rotations, d_log_scales = (o[0] for o in self.field(torch.tensor([float(frame)])))
        world = self.scene.posed(frame, d_means, d_rotations, d_log_scales)
        terms: dict[str, Tensor] = {}
        for shot in chosen:
            for key, value in self.view_terms(shot, world).items():
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

    def pick(self, step: int) -> tuple[int, list[Shot]]:
        """(frame, shots) of a step: every frame once, shuffled, before any repeats; its shots at random."""
        frames = sorted(self.shots)
        epoch, place = divmod(step, len(frames))
        frame = frames[int(np.random.default_rng([self.seed, 0, epoch]).permutation(len(frames))[place])]
        shots = self.shots[frame]
        order = np.random.default_rng([self.seed, 1, step]).permutation(len(shots))
        return frame, [shots[k] for k in order[:self.config.views]]

    def view_terms(self, shot: Shot, world: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """The unweighted terms of the loss on one picture."""
        config = self.config
        image, alpha, _, depth = self.rasterise(*world, self.scene.opacities, self.scene.channels, shot.camera,
                                            screen_gradients=self.screen_gradients if config.density_rounds else None,
                                            still_count=self.scene.still_count)
        color = image[..., :3] + (1 - alpha)[..., None] * self.background
        target = torch.from_numpy(shot.rgb).to(self.device).float() / 255
        terms = {"l1": losses.l1(color, target)}
        if config.dssim:
            terms["dssim"] = losses.dssim(color, target)
        if config.cover:
            terms["cover"] = silhouette.uncovered(world[0][self.scene.still_count:], shot.camera,
                                                  self.cloth_pixels(shot))
        if config.mask:
            preserved = torch.from_numpy(shot.preserved).to(self.device).float() / 255
            terms["mask"] = losses.mask_loss(image[..., 3], preserved)
        if config.depth:
            expected = depth / alpha.clamp_min(1e-3)
            terms["depth"] = losses.depth_loss(expected, *self.preserved_depth(shot))
        if config.pyramid or config.start_pyramid:
            terms["pyramid"] = losses.multiscale_l1(color, target, levels=config.pyramid_levels, skip=1)
        if self.lpips:
            terms["lpips"] = self.lpips(color, target)
        return terms

    def preserved_depth(self, shot: Shot) -> tuple[Float[Tensor, "H X"], Bool[Tensor, "H X"]]:
        """Expected depth [m] of the rigid avatar in a picture, and where only preserved parts are seen; worked out
        once."""
        if shot.key not in self.depths:
            zero = torch.zeros_like(self.scene.rest[0])
            with torch.no_grad():
                rigid = self.scene.posed(shot.frame, zero, zero, zero)
                _, alpha, _, depth = self.rasterise(*rigid, self.scene.opacities, self.scene.channels, shot.camera)
            region = torch.from_numpy(shot.preserved >= PRESERVED_ALONE).to(self.device)
            self.depths[shot.key] = depth / alpha.clamp_min(1e-3), region
        return self.depths[shot.key]

    def cloth_pixels(self, shot: Shot) -> Bool[np.ndarray, "H X"]:
        """Where a picture shows cloth, worked out once."""
        if shot.key not in self.cloth:
            self.cloth[shot.key] = silhouette.cloth_pixels(shot.rgb, shot.preserved, tuple(self.background.tolist()))
        return self.cloth[shot.key]

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
            self.add(self.update(finished, self.pose_at))


def _load_lpips(config: OptimiseConfig, device: torch.device) -> losses.Lpips | None:
    if not config.lpips:
        return None
    if not config.lpips_weights:
        print("LPIPS is off: no weights (optimise.lpips_weights)", file=sys.stderr)
        return None
    return losses.Lpips(Path(config.lpips_weights), device=device)
