"""The residual field: laws, and the fused kernels against plain torch, value and gradient."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numba import config

from baker.field import ResidualField
from baker.optimise_config import FieldConfig
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


# Features and widths that fill vectors of sixteen, that do not, and that need several; more points than one batch.
SHAPES = [SMALL, FieldConfig(), FieldConfig(base=5, levels=1, features=20, width=40),
          FieldConfig(base=4, levels=3, features=32, width=96)]


@pytest.mark.parametrize("config", SHAPES, ids=["less", "exact", "odd", "several"])
def test_fused_field_equals_plain_torch_in_value_and_every_gradient(config: FieldConfig) -> None:
    field = shake(small_field(config=config, moving=333))
    frames = torch.tensor([0.0, 2.5, 7.9, 8.0])
    fast, slow = torch.cat(field(frames), -1), torch.cat(field.reference(frames), -1)
    assert fast.shape == (4, 333, 9)
    # float32 sums of up to 96 products in another order: worst seen 1.4e-6 of the largest value.
    assert (fast - slow).abs().max() < 1e-5 * slow.abs().max()
    probe = torch.randn(fast.shape, generator=torch.Generator().manual_seed(3))
    parameters = dict(field.named_parameters())
    by_fast, by_slow = (torch.autograd.grad((value * probe).sum(), list(parameters.values())) for value in (fast, slow))
    for name, one, other in zip(parameters, by_fast, by_slow, strict=True):
        assert other.norm() > 0, name
        # Worst seen 1.4e-6.
        assert (one - other).norm() < 1e-5 * other.norm(), name


def test_gradients_match_central_differences_in_double_precision() -> None:
    field = shake(small_field(moving=20)).double()
    frames = torch.tensor([1.3])
    probe = torch.randn(1, 20, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def loss() -> torch.Tensor:
        return (torch.cat(field(frames), -1) * probe).sum()

    parameters = list(field.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    rng, step = np.random.default_rng(0), 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for entry in rng.integers(0, parameter.numel(), 6):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[entry] += sign * step
                    values.append(loss().item())
                    parameter.view(-1)[entry] -= sign * step
            expected = gradient.reshape(-1)[entry].item()
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_one_thread_and_two_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    field, results = shake(small_field(moving=700)), []
    for threads in (1, 2, 5):
        monkeypatch.setattr(config, "NUMBA_NUM_THREADS", threads)
        value = torch.cat(field(torch.tensor([3.7])), -1)
        results.append([value.detach(), *torch.autograd.grad(value.square().sum(), list(field.parameters()))])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_time_axis_uses_its_whole_plane_and_space_its_whole_box() -> None:
    field = shake(small_field(frames=16))
    frames = torch.arange(16, dtype=torch.float32)
    gradient = torch.autograd.grad(torch.cat(field(frames), -1).square().sum(), field.time[0])[0]
    assert (gradient.abs().sum((0, 2, 3)) > 0).all(), "a row of the time plane is never read"
    touched = torch.autograd.grad(torch.cat(field(frames), -1).square().sum(), field.space[0])[0].abs().sum((0, 3)) > 0
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
