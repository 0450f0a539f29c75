"""How faithful Gaussians made of a mesh are: PSNR against the mesh's own picture, from 8 sides at 480x832."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from baker.avatars.outfit import dress
from baker.avatars.part_file import read_part_file
from baker.avatars.parts import bound_layers, join_layers, sample_layers
from baker.avatars.textured import TexturedPart
from baker.mesh_render import render_meshes
from runtime.cameras import orbit_camera
from runtime.framing import DISTANCE, FOV_Y
from runtime.raster import render
from runtime.types import Camera, GaussianSet

VIEWS = 8
SIZE = (480, 832)
BACKGROUND = 0.5


def character(path: Path, *, count: int, seed: int = 0) -> tuple[GaussianSet, list[TexturedPart]]:
    """A character's Gaussians without baked light, and the textured meshes they were made of."""
    file = read_part_file(path, parts=())
    layers = bound_layers(dress(file, (), texture_dir=None), file, "diffused")
    gaussians = join_layers(layers, sample_layers(layers, count=count, seed=seed, source=str(path)))
    parts = []
    for layer in layers:
        shown = np.flatnonzero(layer.visible) if layer.visible is not None else np.arange(len(layer.labels))
        parts.append(TexturedPart(
            name=layer.name, mesh=replace(layer.mesh, faces=layer.mesh.faces[shown]), labels=layer.labels[shown],
            color_at=lambda f, b, layer=layer, shown=shown: layer.color_at(shown[f], b)))
    return gaussians, parts


def cameras(parts: Sequence[TexturedPart]) -> list[Camera]:
    """Cameras around a figure, as a bake places them."""
    points = np.concatenate([part.mesh.vertices for part in parts])
    target = 0.5 * (points.min(0) + points.max(0)).astype(np.float64)
    return [orbit_camera(target, azimuth=2 * math.pi * view / VIEWS, elevation=0.1, distance=DISTANCE, fov_y=FOV_Y,
                         size=SIZE) for view in range(VIEWS)]


def fidelity(gaussians: GaussianSet, parts: Sequence[TexturedPart], *,
             views: Sequence[Camera] | None = None) -> tuple[float, list[np.ndarray]]:
    """PSNR [dB] over all views, and for each the mesh's picture beside the Gaussians'."""
    errors, pictures = [], []
    for camera in views or cameras(parts):
        truth, image = render_meshes(parts, camera), render(gaussians, camera).rgba
        a, b = (np.clip(p[..., :3] + (1 - p[..., 3:]) * BACKGROUND, 0, 1) for p in (truth, image))
        errors.append(float(((a - b) ** 2).mean()))
        pictures.append(np.concatenate([a, b], axis=1))
    return -10 * math.log10(float(np.mean(errors))), pictures


def bench_import(path: Path, *, counts: Sequence[int] = (40_000, 160_000)) -> dict[str, Any]:
    """Fidelity and time at several numbers of Gaussians."""
    figures: dict[str, Any] = {}
    for count in counts:
        start = perf_counter()
        gaussians, parts = character(path, count=count)
        seconds = perf_counter() - start
        figures |= {f"psnr_db_{count}": round(fidelity(gaussians, parts)[0], 2), f"seconds_{count}": round(seconds, 2)}
    return figures
