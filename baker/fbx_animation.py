"""Animation stacks of a binary FBX, sampled evenly into glTF animations. Letters: K keys, T frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baker.fbx_nodes import array
from baker.fbx_scene import FbxObject, FbxScene, GltfBuilder, local_transforms
from baker.motion_files.skeleton import MAX_FRAMES, MAX_POSES
from runtime.errors import InputError

TICKS = 46_186_158_000
"""FBX time units a second."""
CURVES = {"Lcl Translation": 0, "Lcl Rotation": 1, "Lcl Scaling": 2}
MAX_FPS = 60.0


def write_animation(scene: FbxScene, builder: GltfBuilder, stack: FbxObject) -> None:
    """One animation, sampled evenly at its own rate; a stack that moves nothing is left out."""
    layer = next((layer for layer, _ in scene.under(stack, "AnimationLayer")), None)
    moved: dict[int, dict[int, list[_Curve | None]]] = {}
    for node, _ in scene.under(layer, "AnimationCurveNode") if layer is not None else ():
        for target in scene.above.get(node.id, ()):
            driven = [prop for i, prop in scene.below.get(target, ()) if i == node.id]
            part = next((CURVES[prop] for prop in driven if prop in CURVES), -1)
            if part < 0 or target not in builder.node_of:
                continue
            parts: list[_Curve | None] = [None, None, None]
            for curve, prop in scene.under(node, "AnimationCurve"):
                if prop in ("d|X", "d|Y", "d|Z"):
                    parts["XYZ".index(prop[-1])] = _curve(curve, scene.path)
            if any(part_curve is not None for part_curve in parts):
                moved.setdefault(target, {})[part] = parts
    curves = [c for parts in moved.values() for three in parts.values() for c in three if c is not None]
    if not curves:
        return
    start, stop = min(c.times[0] for c in curves), max(c.times[-1] for c in curves)
    steps = np.diff(max((c.times for c in curves), key=len))
    steps = steps[steps > 1e-5]
    rate = 1 / float(np.median(steps)) if len(steps) else 30.0
    rate = min(rate, MAX_FPS) if rate >= 20 else 30.0
    rate = round(rate) if abs(rate - round(rate)) < 0.01 else rate
    if (stop - start) * rate > min(MAX_FRAMES, MAX_POSES / len(moved)):
        raise InputError(f"{scene.path}: animation '{stack.name}' lasts {stop - start:.0f} s, too long to load; cut it")
    times = start + np.arange(int(np.floor((stop - start) * rate + 1e-3)) + 1) / rate
    _write_samples(scene, builder, stack.name, times, moved)


def _write_samples(scene: FbxScene, builder: GltfBuilder, name: str, times: np.ndarray,
                     moved: dict[int, dict[int, list[_Curve | None]]]) -> None:
    clock = builder.accessor((times - times[0]).astype(np.float32), "SCALAR")
    samplers, channels = [], []
    for target, parts in moved.items():
        model = scene.things[target]
        values = []
        for part, (prop, rest) in enumerate((("Lcl Translation", 0.0), ("Lcl Rotation", 0.0), ("Lcl Scaling", 1.0))):
            value = np.repeat(model.vector(prop, (rest,) * 3)[None], len(times), axis=0)
            for k, curve in enumerate(parts.get(part, ())):
                if curve is not None:
                    value[:, k] = curve.at(times)
            values.append(value)
        place, quat, scale = local_transforms(model, *values)
        for key, value in (("translation", place), ("rotation", np.roll(quat, -1, axis=1)), ("scale", scale)):
            if len(value) > 1 and np.ptp(value, axis=0).max() < 1e-9 and key == "scale":
                continue
            output = builder.accessor(value.astype(np.float32), "VEC4" if key == "rotation" else "VEC3")
            samplers.append({"input": clock, "output": output})
            channels.append({"sampler": len(samplers) - 1, "target": {"node": builder.node_of[target], "path": key}})
    builder.add("animations", {"name": name, "samplers": samplers, "channels": channels})


@dataclass(frozen=True)
class _Curve:
    """One component over time."""

    times: np.ndarray
    """[K] seconds."""
    values: np.ndarray
    """[K]."""
    slopes: np.ndarray
    """[K-1 2] a second, leaving a key and arriving at the next."""
    modes: np.ndarray
    """[K] 2 holds, 4 is linear, 8 is cubic."""

    def at(self, times: np.ndarray) -> np.ndarray:
        """Values [T], held beyond the ends."""
        if len(self.times) == 1:
            return np.full(len(times), self.values[0])
        k = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, len(self.times) - 2)
        width = np.maximum(self.times[k + 1] - self.times[k], 1e-9)
        t = np.clip((times - self.times[k]) / width, 0, 1)
        a, b = self.values[k], self.values[k + 1]
        line = (1 - t) * a + t * b
        cubic = ((2 * t**3 - 3 * t**2 + 1) * a + (3 * t**2 - 2 * t**3) * b + width * (
            (t**3 - 2 * t**2 + t) * self.slopes[k, 0] + (t**3 - t**2) * self.slopes[k, 1]))
        held = np.where(t >= 1, b, a)
        return np.select([self.modes[k] == 2, self.modes[k] == 8], [held, cubic], line)


def _curve(thing: FbxObject, path: Path) -> _Curve | None:
    node = thing.node
    times = array(node.find("KeyTime"), path).astype(np.float64) / TICKS
    values = array(node.find("KeyValueFloat"), path).astype(np.float64)
    if not len(times):
        return None
    if len(times) != len(values) or not (np.abs(values) < 1e9).all() or (np.diff(times) < 0).any():
        raise InputError(f"{path}: an animation curve has {len(values)} values for {len(times)} times, NaN, or times "
                         "that run back; export it again")
    flags, counts = (array(node.find(name), path).astype(np.int64) for name in ("KeyAttrFlags", "KeyAttrRefCount"))
    data = array(node.find("KeyAttrDataFloat"), path).astype(np.float64)
    each = np.full(len(times), 4)
    own = np.zeros((len(times), 2))
    if len(flags) == len(counts) and len(flags) and (counts >= 0).all() and counts.sum() == len(times):
        each = np.repeat(flags, counts)
        if len(data) >= 4 * len(flags) and np.isfinite(data).all():
            own = np.repeat(data[: 4 * len(flags)].reshape(-1, 4)[:, :2], counts, axis=0)
    # An automatic tangent runs along its neighbours' chord; others are written down.
    chord = np.zeros(len(times))
    if len(times) > 2:
        chord[1:-1] = (values[2:] - values[:-2]) / np.maximum(times[2:] - times[:-2], 1e-9)
    written = (each & 0x400) != 0
    slopes = np.stack([np.where(written, own[:, 0], chord)[:-1],
                       np.where(written[:-1], own[:-1, 1], chord[1:])], axis=1)
    modes = np.where(each & 2, 2, np.where(each & 8, 8, 4))
    return _Curve(times, values, slopes, modes)
