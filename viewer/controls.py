"""Where the controls are in a window, and which of them a point is on. Pixels, y up. No window here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Control = Literal["timeline", "detail", "play", "back", "on"]
MARGIN = 12
"""Space to the window's edges [px]."""
TIMELINE_Y, ROW_Y = 40, 12
"""Bottom of the timeline, and of the row of buttons under it [px]."""
BAR_HEIGHT, GRIP = 8, 9
"""Thickness of a bar, and how far above and below it the mouse takes hold [px]."""
BUTTON = 20
"""Side of a button [px]."""
DETAIL_WIDTH = 110
"""Length of the level-of-detail slider [px]."""
CLIP_ROW = 20
"""Height of a line of the clip list [px]."""
TOP = 10
"""Space above the clip list [px]."""
CLIPS_BOTTOM = 80
"""Where the clip list ends at the latest: above the line of status [px]."""


@dataclass(frozen=True)
class Box:
    """A rectangle [px]."""

    x: int | float
    y: int | float
    width: int | float
    height: int | float

    def holds(self, x: int | float, y: int | float, *, grip: int | float = 0.0) -> bool:
        """Whether a point is inside, or `grip` above or below."""
        return self.x <= x <= self.x + self.width and self.y - grip <= y <= self.y + self.height + grip

    def share(self, x: int | float) -> float:
        """How far along its width a point is, 0 to 1."""
        return min(max((x - self.x) / max(self.width, 1.0), 0.0), 1.0)


@dataclass(frozen=True)
class Layout:
    """The controls of a window of a size."""

    width: int
    height: int

    @property
    def boxes(self) -> dict[Control, Box]:
        """Every control but the clip list."""
        buttons: tuple[Control, ...] = ("back", "play", "on")
        return {
            "timeline": Box(MARGIN, TIMELINE_Y, self.width - 2 * MARGIN, BAR_HEIGHT),
            **{name: Box(MARGIN + index * (BUTTON + 6), ROW_Y, BUTTON, BUTTON)
               for index, name in enumerate(buttons)},
            "detail": Box(self.width - MARGIN - DETAIL_WIDTH, ROW_Y + (BUTTON - BAR_HEIGHT) / 2, DETAIL_WIDTH,
                          BAR_HEIGHT),
        }

    def control_at(self, x: int | float, y: int | float) -> Control | None:
        """The control under a point."""
        for name, box in self.boxes.items():
            if box.holds(x, y, grip=GRIP if box.height == BAR_HEIGHT else 0.0):
                return name
        return None

    def clips_shown(self, count: int, first: int = 0) -> range:
        """Which of `count` clips the list has room for, from `first` on as far as there are as many."""
        rows = min(max((self.height - TOP - CLIPS_BOTTOM) // CLIP_ROW, 1), count)
        first = min(max(first, 0), count - rows)
        return range(first, first + rows)

    def scrolled_to(self, index: int, count: int, first: int) -> int:
        """The `first` that has a clip in view, the nearest to one there was."""
        return min(max(first, index + 1 - len(self.clips_shown(count))), index)

    def clip_row(self, row: int) -> Box:
        """A line of the clip list, counted from its top."""
        return Box(MARGIN, self.height - TOP - (row + 1) * CLIP_ROW, min(260, self.width - 2 * MARGIN), CLIP_ROW)

    def clip_at(self, x: int | float, y: int | float, count: int, first: int = 0) -> int | None:
        """The clip under a point, of a list of `count` that begins at `first`."""
        return next((index for row, index in enumerate(self.clips_shown(count, first))
                     if self.clip_row(row).holds(x, y)), None)
