"""The blocks of a bundle: their shapes, limits, and how values are rounded (BUNDLE.md). Needs numpy only.

Arrays here are as stored; `encode_*` makes them, `decode_*` undoes that, checks raise `InputError`.
"""

from __future__ import annotations

import numpy as np

from runtime.errors import InputError
from runtime.pose_residual import check_pose_residual
from runtime.types import Clip, GaussianSet, Label, Motion, OffsetTexture, PoseResidual, Rig

DTYPES = {"u8": np.dtype("<u1"), "i8": np.dtype("<i1"), "u16": np.dtype("<u2"), "i16": np.dtype("<i2"),
          "i32": np.dtype("<i4"), "u32": np.dtype("<u4"), "f16": np.dtype("<f2"), "f32": np.dtype("<f4"),
          "f64": np.dtype("<f8")}
"""Code in the manifest and the file name, to little-endian storage."""
LIMITS = {"N": 4_000_000, "J": 256, "W": 16, "T": 100_000, "M": 4_000_000, "K": 100_000}
"""Largest dimension by letter."""
WEIGHT_ONE = 1 << 15
"""Stored skinning weight of 1. A power of two: decoded weights are exact floats and sum to exactly 1."""
QUAT_ONE = 32767
"""Stored quaternion component of 1."""
MAX_METRES = 1e4
"""Largest coordinate [m]."""
LOG_SCALE_RANGE = (-30.0, 10.0)
"""Log scales are clipped to this when written: below is invisible, above covers everything."""
LOGIT_RANGE = (-30.0, 30.0)
"""Opacity logits are clipped to this when written: beyond it the opacity is 0 or 1 in float32."""

_FIGURE = {
    "gaussians/means": ("f32", "N 3"), "gaussians/quats": ("i16", "N 4"), "gaussians/log_scales": ("f16", "N 3"),
    "gaussians/opacity_logits": ("f16", "N"), "gaussians/sh0": ("f16", "N 3"), "gaussians/labels": ("u8", "N"),
    "rig/parents": ("i32", "J"), "rig/rest": ("f64", "J 4 4"), "rig/skin_joints": ("u8", "N W"),
    "rig/skin_weights": ("u16", "N W"),
}
_CLIP = {"root_translations": ("f32", "T 3"), "quats": ("f32", "T J 4"), "moving": ("u32", "M")}
_POSE = {"drive": ("i32", "4"), "lags": ("f32", "L"), "joints": ("i32", "F"), "input_range": ("f32", "P 2"),
         "output_range": ("f32", "K 2")}
_MEAN_DTYPE = {"d_means": "f32", "d_rotations": "f16", "d_log_scales": "f16"}


def code_of(array: np.ndarray) -> str:
    """The manifest's code of an array's dtype."""
    return next(code for code, dtype in DTYPES.items() if dtype == array.dtype)


def encode_figure(gaussians: GaussianSet, rig: Rig) -> dict[str, np.ndarray]:
    """Blocks of the canonical Gaussians and their rig, by name."""
    norms = np.linalg.norm(gaussians.quats_wxyz.astype(np.float64), axis=1, keepdims=True)
    stored = {
        "gaussians/means": gaussians.means,
        "gaussians/quats": np.rint(gaussians.quats_wxyz / norms * QUAT_ONE),
        "gaussians/log_scales": np.clip(gaussians.log_scales, *LOG_SCALE_RANGE),
        "gaussians/opacity_logits": np.clip(gaussians.opacity_logits, *LOGIT_RANGE),
        "gaussians/sh0": np.clip(gaussians.sh0, -100, 100),
        "gaussians/labels": gaussians.labels,
        "rig/parents": rig.parents, "rig/rest": rig.T_world_joint_rest, "rig/skin_joints": rig.skin_joints,
        "rig/skin_weights": encode_weights(rig.skin_weights),
    }
    return {name: _store(array, _FIGURE[name][0]) for name, array in stored.items()}


def encode_weights(weights: np.ndarray) -> np.ndarray:
    """Weights [N W] to uint16 that sum to exactly `WEIGHT_ONE`: largest remainders are rounded up.

    The error of a weight is below 1 / WEIGHT_ONE = 3.1e-5.
    """
    exact = weights.astype(np.float64).clip(0) / np.maximum(weights.sum(1, keepdims=True, dtype=np.float64), 1e-9)
    exact *= WEIGHT_ONE
    stored = np.floor(exact)
    missing = WEIGHT_ONE - stored.sum(axis=1, keepdims=True)
    rank = np.argsort(np.argsort(stored - exact, axis=1, kind="stable"), axis=1, kind="stable")
    return (stored + (rank < missing)).astype(np.uint16)


def encode_clip(clip: Clip, *, prefix: str) -> dict[str, np.ndarray]:
    """Blocks of one clip, by name. A dense texture has no `coefficients` block."""
    residual = clip.residual
    stored = {
        f"{prefix}/root_translations": _store(clip.motion.root_translations, "f32"),
        f"{prefix}/quats": _store(clip.motion.quats_wxyz, "f32"),
        f"{prefix}/moving": _store(residual.moving, "u32"),
    }
    for group, mean_code in _MEAN_DTYPE.items():
        texture: OffsetTexture = getattr(residual, group)
        texel_code = "i8" if texture.texels.dtype.itemsize == 1 else "i16"
        stored[f"{prefix}/{group}/mean"] = _store(texture.mean, mean_code)
        stored[f"{prefix}/{group}/texels"] = _store(texture.texels, texel_code)
        stored[f"{prefix}/{group}/texel_scales"] = _store(texture.texel_scales, "f32")
        if texture.coefficients is not None:
            stored[f"{prefix}/{group}/coefficients"] = _store(texture.coefficients, "f32")
    return stored


def encode_pose_residual(residual: PoseResidual) -> dict[str, np.ndarray]:
    """Blocks of a pose residual, by name."""
    stored = {"pose/drive": _store(np.array([residual.clip, *residual.counts]), "i32"),
              "pose/lags": _store(residual.lags, "f32"), "pose/joints": _store(residual.joints, "i32"),
              "pose/input_range": _store(residual.input_range, "f32"),
              "pose/output_range": _store(residual.output_range, "f32")}
    stored |= {f"pose/weight{index}": _store(weight, "f32") for index, weight in enumerate(residual.weights)}
    return stored | {f"pose/bias{index}": _store(bias, "f32") for index, bias in enumerate(residual.biases)}


def decode_pose_residual(arrays: dict[str, np.ndarray], clips: tuple[Clip, ...], *, joints: int,
                         source: str) -> PoseResidual | None:
    """The pose residual of its blocks; None where there are none."""
    if "pose/drive" not in arrays:
        return None
    clip, *counts = (int(value) for value in arrays["pose/drive"])
    if not 0 <= clip < len(clips):
        raise InputError(f"{source}: pose/drive names clip {clip}, there are {len(clips)}")
    residual = clips[clip].residual
    textures = tuple(len(group.texels) for group in (residual.d_means, residual.d_rotations, residual.d_log_scales))
    layers = range(sum(name.startswith("pose/weight") for name in arrays))
    return check_pose_residual(PoseResidual(
        clip=clip, counts=(counts[0], counts[1], counts[2]), lags=arrays["pose/lags"].astype(np.float32),
        joints=arrays["pose/joints"].astype(np.int64), input_range=arrays["pose/input_range"].astype(np.float32),
        output_range=arrays["pose/output_range"].astype(np.float32),
        weights=tuple(arrays[f"pose/weight{index}"].astype(np.float32) for index in layers),
        biases=tuple(arrays[f"pose/bias{index}"].astype(np.float32) for index in layers)),
        source, joints=joints, textures=textures)


def _store(array: np.ndarray, code: str) -> np.ndarray:
    """Contiguous in a stored dtype; integers must fit (ours always do: a defect otherwise)."""
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.ascontiguousarray(array, DTYPES[code])
    if stored.dtype.kind in "iu" and not np.array_equal(stored, array):
        raise InputError(f"a block of type {code} cannot hold values from {array.min()} to {array.max()}")
    return stored


def check_shapes(arrays: dict[str, np.ndarray], *, joints: int, clips: int, source: str) -> dict[str, int]:
    """The dimensions N, W of the figure; raises unless all blocks are there, of the right type and shape."""
    dims = {"J": joints}
    expected = set(_FIGURE)
    for name, (code, shape) in _FIGURE.items():
        _check_block(arrays, name, (code,), shape, dims, source)
    for clip in range(clips):
        own = dict(dims)
        for name, (code, shape) in _CLIP.items():
            expected.add(f"clip{clip}/{name}")
            _check_block(arrays, f"clip{clip}/{name}", (code,), shape, own, source)
        for group, mean_code in _MEAN_DTYPE.items():
            prefix, texture = f"clip{clip}/{group}", dict(own)
            _check_block(arrays, f"{prefix}/mean", (mean_code,), "M 3", texture, source)
            dense = f"{prefix}/coefficients" not in arrays
            if dense:
                texture["K"] = own["T"]
            _check_block(arrays, f"{prefix}/texels", ("i8", "i16"), "K M 3", texture, source)
            _check_block(arrays, f"{prefix}/texel_scales", ("f32",), "K 3", texture, source)
            expected |= {f"{prefix}/mean", f"{prefix}/texels", f"{prefix}/texel_scales"}
            if not dense:
                expected.add(f"{prefix}/coefficients")
                _check_block(arrays, f"{prefix}/coefficients", ("f32",), "T K", texture, source)
    expected |= _check_pose_shapes(arrays, source)
    if set(arrays) != expected:
        raise InputError(f"{source}: unknown block {min(set(arrays) - expected)[:80]!r}")
    return dims


def _check_pose_shapes(arrays: dict[str, np.ndarray], source: str) -> set[str]:
    """Names of the optional pose residual's blocks, none if it is absent; raises unless they fit together."""
    if not any(name.startswith("pose/") for name in arrays):
        return set()
    dims: dict[str, int] = {}
    for name, (code, shape) in _POSE.items():
        _check_block(arrays, f"pose/{name}", (code,), shape, dims, source)
    layers = sum(name.startswith("pose/weight") for name in arrays)
    names = {f"pose/{name}" for name in _POSE}
    for index in range(layers):
        own: dict[str, int] = {}
        _check_block(arrays, f"pose/weight{index}", ("f32",), "O I", own, source)
        _check_block(arrays, f"pose/bias{index}", ("f32",), "O", own, source)
        names |= {f"pose/weight{index}", f"pose/bias{index}"}
    return names


def _check_block(arrays: dict[str, np.ndarray], name: str, codes: tuple[str, ...], shape: str,
                 dims: dict[str, int], source: str) -> None:
    """Check one block against its type and the letters of `shape`; letters met first are added to `dims`."""
    if name not in arrays:
        raise InputError(f"{source}: block {name!r} is missing")
    array, letters = arrays[name], shape.split()
    if code_of(array) not in codes:
        raise InputError(f"{source}: block {name!r} is {code_of(array)}, not {' or '.join(codes)}")
    if array.ndim != len(letters):
        raise InputError(f"{source}: block {name!r} has shape {list(array.shape)}, not [{shape}]")
    for size, letter in zip(array.shape, letters, strict=True):
        known = int(letter) if letter.isdigit() else dims.setdefault(letter, size)
        if size != known:
            wanted = " ".join(f"{letter}={dims[letter]}" if letter in dims else letter for letter in letters)
            raise InputError(f"{source}: block {name!r} has shape {list(array.shape)}, not [{wanted}]")
        lowest = 0 if letter in "MKF" else 1
        if not lowest <= size <= LIMITS.get(letter, size):
            most = f"to {LIMITS[letter]}" if letter in LIMITS else "or more"
            raise InputError(f"{source}: block {name!r} has {letter} = {size}, not {lowest} {most}")


def decode_gaussians(arrays: dict[str, np.ndarray], *, source: str) -> GaussianSet:
    """Canonical Gaussians of their blocks."""
    quats = arrays["gaussians/quats"].astype(np.float64)
    norms = np.linalg.norm(quats, axis=1, keepdims=True)
    if (np.abs(norms - QUAT_ONE) > 2).any():
        raise InputError(f"{source}: gaussians/quats row {int(np.argmax(np.abs(norms - QUAT_ONE)))} is not unit")
    gaussians = GaussianSet(
        means=arrays["gaussians/means"].astype(np.float32),
        quats_wxyz=(quats / norms).astype(np.float32),
        log_scales=arrays["gaussians/log_scales"].astype(np.float32),
        opacity_logits=arrays["gaussians/opacity_logits"].astype(np.float32),
        sh0=arrays["gaussians/sh0"].astype(np.float32), labels=arrays["gaussians/labels"].copy()).check(source)
    if gaussians.labels.max() > max(Label):
        raise InputError(f"{source}: gaussians/labels holds {gaussians.labels.max()}, labels are 0..{max(Label)}")
    _check_range(gaussians.means, (-MAX_METRES, MAX_METRES), f"{source}: gaussians/means")
    _check_range(gaussians.log_scales, LOG_SCALE_RANGE, f"{source}: gaussians/log_scales")
    _check_range(gaussians.opacity_logits, LOGIT_RANGE, f"{source}: gaussians/opacity_logits")
    _check_range(gaussians.sh0, (-100.0, 100.0), f"{source}: gaussians/sh0")
    return gaussians


def decode_skin(arrays: dict[str, np.ndarray], *, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Skinning joints int32 and weights float32 [N W]; each row of weights sums to exactly 1."""
    stored = arrays["rig/skin_weights"]
    sums = stored.sum(axis=1, dtype=np.int64)
    if (sums != WEIGHT_ONE).any():
        row = int(np.argmax(sums != WEIGHT_ONE))
        raise InputError(f"{source}: rig/skin_weights row {row} sums to {sums[row]}, not {WEIGHT_ONE}")
    return arrays["rig/skin_joints"].astype(np.int32), (stored / np.float32(WEIGHT_ONE)).astype(np.float32)


def decode_texture(arrays: dict[str, np.ndarray], prefix: str, *, source: str) -> OffsetTexture:
    """One channel group of a residual."""
    coefficients = arrays.get(f"{prefix}/coefficients")
    texture = OffsetTexture(
        mean=arrays[f"{prefix}/mean"].astype(np.float32), texels=arrays[f"{prefix}/texels"].copy(),
        texel_scales=arrays[f"{prefix}/texel_scales"].astype(np.float32),
        coefficients=None if coefficients is None else coefficients.astype(np.float32))
    for name in ("mean", "texel_scales", "coefficients"):
        value = getattr(texture, name)
        if value is not None:
            _check_range(value, (-MAX_METRES, MAX_METRES), f"{source}: {prefix}/{name}")
    return texture


def check_rest(T_world_joint_rest: np.ndarray, *, source: str) -> None:
    """Raise unless rest matrices [J 4 4] are affine and invertible."""
    _check_range(T_world_joint_rest, (-MAX_METRES, MAX_METRES), f"{source}: rig/rest")
    determinants = np.linalg.det(T_world_joint_rest[:, :3, :3])
    if (np.abs(determinants) < 1e-6).any() or (T_world_joint_rest[:, 3] != (0, 0, 0, 1)).any():
        raise InputError(f"{source}: rig/rest holds a matrix that is not an invertible affine transform")


def check_motion(motion: Motion, *, source: str) -> None:
    """Raise unless rotations are unit within 1e-3 and the root stays within `MAX_METRES`."""
    _check_range(motion.root_translations, (-MAX_METRES, MAX_METRES), f"{source}: root_translations")
    norms = np.linalg.norm(motion.quats_wxyz.astype(np.float64), axis=-1)
    if (np.abs(norms - 1) > 1e-3).any():
        frame = int(np.argwhere(np.abs(norms - 1) > 1e-3)[0][0])
        raise InputError(f"{source}: a rotation of frame {frame} is not a unit quaternion")


def _check_range(values: np.ndarray, limits: tuple[float, float], what: str) -> None:
    """Raise unless all values are finite and within limits."""
    if values.size and not (np.isfinite(values).all() and values.min() >= limits[0] and values.max() <= limits[1]):
        raise InputError(f"{what} holds NaN or a value outside {limits[0]:g}..{limits[1]:g}")
