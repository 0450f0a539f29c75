"""What a bundle holds and what it costs, as `ani3d inspect --json` prints it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle import MANIFEST, VERSION, open_bundle, read_bundle
from runtime.types import GROUPS, Clip


def inspect_bundle(path: Path | str) -> dict[str, Any]:
    """Facts about a bundle: plain JSON values, keys in snake_case with the unit last.

    `clip_bytes` counts the blocks of all clips as stored, `canonical_bytes` all else but the zip's own
    directory. `bytes_per_frame` is clip bytes over frames. Raises `InputError` as `read_bundle` does.
    """
    path = Path(path)
    bundle = read_bundle(path)
    manifest, archive = open_bundle(path)
    by_block = {name: archive.stored_size(entry.file) for name, entry in manifest.blocks.items()}
    clip_bytes = sum(size for name, size in by_block.items() if name.startswith("clip"))
    frames = sum(clip.motion.frames for clip in bundle.clips)
    means = bundle.gaussians.means
    errors = {key: value if math.isfinite(value) else None for key, value in bundle.manifest.distillation.items()}
    return {
        "file": path.name, "format_version": VERSION, "name": bundle.manifest.name,
        "generator": bundle.manifest.generator, "source_licence": bundle.manifest.source_licence,
        "gaussians": bundle.gaussians.count,
        "moving_gaussians": max(len(clip.residual.moving) for clip in bundle.clips),
        "joints": bundle.rig.joint_count, "influences": bundle.rig.skin_joints.shape[1],
        "size_m": [round(float(extent), 4) for extent in np.ptp(means, axis=0)],
        "frames": frames, "fps": bundle.clips[0].motion.fps,
        "duration_s": round(sum(clip.motion.duration for clip in bundle.clips), 4),
        "clips": [_clip_facts(clip) for clip in bundle.clips],
        **errors,
        "file_bytes": path.stat().st_size, "canonical_bytes": sum(by_block.values()) - clip_bytes
        + archive.stored_size(MANIFEST), "clip_bytes": clip_bytes,
        "bytes_per_frame": round(clip_bytes / frames, 1),
        "block_bytes": by_block,
    }


def _clip_facts(clip: Clip) -> dict[str, Any]:
    """One clip's facts; `basis_textures` is null for a dense texture."""
    residual: dict[str, Any] = {}
    for group in GROUPS:
        texture = getattr(clip.residual, group)
        residual[group] = {
            "encoding": "dense" if texture.coefficients is None else "basis",
            "basis_textures": None if texture.coefficients is None else len(texture.texels),
            "depth_bits": 8 * texture.texels.dtype.itemsize,
        }
    return {"name": clip.name, "frames": clip.motion.frames, "fps": clip.motion.fps,
            "duration_s": round(clip.motion.duration, 4), "moving_gaussians": len(clip.residual.moving),
            "residual": residual}
