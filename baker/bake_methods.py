"""The ways to animate a person that `ani3d evaluate bake` compares: rigid skinning, bakes from the prior and from the
truth, and bakes with one thing changed, among them the paper's baselines and ablations (Table 4, Fig. 8, 9 and 11).

Persons, garments and fabrics are drawn from seeds that no training of the prior uses; neither does it draw the motions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from baker import cloth
from baker.avatar import Avatar
from baker.avatars import load_avatar
from baker.bake import elevation, start_azimuths, total_turn
from baker.conditions import Conditions, pose_video, reference_image
from baker.config import BakeConfig, CoarseConfig, preset
from baker.motions import load_motion
from baker.optimise import optimise, pose_with_field
from baker.optimise_config import OptimiseConfig
from baker.pose_field import PoseField
from baker.priors import VideoPrior
from baker.restore import restore
from baker.supervision import Subject, Supervision
from baker.trajectories import bullet_time, diagonal, root_targets
from baker.videos import PoseAt, Video, render_video
from runtime.fast_skinning import pose_gaussians
from runtime.skinning import skinning_matrices
from runtime.types import Camera, GaussianSet, Label, Motion, Rig

MOTIONS = ("walk", "twirl", "run", "jump")
"""Motions of the built-in cases, in turn."""
FIRST_SEED = 501
"""Seed of the first built-in person; trainings draw theirs from 10,000 on."""
METHODS = ("rigid_lhm", "rigid", "prior", "truth")
"""Always measured: both bindings, and bakes from the restored and from the true videos."""
CHANGES: dict[str, dict[str, Any]] = {
    "no_contact": {"contact": 0.0}, "no_cover": {"cover": 0.0}, "no_isometry": {"isometry": 0.0},
    "no_mask": {"mask": 0.0}, "no_pyramid": {"pyramid": 0.0, "start_pyramid": 0.0}, "depth": {"depth": 0.1},
    "density": {"density_rounds": 2},
}
"""Ablations that change the optimiser's settings only."""
ABLATIONS = ("truth_single_layer", "truth_pose_mlp", "truth_bullet_time", "truth_independent_views",
             "truth_two_elevations", "prior_bullet_time", "prior_independent_views", "prior_two_elevations",
             "prior_dataset_update", "prior_density",
             *(f"truth_{name}" for name in CHANGES))
"""Also measured where asked for: one thing less, more or other than in `prior` and `truth`. `single_layer` is a field
without a rig, `pose_mlp` a residual of pose alone, `bullet_time` shows as many pictures of as many moments as there
are trajectories, `independent_views` has cameras that stand still."""

Learnt = list[tuple[Video, tuple[int, ...]]]
"""Videos that were learnt from, each with the frames of the motion that its pictures show."""


@dataclass(frozen=True)
class Case:
    """A person in a motion, with the truth of the cloth."""

    name: str
    avatar: Avatar
    motion: Motion
    truth: cloth.Truth
    true_at: PoseAt
    rigid_at: PoseAt


def make_case(index: int, *, frames: int, gaussians: int) -> Case:
    """The `index`-th built-in case: `frames` from the middle of its motion."""
    name, motion_name = f"builtin:{FIRST_SEED + index}", MOTIONS[index % len(MOTIONS)]
    avatar = load_avatar(name, count=gaussians)
    motion = load_motion(motion_name, avatar)
    start = max(0, (motion.frames - frames) // 2)
    motion = motion.slice(start, min(start + frames, motion.frames))
    truth = cloth.simulate(avatar, motion, cloth.ClothConfig())
    return Case(name=f"{name} {motion_name}", avatar=avatar, motion=motion, truth=truth,
                true_at=lru_cache(maxsize=400)(truth.posed), rigid_at=_skinned(avatar.gaussians, avatar.rig, motion))


def orbit(case: Case, config: CoarseConfig, index: int, *, offset: float = 0.0) -> tuple[Camera, ...]:
    """The `index`-th diagonal trajectory round a case; its start moved by `offset` spacings."""
    targets = root_targets(case.avatar.rig, case.motion, figure=case.avatar.gaussians.means)
    return diagonal(targets, turn=total_turn(config, case.motion),
                    start_azimuth=start_azimuths(config, offset=offset)[index], size=(config.width, config.height),
                    elevation=elevation(config, index))


def animate(method: str, case: Case, prior: VideoPrior, *, iterations: int = 0,
            trajectories: int = 0) -> tuple[PoseAt, Learnt]:
    """The poses that a method makes of a case, and what it learnt from, in so many optimiser steps and from so many
    videos; 0 for as many as the `draft` preset takes."""
    if method == "rigid":
        return case.rigid_at, []
    if method == "rigid_lhm":
        avatar = load_avatar(case.name.split()[0], count=case.avatar.gaussians.count, binding="nearest_vertex")
        return _skinned(avatar.gaussians, avatar.rig, case.motion), []
    supervision, _, change = method.partition("_")
    draft = preset("draft", supervision="prior" if supervision == "prior" else "simulation")
    base = _settings(change, replace(
        draft, coarse=replace(draft.coarse, trajectories=trajectories or draft.coarse.trajectories),
        optimise=replace(draft.optimise, iterations=iterations or draft.optimise.iterations)))
    learnt = _videos(change, case, base, None if supervision == "truth" else prior)
    background = (base.coarse.background,) * 3

    def update(round_index: int, pose_at: PoseAt) -> list[Video]:
        """Dataset update (paper 4.3)."""
        fresh = [render_video(pose_at, orbit(case, base.coarse, i, offset=0.5), name=f"update{round_index}_{i}",
                              background=background) for i in range(base.coarse.trajectories)]
        return [_restored(video, case, base, prior, seed=100 + i) for i, video in enumerate(fresh)]

    subject = _single_layer(case) if change == "single_layer" else _subject(case, with_pose_field=change == "pose_mlp")
    with TemporaryDirectory() as folder:
        learned = optimise(subject, Supervision(videos=tuple(video for video, _ in learnt), background=background,
                                                moments=tuple(moments for _, moments in learnt),
                                                update=update if supervision == "prior" else None),
                           config=base.optimise, checkpoint_dir=Path(folder))
    pose_at = pose_with_field(learned.field, learned.gaussians, learned.rig, subject.motion)
    if change == "single_layer":
        labels = case.avatar.gaussians.labels
        return lru_cache(maxsize=400)(lambda t: replace(pose_at(t), labels=labels)), learnt
    return lru_cache(maxsize=400)(pose_at), learnt


def _settings(change: str, base: BakeConfig) -> BakeConfig:
    """The bake's settings for a method. Nothing is dropped, so that rows mean the same in every method."""
    config: OptimiseConfig = replace(base.optimise, lpips=0.0, prune_share=2.0, **CHANGES.get(change, {}))
    coarse = base.coarse
    if change == "dataset_update":
        config = replace(config, update_every=max(config.iterations // 2, 1))
    if change == "independent_views":
        coarse = replace(coarse, turn_degrees=0.0)
    if change == "two_elevations":
        coarse = replace(coarse, elevation_spread_degrees=5.0)
    return replace(base, optimise=config, coarse=coarse)


def _videos(change: str, case: Case, base: BakeConfig, prior: VideoPrior | None) -> Learnt:
    """What a method learns from: true videos, or coarse ones restored by the prior."""
    config, frames = base.coarse, case.motion.frames
    shots: list[tuple[tuple[Camera, ...], tuple[int, ...]]]
    if change == "bullet_time":
        targets = root_targets(case.avatar.rig, case.motion, figure=case.avatar.gaussians.means)
        held = [(2 * i + 1) * frames // (2 * config.trajectories) for i in range(config.trajectories)]
        shots = [(bullet_time(targets[moment], views=frames, size=(config.width, config.height),
                              elevation=elevation(config, i)), (moment,) * frames) for i, moment in enumerate(held)]
    else:
        shots = [(orbit(case, config, i), tuple(range(frames))) for i in range(config.trajectories)]
    learnt = []
    for i, (cameras, moments) in enumerate(shots):
        pose_at = frame_of(case.true_at if prior is None else case.rigid_at, moments)
        video = render_video(pose_at, cameras, name=f"trajectory{i}", background=(config.background,) * 3)
        learnt.append((video if prior is None else _restored(video, case, base, prior, seed=i, moments=moments),
                       moments))
    return learnt


def _restored(coarse: Video, case: Case, base: BakeConfig, prior: VideoPrior, *, seed: int,
              moments: Sequence[int] | None = None) -> Video:
    shown = list(range(case.motion.frames)) if moments is None else list(moments)
    motion = replace(case.motion, root_translations=case.motion.root_translations[shown],
                     quats_wxyz=case.motion.quats_wxyz[shown])
    conditions = Conditions(
        coarse=coarse.rgb, preserved=coarse.preserved,
        pose=pose_video(case.avatar.rig, motion, coarse.cameras, frame_of(case.rigid_at, shown)),
        reference=reference_image(case.avatar.gaussians, case.avatar.rig, size=(base.coarse.width, base.coarse.height),
                                  background=(base.coarse.background,) * 3))
    return replace(coarse, rgb=restore(prior, conditions, config=base.restore, seed=seed))


def frame_of(pose_at: PoseAt, moments: Sequence[int]) -> PoseAt:
    """The poses of a video's pictures, which show these frames of the motion."""
    return lambda picture: pose_at(moments[picture])


def _skinned(gaussians: GaussianSet, rig: Rig, motion: Motion) -> PoseAt:
    return lru_cache(maxsize=400)(lambda t: pose_gaussians(gaussians, rig, skinning_matrices(rig, motion, t)))


def _subject(case: Case, *, with_pose_field: bool) -> Subject:
    avatar = case.avatar
    field = PoseField(avatar.gaussians, avatar.rig, case.motion) if with_pose_field else None
    return Subject(gaussians=avatar.gaussians, rig=avatar.rig, motion=case.motion, body=avatar.body, field=field)


def _single_layer(case: Case) -> Subject:
    """A field without a rig: the Gaussians as the first frame has them, all free to move, one joint at rest."""
    gaussians = case.rigid_at(0)
    count, frames = gaussians.count, case.motion.frames
    rig = Rig(joint_names=("root",), parents=np.array([-1]), T_world_joint_rest=np.eye(4, dtype=np.float32)[None],
              skin_joints=np.zeros((count, 1), np.int32), skin_weights=np.ones((count, 1), np.float32))
    still = np.zeros((frames, 1, 4), np.float32)
    still[..., 0] = 1.0
    motion = Motion(fps=case.motion.fps, root_translations=np.zeros((frames, 3), np.float32), quats_wxyz=still)
    return Subject(gaussians=replace(gaussians, labels=np.full(count, Label.GARMENT, np.uint8)), rig=rig, motion=motion)
