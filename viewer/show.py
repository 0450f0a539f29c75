"""What the window shows: who plays what at which time, seen how. Values and state only; no window, no OpenGL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from runtime import skinning, stage_reference
from runtime.actor import Actor, Layer
from runtime.framing import DISTANCE, FOV_Y, root_targets
from runtime.lod import level_of_detail
from runtime.stage import STANDING
from runtime.types import Bundle, Camera
from viewer.orbit import TURN_PER_PIXEL, Orbit
from viewer.renderer import Style, View

BACKGROUNDS = ((0.22, 0.23, 0.25), (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.05, 0.35, 0.12))
"""sRGB: dark, black, grey, white, green."""
AUTO_ORBIT_SPEED = 2 * math.pi / 8
"""[rad/s]."""
SPEEDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
FADE_S = 0.3
"""Cross-fade when another clip of the same avatar is chosen [s]."""
DETAIL_STEPS = 16
"""Positions of the level-of-detail slider."""
APART_M = 1.2
"""Distance between avatars that are shown together [m]."""
ARMS_M = 0.7
"""Half the width kept in view around each of them [m]."""


@dataclass
class Show:
    """The state that keys, mouse and files change. One actor a bundle; one of them is shown, or all together."""

    bundles: list[Bundle]
    shown: int = 0
    """Which actor is in front of the camera and on the timeline."""
    together: bool = False
    """All avatars side by side."""
    playing: bool = True
    speed: float = 1.0
    backwards: bool = False
    residual: bool = True
    compare: bool = False
    """Rigid skinning on the left, the baked clip on the right."""
    root_motion: bool = True
    auto_orbit: bool = False
    style: Style = "splats"
    skeleton: bool = False
    background_index: int = 0
    detail: int = DETAIL_STEPS
    """Share of the Gaussians shown, in steps of 1 / `DETAIL_STEPS`."""
    orbit: Orbit = field(default_factory=Orbit)
    actors: list[Actor] = field(init=False)
    _targets: list[list[np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        bundles, self.bundles, self.actors, self._targets = self.bundles, [], [], []
        self.add(bundles)

    def add(self, bundles: Sequence[Bundle]) -> None:
        """More avatars; the first of them is shown."""
        first = len(self.bundles)
        self.bundles = [*self.bundles, *bundles]
        self.actors += [Actor(bundle) for bundle in bundles]
        self._targets += [[root_targets(bundle.rig, clip.motion, figure=bundle.gaussians.means)
                           for clip in bundle.clips] for bundle in bundles]
        self.shown = min(first, len(self.bundles) - 1)

    # Time.

    @property
    def actor(self) -> Actor:
        """Who is shown."""
        return self.actors[self.shown]

    @property
    def moving(self) -> bool:
        """Whether the picture changes by itself."""
        return self.playing or self.auto_orbit

    def advance(self, seconds: int | float) -> None:
        """Let time pass."""
        for actor in self.actors:
            actor.speed = -self.speed if self.backwards else self.speed
            actor.residual, actor.root_motion = self.residual, self.root_motion
            if self.playing:
                actor.advance(seconds)
        if self.auto_orbit:
            self.orbit = self.orbit.turned(-seconds * AUTO_ORBIT_SPEED / TURN_PER_PIXEL, 0.0)

    def step(self, frames: int) -> None:
        """Stop, and go to a whole frame before or after."""
        self.playing = False
        count = self.actor.motion.frames
        self.seek((round(self.actor.frame()) + frames) % count / max(count - 1, 1))

    def seek(self, share: int | float) -> None:
        """Go to a share of the clip, 0 its first frame and 1 its last."""
        for actor in (self.actors[index] for index in self._chosen):
            actor.seek(min(max(share, 0.0), 1.0) * (actor.motion.frames - 1))

    @property
    def progress(self) -> float:
        """The share of the clip that has been shown."""
        return min(self.actor.frame() / max(self.actor.motion.frames - 1, 1), 1.0)

    def change_speed(self, steps: int) -> None:
        """The next slower or faster of `SPEEDS`."""
        index = SPEEDS.index(self.speed) + steps
        self.speed = SPEEDS[min(max(index, 0), len(SPEEDS) - 1)]

    # Clips.

    @property
    def clips(self) -> list[tuple[int, int]]:
        """Every clip there is: actor and clip of it."""
        return [(a, c) for a, bundle in enumerate(self.bundles) for c in range(len(bundle.clips))]

    def clip_names(self) -> list[str]:
        """One a clip, with the avatar's name where there are several avatars."""
        several = len(self.bundles) > 1
        return [(f"{self.bundles[a].manifest.name} · " if several else "") + self.bundles[a].clips[c].name
                for a, c in self.clips]

    @property
    def clip_index(self) -> int:
        """Which of `clips` plays."""
        return self.clips.index((self.shown, self.actor.clip))

    def choose_clip(self, index: int) -> None:
        """Play another clip from its beginning; one of the same avatar fades in."""
        shown, clip = self.clips[index % len(self.clips)]
        fade = FADE_S if shown == self.shown and self.playing and clip != self.actor.clip else 0.0
        self.shown = shown
        self.actor.start(clip, fade_seconds=fade)

    # The picture.

    @property
    def background(self) -> tuple[float, float, float]:
        """sRGB."""
        return BACKGROUNDS[self.background_index % len(BACKGROUNDS)]

    @property
    def scene_key(self) -> tuple[object, ...]:
        """Changes when `scene` does."""
        return len(self.bundles), None if self.together else self.shown, self.detail

    def scene(self) -> tuple[list[Bundle], list[np.ndarray]]:
        """The avatars a renderer draws, at the chosen level of detail, and where they stand. Takes 0.1 s to merge."""
        bundles = [level_of_detail(self.bundles[index], count)
                   for index, count in zip(self._chosen, self.counts(), strict=True)]
        return bundles, [self._placement(index) for index in self._chosen]

    def counts(self) -> list[int]:
        """How many Gaussians each avatar of `scene` has."""
        return [max(self.bundles[index].gaussians.count * self.detail // DETAIL_STEPS, 1) for index in self._chosen]

    @property
    def _chosen(self) -> Sequence[int]:
        """Which avatars are drawn."""
        return range(len(self.bundles)) if self.together else [self.shown]

    def views(self, size: tuple[int, int]) -> list[View]:
        """What to draw for a picture of `size` (width, height) [px]."""
        actors = [self.actors[index] for index in self._chosen]
        target = self.target()
        if not self.compare:
            return [View(moments=tuple(self._moments(actors)), camera=self._orbit_for(size).camera(target, size),
                         style=self.style)]
        half = size[0] // 2
        orbit = self._orbit_for((half, size[1]))
        return [View(moments=tuple(self._moments(actors, residual=residual)), left=left, style=self.style,
                     camera=orbit.camera(target, (width, size[1])))
                for left, width, residual in ((0, half, False), (half, size[0] - half, True))]

    def target(self) -> Float[np.ndarray, " 3"]:
        """What the camera looks at [m]: the shown actor's root, smoothed; the middle of all who are shown together."""
        return np.mean([self._target_of(index) for index in self._chosen], axis=0)

    def pan(self, dx: int | float, dy: int | float, size: tuple[int, int]) -> None:
        """The hand dragged the picture of `size` (width, height) [px] by pixels, y up: what it took hold of follows."""
        view = (size[0] // 2, size[1]) if self.compare else size
        self.orbit = replace(self.orbit, pan=self._orbit_for(view).panned(dx, dy, size=view).pan)

    def _orbit_for(self, size: tuple[int, int]) -> Orbit:
        """The orbit, far enough away for all who are shown together in a picture of `size` [px]."""
        if not self.together:
            return self.orbit
        places = np.array([self._target_of(index) for index in range(len(self.actors))])
        reach = float(np.linalg.norm((places - places.mean(0))[:, [0, 2]], axis=1).max())
        # A picture narrower than 9:16 shows as much as one of 9:16. The nearest stands `reach` in front of the middle.
        half_width = math.tan(FOV_Y / 2) * max(size[0] / size[1], 9 / 16)
        farther = max(((reach + ARMS_M) / half_width + reach) / DISTANCE, 1.0)
        return replace(self.orbit, distance=self.orbit.distance * farther)

    def bones(self, view: View) -> Float[np.ndarray, "B 2 2"]:
        """Segments of the shown avatars' skeletons in a view [px], y down, from parent to joint."""
        segments = [np.zeros((0, 2, 2))]
        for index, moment in zip(self._chosen, view.moments, strict=True):
            rig = self.bundles[index].rig
            joints = skinning.joint_transforms(rig, stage_reference.pose(self.bundles[index], moment), 0)[:, :3, 3]
            points, visible = _projected(joints + self._placement(index)[:, 3], view.camera)
            child = np.flatnonzero((rig.parents >= 0) & visible & visible[rig.parents])
            pairs = np.stack([points[rig.parents[child]], points[child]], axis=1)
            segments.append(pairs + np.array([view.left, 0]))
        return np.concatenate(segments)

    def status(self) -> str:
        """One line about what is shown."""
        actor, name = self.actor, self.bundles[self.shown].manifest.name
        what = "rigid | baked" if self.compare else "baked" if self.residual else "rigid"
        speed = f"{'-' if self.backwards else ''}{self.speed:g}x"
        paused = "" if self.playing else " · paused"
        return (f"{name} · {actor.bundle.clips[actor.clip].name} · {what} · "
                f"frame {actor.frame():.0f}/{actor.motion.frames - 1} · {speed}{paused}")

    def _moments(self, actors: Sequence[Actor], *, residual: bool | None = None):
        for actor in actors:
            actor.residual = self.residual if residual is None else residual
            actor.root_motion = self.root_motion
            yield actor.moment()

    def _placement(self, index: int) -> Float[np.ndarray, "3 4"]:
        placement = STANDING.copy()
        if self.together:
            placement[0, 3] = APART_M * (index - (len(self.bundles) - 1) / 2)
        return placement

    def _target_of(self, index: int) -> np.ndarray:
        """One actor's smoothed root [m], where it stands."""
        layers = self.actors[index].moment().layers
        target = self._layer_target(index, layers[0])
        for layer in layers[1:]:
            target = (1 - layer.share) * target + layer.share * self._layer_target(index, layer)
        if not self.root_motion:
            target = target * (0, 1, 0) + self.bundles[index].rig.T_world_joint_rest[0, :3, 3] * (1, 0, 1)
        return target + self._placement(index)[:, 3]

    def _layer_target(self, index: int, layer: Layer) -> np.ndarray:
        targets = self._targets[index][layer.clip]
        before = targets[layer.before] + (layer.before_offset[0], 0.0, layer.before_offset[1])
        after = targets[layer.after] + (layer.after_offset[0], 0.0, layer.after_offset[1])
        return (1 - layer.weight) * before + layer.weight * after


def _projected(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [P 2] of world points [P 3], and which are in front of the camera."""
    seen = points @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
    depth = np.maximum(seen[:, 2:], 1e-3)
    return seen[:, :2] / depth * (camera.fx, camera.fy) + (camera.cx, camera.cy), seen[:, 2] > 0.05
