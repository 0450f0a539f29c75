"""What of a bundle is exported: its level of detail, its clip, and the times at which it is sampled."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from rich.progress import track

from export_formats import ExportOptions
from export_formats.axes import from_ours
from runtime.actor_loop import loop_of
from runtime.decoders import load_decoder
from runtime.errors import InputError
from runtime.lod import level_of_detail
from runtime.player import Player
from runtime.pose_residual import pose_features
from runtime.types import Bundle, GaussianSet, Residual

MAX_FRAMES = 100_000
"""Frames of one sequence, as many as a bundle may have."""


def selected(bundle: Bundle, options: ExportOptions) -> Bundle:
    """The bundle at the asked level of detail. Raises `InputError` for a clip or level it does not have."""
    name, count = bundle.manifest.name, bundle.gaussians.count
    if not 0 <= options.clip < len(bundle.clips):
        raise InputError(f"{name}: has clips 0 to {len(bundle.clips) - 1}, not {options.clip}")
    if options.lod is None:
        return bundle
    if not 1 <= options.lod <= count:
        raise InputError(f"{name}: a level of detail is 1 to {count} Gaussians, not {options.lod}")
    return level_of_detail(bundle, options.lod)


def sample_times(bundle: Bundle, options: ExportOptions) -> list[float]:
    """Seconds from the clip's first frame of every exported frame. Raises `InputError` for an empty range."""
    motion, name = bundle.clips[options.clip].motion, bundle.manifest.name
    fps = sample_rate(bundle, options)
    # The last sample may be a rounding error beyond the end.
    total = math.floor(motion.duration * fps + 1e-6) + 1
    start, stop = (0, total) if options.frames is None else options.frames
    if not 0 <= start < stop <= total:
        raise InputError(f"{name}: frames {start}:{stop} are not in 0:{total}, which the clip has at {fps:g} frames a "
                         "second")
    if stop - start > MAX_FRAMES:
        raise InputError(f"{name}: {stop - start} frames, at most {MAX_FRAMES} are written; ask for fewer a second")
    return [index / fps for index in range(start, stop)]


def sample_rate(bundle: Bundle, options: ExportOptions) -> float:
    """Frames a second of the export. Raises `InputError` where it is not a usable rate."""
    fps = bundle.clips[options.clip].motion.fps if options.fps is None else options.fps
    if not math.isfinite(fps) or not 0.1 <= fps <= 1000:
        raise InputError(f"{bundle.manifest.name}: {fps:g} frames a second; ask for 0.1 to 1000")
    return float(fps)


def still(bundle: Bundle, options: ExportOptions, *, axes: str) -> GaussianSet:
    """The Gaussians at `options.time` (or in the rest pose) in the asked axes, else in `axes`."""
    bundle = selected(bundle, options)
    if options.rest:
        gaussians = bundle.gaussians
    else:
        player = Player(bundle, options.clip)
        if not 0 <= options.time <= player.duration + 1e-6:
            raise InputError(f"{bundle.manifest.name}: time {options.time:g} s is not in the clip, 0 to "
                             f"{player.duration:g} s")
        gaussians = player.gaussians_at(options.time, residual=options.residual, loop=False)
    return from_ours(gaussians, options.axes or axes)


def sequence(bundle: Bundle, options: ExportOptions, *, axes: str) -> Iterator[GaussianSet]:
    """The Gaussians at every sampled time, in the asked axes, else in `axes`; shows progress on a terminal."""
    bundle = selected(bundle, options)
    player = Player(bundle, options.clip)
    for time in with_progress(sample_times(bundle, options)):
        yield from_ours(player.gaussians_at(time, residual=options.residual, loop=False), options.axes or axes)


def sampled_residual(bundle: Bundle, options: ExportOptions) -> tuple[Residual, list[float]]:
    """The residual of the options' clip, and the fractional frame of it at each sampled time.

    A clip without one of its own is moved by the bundle's pose residual, where there is one: then it is that, run at
    the sampled times, with a frame for each.
    """
    clip, times = bundle.clips[options.clip], sample_times(bundle, options)
    own = bundle.pose_residual
    frames = [_whole(time * clip.motion.fps) for time in times]
    if own is None or len(clip.residual.moving):
        return clip.residual, frames
    decode = load_decoder("numpy", own)
    looks = {"lags": own.lags, "joints": own.joints, "loop": loop_of(clip.motion)}
    tracks = [own.split(decode(pose_features(bundle.rig, clip.motion, frame, **looks))) for frame in frames]
    source = bundle.clips[own.clip].residual
    groups = [replace(group, texels=group.texels[:count], texel_scales=group.texel_scales[:count],
                      coefficients=np.stack(track).astype(np.float32).reshape(len(frames), count))
              for group, count, track in zip((source.d_means, source.d_rotations, source.d_log_scales), own.counts,
                                             zip(*tracks, strict=True), strict=True)]
    residual = Residual(moving=source.moving, d_means=groups[0], d_rotations=groups[1], d_log_scales=groups[2])
    return residual, [float(index) for index in range(len(frames))]


def changes_sizes(bundle: Bundle, options: ExportOptions) -> bool:
    """Whether the clip's residual changes any size over time."""
    clip, own = bundle.clips[options.clip], bundle.pose_residual
    texels = clip.residual.d_log_scales.texels
    if own is not None and not len(clip.residual.moving):
        texels = bundle.clips[own.clip].residual.d_log_scales.texels[:own.counts[2]]
    return options.residual and bool(np.any(texels))


def _whole(frame: float) -> float:
    """A frame number without the rounding error of seconds."""
    return float(round(frame)) if abs(frame - round(frame)) < 1e-6 else frame


def with_progress(times: list[float]) -> Iterator[float]:
    """Pass times on under a progress bar with the time left; silent when the output is not a terminal."""
    yield from track(times, description="exporting", disable=not sys.stderr.isatty(), transient=True)
