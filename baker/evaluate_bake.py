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
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from baker.bake_methods import ABLATIONS, METHODS, Case, animate, frame_of, make_case, orbit
from baker.config import preset
from baker.measure import Layers, Scores, layers, measure
from baker.priors import VideoPrior, load_prior
from baker.videos import psnr, render_video
from runtime.errors import InputError

Report = Callable[[int, int, str], None]
"""Progress: done, total, what is being done."""

@dataclass(frozen=True)
class BakeEvaluationConfig:
    """What is measured."""

    cases: int = 10
    """Built-in persons, one motion each."""
    frames: int = 45
    """Frames of each motion, from its middle."""
    gaussians: int = 12_000
    """Gaussians of each person."""
    iterations: int = 0
    """Optimiser steps of every bake; 0 for those of the `draft` preset, by what it learns from."""
    trajectories: int = 0
    """Videos that every bake learns from; 0 for those of the `draft` preset."""
    ablations: str = ""
    """Names of `ABLATIONS`, comma-separated; "all" for all."""
    only: str = ""
    """Names of methods, comma-separated, to measure these (and rigid skinning) and nothing else."""
    prior: str = "embedded"
    """The prior's name."""
    prior_path: str = ""
    """Its weights; empty for the shipped ones."""
    novel_elevations: tuple[float, ...] = (0.0, 30.0)
    """Elevations [degrees] of the novel orbits; the learnt ones are at 10."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method to measure."""
        asked = ABLATIONS if self.ablations == "all" else _known(self.ablations, ABLATIONS, "ablations")
        chosen = _known(self.only, METHODS + ABLATIONS, "only")
        return tuple(dict.fromkeys(("rigid", *chosen))) if chosen else METHODS + asked


def evaluate(config: BakeEvaluationConfig, output: Path, progress: Report | None = None) -> dict[str, Any]:
    """Measure everything into `output`: `bake.json`, `bake.txt` (the table) and a strip of pictures for each case.

    A case that is there already is not measured again. Returns what `bake.json` holds.
    """
    methods = config.methods
    prior = load_prior(config.prior, Path(config.prior_path) if config.prior_path else None)
    stamp = {"config": asdict(replace(config, cases=0)), "prior": prior.fingerprint,
             "presets": [asdict(preset("draft", supervision=kind)) for kind in ("prior", "simulation")]}
    rows: list[dict[str, Any]] = []
    for index in range(config.cases):
        path = output / f"case_{index:02d}.json"
        done = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        # Through JSON and back: tuples come out of the file as lists.
        if done.get("stamp") != json.loads(json.dumps(stamp)):
            case = make_case(index, frames=config.frames, gaussians=config.gaussians)
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


def measure_case(config: BakeEvaluationConfig, case: Case, methods: Sequence[str], prior: VideoPrior,
                 progress: Report) -> tuple[list[dict[str, Any]], np.ndarray]:
    """One row a method, and a strip: the truth and every method at three moments, seen from a novel orbit."""
    coarse = preset("draft").coarse
    background = (coarse.background,) * 3
    novel = [orbit(case, replace(coarse, elevation_degrees=degrees, elevation_spread_degrees=0.0), 0, offset=0.5)
             for degrees in config.novel_elevations]
    true_layers = [layers(case.true_at, cameras, background=background) for cameras in novel]
    rigid_layers = [layers(case.rigid_at, cameras, background=background) for cameras in novel]
    rows, pictures = [], [_moments(true_layers[0])]
    for k, method in enumerate(methods):
        progress(k, len(methods), f"{case.name}: {method}")
        began = time.perf_counter()
        pose_at, learnt = animate(method, case, prior, iterations=config.iterations,
                                  trajectories=config.trajectories)
        seconds = time.perf_counter() - began
        scores: Scores = measure(pose_at, case.truth, views=novel, true_layers=true_layers, rigid_layers=rigid_layers,
                                 background=background)
        supervised = [psnr(render_video(frame_of(pose_at, moments), video.cameras, name="", background=background).rgb,
                           video.rgb) for video, moments in learnt]
        rows.append({"case": case.name, "method": method, **asdict(scores),
                     "supervised_psnr_db": float(np.mean(supervised)) if supervised else None,
                     "seconds": seconds, "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
        pictures.append(_moments(layers(pose_at, novel[0], background=background)))
    return rows, np.concatenate(pictures, axis=0)


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


def _known(names: str, all_names: Sequence[str], setting: str) -> tuple[str, ...]:
    """Comma-separated names as a tuple; raises `InputError` for one that is not among all."""
    asked = tuple(name for name in names.split(",") if name)
    if unknown := [name for name in asked if name not in all_names]:
        raise InputError(f"{setting}: no {unknown[0]!r}; there are {', '.join(all_names)}")
    return asked


def _moments(seen: Layers) -> np.ndarray:
    """Three moments of a view beside each other."""
    return np.concatenate([seen.rgb[t] for t in _thirds(len(seen.rgb))], axis=1)


def _thirds(frames: int) -> Iterator[int]:
    return (frames * k // 4 for k in (1, 2, 3))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
