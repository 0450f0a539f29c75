"""Decoding of offset textures against their definition."""

import numpy as np
import pytest

from runtime import rotations
from runtime.offsets import decode, decode_rotations, residual_at
from runtime.types import OffsetTexture, Residual


def basis_texture(*, frames: int = 7, moving: int = 11, basis: int = 3, seed: int = 0) -> OffsetTexture:
    rng = np.random.default_rng(seed)
    return OffsetTexture(
        mean=rng.normal(size=(moving, 3)).astype(np.float32),
        texels=rng.integers(-127, 128, (basis, moving, 3)).astype(np.int8),
        texel_scales=rng.uniform(0.001, 0.01, (basis, 3)).astype(np.float32),
        coefficients=rng.normal(size=(frames, basis)).astype(np.float32))


def dense_texture(*, frames: int = 7, moving: int = 11, seed: int = 0) -> OffsetTexture:
    rng = np.random.default_rng(seed)
    return OffsetTexture(
        mean=rng.normal(size=(moving, 3)).astype(np.float32),
        texels=rng.integers(-32767, 32768, (frames, moving, 3)).astype(np.int16),
        texel_scales=rng.uniform(1e-5, 1e-4, (frames, 3)).astype(np.float32), coefficients=None)


def test_basis_frame_equals_its_definition_in_float64() -> None:
    texture = basis_texture()
    assert texture.coefficients is not None
    for frame in range(texture.frames):
        expected = texture.mean.astype(np.float64) + np.einsum(
            "k,kc,kmc->mc", texture.coefficients[frame].astype(np.float64),
            texture.texel_scales.astype(np.float64), texture.texels.astype(np.float64))
        # |value| < 8 after four float32 additions: 8 * 4 * 2^-24 = 2e-6.
        np.testing.assert_allclose(decode(texture, frame), expected, atol=2e-6)


def test_dense_frame_equals_its_definition() -> None:
    texture = dense_texture()
    for frame in range(texture.frames):
        expected = texture.mean.astype(np.float64) + texture.texel_scales[frame].astype(
            np.float64) * texture.texels[frame]
        np.testing.assert_allclose(decode(texture, frame), expected, atol=1e-6)


@pytest.mark.parametrize("texture", [basis_texture(), dense_texture()])
def test_fractional_frame_is_linear_and_ends_hold(texture: OffsetTexture) -> None:
    between = 0.75 * decode(texture, 2) + 0.25 * decode(texture, 3)
    np.testing.assert_allclose(decode(texture, 2.25), between, atol=1e-6)
    np.testing.assert_array_equal(decode(texture, -3.5), decode(texture, 0))
    np.testing.assert_array_equal(decode(texture, 99.5), decode(texture, texture.frames - 1))
    assert decode(texture, 2.25).dtype == np.float32


def test_fractional_rotation_turns_at_constant_speed_along_the_short_arc() -> None:
    axis = np.array([0.0, 0.6, 0.8])
    # 170 and 190 degrees about one axis; averaging the vectors of 170 and -170 (= 190) would give no turn.
    frames = np.stack([np.deg2rad(170) * axis, np.deg2rad(-170) * axis])[:, None].astype(np.float32)
    texture = OffsetTexture(mean=np.zeros((1, 3), np.float32), coefficients=np.eye(2, dtype=np.float32),
                            texels=np.rint(frames * 8000).astype(np.int16),
                            texel_scales=np.full((2, 3), 1 / 8000, np.float32))
    half = rotations.to_matrix(rotations.from_rotvec(decode_rotations(texture, 0.5).astype(np.float64)))
    expected = rotations.to_matrix(rotations.from_rotvec(np.pi * axis))
    # Texel steps of 1/8000 rad, half a step each of three components and two frames.
    np.testing.assert_allclose(half[0], expected, atol=4e-4)


def test_residual_of_no_basis_is_exactly_its_mean() -> None:
    empty = OffsetTexture(
        mean=np.zeros((4, 3), np.float32), texels=np.zeros((0, 4, 3), np.int8),
        texel_scales=np.zeros((0, 3), np.float32), coefficients=np.zeros((5, 0), np.float32))
    residual = Residual(moving=np.arange(4), d_means=empty, d_rotations=empty, d_log_scales=empty)
    assert residual.frames == 5
    for frame in (0, 2.5, 4):
        for value in residual_at(residual, frame):
            assert not value.any() and value.dtype == np.float32
