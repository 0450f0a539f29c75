"""SSIM's kernels against plain torch. That plain torch is right is shown in `test_losses.py`, against scipy."""

import pytest
import torch
from numba import config

from baker.ssim import dssim, reference


def pair(*size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(size, generator=generator)
    return image, (image + 0.2 * torch.randn(size, generator=generator)).clamp(0, 1)


# Rows shorter than a vector, exactly one, a little more; lower than the window; more bands than one.
SIZES = [(1, 1, 1), (3, 5, 3), (5, 16, 1), (40, 6, 3), (37, 53, 4), (12, 7, 1)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_value_and_gradient_are_those_of_plain_torch(size: tuple[int, int, int]) -> None:
    image, target = pair(*size)
    image.requires_grad_()
    exact = image.detach().double().requires_grad_()
    value, truth = dssim(image, target), reference(exact, target.double())
    # float32 variances of values up to one cancel to about 1e-7 beside c2 = 9e-4; worst seen 4e-7 and 2e-6.
    assert value.item() == pytest.approx(truth.item(), abs=5e-6)
    (gradient,), (expected,) = torch.autograd.grad(value, image), torch.autograd.grad(truth, exact)
    assert (gradient - expected).norm() < 2e-5 * expected.norm()


def test_double_images_go_through_plain_torch() -> None:
    image, target = (values.double() for values in pair(9, 10, 3))
    assert dssim(image, target).dtype == torch.float64


def test_gradient_scales_with_what_comes_after() -> None:
    image, target = pair(20, 21, 3)
    image.requires_grad_()
    once, thrice = (torch.autograd.grad(factor * dssim(image, target), image)[0] for factor in (1, 3))
    torch.testing.assert_close(thrice, 3 * once)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    image, target = pair(70, 50, 3)
    image.requires_grad_()
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(config, "NUMBA_NUM_THREADS", threads)
        value = dssim(image, target)
        results.append((value.detach(), torch.autograd.grad(value, image)[0]))
    for value, gradient in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(gradient, results[0][1])


def test_strided_views_of_an_image_are_read_as_they_are() -> None:
    image, target = pair(20, 30, 4)
    image.requires_grad_()
    dssim(image[..., :3], target[..., :3]).backward()
    assert image.grad is not None and not image.grad[..., 3].any() and image.grad[..., :3].any()
    assert dssim(image[..., :3], target[..., :3]).item() == dssim(image[..., :3].contiguous(),
                                                                 target[..., :3].contiguous()).item()
