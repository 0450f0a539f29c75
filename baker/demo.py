"""`ani3d demo`: the built-in person from nothing to a bundle, an orbit video and a report."""

from __future__ import annotations

import shutil
from pathlib import Path

from baker.bake import BakeRequest, bake
from baker.config import preset
from baker.devices import choose
from export_formats.mp4 import write_mp4
from runtime.bundle import read_bundle
from runtime.player import Player, orbit_frames


def make_demo(output: Path, *, motion: str = "walk") -> Path:
    """Bake the built-in person; leaves `demo.ani3d`, `orbit.mp4`, `report.html` in `output`; returns the bundle."""
    device, rasteriser = choose("auto")
    result = bake(BakeRequest(avatar="builtin", motion=motion, output=output / "demo.bake", device=device,
                              rasteriser=rasteriser), preset("draft"))
    bundle = output / "demo.ani3d"
    shutil.copyfile(result.bundle, bundle)
    shutil.copyfile(result.report, output / "report.html")
    player = Player(read_bundle(bundle))
    size = (480, 832)
    frames = orbit_frames(player, size=size, turns=1.0, seconds=max(player.duration, 6.0), background=(0.5, 0.5, 0.5),
                          residual=True)
    write_mp4(frames, output / "orbit.mp4", fps=player.fps, size=size)
    for name in ("demo.ani3d", "orbit.mp4", "report.html"):
        print(output / name)
    return bundle
