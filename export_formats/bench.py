"""What a clip costs in each format, against the bundle: bytes and milliseconds a frame."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from export_formats import ExportOptions, write
from runtime.archive import Archive
from runtime.bench import yardstick_bundle
from runtime.bundle import read_bundle, write_bundle

_CASES = {
    "ply_sequence": ("ply-sequence", "", {}), "compressed_ply_sequence": ("compressed-ply-sequence", "", {}),
    "spz2_sequence": ("spz-sequence", "", {"spz_version": 2}), "spz3_sequence": ("spz-sequence", "", {}),
    "spz4_sequence": ("spz-sequence", "", {"spz_version": 4}), "sog_sequence": ("sog-sequence", "", {}),
    "glb": ("glb", ".glb", {}), "usd": ("usd", ".usdc", {}), "vat_exr_half": ("vat", "", {}),
    "vat_png": ("vat", "", {"texture": "png"})}
"""Name of the figure -> format, suffix, options."""


def bench_export(path: Path | str | None = None) -> dict[str, float]:
    """The first clip of a bundle (the yardstick without one) in every animated format: bytes and time of a frame.

    Of the bundle also what the clip alone takes (motion, residual and what drives it), and the figure itself, which a
    player reads once: `ratio_to_clip` is to the former.
    """
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / "yardstick.ani3d"
            write_bundle(yardstick_bundle(), path)
        bundle = read_bundle(path)
        frames = bundle.clips[0].motion.frames
        own, clip = os.path.getsize(path) / frames, _clip_bytes(Path(path)) / frames
        figures = {"gaussians": float(bundle.gaussians.count), "frames": float(frames),
                   "bundle_bytes_per_frame": round(own, 1), "bundle_clip_bytes_per_frame": round(clip, 1),
                   "bundle_figure_bytes": round(frames * (own - clip), 1)}
        for name, (to, suffix, changes) in _CASES.items():
            start = time.perf_counter()
            report = write(bundle, Path(folder) / f"{name}{suffix}", to=to, options=ExportOptions(**changes))
            seconds = time.perf_counter() - start
            figures[f"{name}_bytes_per_frame"] = round(report.size_bytes / report.frames, 1)
            figures[f"{name}_ratio_to_bundle"] = round(report.size_bytes / report.frames / own, 2)
            figures[f"{name}_ratio_to_clip"] = round(report.size_bytes / report.frames / clip, 2)
            figures[f"{name}_ms_per_frame"] = round(1000 * seconds / report.frames, 2)
    return figures


def _clip_bytes(path: Path) -> int:
    """Stored bytes of the first clip's blocks and of the pose residual."""
    archive = Archive(path)
    return sum(archive.stored_size(name) for name in archive.names if name.startswith(("clip0/", "pose/")))
