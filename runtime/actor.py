"""One avatar's place in time: which frames of which clips it shows now. Pure values; nothing is decoded here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from runtime.actor_loop import Loop, loop_of
from runtime.errors import InputError
from runtime.types import Bundle, Motion


@dataclass(frozen=True)
class Layer:
    """Two neighbouring stored frames of one clip, and how much of what is shown they are."""

    clip: int
    before: int
    after: int
    weight: float
    """Of `after`, in [0, 1)."""
    share: float = 1.0
    """Weight of this layer over the ones below it, in [0, 1]; 1 for the first."""
    before_offset: tuple[float, float] = (0.0, 0.0)
    """Added to the root of `before` along x and z [m]: the way that earlier loops went."""
    after_offset: tuple[float, float] = (0.0, 0.0)
    """The same for `after`; another one across the seam of a loop."""


@dataclass(frozen=True)
class Moment:
    """What an avatar shows: layers from the lowest up, each mixed over what is below it."""

    layers: tuple[Layer, ...]
    residual: bool = True
    """False shows rigid skinning alone."""
    root_motion: bool = True
    """False holds the root above its rest position; height and turning stay."""


@dataclass
class _Fade:
    """The clip that is being left."""

    clip: int
    time: float
    left: float
    """Seconds until it is gone."""
    seconds: float
    """How long the fade takes in all."""


@dataclass
class Actor:
    """A bundle that plays: state that `advance` and the viewer's controls change."""

    bundle: Bundle
    clip: int = 0
    time: float = 0.0
    """Seconds since the clip began, at speed 1; grows through loops, and stays within a clip that does not repeat."""
    speed: float = 1.0
    """Clip seconds per second; negative plays backwards."""
    loop: bool = True
    """Repeat; otherwise the ends hold."""
    residual: bool = True
    root_motion: bool = True
    _fade: _Fade | None = None
    _loops: tuple[Loop, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._check(self.clip)
        self._loops = tuple(loop_of(clip.motion) for clip in self.bundle.clips)

    @property
    def motion(self) -> Motion:
        """The current clip's motion."""
        return self.bundle.clips[self.clip].motion

    @property
    def looping(self) -> Loop:
        """How the current clip repeats."""
        return self._loops[self.clip]

    def advance(self, seconds: int | float) -> None:
        """Let time pass."""
        self.time += seconds * self.speed
        if not self.loop:
            # Held at an end, it leaves it as soon as it is played the other way.
            self.time = min(max(self.time, 0.0), self.motion.duration)
        if self._fade is not None:
            self._fade.time += seconds * self.speed
            self._fade.left -= seconds
            if self._fade.left <= 0:
                self._fade = None

    def start(self, clip: int, *, fade_seconds: int | float = 0.0) -> None:
        """Go to another clip's beginning (its end, when playing backwards), fading from what is shown now."""
        self._check(clip)
        if fade_seconds > 0:
            self._fade = _Fade(clip=self.clip, time=self.time, left=fade_seconds, seconds=fade_seconds)
        else:
            self._fade = None
        self.clip = clip
        self.time = 0.0 if self.speed >= 0 else self.motion.duration

    def frame(self) -> float:
        """The current clip's fractional frame, 0 to T (T itself excluded): what a timeline shows."""
        layers = self._layers(self.clip, self.time)
        layer = layers[-1] if layers[-1].share > 0.5 else layers[0]
        return layer.before + layer.weight

    def seek(self, frame: int | float) -> None:
        """Go to a fractional frame of the current clip."""
        self._fade = None
        self.time = min(max(frame, 0.0), self.motion.frames - 1.0) / self.motion.fps

    def moment(self) -> Moment:
        """What to show now."""
        layers = list(self._layers(self.clip, self.time))
        if self._fade is not None:
            below = self._layers(self._fade.clip, self._fade.time)
            share = _smooth(1.0 - self._fade.left / self._fade.seconds)
            # Of two layers mixed over others, the upper keeps its share of the lower.
            upper = share * layers[1].share if len(layers) > 1 else 0.0
            first = replace(layers[0], share=(share - upper) / max(1 - upper, 1e-9))
            layers = [*below, first, *(replace(layer, share=upper) for layer in layers[1:])]
        return Moment(layers=tuple(layers), residual=self.residual, root_motion=self.root_motion)

    def _layers(self, clip: int, time: float) -> tuple[Layer, ...]:
        """The frames of one clip at a time: one layer, or two within a loop's fade."""
        motion, loop = self.bundle.clips[clip].motion, self._loops[clip]
        frame, last = time * motion.fps, motion.frames - 1
        # t / fps * fps may be a rounding error away from t; whole frames need no interpolation.
        frame = float(round(frame)) if abs(frame - round(frame)) < 1e-6 else frame
        if not self.loop:
            return (_layer(clip, min(max(frame, 0.0), float(last)), last),)
        # The first pass begins at frame 0, later ones at frame `fade`, where the fade has led.
        begun = self.speed >= 0 and 0 <= frame < loop.fade
        turn = 0 if begun else math.floor((frame - loop.fade) / loop.period)
        place = frame - turn * loop.period
        offset = (turn * loop.travel[0], turn * loop.travel[1])
        next_offset = (offset[0] + loop.travel[0], offset[1] + loop.travel[1])
        if loop.closed and place > last:
            return (Layer(clip=clip, before=last, after=0, weight=place - last, before_offset=offset,
                          after_offset=next_offset),)
        layer = _layer(clip, min(place, float(last)), last, offset=offset)
        if place < loop.period:
            return (layer,)
        head = place - loop.period
        return layer, _layer(clip, head, last, offset=next_offset, share=_smooth(head / loop.fade))

    def _check(self, clip: int) -> None:
        if not 0 <= clip < len(self.bundle.clips):
            raise InputError(f"{self.bundle.manifest.name}: has clips 0 to {len(self.bundle.clips) - 1}, not {clip}")


def _layer(clip: int, frame: float, last: int, *, share: float = 1.0,
           offset: tuple[float, float] = (0.0, 0.0)) -> Layer:
    """The stored frames around `frame` in 0..last."""
    before = min(math.floor(frame), last)
    return Layer(clip=clip, before=before, after=min(before + 1, last), weight=frame - before, share=share,
                 before_offset=offset, after_offset=offset)


def _smooth(share: float) -> float:
    """A fade that begins and ends at rest: 3 s² - 2 s³."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
