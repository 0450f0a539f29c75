"""What is drawn over the picture: timeline, buttons, detail slider, clip list, skeleton, text."""

from __future__ import annotations

import numpy as np
import pyglet
from jaxtyping import Float

from viewer.controls import BUTTON, CLIP_ROW, MARGIN, ROW_Y, TOP, Box, Layout
from viewer.show import DETAIL_STEPS, Show

HELP = """left drag     turn
right drag    move
wheel         nearer, farther
space         play, pause
left, right   one frame back, on
+  -          faster, slower
B             backwards
R             residual on, off
C             compare: rigid | baked
M             root motion on, off
P             splats, points
K             skeleton
[  ]          less, more detail
O             turn by itself
Home          reset the view
Tab           next clip
L             list of clips (wheel)
A             all avatars together
G             background
I             statistics
S             screenshot
H             this help
Esc           quit
drop a file   add an avatar"""
BAR, FILLED, TEXT, SHADOW = (0, 0, 0, 130), (255, 190, 70, 255), (255, 255, 255, 255), (0, 0, 0, 230)
BONE = (90, 220, 255, 255)


class Overlay:
    """Shapes and labels made once and moved; pyglet draws them after the picture."""

    def __init__(self) -> None:
        self._bars = {name: (_rectangle(BAR), _rectangle(FILLED), _rectangle(TEXT)) for name in ("timeline", "detail")}
        self._buttons = {name: _rectangle(BAR) for name in ("back", "play", "on")}
        self._marks = [pyglet.shapes.Triangle(0, 0, 0, 0, 0, 0, color=TEXT) for _ in range(3)]
        self._pause = (_rectangle(TEXT), _rectangle(TEXT))
        self._status, self._speed = _Text(), _Text()
        self._detail = _Text(anchor_x="right")
        self._message = _Text(multiline=True, width=320)
        self._halves = (_Text(anchor_x="center", anchor_y="top"), _Text(anchor_x="center", anchor_y="top"))
        self._help = _Text(anchor_y="top", multiline=True, width=420)
        self._statistics = _Text(anchor_y="top", multiline=True, width=320)
        self._clips: list[_Text] = []
        self._scroll = _rectangle(TEXT)
        self._panel = _rectangle((0, 0, 0, 190))
        self._divider = _rectangle(TEXT)
        self._bones: list[pyglet.shapes.Line] = []

    def draw(self, show: Show, size: tuple[int, int], *, note: str, statistics: str, help_shown: bool,
             clips_shown: bool, first_clip: int) -> None:
        """Everything, for a window of `size`; empty texts are left out. The clip list begins at `first_clip`."""
        layout = Layout(*size)
        width, height = size
        clips = layout.clips_shown(len(show.clips), first_clip) if clips_shown else range(0)
        if show.compare:
            self._place(self._divider, Box(width // 2 - 1, 0, 2, height))
            for text, name, x in zip(self._halves, ("rigid", "baked"), (width // 4, 3 * width // 4), strict=True):
                text.draw(name, x, height - 8 - (TOP + CLIP_ROW * len(clips) if clips else 0))
        self._draw_controls(show, layout)
        self._status.draw(show.status(), MARGIN, 58, most=width - 2 * MARGIN)
        if clips and not help_shown:
            self._draw_clips(show, layout, clips)
        if note:
            self._message.fit(note, width - 4 * MARGIN)
            self._place(self._panel, Box(MARGIN, 80, self._message.width + 2 * MARGIN, self._message.height + 12))
            self._message.draw(note, 2 * MARGIN, 86)
        if statistics:
            self._statistics.fit(statistics, 320)
            tall = self._statistics.height + 16
            self._place(self._panel, Box(width - 252, height - 30 - tall, 252, tall))
            self._statistics.draw(statistics, width - 240, height - 38)
        if help_shown:
            self._help.fit(HELP, 420)
            self._place(self._panel, Box(0, height - self._help.height - 24, 330, self._help.height + 24))
            self._help.draw(HELP, MARGIN, height - 12)

    def draw_bones(self, segments: Float[np.ndarray, "B 2 2"], size: tuple[int, int]) -> None:
        """Lines between joints, pixels with y down."""
        while len(self._bones) < len(segments):
            self._bones.append(pyglet.shapes.Line(0, 0, 0, 0, thickness=2, color=BONE))
        for line, ((x0, y0), (x1, y1)) in zip(self._bones, segments.tolist(), strict=False):
            line.x, line.y, line.x2, line.y2 = x0, size[1] - y0, x1, size[1] - y1
            line.draw()

    def _draw_controls(self, show: Show, layout: Layout) -> None:
        boxes = layout.boxes
        for name, share in (("timeline", show.progress), ("detail", show.detail / DETAIL_STEPS)):
            box = boxes[name]
            ground, filled, knob = self._bars[name]
            self._place(ground, box)
            self._place(filled, Box(box.x, box.y, max(share * box.width, 0.1), box.height))
            self._place(knob, Box(box.x + share * box.width - 3, box.y - 4, 6, box.height + 8))
        for name, button in self._buttons.items():
            self._place(button, boxes[name])
        for mark, name, direction in zip(self._marks, ("back", "play", "on"), (-1, 1, 1), strict=True):
            box = boxes[name]
            if name == "play" and show.playing:
                self._place(self._pause[0], Box(box.x + 5, box.y + 4, 4, BUTTON - 8))
                self._place(self._pause[1], Box(box.x + 11, box.y + 4, 4, BUTTON - 8))
                continue
            size = 6 if name == "play" else 4
            middle = box.x + BUTTON / 2
            mark.x, mark.y = middle + direction * size, box.y + BUTTON / 2
            mark.x2, mark.y2, mark.x3, mark.y3 = middle - direction * size, mark.y - size, middle - direction * size, (
                mark.y + size)
            mark.draw()
        share, room = f"{100 * show.detail // DETAIL_STEPS} %", boxes["detail"].x - boxes["on"].x - BUTTON
        self._detail.draw(f"detail {share}" if room > 110 else share, boxes["detail"].x - 8, ROW_Y + 4)

    def _draw_clips(self, show: Show, layout: Layout, clips: range) -> None:
        names, chosen = show.clip_names(), show.clip_index
        while len(self._clips) < len(clips):
            self._clips.append(_Text())
        for row, (text, index) in enumerate(zip(self._clips, clips, strict=False)):
            box = layout.clip_row(row)
            self._place(self._panel, box)
            text.draw(("▸ " if index == chosen else "   ") + names[index], box.x + 4, box.y + 2, most=box.width - 12)
        if len(clips) < len(names):
            # A list that goes on: which part of it this is.
            top, bottom = layout.clip_row(0), layout.clip_row(len(clips) - 1)
            tall, right = top.y + CLIP_ROW - bottom.y, top.x + top.width
            self._place(self._scroll, Box(right - 4, top.y + CLIP_ROW - clips.stop / len(names) * tall, 3,
                                          len(clips) / len(names) * tall))

    @staticmethod
    def _place(rectangle: pyglet.shapes.Rectangle, box: Box) -> None:
        rectangle.x, rectangle.y, rectangle.width, rectangle.height = box.x, box.y, box.width, box.height
        rectangle.draw()


class _Text:
    """A label with a dark shadow, readable on any picture."""

    def __init__(self, *, anchor_x: str = "left", anchor_y: str = "bottom", multiline: bool = False,
                 width: int | None = None) -> None:
        font = {"font_name": "monospace" if multiline else None, "font_size": 10 if multiline else 11}
        self._labels = tuple(pyglet.text.Label("", color=color, anchor_x=anchor_x, anchor_y=anchor_y,
                                               multiline=multiline, width=width, **font) for color in (SHADOW, TEXT))
        self._asked: tuple[str, int | float] = ("", 0)
        self._kept = ""

    @property
    def height(self) -> int:
        """Of the text drawn last [px]."""
        return self._labels[0].content_height or 0

    @property
    def width(self) -> int:
        """Of the text drawn last [px]."""
        return self._labels[0].content_width or 0

    def fit(self, text: str, width: int) -> None:
        """Break a text into lines of at most `width` [px]."""
        for label in self._labels:
            if label.width != width or label.text != text:
                label.width, label.text = width, text

    def draw(self, text: str, x: float, y: float, *, most: int | float | None = None) -> None:
        """Draw a text with its anchor at a place; one wider than `most` [px] loses its end."""
        if most is not None:
            if (text, most) != self._asked:
                self._asked = (text, most)
                self._kept = self._shortened(text, most)
            text = self._kept
        for label, offset in zip(self._labels, (1, 0), strict=True):
            if label.text != text:
                label.text = text
            label.position = (x + offset, y - offset, 0)
            label.draw()

    def _shortened(self, text: str, most: int | float) -> str:
        label = self._labels[0]
        label.text = text
        while (label.content_width or 0) > most and len(text) > 2:
            # A tenth at a time: close enough, and few layouts.
            text = text[:-max(len(text) // 10, 1)]
            label.text = f"{text}…"
        return label.text


def _rectangle(color: tuple[int, int, int, int]) -> pyglet.shapes.Rectangle:
    return pyglet.shapes.Rectangle(0, 0, 1, 1, color=color)
