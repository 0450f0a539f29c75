"""`ani3d evaluate bake`: rigid skinning and baked clips against the simulated truth of held-out people, from views that
no optimisation saw, with the ablations of the paper's tables that this prior can show.

Persons, garments and fabrics are drawn from seeds that no training of the prior uses; neither does it draw the motions.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from baker import cloth
from baker.avatar import Avatar
from baker.avatars import load_avatar
from baker.conditions import Conditions, pose_video, reference_image
from baker.config import BakeConfig, preset
from baker.measure import Layers, Scores, layers, measure
from baker.motions import load_motion
from baker.optimise import OptimiseConfig, optimise, pose_with_field
from baker.priors import VideoPrior, load_prior
from baker.restore import restore
from baker.trajectories import diagonal, root_targets
from baker.videos import PoseAt, Video, psnr, render_video
from runtime.errors import InputError
from runtime.fast_skinning import pose_gaussians
from runtime.skinning import skinning_matrices
from runtime.types import Camera, GaussianSet, Label, Motion, Rig

Report = Callable[[int, int, str], None]
"""Progress: done, total, what is being done."""
MOTIONS = ("walk", "twirl", "run", "jump")
"""Motions of the built-in cases, in turn."""
FIRST_SEED = 501
"""Seed of the first built-in person; trainings draw theirs from 10,000 on."""
METHODS = ("rigid_lhm", "rigid", "prior", "truth")
"""Always measured: both bindings, and bakes from the restored and from the true videos."""
ABLATIONS = ("truth_single_layer", "truth_fixed_views", "truth_no_contact", "truth_no_cover", "truth_no_isometry",
             "truth_no_mask", "truth_depth", "truth_density", "prior_dataset_update")
"""Also measured where asked for: one thing less, or more, than `prior` and `truth`."""


@dataclass(frozen=True)
class BakeEvaluationConfig:
    """What is measured."""

    cases: int = 10
    """Built-in persons, one motion each."""
    frames: int = 45
    """Frames of each motion, from its middle."""
    gaussians: int = 12_000
    """Gaussians of each person."""
    iterations: int = 700
    """Optimiser steps of every bake."""
    ablations: str = ""
    """Names of `ABLATIONS`, comma-separated; "all" for all."""
    prior: str = "embedded"
    """The prior's name."""
    prior_path: str = ""
    """Its weights; empty for the shipped ones."""
    novel_elevations: tuple[float, ...] = (0.0, 30.0)
    """Elevations [degrees] of the novel orbits; the learnt ones are at 10."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method to measure."""
        asked = ABLATIONS if self.ablations == "all" else tuple(name for name in self.ablations.split(",") if name)
        unknown = sorted(set(asked) - set(ABLATIONS))
        if unknown:
            raise InputError(f"ablations: no {unknown[0]!r}; there are {', '.join(ABLATIONS)}")
        return METHODS + asked


@dataclass(frozen=True)
class Case:
    """A person in a motion, with the truth of the cloth."""

    name: str
    avatar: Avatar
    motion: Motion
    truth: cloth.Truth
    true_at: PoseAt
    rigid_at: PoseAt


def evaluate(config: BakeEvaluationConfig, output: Path, progress: Report | None = None) -> dict[str, Any]:
    """Measure everything into `output`: `bake.json`, `bake.txt` (the table) and a strip of pictures for each case.

    A case that is there already is not measured again. Returns what `bake.json` holds.
    """
    methods = config.methods
    prior = load_prior(config.prior, Path(config.prior_path) if config.prior_path else None)
    stamp = {"config": asdict(replace(config, cases=0)), "prior": prior.fingerprint}
    rows: list[dict[str, Any]] = []
    for index in range(config.cases):
        path = output / f"case_{index:02d}.json"
        done = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        # Through JSON and back: tuples come out of the file as lists.
        if done.get("stamp") != json.loads(json.dumps(stamp)):
            case = make_case(config, index)
            measured, strip = measure_case(config, case, methods, prior,
                                           lambda k, n, text, at=index: progress and progress(
                                               at * n + k, config.cases * n, text))
            Image.fromarray(strip).save(output / f"case_{index:02d}.png")
            done = {"stamp": stamp, "rows": measured}
            _write(path, json.dumps(done))
        rows += done["rows"]
    result = stamp | {"config": asdict(config), "cases": config.cases, "rows": rows, "means": means(rows)}
    _write(output / "bake.json", json.dumps(result, indent=1))
    _write(output / "bake.txt", table(result["means"]))
    return result


def make_case(config: BakeEvaluationConfig, index: int) -> Case:
    """The `index`-th built-in case."""
    name, motion_name = f"builtin:{FIRST_SEED + index}", MOTIONS[index % len(MOTIONS)]
    avatar = load_avatar(name, count=config.gaussians)
    motion = load_motion(motion_name, avatar)
    start = max(0, (motion.frames - config.frames) // 2)
    motion = motion.slice(start, min(start + config.frames, motion.frames))
    truth = cloth.simulate(avatar, motion, cloth.ClothConfig())
    return Case(name=f"{name} {motion_name}", avatar=avatar, motion=motion, truth=truth,
                true_at=lru_cache(maxsize=400)(truth.posed), rigid_at=_skinned(avatar.gaussians, avatar.rig, motion))


def measure_case(config: BakeEvaluationConfig, case: Case, methods: Sequence[str], prior: VideoPrior,
                 progress: Report) -> tuple[list[dict[str, Any]], np.ndarray]:
    """One row a method, and a strip: the truth and every method at three moments, seen from a novel orbit."""
    base = preset("draft")
    background = (base.coarse.background,) * 3
    novel = [_orbit(case, base, offset=0.5, elevation=e) for e in config.novel_elevations]
    true_layers = [layers(case.true_at, cameras, background=background) for cameras in novel]
    rigid_layers = [layers(case.rigid_at, cameras, background=background) for cameras in novel]
    rows, pictures = [], [_moments(true_layers[0])]
    for k, method in enumerate(methods):
        progress(k, len(methods), f"{case.name}: {method}")
        began = time.perf_counter()
        pose_at, learnt = animate(method, case, config, base, prior)
        seconds = time.perf_counter() - began
        scores: Scores = measure(pose_at, case.truth, views=novel, true_layers=true_layers, rigid_layers=rigid_layers,
                                 background=background)
        supervised = [float(psnr(render_video(pose_at, v.cameras, name="", background=background).rgb, v.rgb))
                      for v in learnt]
        rows.append({"case": case.name, "method": method, **asdict(scores),
                     "supervised_psnr_db": float(np.mean(supervised)) if supervised else None,
                     "seconds": seconds, "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
        pictures.append(_moments(layers(pose_at, novel[0], background=background)))
    return rows, np.concatenate(pictures, axis=0)


def animate(method: str, case: Case, config: BakeEvaluationConfig, base: BakeConfig,
            prior: VideoPrior) -> tuple[PoseAt, list[Video]]:
    """The poses that a method makes of a case, and the videos it learnt from."""
    if method == "rigid":
        return case.rigid_at, []
    if method == "rigid_lhm":
        avatar = load_avatar(case.name.split()[0], count=config.gaussians, binding="nearest_vertex")
        return _skinned(avatar.gaussians, avatar.rig, case.motion), []
    supervision = "prior" if method.startswith("prior") else "simulation"
    base = preset("draft", supervision=supervision)
    settings = replace(_settings(method, base.optimise), iterations=config.iterations)
    turn = {"turn_degrees": 0.0} if method == "truth_fixed_views" else {}
    base = replace(base, coarse=replace(base.coarse, **turn), optimise=settings)
    background = (base.coarse.background,) * 3
    videos = [render_video(case.rigid_at if supervision == "prior" else case.true_at, _orbit(case, base, index=i),
                           name=f"trajectory{i}", background=background) for i in range(base.coarse.trajectories)]
    if supervision == "prior":
        videos = [_restored(video, case, base, prior, seed=i) for i, video in enumerate(videos)]

    def update(round_index: int, pose_at: PoseAt) -> list[Video]:
        """Dataset update (paper 4.3)."""
        fresh = [render_video(pose_at, _orbit(case, base, index=i, offset=0.25), name=f"update{round_index}_{i}",
                              background=background) for i in range(base.coarse.trajectories)]
        return [_restored(video, case, base, prior, seed=100 + i) for i, video in enumerate(fresh)]

    if method == "truth_single_layer":
        gaussians, rig, motion = _single_layer(case)
    else:
        gaussians, rig, motion = case.avatar.gaussians, case.avatar.rig, case.motion
    body = None if method == "truth_single_layer" else case.avatar.body
    with TemporaryDirectory() as folder:
        learned = optimise(gaussians, rig, motion, videos, settings, checkpoint_dir=Path(folder), body=body,
                           background=background, update=update if supervision == "prior" else None)
    pose_at = pose_with_field(learned.field, learned.gaussians, learned.rig, motion)
    if method == "truth_single_layer":
        labels = case.avatar.gaussians.labels
        return lru_cache(maxsize=400)(lambda t: replace(pose_at(t), labels=labels)), videos
    return lru_cache(maxsize=400)(pose_at), videos


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean of every figure over the cases, one row a method, in the order of first appearance; and by how much
    each case's garment PSNR exceeds that of rigid skinning, at worst."""
    result = []
    rigid = {row["case"]: row["garment_psnr_db"] for row in rows if row["method"] == "rigid"}
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        numbers = [key for key, value in mine[0].items() if isinstance(value, (int, float))]
        result.append({"method": method} | {key: round(float(np.mean([row[key] for row in mine])), 3)
                                            for key in numbers}
                      | {"worst_gain_db": round(min(row["garment_psnr_db"] - rigid[row["case"]] for row in mine), 3)})
    return result


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned text."""
    columns = ["method", "psnr_db", "garment_psnr_db", "worst_gain_db", "preserved_psnr_db", "garment_ssim", "mask_iou",
               "flicker", "distance_cm_mean", "distance_cm_p95", "stretch_percent_p99", "floaters",
               "supervised_psnr_db", "seconds"]
    cells = [columns] + [[str(row.get(key, "")) for key in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) + "\n"
                   for line in cells)


def _settings(method: str, config: OptimiseConfig) -> OptimiseConfig:
    """The optimiser's settings of a method."""
    change: dict[str, Any] = {
        "truth_no_contact": {"contact": 0.0}, "truth_no_cover": {"cover": 0.0}, "truth_no_isometry": {"isometry": 0.0},
        "truth_no_mask": {"mask": 0.0}, "prior_dataset_update": {"update_every": max(config.iterations // 2, 1)},
        "truth_density": {"density_rounds": 2}, "truth_depth": {"depth": 0.1},
    }.get(method, {})
    # Nothing is dropped, so that rows mean the same in every method.
    return replace(config, lpips=0.0, prune_share=2.0, **change)


def _skinned(gaussians: GaussianSet, rig: Rig, motion: Motion) -> PoseAt:
    return lru_cache(maxsize=400)(lambda t: pose_gaussians(gaussians, rig, skinning_matrices(rig, motion, t)))


def _orbit(case: Case, base: BakeConfig, *, index: int = 0, offset: float = 0.0,
           elevation: float | None = None) -> tuple[Camera, ...]:
    config = base.coarse
    return diagonal(root_targets(case.avatar.rig, case.motion),
                    start_azimuth=2 * np.pi * (index + offset) / config.trajectories,
                    turn=float(np.deg2rad(config.turn_degrees)), size=(config.width, config.height),
                    elevation=float(np.deg2rad(config.elevation_degrees if elevation is None else elevation)))


def _restored(coarse: Video, case: Case, base: BakeConfig, prior: VideoPrior, *, seed: int) -> Video:
    conditions = Conditions(
        coarse=coarse.rgb, preserved=coarse.preserved,
        pose=pose_video(case.avatar.rig, case.motion, coarse.cameras, case.rigid_at),
        reference=reference_image(case.avatar.gaussians, case.avatar.rig,
                                  size=(base.coarse.width, base.coarse.height),
                                  background=(base.coarse.background,) * 3))
    return replace(coarse, rgb=restore(prior, conditions, config=base.restore, seed=seed))


def _single_layer(case: Case) -> tuple[GaussianSet, Rig, Motion]:
    """A field without a rig: the Gaussians as the first frame has them, all free to move, one joint at rest."""
    gaussians = case.rigid_at(0)
    count, frames = gaussians.count, case.motion.frames
    rig = Rig(joint_names=("root",), parents=np.array([-1]), T_world_joint_rest=np.eye(4, dtype=np.float32)[None],
              skin_joints=np.zeros((count, 1), np.int32), skin_weights=np.ones((count, 1), np.float32))
    still = np.zeros((frames, 1, 4), np.float32)
    still[..., 0] = 1.0
    motion = Motion(fps=case.motion.fps, root_translations=np.zeros((frames, 3), np.float32), quats_wxyz=still)
    return replace(gaussians, labels=np.full(count, Label.GARMENT, np.uint8)), rig, motion


def _moments(seen: Layers) -> np.ndarray:
    """Three moments of a view beside each other."""
    return np.concatenate([seen.rgb[t] for t in _thirds(len(seen.rgb))], axis=1)


def _thirds(frames: int) -> Iterator[int]:
    return (frames * k // 4 for k in (1, 2, 3))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
