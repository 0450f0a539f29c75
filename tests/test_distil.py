"""Distillation: bounds hold on any data, the smaller layout wins, and zero stays zero."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baker.distil import COLUMNS, _GroupFit, _rounded, deflated_bytes, distil, quantise, texture_bytes
from baker.distil_config import DistilConfig
from runtime import rotations
from runtime.offsets import decode, residual_at
from runtime.types import GaussianSet, Label, Motion, Rig


def figure(*, frames: int, moving: int = 300, seed: int = 0) -> tuple[GaussianSet, Rig, Motion]:
    """A still column with a moving cone around it, one joint, a slow turn."""
    rng = np.random.default_rng(seed)
    count = moving + 100
    height, angle = rng.uniform(0.2, 0.9, count), rng.uniform(0, 2 * np.pi, count)
    radius = np.where(np.arange(count) < moving, 0.45 - 0.3 * height, 0.08)
    gaussians = GaussianSet(
        means=np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], 1).astype(np.float32),
        quats_wxyz=rotations.normalize(rng.normal(size=(count, 4))).astype(np.float32),
        log_scales=np.log(rng.uniform(0.01, 0.03, (count, 3))).astype(np.float32),
        opacity_logits=np.full(count, 3.0, np.float32), sh0=rng.normal(size=(count, 3)).astype(np.float32),
        labels=np.where(np.arange(count) < moving, Label.GARMENT, Label.SKIN).astype(np.uint8))
    rest = np.eye(4, dtype=np.float32)[None].copy()
    rest[0, 1, 3] = 0.9
    rig = Rig(joint_names=("root",), parents=np.array([-1]), T_world_joint_rest=rest,
              skin_joints=np.zeros((count, 1), np.int64), skin_weights=np.ones((count, 1), np.float32))
    turns = np.zeros((frames, 1, 3))
    turns[:, 0, 1] = np.linspace(0, 1, frames)
    motion = Motion(fps=30.0, root_translations=np.zeros((frames, 3), np.float32),
                    quats_wxyz=rotations.from_rotvec(turns).astype(np.float32))
    return gaussians, rig, motion


def smooth_offsets(gaussians: GaussianSet, frames: int, *, waves: int = 3, seed: int = 1) -> np.ndarray:
    """[T M 9]: a few travelling waves over the cone, centimetres and tenths of a radian."""
    rng = np.random.default_rng(seed)
    points = gaussians.means[gaussians.may_move]
    time = np.linspace(0, 1, frames)[:, None, None]
    offsets = np.zeros((frames, len(points), 9))
    for _ in range(waves):
        phase = points @ rng.normal(size=(3, 9)) * 3 + rng.uniform(0, 6, 9)
        offsets += np.sin(phase[None] + 2 * np.pi * rng.uniform(0.5, 2) * time) * rng.uniform(0.2, 1, 9)
    return (offsets * ([0.03] * 3 + [0.15] * 3 + [0.1] * 3)).astype(np.float32)


def p99(errors: np.ndarray) -> float:
    return float(np.percentile(np.linalg.norm(errors, axis=-1), 99))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(1, 24), moving=st.integers(1, 60), noise=st.floats(0, 0.1),
       bound=st.floats(1e-4, 1e-2))
def test_error_bound_holds_on_smooth_and_on_noisy_data(seed: int, frames: int, moving: int, noise: float,
                                                       bound: float) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(0, 4))
    values = np.einsum("tk,kmc->tmc", rng.normal(size=(frames, rank)), 0.1 * rng.normal(size=(rank, moving, 3)))
    values = (values + noise * rng.normal(size=values.shape)).astype(np.float32)
    texture = _GroupFit(values).smallest(bound)
    decoded = np.stack([decode(texture, t) for t in range(frames)])
    # The decoder sums up to T float32 products of about 0.5: 24 * 0.5 * 2^-23 = 2e-6 beyond the float64 fit.
    assert p99(decoded - values.astype(np.float64)) <= bound + 2e-6


def test_low_rank_motion_takes_a_basis_and_noise_takes_dense_frames() -> None:
    rng = np.random.default_rng(0)
    low_rank = np.einsum("tk,kmc->tmc", rng.normal(size=(40, 2)), 0.1 * rng.normal(size=(2, 200, 3)))
    basis = _GroupFit(low_rank.astype(np.float32)).smallest(5e-4)
    dense = _GroupFit(rng.normal(size=(40, 200, 3)).astype(np.float32)).smallest(0.02)
    # Two modes, each mended once or twice for its eight bits.
    assert basis.coefficients is not None and len(basis.texels) <= 6
    assert texture_bytes(basis) < texture_bytes(dense) and dense.coefficients is None


def test_texture_is_never_larger_than_dense_int16() -> None:
    for seed, waves in ((0, 1), (1, 6)):
        gaussians, _, _ = figure(frames=30)
        offsets = smooth_offsets(gaussians, 30, waves=waves, seed=seed)
        for columns in COLUMNS.values():
            texture = _GroupFit(offsets[..., columns]).smallest(1e-3)
            frames, moving, channels = offsets[..., columns].shape
            dense = moving * channels * (4 + 2 * frames) + 4 * frames * channels
            assert texture_bytes(texture) <= dense


def test_zero_residual_has_no_basis_and_decodes_to_exact_zero() -> None:
    gaussians, rig, motion = figure(frames=5)
    offsets = np.zeros((5, int(gaussians.may_move.sum()), 9), np.float32)
    residual, metrics = distil(offsets, gaussians, rig, motion, DistilConfig(width=48, height=80, views=2))
    assert [metrics[f"{name}_count"] for name in COLUMNS] == [0, 0, 0]
    assert metrics["position_error_mm_p99"] == 0 and metrics["psnr_db"] == 120.0
    assert not any(value.any() for t in range(5) for value in residual_at(residual, t))


def test_distilled_clip_meets_every_bound_measured_from_outside() -> None:
    gaussians, rig, motion = figure(frames=24)
    offsets = smooth_offsets(gaussians, 24)
    config = DistilConfig(width=64, height=112, views=3)
    residual, metrics = distil(offsets, gaussians, rig, motion, config)
    decoded = np.stack([np.concatenate(residual_at(residual, t), axis=1) for t in range(24)])
    assert 1000 * p99(decoded[..., :3] - offsets[..., :3]) <= config.position_mm + 1e-3
    assert metrics["rotation_error_deg_p99"] <= config.rotation_degrees + 1e-3
    assert p99(decoded[..., 6:] - offsets[..., 6:]) <= config.log_scale + 1e-5
    assert metrics["psnr_db"] >= config.psnr_db
    assert metrics["bytes"] == sum(texture_bytes(getattr(residual, name)) for name in COLUMNS)


def test_picture_bound_asks_for_more_when_positions_alone_would_do() -> None:
    gaussians, rig, motion = figure(frames=12)
    offsets = smooth_offsets(gaussians, 12)
    loose = {"position_mm": 20.0, "rotation_degrees": 20.0, "log_scale": 0.5, "width": 64, "height": 112, "views": 2}
    _, lax = distil(offsets, gaussians, rig, motion, DistilConfig(psnr_db=5.0, **loose))
    _, strict = distil(offsets, gaussians, rig, motion, DistilConfig(psnr_db=45.0, **loose))
    assert lax["psnr_db"] < 45 <= strict["psnr_db"] and lax["bytes"] < strict["bytes"]


def test_distilling_twice_gives_equal_bits() -> None:
    gaussians, rig, motion = figure(frames=10)
    offsets = smooth_offsets(gaussians, 10)
    config = DistilConfig(width=48, height=80, views=1)
    first, second = (distil(offsets, gaussians, rig, motion, config)[0] for _ in range(2))
    for name in COLUMNS:
        for a, b in zip(vars(getattr(first, name)).values(), vars(getattr(second, name)).values(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_quantisation_error_is_half_a_step_and_zero_channels_stay_zero(dtype: type) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3)) * [1e-6, 0.0, 5.0]
    texels, steps = quantise(values, np.dtype(dtype))
    assert (np.abs(texels * steps.astype(np.float64) - values) <= 0.5001 * steps).all()
    assert steps[1] == 0 and not texels[:, 1].any() and np.abs(texels.astype(int)).max() <= np.iinfo(dtype).max


def test_one_step_for_all_textures_costs_fewer_bytes_than_a_full_range_for_each() -> None:
    gaussians, _, _ = figure(frames=60, moving=1500)
    values = smooth_offsets(gaussians, 60, waves=6)[..., :3]
    values += np.random.default_rng(2).normal(0, 2e-4, values.shape).astype(np.float32)
    bound, order = 5e-4, np.arange(1500)
    ours = _GroupFit(values).smallest(bound)
    # The plain way: singular vectors, each in the full int8 range (two for those that need it), as many as needed.
    u, s, vt = np.linalg.svd(values.reshape(60, -1).astype(np.float64), full_matrices=False)
    rest, stored = values.reshape(60, -1).astype(np.float64), 0
    for k in range(60):
        plane, finished = s[k] * vt[k], False
        for _ in range(2):
            texels, steps = quantise(plane.reshape(-1, 3), np.dtype(np.int8))
            part = (texels * steps.astype(np.float64)).reshape(-1)
            plane, rest = plane - part, rest - np.outer(u[:, k], part)
            stored += len(zlib.compress(texels.tobytes(), 6))
            finished = p99(rest.reshape(values.shape)) <= bound
            if finished:
                break
        if finished:
            break
    assert finished and p99(values - np.stack([decode(ours, t) for t in range(60)])) <= bound + 2e-6
    # Measured 0.51; on the built-in person's walk, whole clip, 4.2 KB a frame against 12.7.
    assert deflated_bytes(ours, order) < 0.7 * stored


def test_coefficients_chosen_together_take_fewer_bytes_within_the_same_bound() -> None:
    gaussians, _, _ = figure(frames=40, moving=1500)
    values = smooth_offsets(gaussians, 40, waves=6)[..., :3]
    values += np.random.default_rng(2).normal(0, 5e-4, values.shape).astype(np.float32)
    fit, bound, order = _GroupFit(values), 5e-4, np.arange(1500)
    step = fit._step(bound, 40, 0.02 * bound, 8 * bound)
    each, together = fit._coded(_rounded(fit.planes, step), step), fit._settled(step, 40, bound)
    for texture in (each, together):
        errors = np.stack([decode(texture, t) for t in range(40)]) - values.astype(np.float64)
        assert p99(errors) <= bound + 2e-6
    # Measured 0.88 here, 0.91 on f01's simulated skirt. The last errors compared are those of `together`.
    assert deflated_bytes(together, order) < 0.93 * deflated_bytes(each, order)
    assert np.linalg.norm(errors, axis=-1).max() < 1.35 * bound
    assert deflated_bytes(fit.smallest(bound), order) <= deflated_bytes(together, order)


def test_a_large_span_takes_a_coarse_and_a_fine_texture() -> None:
    values = np.linspace(-1, 1, 40)[:, None, None] * np.linspace(0.1, 3, 500)[None, :, None] * np.ones(3)
    texture = _GroupFit(values.astype(np.float32)).smallest(5e-4)
    assert texture.coefficients is not None and texture.texels.dtype == np.int8 and len(texture.texels) == 2
    assert (texture.coefficients[:, 0] == texture.coefficients[:, 1]).all()
    decoded = np.stack([decode(texture, t) for t in range(40)])
    assert p99(decoded - values) <= 5e-4 + 2e-6


def test_neighbours_in_the_file_deflate_better_than_strangers() -> None:
    gaussians, rig, motion = figure(frames=30, moving=3000)
    residual, metrics = distil(smooth_offsets(gaussians, 30), gaussians, rig, motion,
                               DistilConfig(width=48, height=80, views=1))
    random = np.random.default_rng(0).permutation(3000)
    # The scene's own rows are in random order; the file's follow a curve in space within each level of detail.
    assert metrics["d_means_deflated_bytes"] < 0.97 * deflated_bytes(residual.d_means, random)
