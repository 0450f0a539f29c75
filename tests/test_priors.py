"""The contract of video priors, over all of them, and the laws of the embedded one's codec and network."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from safetensors import safe_open
from safetensors.torch import save_file

from baker.conditions import Conditions
from baker.priors import LOADERS, PriorName, VideoPrior, load_prior
from baker.priors.codec import PATCH, PatchCodec, fit_codec, pool_mask, to_bytes, to_signed
from baker.priors.embedded import (
    SHIPPED,
    EmbeddedConfig,
    EmbeddedPrior,
    RestorationNetwork,
    save_weights,
)
from baker.priors.layers import (
    SURE,
    CoarseLayers,
    border_color,
    carry_on,
    coarse_layers,
    compose,
    layer_odds,
    move,
    pool_mean,
    to_pixels,
)
from baker.priors.refinement import RefinementHead
from runtime.errors import InputError
from tests.tiny_images import random_conditions, random_video
from tests.tiny_wan import write_fun_control, write_vace


def random_codec(channels: int) -> PatchCodec:
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(PATCH, PATCH, generator=generator) * 0.1
    return fit_codec(torch.randn(3000, PATCH, generator=generator) @ mixing, channels=channels)


def small_network(*, zero_head: bool = True) -> RestorationNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RestorationNetwork(EmbeddedConfig(layers=1, width=64, features=8, head_width=16, head_blocks=1),
                                     random_codec(48))
        if not zero_head:
            torch.nn.init.normal_(network.head.leave.weight, std=0.02)
    return network.eval()


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    network = small_network(zero_head=False)
    save_weights(path, network, state=network.state_dict(), about={"steps": 0})
    return path


# --- the contract, over all ---------------------------------------------------------------------------------------


def test_every_name_has_a_loader() -> None:
    assert set(LOADERS) == set(get_args(PriorName))


@pytest.fixture(params=["small", *get_args(PriorName)])
def prior(request: pytest.FixtureRequest, small_weights: Path, tmp_path: Path) -> VideoPrior:
    if request.param == "small":
        return load_prior("embedded", small_weights)
    if request.param == "embedded":
        return load_prior("embedded")
    write = {"wan-fun-control": write_fun_control, "wan-vace": write_vace}[request.param]
    return load_prior(request.param, write(tmp_path))


def test_a_prior_keeps_the_contract(prior: VideoPrior) -> None:
    assert isinstance(prior, VideoPrior)
    assert prior.window % 4 == 1
    size = 3 * prior.size_multiple
    conditions = random_conditions(5, size, size)
    latents, mask = prior.encode(conditions.coarse), prior.latent_mask(conditions.preserved)
    assert latents.ndim == 4 and mask.shape == (1, *latents.shape[1:])
    assert latents.shape[1] == 2  # the first frame alone, then four
    assert prior.decode(latents).shape == conditions.coarse.shape
    prepared = prior.prepare(conditions)
    velocity = prior.velocity(latents, 0.7, prepared)
    assert velocity.shape == latents.shape and bool(velocity.isfinite().all())
    assert torch.equal(velocity, prior.velocity(latents, 0.7, prior.prepare(conditions)))
    assert prior.fingerprint == prior.fingerprint and len(prior.fingerprint) > 8


def test_the_prior_without_the_coarse_video_does_not_depend_on_it(small_weights: Path) -> None:
    blind = replace(EmbeddedPrior.load(small_weights), sees_coarse=False)
    conditions = random_conditions(5, 32, 32)
    other = replace(conditions, coarse=conditions.coarse[::-1].copy())
    x = blind.encode(random_video(5, 32, 32, 9))
    assert torch.equal(blind.velocity(x, 0.5, blind.prepare(conditions)),
                       blind.velocity(x, 0.5, blind.prepare(other)))


# --- codec --------------------------------------------------------------------------------------------------------


def test_the_codec_with_all_channels_is_lossless() -> None:
    video = random_video(9, 16, 24)
    codec = random_codec(PATCH)
    assert np.array_equal(to_bytes(codec.decode(codec.encode(to_signed(torch.from_numpy(video))))).numpy(), video)


def test_the_codec_basis_is_orthonormal_so_latent_error_is_pixel_error() -> None:
    codec = random_codec(48)
    torch.testing.assert_close(codec.basis.T @ codec.basis, torch.eye(48), atol=1e-5, rtol=0)
    a, b = torch.randn(2, 48, 2, 3, 4, generator=torch.Generator().manual_seed(2))
    by_latent = ((a - b)[:, 1:] * codec.deviation.view(-1, 1, 1, 1)).square().sum()
    by_pixel = (codec.decode(a) - codec.decode(b))[1:].square().sum()
    torch.testing.assert_close(by_latent, by_pixel, rtol=1e-4, atol=0)


def test_the_latent_mask_takes_the_least_of_every_patch() -> None:
    preserved = torch.full((9, 16, 16), 255, dtype=torch.uint8)
    preserved[0, 0, 0], preserved[6, 5, 9] = 0, 51
    expected = torch.ones(1, 3, 4, 4)
    expected[0, 0, 0, 0], expected[0, 2, 1, 2] = 0, 0.2
    torch.testing.assert_close(pool_mask(preserved), expected)


def test_a_video_the_codec_cannot_group_is_refused() -> None:
    with pytest.raises(ValueError, match=r"4 k \+ 1 frames"):
        random_codec(8).encode(torch.zeros(8, 16, 16, 3))


# --- network ------------------------------------------------------------------------------------------------------


def test_the_untrained_network_keeps_what_is_no_garment_and_softens_the_garment_a_little() -> None:
    prior = EmbeddedPrior(small_network(), weights_sha256="")
    conditions = dressed_conditions()
    x = prior.encode(random_video(5, 32, 32, 9))
    x0 = x - 0.6 * prior.velocity(x, 0.6, prior.prepare(conditions))
    answer, kept = prior.decode(x0).astype(int), prior.decode(prior.encode(conditions.coarse)).astype(int)
    # Layers other than the kept one have 3 shares of e^-3 in all beside e^3: 0.7 %, of up to 255.
    assert np.abs(answer - kept)[:, :16].max() <= 4
    inside = np.abs(answer - kept)[:, 20:28, 12:20]  # a plain garment stays as it is, in focus or not
    assert inside.max() <= 8


def dressed_conditions() -> Conditions:
    """A preserved square above a plain red garment, on grey."""
    coarse = np.full((5, 32, 32, 3), 128, np.uint8)
    preserved = np.zeros((5, 32, 32), np.uint8)
    coarse[:, 4:12, 8:24], preserved[:, 4:12, 8:24] = (60, 180, 90), 255
    coarse[:, 16:32, 4:28] = (200, 30, 30)
    return Conditions(coarse=coarse, pose=np.zeros_like(coarse), reference=coarse[0], preserved=preserved)


def layers_of(conditions: Conditions) -> CoarseLayers:
    video = to_signed(torch.from_numpy(conditions.coarse))[None]
    return coarse_layers(video, torch.from_numpy(conditions.preserved)[None] / 255.0, border_color(video))


def test_garment_is_what_differs_from_the_border_and_is_not_preserved() -> None:
    conditions = dressed_conditions()
    layers = layers_of(conditions)
    torch.testing.assert_close(layers.background.flatten(), torch.full((3,), 128 / 127.5 - 1), atol=1e-6, rtol=0)
    expected = torch.zeros(5, 32, 32)
    expected[:, 16:32, 4:28] = 1
    assert torch.equal(layers.garment[0], expected)


def test_the_garments_colours_are_carried_on_beyond_its_edge() -> None:
    layers = layers_of(dressed_conditions())
    red = to_signed(torch.tensor([200, 30, 30]))
    # 1e-3 of an outside colour is mixed in on each of six levels.
    assert (layers.cloth[..., :3] - red).abs().max() < 0.02
    assert (layers.cloth[..., 3:] - red).abs().max() < 0.02


def test_without_any_garment_the_fill_is_the_given_colour() -> None:
    video = torch.rand(1, 2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    filled = carry_on(video, torch.zeros(1, 2, 16, 16), torch.full((1, 1, 1, 1, 3), 0.25))
    torch.testing.assert_close(filled, torch.full_like(video, 0.25))


def test_shares_sum_to_one_and_follow_the_coarse_video_until_the_network_speaks() -> None:
    layers = layers_of(dressed_conditions())
    shares = layer_odds(layers, torch.zeros(1, 256, 2, 8, 8)).exp()
    torch.testing.assert_close(shares.sum(0), torch.ones(1, 5, 32, 32), atol=1e-5, rtol=0)
    kept, garment, _, soft = shares[:, 0, 2]
    sure = 1 / (1 + 2 * np.exp(-2 * SURE))  # two layers of e^-SURE beside one of e^SURE
    assert kept[0, 0] == pytest.approx(sure, abs=1e-5) and garment[20, 16] == pytest.approx(sure / 2, abs=1e-5)
    assert soft[20, 16] == pytest.approx(sure / 2, abs=1e-5)


def test_layers_compose_as_they_are_chosen() -> None:
    layers = layers_of(dressed_conditions())
    flow = torch.zeros(1, 8, 2, 8, 8)
    for layer, expected in enumerate((layers.video, layers.cloth[..., :3],
                                      layers.background.expand_as(layers.video), layers.cloth[..., 3:])):
        shares = torch.zeros(4, 1, 5, 32, 32)
        shares[layer] = 1
        torch.testing.assert_close(compose(layers, shares, flow), expected, atol=1e-5, rtol=0)


def test_patches_become_the_pixels_the_codec_groups() -> None:
    video = torch.rand(1, 5, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    codec = PatchCodec(basis=torch.eye(PATCH), mean=torch.zeros(PATCH), deviation=torch.ones(PATCH))
    latents = codec.encode(video)  # patches of (4 frames, 4 rows, 4 columns, 3 colours)
    patches = latents.unflatten(1, (64, 3)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(to_pixels(patches).movedim(0, -1), video, atol=1e-5, rtol=0)
    means = pool_mean(video[..., 0])
    torch.testing.assert_close(means[0, 0], latents[0, 0::3].mean(0), atol=1e-5, rtol=0)


def test_the_head_gives_nothing_before_training_and_sees_its_neighbours_in_time() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = RefinementHead(features=4, seen=6, width=16, blocks=2, out=5).eval()
    features, seen = torch.randn(1, 4, 3, 4, 4), torch.randn(1, 6, 3, 4, 4)
    level = torch.tensor([0.5])
    assert not head(features, seen, level).any()
    torch.nn.init.ones_(head.leave.weight)
    before = head(features, seen, level)
    seen[:, :, 0] += 1
    after = head(features, seen, level)
    assert before.shape == (1, 5, 3, 4, 4)
    assert all(not torch.allclose(before[:, :, frame], after[:, :, frame]) for frame in (0, 1, 2))


def test_a_constant_flow_moves_every_frame_by_its_own_displacement() -> None:
    video = torch.rand(1, 5, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(1, 4, 2, 2, 4, 4)
    flow[:, 0, 0, 0] = 2.0  # frame 0: from two pixels to the right
    flow[:, 3, 1, 1] = -1.0  # frame 4: from one pixel above
    moved = move(video, flow.flatten(1, 2))
    torch.testing.assert_close(moved[0, 0, :, :-2], video[0, 0, :, 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[0, 4, 1:], video[0, 4, :-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[0, 1:4], video[0, 1:4], atol=1e-5, rtol=0)


def test_attention_to_one_text_token_needs_no_query() -> None:
    network = small_network(zero_head=False)
    conditions = random_conditions(5, 32, 32)
    prior = EmbeddedPrior(network, weights_sha256="")
    x = prior.encode(random_video(5, 32, 32, 9))[None]
    inputs, sigma = prior.prepare(conditions), torch.tensor([0.4])
    with torch.inference_mode():
        fast = network(x, sigma, inputs).x0
        for block in network.transformer.blocks:
            block.attn2.set_processor(WanAttnProcessor())
        full = network(x, sigma, inputs).x0
    torch.testing.assert_close(fast, full, atol=1e-4, rtol=1e-4)  # float32; 1e-5 measured


# --- weights file -------------------------------------------------------------------------------------------------


def test_weights_come_back_as_half_precision_values(small_weights: Path) -> None:
    loaded = EmbeddedPrior.load(small_weights).network.state_dict()
    for name, value in small_network(zero_head=False).state_dict().items():
        assert torch.equal(loaded[name], value.half().float()), name


def test_absent_weights_are_reported_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors: no weights"):
        load_prior("embedded", tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", ["cut", "garbage", "nan", "format"])
def test_damaged_weights_are_refused_in_one_line(damage: str, small_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    content = small_weights.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        path.write_bytes(b"\xff" * 4096)
    elif damage == "format":
        path.write_bytes(content.replace(b"ani3d-embedded-prior-3", b"ani3d-embedded-prior-9"))
    else:
        network = small_network()
        state = network.state_dict()
        state["head.leave.bias"] = torch.full_like(state["head.leave.bias"], float("nan"))
        save_weights(path, network, state=state, about={})
    with pytest.raises(InputError, match=r"bad\.safetensors: not weights") as caught:
        load_prior("embedded", path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("claim", "message"), [
    ({"layers": 10**7}, "layers is 10000000"), ({"width": 100}, "width is 100"), ({"layers": True}, "layers is True"),
    ({"layers": 64, "width": 2048}, "not those of the network"), ({"feet": 2}, "feet")])
def test_a_network_that_a_file_only_claims_is_not_built(claim: dict[str, int], message: str, small_weights: Path,
                                                        tmp_path: Path) -> None:
    with safe_open(small_weights, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    config = json.loads(metadata["config"]) | claim
    save_file(tensors, tmp_path / "big.safetensors", metadata=metadata | {"config": json.dumps(config)})
    began = time.monotonic()
    with pytest.raises(InputError, match=rf"big\.safetensors: not weights .*{message}"):
        load_prior("embedded", tmp_path / "big.safetensors")
    assert time.monotonic() - began < 5


def test_an_unknown_prior_is_refused_with_the_known_names() -> None:
    with pytest.raises(InputError, match=r"wan-17.*embedded"):
        load_prior("wan-17")


def test_the_shipped_weights_are_small_and_beat_the_coarse_video_where_they_were_measured() -> None:
    from baker.prior_training import info

    facts = info()
    assert SHIPPED.stat().st_size <= 40e6
    psnr, ssim = facts["validation"]["garment_psnr"], facts["validation"]["garment_ssim"]
    assert psnr["codec"] > psnr["restored"] > psnr["coarse"] + 1.0
    assert ssim["restored"] > ssim["coarse"] + 0.03
    assert facts["validation"]["worst_gain"] > -0.3
    preserved = facts["validation"]["preserved_psnr"]
    assert preserved["restored"] > preserved["kept"] - 0.3
