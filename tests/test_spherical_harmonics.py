"""View-dependent colour: plain torch against gsplat's own, the kernels against plain torch, value and gradient."""

import math

import numpy as np
import pytest
import torch

from baker.spherical_harmonics import COUNTS, camera_center, colors, reference
from runtime.cameras import look_at
from runtime.types import SH_C0, Camera

CAMERA = Camera(width=10, height=10, fx=10.0, fy=10.0, cx=5.0, cy=5.0,
                T_camera_world=look_at(np.array([0.3, 0.5, 2.0]), np.zeros(3)))


def coefficients(count: int, *, gaussians: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return (1.5 * torch.randn(gaussians, count, 3, generator=generator),
            torch.randn(gaussians, 3, generator=generator))


def test_camera_stands_where_it_was_put():
    np.testing.assert_allclose(camera_center(CAMERA), [0.3, 0.5, 2.0], atol=1e-12)


@pytest.mark.parametrize("degree", range(4))
def test_plain_torch_is_gsplats(degree):
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl", reason="gsplat is not installed")
    sh, means = (values.double() for values in coefficients(COUNTS[degree]))
    directions = means - torch.from_numpy(camera_center(CAMERA))
    expected = (gsplat._spherical_harmonics(degree, directions, sh) + 0.5).clamp(min=0)
    torch.testing.assert_close(reference(sh, means, CAMERA), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", COUNTS)
def test_kernels_agree_with_plain_torch_in_value_and_gradient(count):
    sh, means = coefficients(count)
    probe = torch.randn(len(means), 3, generator=torch.Generator().manual_seed(9))
    results = []
    for function, dtype in ((colors, torch.float32), (reference, torch.float64)):
        leaves = [values.to(dtype).clone().requires_grad_() for values in (sh, means)]
        value = function(*leaves, CAMERA)
        results.append([value.detach(), *torch.autograd.grad((value * probe.to(dtype)).sum(), leaves,
                                                             allow_unused=True, materialize_grads=True)])
    (fast, *by_fast), (slow, *by_slow) = results
    assert (slow == 0).any() and (slow > 0).any()  # some channels are clamped
    # Worst seen 3e-7; float32 has 6e-8.
    assert (fast - slow).abs().max() < 5e-6
    for one, other in zip(by_fast, by_slow, strict=True):
        assert (one - other).abs().max() <= 2e-6 * max(float(other.abs().max()), 1e-3)


@pytest.mark.parametrize("entry", range(20))
def test_gradients_match_central_differences(entry):
    sh, means = (values.double().requires_grad_() for values in coefficients(16, gaussians=4))
    probe = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad((reference(sh, means, CAMERA) * probe).sum(), (sh, means))
    which, step = entry % 2, 1e-6
    flat = int(np.random.default_rng(entry).integers((sh, means)[which].numel()))
    values = []
    for sign in (1, -1):
        moved = [v.detach().clone() for v in (sh, means)]
        moved[which].view(-1)[flat] += sign * step
        values.append(float((reference(*moved, CAMERA) * probe).sum()))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(gradients[which].reshape(-1)[flat]), abs=1e-7)


def test_degree_zero_is_the_flat_colour_from_everywhere():
    sh, means = coefficients(1)
    torch.testing.assert_close(colors(sh, means, CAMERA), (0.5 + SH_C0 * sh[:, 0]).clamp(min=0))


def test_bad_values_stay_with_their_gaussian():
    sh, means = coefficients(16)
    clean = colors(sh, means, CAMERA)
    sh[3, 5, 1], means[7] = math.nan, torch.from_numpy(camera_center(CAMERA)).float()
    sh, means = sh.requires_grad_(), means.requires_grad_()
    spoilt = colors(sh, means, CAMERA)
    others = [i for i in range(len(means)) if i not in (3, 7)]
    assert torch.equal(spoilt[others], clean[others])
    assert spoilt[3, 1].isnan() and spoilt[7].isfinite().all()
    by_means = torch.autograd.grad(spoilt[others].sum(), means)[0]
    assert by_means[others].isfinite().all()


def test_other_counts_are_refused():
    with pytest.raises(ValueError, match="1, 4, 9, 16"):
        colors(torch.zeros(2, 5, 3), torch.zeros(2, 3), CAMERA)
