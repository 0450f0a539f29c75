"""Image losses against direct evaluations of their definitions, and their gradients against differences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import correlate1d

from baker import losses
from runtime.errors import InputError


def pair(height: int = 21, width: int = 17, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(height, width, 3, generator=generator)
    return image, (image + 0.2 * torch.randn(image.shape, generator=generator)).clamp(0, 1)


def direct_dssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004 with scipy's correlation in float64."""
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel /= kernel.sum()

    def blur(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, kernel, 0, mode="constant"), kernel, 1, mode="constant")

    mu_a, mu_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mu_a ** 2, blur(b * b) - mu_b ** 2, blur(a * b) - mu_a * mu_b
    c1, c2 = 1e-4, 9e-4
    ssim = ((2 * mu_a * mu_b + c1) * (2 * cov + c2)) / ((mu_a ** 2 + mu_b ** 2 + c1) * (var_a + var_b + c2))
    return float((1 - ssim.mean()) / 2)


@pytest.mark.parametrize("size", [(21, 17), (40, 64), (3, 5)])
def test_dssim_equals_its_definition(size: tuple[int, int]) -> None:
    image, target = pair(*size)
    expected = direct_dssim(image.double().numpy(), target.double().numpy())
    # float32 variances of values up to one cancel to about 1e-7 beside c2 = 9e-4; worst seen 2e-6.
    assert losses.dssim(image, target).item() == pytest.approx(expected, abs=2e-5)


def test_dssim_of_equal_images_is_zero_and_grows_with_blur() -> None:
    image, _ = pair(32, 32)
    flat = image.mean((0, 1), keepdim=True).expand_as(image)
    assert abs(losses.dssim(image, image).item()) < 1e-6
    assert 0 < losses.dssim(image, 0.5 * image + 0.5 * flat).item() < losses.dssim(image, flat).item() <= 1


def test_multiscale_l1_sees_a_shift_that_l1_cannot_order() -> None:
    def bar(at: int) -> torch.Tensor:
        image = torch.zeros(32, 32, 3)
        image[:, at:at + 2] = 1
        return image

    near, far, target = bar(10), bar(24), bar(4)
    assert losses.l1(near, target).item() == losses.l1(far, target).item()
    assert (losses.multiscale_l1(near, target, levels=4).item()
            < losses.multiscale_l1(far, target, levels=4).item())


def test_losses_are_zero_on_equal_and_mean_absolute_on_constant_images() -> None:
    image, _ = pair(8, 8)
    shifted = image + 0.25
    for value in (losses.l1(shifted, image), losses.multiscale_l1(shifted, image, levels=3),
                  losses.mask_loss(shifted[..., 0], image[..., 0])):
        assert value.item() == pytest.approx(0.25, abs=1e-6)
    assert losses.l1(image, image).item() == 0


@pytest.mark.parametrize("name", ["l1", "dssim", "multiscale"])
def test_gradients_equal_central_differences(name: str) -> None:
    function = {"l1": losses.l1, "dssim": losses.dssim,
                "multiscale": lambda a, b: losses.multiscale_l1(a, b, levels=2)}[name]
    image, target = pair(9, 10)
    image = image.requires_grad_()
    gradient = torch.autograd.grad(function(image, target), image)[0]
    rng = np.random.default_rng(0)
    direction = torch.from_numpy(rng.normal(size=image.shape).astype(np.float32)) * (gradient.abs() > 0)
    step = 1e-3
    with torch.no_grad():
        difference = (function(image + step * direction, target) - function(image - step * direction, target)).item()
    # L1 kinks where the step crosses the target: below 1 % of pixels at this step.
    assert difference / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=0.05, abs=1e-4)


def random_lpips_weights(path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    tensors: dict[str, torch.Tensor] = {}
    for i, n in enumerate(n for block in losses.VGG_BLOCKS for n in block):
        shape = (sizes[i + 1], sizes[i], 3, 3)
        tensors[f"features.{n}.weight"] = torch.randn(shape, generator=generator) * (2 / (9 * sizes[i])) ** 0.5
        tensors[f"features.{n}.bias"] = torch.zeros(sizes[i + 1])
    for k, width in enumerate((64, 128, 256, 512, 512)):
        tensors[f"lin{k}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=generator)
    save_file(tensors, path)


def test_lpips_is_zero_on_equal_images_grows_with_noise_and_has_a_gradient(tmp_path: Path) -> None:
    random_lpips_weights(tmp_path / "vgg.safetensors")
    lpips = losses.Lpips(tmp_path / "vgg.safetensors")
    image, _ = pair(32, 32)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(2))
    small, large = (lpips(image + amount * noise, image).item() for amount in (0.02, 0.2))
    assert lpips(image, image).item() == 0 and 0 < small < large
    moved = (image + 0.1 * noise).requires_grad_()
    assert torch.autograd.grad(lpips(moved, image), moved)[0].abs().sum() > 0


def test_lpips_file_without_a_tensor_is_refused_by_name(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "vgg.safetensors")
    with pytest.raises(InputError, match=r"vgg\.safetensors: LPIPS weights lack"):
        losses.Lpips(tmp_path / "vgg.safetensors")


def test_depth_counts_inside_the_region_only() -> None:
    depth = torch.tensor([[2.0, 3.0], [1.0, 5.0]], requires_grad=True)
    target = torch.tensor([[2.5, 3.0], [9.0, 9.0]])
    region = torch.tensor([[True, True], [False, False]])
    value = losses.depth_loss(depth, target, region)
    value.backward()
    assert value.item() == 0.25
    torch.testing.assert_close(depth.grad, torch.tensor([[-0.5, 0.0], [0.0, 0.0]]))
    assert losses.depth_loss(depth, target, torch.zeros(2, 2, dtype=torch.bool)).item() == 0.0
