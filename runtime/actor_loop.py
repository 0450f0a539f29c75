"""How a clip repeats: across its seam where it closes, else by a fade into its own beginning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.types import Motion

SEAM_TOLERANCE = 2.0
"""A clip closes when no joint turns more from its last frame to its first than this many times its fastest step."""
LOOP_FADE_S = 0.25
"""A looping clip that does not close fades into its own beginning over this long [s]."""


@dataclass(frozen=True)
class Loop:
    """How a clip repeats."""

    period: int
    """Frames after which it repeats."""
    fade: int
    """Frames over which its end fades into its beginning: T - period, or 0 where the clip closes or is short."""
    closed: bool
    """The frame after the last is the first, and time runs across the seam."""
    travel: tuple[float, float]
    """What one period adds to the root along x and z [m]."""


def loop_of(motion: Motion) -> Loop:
    """How to repeat a motion: closed where it closes, else by a fade into its beginning."""
    frames, root = motion.frames, motion.root_translations.astype(np.float64)
    if frames < 3:
        return Loop(period=frames, fade=0, closed=False, travel=(0.0, 0.0))
    quats = motion.quats_wxyz.astype(np.float64)
    dots = np.abs((quats * np.roll(quats, -1, axis=0)).sum(axis=-1)).clip(0, 1)
    turns = 2 * np.arccos(dots).max(axis=1)
    heights = np.abs(np.diff(root[:, 1], append=root[0, 1]))
    closed = (turns[-1] <= SEAM_TOLERANCE * turns[:-1].max() + 1e-3
              and heights[-1] <= SEAM_TOLERANCE * heights[:-1].max() + 1e-3)
    fade = 0 if closed else min(round(LOOP_FADE_S * motion.fps), frames // 3)
    period = frames - fade
    # A closed clip's last step is not stored; it goes as far as the mean of the others.
    travel = (root[-1] - root[0]) * frames / (frames - 1) if closed else root[period] - root[0] if fade else 0 * root[0]
    return Loop(period=period, fade=fade, closed=bool(closed), travel=(float(travel[0]), float(travel[2])))
