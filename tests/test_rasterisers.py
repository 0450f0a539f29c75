"""Differentiable rasterisers: the specification against closed forms and gsplat, `cpu` against the specification."""

import inspect
import math

import numpy as np
import pytest
import torch
from numba import config

from baker.rasterisers import RasterOutput, Scene, View, load
from baker.rasterisers import draw as draw_views
from baker.rasterisers import reference as reference_module
from runtime import bench, raster
from runtime.cameras import look_at
from runtime.errors import InputError
from runtime.types import Camera

NAMES = ("means", "quats_wxyz", "scales", "opacities", "colors")
CPU, REFERENCE = load("cpu"), load("reference")


def scene(count: int = 400, *, channels: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """The yardstick figure with `count` Gaussians; quaternions not unit."""
    gaussians = bench.yardstick_scene(count, seed=seed)
    rng = np.random.default_rng(seed + 1)
    colors = np.concatenate([gaussians.colors, rng.uniform(0, 1, (count, channels)).astype(np.float32)], axis=1)
    return {"means": torch.from_numpy(gaussians.means), "quats_wxyz": 1.7 * torch.from_numpy(gaussians.quats_wxyz),
            "scales": torch.from_numpy(np.exp(gaussians.log_scales)),
            "opacities": torch.from_numpy(gaussians.opacities),
            "colors": torch.from_numpy(np.ascontiguousarray(colors[:, :channels]))}


def camera(width: int = 50, height: int = 80) -> Camera:
    return bench.yardstick_camera((width, height))


def draw(rasterise, inputs, view, *, dtype=torch.float32, weights_seed=0):
    """Output, gradients and screen gradients of a random linear loss of image, alpha and depth."""
    leaves = {name: values.to(dtype).clone().requires_grad_() for name, values in inputs.items()}
    screen = torch.zeros(len(inputs["means"]), dtype=dtype)
    output = rasterise(*leaves.values(), view, screen_gradients=screen)
    generator = torch.Generator().manual_seed(weights_seed)
    loss = sum((values * torch.randn(values.shape, generator=generator, dtype=torch.float64).to(dtype)).sum()
               for values in (output.image, output.alpha, output.depth))
    loss.backward()
    return output, {name: leaf.grad for name, leaf in leaves.items()}, screen


def relative(value: torch.Tensor, truth: torch.Tensor) -> float:
    return float((value.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize("channels", [3, 4])
def test_cpu_draws_what_the_float64_specification_draws(channels):
    inputs = scene(channels=channels)
    output, (truth, _, _) = CPU(*inputs.values(), camera()), draw(REFERENCE, inputs, camera(), dtype=torch.float64)
    assert truth.alpha.max() > 0.99
    # Worst seen: 9e-7 image and alpha, 2.8e-6 depth (of about 3 m).
    for name in ("image", "alpha", "depth"):
        assert (getattr(output, name) - getattr(truth, name)).abs().max() < 1e-5, name
    assert (output.radii - truth.radii).abs().max() <= 1  # ceil of nearly equal numbers


@pytest.mark.parametrize("channels", [3, 4])
def test_cpu_gradients_are_those_of_autograd_on_the_specification(channels):
    inputs = scene(channels=channels)
    _, grads, screen = draw(CPU, inputs, camera())
    _, truths, screen_truth = draw(REFERENCE, inputs, camera(), dtype=torch.float64)
    # Worst seen: 5e-6 (opacities); float32 autograd on the specification itself is 2e-6 off.
    for name in NAMES:
        assert truths[name].norm() > 0
        assert relative(grads[name], truths[name]) < 1e-4, name
    assert relative(screen, screen_truth) < 1e-4


def random_loss(output: RasterOutput) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return sum((part * torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part)).sum()
               for part in (output.image, output.alpha, output.depth))


def test_gradients_match_central_differences_at_sixty_random_entries():
    """Of the specification, in double, and by way of it of `cpu`. An entry whose differences at two steps disagree
    lies on a discontinuity (1/255, 1e-4): at most a few do."""
    view, steps = camera(30, 48), (1e-6, 3e-6)
    inputs = {key: values.double() for key, values in scene(60).items()}
    _, grads, _ = draw(REFERENCE, inputs, view, dtype=torch.float64)
    _, fast, _ = draw(CPU, scene(60), view)
    rng, checked = np.random.default_rng(0), 0
    for name in NAMES:
        exact, scale = grads[name].flatten(), float(grads[name].abs().max())
        for entry in rng.choice(exact.nonzero()[:, 0].numpy(), 12, replace=False):
            differences = []
            for step in steps:
                values = []
                for sign in (1, -1):
                    moved = {key: tensor.clone() for key, tensor in inputs.items()}
                    moved[name].view(-1)[entry] += sign * step
                    values.append(random_loss(REFERENCE(*moved.values(), view)))
                differences.append(float(values[0] - values[1]) / (2 * step))
            if abs(differences[0] - differences[1]) > 1e-4 * abs(differences[0]) + 1e-6 * scale:
                continue
            checked += 1
            assert float(exact[entry]) == pytest.approx(differences[0], rel=2e-4, abs=2e-6 * scale), (name, entry)
            # Single entries of float32 may cancel: held to the largest gradient of their kind.
            assert float(fast[name].flatten()[entry]) == pytest.approx(differences[0], rel=1e-3, abs=1e-5 * scale)
    assert checked >= 50


def test_two_cpu_runs_are_bit_equal_in_value_and_gradient():
    one, other = (draw(CPU, scene(2000), camera(120, 208)) for _ in range(2))
    for a, b in zip(one[0], other[0], strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(one[1][name], other[1][name]) for name in NAMES)
    assert torch.equal(one[2], other[2])


def test_gradients_reach_gaussians_whose_quaternion_has_any_length():
    inputs, view = scene(200), camera()
    longer = inputs | {"quats_wxyz": 3 * inputs["quats_wxyz"]}
    (one, grads, _), (other, grads_longer, _) = draw(CPU, inputs, view), draw(CPU, longer, view)
    assert (one.image - other.image).abs().max() < 1e-5
    # Scale invariance: the gradient is across the quaternion and shrinks with its length (float32 rounding).
    across = (grads["quats_wxyz"] * inputs["quats_wxyz"]).sum(dim=1).abs().max() / grads["quats_wxyz"].abs().max()
    assert across < 1e-5
    assert relative(3 * grads_longer["quats_wxyz"], grads["quats_wxyz"].double()) < 1e-3


def test_screen_gradients_accumulate_over_images_and_vanish_for_culled_gaussians():
    inputs = scene(200)
    inputs["means"][0] = torch.tensor([0.0, 0.0, 50.0])  # behind the camera
    _, _, once = draw(CPU, inputs, camera())
    leaves = {name: values.clone().requires_grad_() for name, values in inputs.items()}
    twice = once.clone()
    output = CPU(*leaves.values(), camera(), screen_gradients=twice)
    generator = torch.Generator().manual_seed(0)
    sum((v * torch.randn(v.shape, generator=generator, dtype=torch.float64).float()).sum()
        for v in (output.image, output.alpha, output.depth)).backward()
    assert output.radii[0] == 0 and once[0] == 0
    assert once.max() > 0 and torch.allclose(twice, 2 * once)


@pytest.mark.parametrize("rasterise", [CPU, REFERENCE], ids=["cpu", "reference"])
@pytest.mark.parametrize("poison", [("means", math.nan), ("quats_wxyz", 0.0), ("quats_wxyz", math.nan),
                                    ("scales", math.inf), ("scales", math.nan), ("opacities", math.nan),
                                    ("colors", math.nan), ("means", math.inf), ("quats_wxyz", math.inf),
                                    ("opacities", -1.0)], ids=lambda p: f"{p[0]}_{p[1]}")
def test_poisoned_gaussian_is_culled_and_neither_picture_nor_gradient_of_others_change(rasterise, poison):
    inputs, view = scene(150), camera(40, 64)
    clean = {name: torch.cat([v[:70], v[71:]]) for name, v in inputs.items()}
    inputs[poison[0]][70] = poison[1]
    (bad, bad_grads, bad_screen), (good, good_grads, _) = draw(rasterise, inputs, view), draw(rasterise, clean, view)
    # Bit for bit in numba; torch may sum a matrix of another shape in another order.
    tolerance = 0 if rasterise is CPU else 1e-4
    assert bad.radii[70] == 0 and bad_screen[70] == 0
    for a, b in ((bad.image, good.image), (bad.alpha, good.alpha), (bad.depth, good.depth)):
        assert (a - b).abs().max() <= tolerance
    for name in NAMES:
        others = torch.cat([bad_grads[name][:70], bad_grads[name][71:]])
        assert bad_grads[name][70].abs().max() == 0
        assert (others - good_grads[name]).abs().max() <= tolerance * good_grads[name].abs().max(), name


@pytest.mark.parametrize("scale", [1e4, 1e15, 1e30])
def test_gaussian_larger_than_the_world_is_a_veil_with_finite_gradients(scale):
    inputs, view = scene(50), camera(20, 30)
    inputs["scales"][7], inputs["opacities"][7] = scale, 0.5
    output, grads, screen = draw(CPU, inputs, view)
    # Its centre is in front of the camera, so it covers every pixel by half or is behind what covers more.
    assert (output.alpha > 0.5 - 1e-4).all() and output.image.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads.values()) and screen.isfinite().all()


@pytest.mark.parametrize("rasterise", [CPU, REFERENCE], ids=["cpu", "reference"])
def test_images_without_gaussians_or_of_one_pixel_differentiate(rasterise):
    empty = {name: values[:0] for name, values in scene(1).items()}
    output, grads, _ = draw(rasterise, empty, camera())
    assert output.image.shape == (80, 50, 3) and not output.alpha.any() and grads["means"].shape == (0, 3)
    output, grads, _ = draw(rasterise, scene(50), camera(1, 1))
    assert output.image.shape == (1, 1, 3) and grads["means"].isfinite().all()


def edge_case(name: str) -> tuple[dict[str, torch.Tensor], Camera]:
    """Hard scenes on which `cpu` must still agree with the specification, from one metre in front."""
    view = Camera(width=35, height=37, fx=40.0, fy=45.0, cx=16.0, cy=20.0,
                  T_camera_world=look_at(np.array([0.0, 0.0, 1.0]), np.zeros(3)))
    rng = np.random.default_rng(5)
    count = 10_000 if name == "ten_thousand_on_one_pixel" else 40
    values = {"means": rng.normal(0, 0.3, (count, 3)), "quats_wxyz": rng.normal(size=(count, 4)),
              "scales": rng.uniform(0.005, 0.1, (count, 3)), "opacities": rng.uniform(0.05, 0.95, count),
              "colors": rng.uniform(0, 1, (count, 3))}
    if name == "ten_thousand_on_one_pixel":
        values["means"] = np.stack([np.full(count, 1e-3), np.full(count, -2e-3), rng.uniform(-0.1, 0.1, count)], 1)
        values["scales"] *= 0.01
        values["opacities"] = rng.uniform(0.004, 0.02, count)
    elif name == "zero_scale":
        values["scales"][:] = 0.0
    elif name == "huge_scale":
        values["scales"] *= 1e4
    elif name == "near_the_camera_and_outside":
        values["means"] = rng.uniform([-1, -1, 0.5], [1, 1, 1.2], (count, 3))
    elif name == "opaque":
        values["opacities"] = np.full(count, 1.0)
    return {key: torch.from_numpy(np.asarray(v, np.float32)) for key, v in values.items()}, view


@pytest.mark.parametrize("name", ["ten_thousand_on_one_pixel", "zero_scale", "huge_scale",
                                  "near_the_camera_and_outside", "opaque"])
def test_cpu_agrees_with_the_specification_on_hard_scenes(name):
    inputs, view = edge_case(name)
    output, grads, _ = draw(CPU, inputs, view)
    truth, truths, _ = draw(REFERENCE, inputs, view, dtype=torch.float64)
    assert truth.alpha.max() > 0.5
    # Worst seen: 1.4e-6, and 2e-5 in the gradients of ten thousand on one pixel.
    assert (output.image - truth.image).abs().max() < 1e-5
    assert (output.alpha - truth.alpha).abs().max() < 1e-5
    for key in NAMES:
        if truths[key].norm() > 0:
            assert relative(grads[key], truths[key]) < 1e-4, key


def test_render_of_the_runtime_is_the_rasteriser_with_clamped_colours():
    gaussians, view = bench.yardstick_scene(500), camera()
    image = raster.render(gaussians, view)
    output = CPU(*(torch.from_numpy(v) for v in (gaussians.means, gaussians.quats_wxyz, np.exp(gaussians.log_scales),
                                                 gaussians.opacities, np.maximum(gaussians.colors, 0))), view)
    np.testing.assert_array_equal(image.rgba[..., :3], output.image.numpy())
    np.testing.assert_array_equal(image.rgba[..., 3], output.alpha.numpy())
    np.testing.assert_array_equal(image.depth, output.depth.numpy())


def test_projection_of_the_specification_is_gsplats():
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl", reason="gsplat is not installed")
    inputs, view = {key: values.double() for key, values in scene(300).items()}, camera()
    kept = REFERENCE(*inputs.values(), view).radii > 0
    assert kept.all()
    covariances, _ = gsplat._quat_scale_to_covar_preci(inputs["quats_wxyz"], inputs["scales"], True, False)
    intrinsics = torch.tensor([[[view.fx, 0, view.cx], [0, view.fy, view.cy], [0, 0, 1]]], dtype=torch.float64)
    radii, centers, depths, conics, _ = gsplat._fully_fused_projection(
        inputs["means"], covariances, torch.from_numpy(view.T_camera_world)[None], intrinsics, view.width, view.height)
    ours = reference_module.project(inputs["means"], inputs["quats_wxyz"], inputs["scales"], inputs["opacities"], view)
    torch.testing.assert_close(ours.centers, centers[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(ours.depths, depths[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.conics, conics[0], rtol=1e-9, atol=1e-12)
    # gsplat's torch version bounds by 3.33 sigma for any opacity; ours end at alpha 1/255, never farther.
    assert (ours.half_sizes.ceil() <= radii[0] + 1).all()


def view_scene(count: int = 150, *, degree: int = 3, seed: int = 0) -> Scene:
    inputs = scene(count, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    sh = 0.4 * torch.randn(count, (degree + 1) ** 2, 3, generator=generator)
    return Scene(means=inputs["means"], quats_wxyz=inputs["quats_wxyz"], scales=inputs["scales"],
                 opacities=inputs["opacities"], sh=sh, features=torch.rand(count, 2, generator=generator))


PARTS = ("means", "quats_wxyz", "scales", "opacities", "sh", "features")
BACKGROUND = (0.2, 0.5, 0.9)


def views_and_gradients(rasterise, plain: Scene, cameras, dtype: torch.dtype):
    leaves = {name: getattr(plain, name).to(dtype).clone().requires_grad_() for name in PARTS}
    views = draw_views(rasterise, [Scene(**leaves)], cameras, background=BACKGROUND)
    generator = torch.Generator().manual_seed(4)
    # Expected depth only where something covers: elsewhere rounding is divided by rounding.
    loss = sum((part * torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part)
                * (view.alpha.detach() > 0.5)[(...,) + (None,) * (part.ndim - 2)]).sum()
               for view in views for part in (view.rgb, view.features, view.depth))
    return views, dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@pytest.mark.parametrize("degree", range(4))
def test_views_with_harmonics_features_and_background_agree_with_the_specification(degree):
    cameras = [camera(), bench.yardstick_camera((33, 50))]
    plain = view_scene(degree=degree)
    views, grads = views_and_gradients(CPU, plain, cameras, torch.float32)
    truths, exact = views_and_gradients(REFERENCE, plain, cameras, torch.float64)
    for view, truth, seen_by in zip(views, truths, cameras, strict=True):
        assert view.rgb.shape == (seen_by.height, seen_by.width, 3) and view.features.shape[-1] == 2
        covered = truth.alpha > 0.01
        assert covered.any() and not covered.all()
        assert (view.rgb - truth.rgb).abs().max() < 1e-5 and (view.features - truth.features).abs().max() < 1e-5
        assert (view.depth - truth.depth)[covered].abs().max() < 1e-4  # metres, of about 3, over alphas down to 0.01
        nothing = truth.alpha == 0
        assert torch.allclose(view.rgb[nothing], torch.tensor(BACKGROUND)) and not view.depth[nothing].any()
    for name in PARTS:
        assert relative(grads[name], exact[name]) < 1e-4, name


def test_each_pose_goes_with_its_camera_and_screen_gradients_add_up():
    poses, cameras = [view_scene(seed=0), view_scene(seed=1)], [camera(), bench.yardstick_camera((40, 40))]
    for part in poses:
        part.means.requires_grad_()
    together = torch.zeros(150)
    views = draw_views(CPU, poses, cameras, screen_gradients=together)
    assert isinstance(views[0], View)
    sum(view.rgb.sum() for view in views).backward()
    apart = torch.zeros(150)
    for pose, seen_by, view in zip(poses, cameras, views, strict=True):
        (alone,) = draw_views(CPU, [pose], [seen_by], screen_gradients=apart)
        assert torch.equal(alone.rgb, view.rgb) and torch.equal(alone.radii, view.radii)
        alone.rgb.sum().backward()
    assert together.max() > 0 and torch.equal(together, apart)
    with pytest.raises(ValueError, match="2 scenes and 3 cameras"):
        draw_views(CPU, poses, [camera()] * 3)


def test_still_gaussians_are_drawn_but_get_no_gradient():
    inputs, view, still = scene(300), camera(), 170
    results = {}
    for name, rasterise, count in (("all", CPU, 0), ("cpu", CPU, still), ("reference", REFERENCE, still)):
        leaves = {key: values.clone().requires_grad_() for key, values in inputs.items()}
        screen = torch.zeros(300)
        output = rasterise(*leaves.values(), view, screen_gradients=screen, still_count=count)
        random_loss(output).backward()
        results[name] = output, {key: leaf.grad for key, leaf in leaves.items()}, screen
    (whole, grads, screen), (part, some, some_screen) = results["all"], results["cpu"]
    assert all(torch.equal(a, b) for a, b in zip(whole, part, strict=True))
    for key in NAMES:
        assert not some[key][:still].any() and grads[key][:still].any()
        # The same kernel but for what it leaves out; the compiler may round a sum of its other loop differently.
        assert relative(some[key][still:], grads[key][still:].double()) < 1e-5
        assert relative(some[key], results["reference"][1][key].double()) < 1e-4
    assert not some_screen[:still].any() and relative(some_screen[still:], screen[still:].double()) < 1e-5
    assert relative(some_screen, results["reference"][2].double()) < 1e-4


@pytest.mark.parametrize("depth_only", [False, True])
def test_colours_without_a_gradient_change_no_other(depth_only):
    inputs, view = scene(200, channels=4), camera()
    results = []
    for needed in (True, False):
        leaves = {key: values.clone().requires_grad_(needed or key != "colors") for key, values in inputs.items()}
        output = CPU(*leaves.values(), view)
        (output.depth.square().sum() if depth_only else random_loss(output)).backward()
        results.append({key: leaf.grad for key, leaf in leaves.items()})
    assert results[1]["colors"] is None
    for key in NAMES[:-1]:
        assert relative(results[1][key], results[0][key].double()) < 1e-5, key


def test_cpu_gives_the_same_bits_for_any_number_of_threads(monkeypatch):
    results = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(config, "NUMBA_NUM_THREADS", threads)
        results.append(draw(CPU, scene(1500, channels=5), camera(100, 170)))
    for output, grads, screen in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(output, results[0][0], strict=True))
        assert all(torch.equal(grads[name], results[0][1][name]) for name in NAMES) and torch.equal(screen,
                                                                                                   results[0][2])


@pytest.mark.parametrize("channels", [1, 2, 8, 16, 40])
def test_channel_counts_that_fill_vectors_or_not_agree_with_the_specification(channels):
    inputs, view = scene(120, channels=channels), camera(25, 40)
    output, grads, _ = draw(CPU, inputs, view)
    truth, truths, _ = draw(REFERENCE, inputs, view, dtype=torch.float64)
    assert (output.image - truth.image).abs().max() < 1e-5
    for name in NAMES:
        assert relative(grads[name], truths[name]) < 1e-4, name


def test_unknown_names_wrong_devices_and_absent_gpus_are_told_plainly():
    with pytest.raises(InputError, match="cpu, reference, gsplat"):
        load("cuda")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="NVIDIA"):
            load("gsplat")
    inputs = {key: values.to("meta") for key, values in scene(3).items()}
    with pytest.raises(ValueError, match="CPU tensors"):
        CPU(*inputs.values(), camera())
    wide = scene(3) | {"colors": torch.zeros(3, 64)}
    with pytest.raises(ValueError, match="at most 63"):
        CPU(*wide.values(), camera())


def test_gsplat_adapter_speaks_gsplats_interface(monkeypatch):
    """Without a GPU: gsplat's entry point is replaced by one that binds the arguments to gsplat's own signature and
    draws with the specification, in gsplat's shapes."""
    adapter = pytest.importorskip("baker.rasterisers.gsplat", reason="gsplat is not installed")
    signature = inspect.signature(adapter.rasterization)

    def rasterization(*args, **options):
        given = signature.bind(*args, **options)
        given.apply_defaults()
        a = given.arguments
        assert (a["packed"], a["render_mode"], a["eps2d"], a["near_plane"]) == (False, "RGB+D", 0.3, 0.01)
        assert a["rasterize_mode"] == "classic" and a["sh_degree"] is None and a["colors"].shape == (len(a["means"]), 3)
        K = a["Ks"][0]
        view = Camera(width=a["width"], height=a["height"], fx=float(K[0, 0]), fy=float(K[1, 1]), cx=float(K[0, 2]),
                      cy=float(K[1, 2]), T_camera_world=a["viewmats"][0].double().numpy())
        projected = reference_module.project(a["means"], a["quats"], a["scales"], a["opacities"].detach(), view)
        means2d = projected.centers[None]
        order = torch.argsort(projected.depths.detach(), stable=True)
        sorted_ = reference_module.Projected(*(v[order] for v in projected._replace(centers=means2d[0])))
        channels = torch.cat([a["colors"][order], sorted_.depths[:, None]], dim=1)
        image = reference_module.blend(sorted_, a["opacities"][order], channels, (0, view.width), (0, view.height))
        image = image[None]
        radii = projected.half_sizes.ceil().int()[None]
        return image[..., :-1], image[..., -1:], {"means2d": means2d, "radii": radii}

    monkeypatch.setattr(adapter, "rasterization", rasterization)
    monkeypatch.setattr(adapter, "_device", lambda values: values.device)
    inputs, view = scene(80), camera(30, 40)
    inputs["means"][5] = math.nan
    inputs["opacities"][6] = 1.5
    output, grads, screen = draw(adapter.rasterise, inputs, view)
    truth, truths, screen_truth = draw(REFERENCE, inputs, view)
    for part in ("image", "alpha", "depth"):
        assert (getattr(output, part) - getattr(truth, part)).abs().max() < 1e-5
    assert (output.radii - truth.radii).abs().max() <= 1 and output.radii[5] == 0
    for name in NAMES:
        assert relative(grads[name], truths[name].double()) < 1e-4, name
    assert relative(screen, screen_truth.double()) < 1e-4 and screen[5] == 0
    # Nothing to draw: an empty picture that still has a gradient.
    nothing = inputs | {"means": torch.full_like(inputs["means"], math.inf)}
    output, grads, _ = draw(adapter.rasterise, nothing, view)
    assert not output.image.any() and not output.radii.any() and not grads["colors"].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_gsplat_agrees_with_the_specification():
    inputs = scene()
    output, grads, screen = draw(load("gsplat"), inputs, camera())
    truth, truths, screen_truth = draw(REFERENCE, inputs, camera(), dtype=torch.float64)
    assert isinstance(output, RasterOutput)
    assert (output.image - truth.image).abs().max() < 1e-4
    for name in NAMES:
        assert relative(grads[name], truths[name]) < 1e-3, name
    assert relative(screen, screen_truth) < 1e-3
