"""The residual field: laws, and the fast sampling against the plain one, value and gradient."""

from pathlib import Path

import numpy as np
import pytest
import torch

from baker.field import FieldConfig, ResidualField
from runtime.errors import InputError

SMALL = FieldConfig(base=8, levels=2, features=4, width=16)


def small_field(*, frames: int = 9, moving: int = 50, seed: int = 0, config: FieldConfig = SMALL) -> ResidualField:
    rng = np.random.default_rng(seed)
    points = rng.uniform([-0.4, 0.1, -0.3], [0.4, 1.1, 0.3], (moving, 3)).astype(np.float32)
    return ResidualField(points, np.arange(moving) * 2, frames=frames, config=config, seed=seed)


def shake(field: ResidualField, seed: int = 1) -> ResidualField:
    """Random weights everywhere, so that nothing is hidden by a zero or a one."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in field.parameters():
        parameter.data = 0.5 + 0.3 * torch.randn(parameter.shape, generator=generator)
    return field


def test_residual_is_exactly_zero_at_step_zero() -> None:
    for value in small_field()(torch.tensor([0.0, 3.7, 8.0])):
        assert value.shape == (3, 50, 3) and not value.any()


def test_fast_features_equal_six_grid_samples_in_value_and_gradient() -> None:
    field = shake(small_field())
    frames = torch.tensor([0.0, 2.5, 7.9, 8.0])
    fast, slow = field.features(frames), field.features_reference(field.points, frames)
    # Products of six float32 samples of size about one: worst seen 2e-6 relative to the largest.
    torch.testing.assert_close(fast, slow, rtol=2e-5, atol=2e-5)
    probe = torch.randn(fast.shape, generator=torch.Generator().manual_seed(3))
    planes = [*field.space, *field.time]
    for a, b in zip(torch.autograd.grad((fast * probe).sum(), planes),
                    torch.autograd.grad((slow * probe).sum(), planes), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_time_axis_uses_its_whole_plane_and_space_its_whole_box() -> None:
    field = shake(small_field(frames=16))
    frames = torch.arange(16, dtype=torch.float32)
    gradient = torch.autograd.grad(field.features(frames).sum(), field.time[0])[0]
    assert (gradient.abs().sum((0, 2, 3)) > 0).all(), "a row of the time plane is never read"
    touched = torch.autograd.grad(field.features(frames).sum(), field.space[0])[0].abs().sum((0, 3)) > 0
    assert touched[0].any() and touched[-1].any() and touched[:, 0].any() and touched[:, -1].any()


def test_output_is_continuous_between_frames() -> None:
    field = shake(small_field())
    left, middle, right = torch.cat(field(torch.tensor([3.999, 4.0, 4.001])), -1)
    size = (field(torch.tensor([4.0]))[0].abs().max()).item()
    assert (left - middle).abs().max() < 0.02 * size and (right - middle).abs().max() < 0.02 * size


def test_regularisers_are_zero_on_linear_planes_and_count_a_spike() -> None:
    field = small_field()
    ramp = torch.linspace(0, 1, field.time[0].shape[1])[None, :, None, None]
    for level in range(2):
        field.time[level].data = ramp.expand_as(field.time[level]).clone()
        field.space[level].data = torch.ones_like(field.space[level])
    # A float32 ramp's second differences are rounding, about 1e-7 each.
    assert field.smoothness_in_time().item() < 1e-12 and field.smoothness_in_space().item() == 0
    before = field.time_l1().item()
    field.time[0].data[0, 2, 0, 0] += 1.0
    rows = field.time[0].shape[1] - 2
    # One spike gives second differences 1, -2, 1 where they exist.
    stencil = sum(v * v for at, v in ((0, 1.0), (1, -2.0), (2, 1.0)) if 0 <= at < rows)
    expected = stencil / (3 * rows * 8 * 4)
    assert field.smoothness_in_time().item() == pytest.approx(expected, rel=1e-5)
    assert field.time_l1().item() != before


def test_field_survives_saving_bit_for_bit(tmp_path: Path) -> None:
    field = shake(small_field())
    field.save(tmp_path / "field.safetensors")
    loaded = ResidualField.load(tmp_path / "field.safetensors")
    np.testing.assert_array_equal(loaded.sample(), field.sample())
    np.testing.assert_array_equal(loaded.moving, field.moving)
    assert loaded.config == field.config and loaded.frames == field.frames
    assert [p.name for p in tmp_path.iterdir()] == ["field.safetensors"]


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "field.safetensors"
    small_field().save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"field\.safetensors"):
        ResidualField.load(path)
    with pytest.raises(InputError, match=r"absent\.safetensors"):
        ResidualField.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("frames", [1, 2])
def test_shortest_clips_work(frames: int) -> None:
    field = shake(small_field(frames=frames))
    assert np.isfinite(field.sample()).all() and field.sample().shape == (frames, 50, 9)


def test_single_and_flat_point_sets_are_finite_and_none_is_refused() -> None:
    flat = np.array([[0.0, 0, 0], [1, 0, 0]], np.float32)
    for points in (flat, flat[:1]):
        field = shake(ResidualField(points, np.arange(len(points)), frames=3, config=SMALL))
        assert np.isfinite(field.sample()).all()
    with pytest.raises(ValueError, match="at least one"):
        ResidualField(flat[:0], np.arange(0), frames=3, config=SMALL)
