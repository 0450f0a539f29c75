"""What the window shows: which clip at which time, how it is seen, and the picture of that. No window here."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from runtime.compositing import composite
from runtime.player import Player
from runtime.raster import render
from viewer.orbit import TURN_PER_PIXEL, Orbit

BACKGROUND = (0.22, 0.23, 0.25)
"""sRGB."""
AUTO_ORBIT_SPEED = 2 * math.pi / 8
"""[rad/s]."""
SPEEDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
SCALES = (1.0, 0.75, 0.5, 0.35)
"""Resolutions, as shares of the window's, among which moving pictures choose."""
SLOW_S, FAST_S = 1 / 20, 1 / 45
"""A picture slower than the first goes down in resolution, one faster than the second goes up [s]."""


@dataclass
class Show:
    """The state that keys and mouse change. `players` are all clips of all bundles, one shown at a time."""

    players: Sequence[Player]
    shown: int = 0
    time: float = 0.0
    """Seconds since the clip began; grows through loops."""
    speed: float = 1.0
    playing: bool = True
    residual: bool = True
    compare: bool = False
    """Rigid skinning on the left, the baked clip on the right."""
    auto_orbit: bool = False
    orbit: Orbit = field(default_factory=Orbit)
    scale: float = 1.0
    """Resolution of moving pictures, one of `SCALES`."""
    picture_s: float = 0.0
    """Seconds that the latest picture took."""

    @property
    def player(self) -> Player:
        """The clip shown."""
        return self.players[self.shown]

    @property
    def moving(self) -> bool:
        """Whether the picture changes by itself."""
        return self.playing or self.auto_orbit

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if self.playing:
            self.time += seconds * self.speed
        if self.auto_orbit:
            self.orbit = self.orbit.turned(-seconds * AUTO_ORBIT_SPEED / TURN_PER_PIXEL, 0.0)

    def step(self, frames: int) -> None:
        """Stop, and go to a whole frame before or after."""
        self.playing = False
        frame = round(self.player.frame_at(self.time)) + frames
        self.time = (frame % self.player.frame_count) / self.player.fps

    def change_speed(self, steps: int) -> None:
        """The next slower or faster of `SPEEDS`."""
        index = SPEEDS.index(self.speed) + steps
        self.speed = SPEEDS[min(max(index, 0), len(SPEEDS) - 1)]

    def next_clip(self, steps: int) -> None:
        """Another clip, from its beginning."""
        self.shown = (self.shown + steps) % len(self.players)
        self.time = 0.0

    def picture(self, size: tuple[int, int], *, full: bool) -> UInt8[np.ndarray, "H X 3"]:
        """The view for a window of `size` (width, height) [px].

        With `full` it has exactly that size; else it has `scale` of it, and `scale` follows the time it took.
        """
        began = time.perf_counter()
        share = 1.0 if full else self.scale
        width, height = (max(round(side * share), 2) for side in size)
        if self.compare:
            half = width // 2
            parts = [self._view((half, height), residual=False), self._view((width - half, height), residual=True)]
            picture = np.concatenate(parts, axis=1)
            picture[:, half - 1:half + 1] = 255
        else:
            picture = self._view((width, height), residual=self.residual)
        self.picture_s = time.perf_counter() - began
        if not full:
            self._adapt()
        return picture

    def _view(self, size: tuple[int, int], *, residual: bool) -> UInt8[np.ndarray, "H X 3"]:
        """One figure."""
        gaussians = self.player.gaussians_at(self.time, residual=residual)
        camera = self.orbit.camera(self.player.target_at(self.time), size)
        return composite(render(gaussians, camera).rgba, BACKGROUND)

    def _adapt(self) -> None:
        """Choose the next picture's resolution by the time of this one."""
        index = SCALES.index(self.scale)
        if self.picture_s > SLOW_S:
            self.scale = SCALES[min(index + 1, len(SCALES) - 1)]
        elif self.picture_s < FAST_S:
            self.scale = SCALES[max(index - 1, 0)]

    def status(self) -> str:
        """One line about what is shown."""
        player = self.player
        frame = player.frame_at(self.time)
        what = "rigid | baked" if self.compare else "baked" if self.residual else "rigid"
        clip = f"{player.bundle.manifest.name} · {player.clip.name}"
        if len(self.players) > 1:
            clip += f" ({self.shown + 1}/{len(self.players)})"
        paused = "" if self.playing else " · paused"
        return f"{clip} · {what} · frame {frame:.0f}/{player.frame_count - 1} · {self.speed:g}x{paused}"
