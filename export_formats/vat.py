"""Vertex animation textures: the clip as pictures that a vertex shader samples, with SideFX VAT 3.0's names.

A texel is a Gaussian at a frame. Gaussian i of frame f is at column i % width and row f * rows_per_frame + i // width,
row 0 at the top of the picture. Frames are those of `--fps`, textures are linear data: no sRGB, no mip maps, no
compression, nearest sampling. `NAME_data.json` says all of this again, with every bound.

    NAME_pos   R G B position [m], A the largest standard deviation [m] (VAT's pscale)
    NAME_pos2  png only: position = (pos + 0.01 * pos2) * (bound max - bound min) + bound min, likewise A
    NAME_rot   quaternion x y z w; png: value * 2 - 1
    NAME_col   R G B display colour, A opacity; one frame, for a clip does not change them
    NAME_col2  R G B standard deviations [m]; png: natural logarithms between the stated bounds. One frame where the
               clip does not change them

and for skinning in the shader, without the residual, always float EXR:

    NAME_bone      row f, texels 3 j to 3 j + 2: the rows of joint j's 3x4 matrix, rest pose to posed, in these axes
    NAME_skin      per Gaussian in the layout above, R joint, G weight, B joint, A weight; two influences a "frame"
    NAME_rest_pos, NAME_rest_rot   the rest pose, one frame
"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export_formats import ExportOptions, Report, exr
from export_formats import axes as letters
from export_formats.output import new_folder, size_of
from export_formats.sampling import changes_sizes, sample_rate, sample_times, selected, sequence
from runtime.errors import InputError
from runtime.player import Player
from runtime.skinning import skinning_matrices
from runtime.types import Bundle, GaussianSet

KINDS = ("exr-half", "exr-float", "png")
MAX_SIDE = 8192
"""Texture sides that every engine of the last ten years takes."""
MAX_TEXELS = 1 << 25
"""Texels of one texture: 256 MB of half floats."""
SECOND = 0.01
"""Weight of the second position texture, as in SideFX's materials."""
LOST_STEPS = {
    "exr-half": "positions beyond 2^-11 of their distance from the origin (0.5 mm at 1 m), angles beyond 0.1 degrees",
    "exr-float": "nothing of the values themselves",
    "png": "positions beyond 2e-5 of the bounds, angles beyond 1 degree, sizes beyond 1/510 of their logarithm's range"}
OPENS_WITH = ("shaders of Unity, Unreal, Godot, Houdini. SideFX's VAT 3.0 materials want a mesh of Houdini's and flags "
              "in its bounds' digits: set frame count, rate, bounds and the two-texture switch from the JSON")


@dataclass(frozen=True)
class _Layout:
    """Where texels are."""

    gaussians: int
    """N."""
    width: int
    """Texels a row."""
    rows: int
    """Rows of a frame."""

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Rows [frames N 4] as a picture [H X 4], padded with zeros."""
        picture = np.zeros((len(values), self.rows * self.width, 4), values.dtype)
        picture[:, :self.gaussians] = values
        return picture.reshape(len(values) * self.rows, self.width, 4)


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """A folder of textures and their JSON."""
    if options.texture not in KINDS:
        raise InputError(f"{path}: texture {options.texture!r}: choose {', '.join(KINDS)}")
    axes = letters.check(options.axes or letters.OURS)
    times = sample_times(bundle, options)
    # `sequence` selects again: it takes the options as they are.
    chosen = selected(bundle, options)
    layout = _layout(chosen.gaussians.count, len(times), path)
    name = path.name
    frames = _Frames(len(times), layout.gaussians, sized=changes_sizes(bundle, options),
                     dtype="<f2" if options.texture == "exr-half" else "<f4")
    for index, gaussians in enumerate(sequence(bundle, options, axes=letters.OURS)):
        frames.put(index, gaussians)
    encode = _encode_png if options.texture == "png" else _encode_exr
    files, facts = encode(frames, layout, name)
    files |= _skin_files(chosen, options, times, layout, name=name, axes=axes)
    facts = _facts(chosen, options, layout, frames=frames, axes=axes, files=sorted(files)) | facts
    files[f"{name}_data.json"] = json.dumps([facts], indent=1).encode("ascii")
    owned = rf"{re.escape(name)}_(pos2?|rot|col2?|bone|skin|rest_pos|rest_rot|data)[.](exr|png|json)"
    with new_folder(path, owned=owned) as folder:
        for file, content in files.items():
            (folder / file).write_bytes(content)
    lost = ("the labels", LOST_STEPS[options.texture], "the residual, in the bone texture: it is the rig alone")
    return Report(path=path, size_bytes=size_of(path), frames=len(times), lost=lost, opens_with=OPENS_WITH)


class _Frames:
    """The sampled clip: values [frames N 4] of each texture before encoding."""

    def __init__(self, frames: int, count: int, *, sized: bool, dtype: str) -> None:
        self.positions = np.empty((frames, count, 4), dtype)
        self.quats = np.empty((frames, count, 4), dtype)
        self.scales = np.zeros((frames if sized else 1, count, 4), dtype)
        self.colors = np.empty((1, count, 4), dtype)
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)

    def put(self, index: int, gaussians: GaussianSet) -> None:
        """Frame `index`."""
        scales = np.exp(gaussians.log_scales)
        self.positions[index, :, :3], self.positions[index, :, 3] = gaussians.means, scales.max(axis=1)
        # One of q and -q, so that no shader interpolates across the sphere.
        quats = np.roll(gaussians.quats_wxyz, -1, axis=1)
        if index:
            quats = np.where((quats * self.quats[index - 1]).sum(axis=1, keepdims=True) < 0, -quats, quats)
        self.quats[index] = quats
        self.low = np.minimum(self.low, gaussians.means.min(axis=0))
        self.high = np.maximum(self.high, gaussians.means.max(axis=0))
        if index < len(self.scales):
            self.scales[index, :, :3] = scales
        if index == 0:
            self.colors[0, :, :3], self.colors[0, :, 3] = gaussians.colors, gaussians.opacities


def _layout(count: int, frames: int, path: Path) -> _Layout:
    """The squarest layout with a width that is a power of two."""
    width = min(max(1 << max(math.ceil(math.log2(math.sqrt(count * frames))), 0), 4), MAX_SIDE)
    rows = -(-count // width)
    if rows * frames > MAX_SIDE or rows * frames * width > MAX_TEXELS:
        raise InputError(f"{path}: {count} Gaussians and {frames} frames need {width} x {rows * frames} texels; "
                         f"textures are at most {MAX_SIDE} high and {MAX_TEXELS} in all: ask for fewer with --lod, "
                         "--frames or --fps")
    return _Layout(gaussians=count, width=width, rows=rows)


def _encode_exr(frames: _Frames, layout: _Layout, name: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    values = {"pos": frames.positions, "rot": frames.quats, "col": frames.colors, "col2": frames.scales}
    files = {f"{name}_{key}.exr": exr.encode(layout.picture(value)) for key, value in values.items()}
    return files, {"Two Position Textures": False, "Values": "as they are"}


def _encode_png(frames: _Frames, layout: _Layout, name: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """8-bit textures: positions in two, everything else between stated bounds."""
    largest = float(frames.positions[..., 3].max())
    low, extent = np.append(frames.low, 0.0), np.append(np.maximum(frames.high - frames.low, 1e-9), largest)
    unit = np.clip((frames.positions - low) / extent, 0, 1)
    first = np.floor(unit * 255)
    second = np.rint((unit - first / 255) / SECOND * 255)
    logs = np.log(np.maximum(frames.scales[..., :3], 1e-12))
    log_low, log_high = float(logs.min()), float(logs.max())
    scales = np.zeros(frames.scales.shape)
    scales[..., :3] = (logs - log_low) / max(log_high - log_low, 1e-9) * 255
    values = {"pos": first, "pos2": second, "rot": (frames.quats * 0.5 + 0.5) * 255, "col": frames.colors * 255,
              "col2": scales}
    files = {f"{name}_{key}.png": _png(layout.picture(np.clip(np.rint(value), 0, 255).astype(np.uint8)))
             for key, value in values.items()}
    return files, {"Two Position Textures": True, "Second Position Texture Weight": SECOND, "Pscale Max": largest,
                   "Log Scale Min": log_low, "Log Scale Max": log_high, "Values": "0 to 255 are 0 to 1"}


def _skin_files(bundle: Bundle, options: ExportOptions, times: list[float], layout: _Layout, *, name: str,
                axes: str) -> dict[str, bytes]:
    """Bone matrices of every frame, and what a shader skins with them."""
    rig, player, turn = bundle.rig, Player(bundle, options.clip), np.eye(4)
    turn[:3, :3] = letters.matrix(axes)
    # A change of axes on both sides: matrices take points of the file's axes to the file's axes.
    bones = np.stack([turn @ skinning_matrices(rig, player.motion_at(time, loop=False), 0) @ turn.T for time in times])
    width = rig.skin_joints.shape[1]
    pairs = np.zeros((-(-width // 2), layout.gaussians, 4), "<f4")
    for influence in range(width):
        pairs[influence // 2, :, 2 * (influence % 2)] = rig.skin_joints[:, influence]
        pairs[influence // 2, :, 2 * (influence % 2) + 1] = rig.skin_weights[:, influence]
    rest = _Frames(1, layout.gaussians, sized=False, dtype="<f4")
    rest.put(0, letters.from_ours(bundle.gaussians, axes))
    return {f"{name}_bone.exr": exr.encode(bones[:, :, :3].reshape(len(times), -1, 4).astype("<f4")),
            f"{name}_skin.exr": exr.encode(layout.picture(pairs)),
            f"{name}_rest_pos.exr": exr.encode(layout.picture(rest.positions)),
            f"{name}_rest_rot.exr": exr.encode(layout.picture(rest.quats))}


def _facts(bundle: Bundle, options: ExportOptions, layout: _Layout, *, frames: _Frames, axes: str,
           files: list[str]) -> dict[str, Any]:
    """The JSON: VAT's legacy keys first, then what they leave to be guessed."""
    bounds = {f"Bound {end} {axis}": float(value) for end, values in (("Min", frames.low), ("Max", frames.high))
              for axis, value in zip("XYZ", values, strict=True)}
    count = len(frames.positions)
    return {
        "Name": "VAT", "Axis System": axes, **bounds, "Houdini FPS": sample_rate(bundle, options),
        "Frame Count": count, "Gaussians": layout.gaussians, "Width": layout.width,
        "Height": layout.rows * count, "Rows per Frame": layout.rows, "Color Frames": 1,
        "Scale Frames": len(frames.scales), "Joints": bundle.rig.joint_count,
        "Influences": bundle.rig.skin_joints.shape[1], "Texture": options.texture, "Files": files,
        "Axes": "letters of x, y, z for a viewer who faces the figure: R right, L left, U up, D down, B towards the "
                "viewer, F away", "Length Unit": "metre", "Row 0": "top", "Quaternion": "x y z w",
        "Clip": bundle.clips[options.clip].name, "Generator": bundle.manifest.generator,
        "Licence": bundle.manifest.source_licence}


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
