"""The real Wan backends on tiny random folders: conditions, guidance, experts, and what a folder lacks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import ani3d
from baker.prior_info import prior_info
from baker.priors import load_prior
from baker.priors.wan_fun_control import WanFunPrior
from baker.priors.wan_parts import DeviceSlot, WanOptions, latent_mask, load_tokenizer
from baker.priors.wan_vace import WanVacePrior
from baker.priors.wan_vace import predictions as vace_predictions
from baker.restore import restore
from baker.restore_config import RestoreConfig, SamplingConfig
from runtime.errors import InputError
from tests.test_wan_fun_model import original_shapes, random_tensors
from tests.tiny_images import random_conditions, random_video
from tests.tiny_wan import write_fun_control, write_vace

OPTIONS = WanOptions(device="cpu", dtype=torch.float32, offload=True, tiling=False)
PLAIN = replace(OPTIONS, guidance_scale=1.0)


@pytest.fixture(scope="module")
def fun_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fun_control(tmp_path_factory.mktemp("fun"))


@pytest.fixture(scope="module")
def vace_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vace(tmp_path_factory.mktemp("vace"))


@pytest.fixture(scope="module", params=["wan2.1-fun", "wan2.2-fun", "wan-vace"])
def prior(request: pytest.FixtureRequest, fun_folder: Path, vace_folder: Path,
          tmp_path_factory: pytest.TempPathFactory) -> WanFunPrior | WanVacePrior:
    if request.param == "wan-vace":
        return WanVacePrior.load(vace_folder, OPTIONS)
    folder = fun_folder if request.param == "wan2.1-fun" else write_fun_control(tmp_path_factory.mktemp("two"),
                                                                                experts=True)
    return WanFunPrior.load(folder, OPTIONS)


def test_latents_have_the_codecs_sizes_and_masks_fit_them(prior: WanFunPrior | WanVacePrior) -> None:
    latents = prior.encode(random_video(9, 32, 48))
    assert latents.shape == (16, 3, 4, 6)
    assert prior.decode(latents).shape == (9, 32, 48, 3)
    assert prior.latent_mask(np.full((9, 32, 48), 255, np.uint8)).shape == (1, 3, 4, 6)


def test_velocity_depends_on_pose_reference_and_text(prior: WanFunPrior | WanVacePrior) -> None:
    conditions = random_conditions(9, 32, 32)
    x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    first = prior.velocity(x, 0.9, prior.prepare(conditions))
    assert first.shape == x.shape and bool(first.isfinite().all())
    others = [replace(conditions, pose=255 - conditions.pose),
              replace(conditions, reference=255 - conditions.reference),
              replace(conditions, prompt="skirt moving")]
    for other in others:
        assert not torch.allclose(first, prior.velocity(x, 0.9, prior.prepare(other)), atol=1e-6)


def test_guidance_leads_from_the_negative_to_the_prompt(fun_folder: Path, vace_folder: Path) -> None:
    x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for kind, folder in ((WanFunPrior, fun_folder), (WanVacePrior, vace_folder)):
        guided, plain = kind.load(folder, OPTIONS), kind.load(folder, PLAIN)
        conditions = random_conditions(9, 32, 32)
        prepared = guided.prepare(conditions)
        asked, negative = (plain.velocity(x, 0.7, replace(prepared, texts=(text,))) for text in prepared.texts)
        torch.testing.assert_close(guided.velocity(x, 0.7, prepared), negative + 5.0 * (asked - negative), rtol=0,
                                   atol=1e-4)
        assert len(plain.prepare(conditions).texts) == 1
        assert guided.fingerprint != plain.fingerprint


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_another_codec_or_text_encoder_is_another_prior(fun_folder: Path, vace_folder: Path, tmp_path: Path,
                                                        part: str) -> None:
    for kind, folder in ((WanFunPrior, fun_folder), (WanVacePrior, vace_folder)):
        copy = tmp_path / kind.name
        shutil.copytree(folder, copy)
        assert kind.load(copy, PLAIN).fingerprint == (before := kind.load(folder, PLAIN).fingerprint)
        config = copy / part / "config.json"
        config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        assert kind.load(copy, PLAIN).fingerprint != before


def test_latents_are_the_codecs_modes_normalised(fun_folder: Path) -> None:
    """x = (mode - mean) / deviation, by the codec's own numbers; decoding undoes it."""
    codec, video = WanFunPrior.load(fun_folder, PLAIN).codec, random_conditions(9, 32, 32).coarse
    mean = torch.linspace(-1, 1, len(codec.vae.config.latents_mean))
    codec.vae.register_to_config(latents_mean=mean.tolist(), latents_std=(2 + mean).tolist())
    signed = torch.from_numpy(video).permute(3, 0, 1, 2).float()[None] / 127.5 - 1
    with torch.inference_mode():
        mode = codec.vae.encode(signed).latent_dist.mode()[0]
        latents = codec.encode(video)
        torch.testing.assert_close(latents, (mode - mean.view(-1, 1, 1, 1)) / (2 + mean.view(-1, 1, 1, 1)))
        plain = (codec.vae.decode(mode[None]).sample[0].permute(1, 2, 3, 0) + 1) * 127.5
    assert np.abs(codec.decode(latents).astype(int) - plain.round().clamp(0, 255).numpy()).max() <= 1


def test_text_is_zero_after_its_end_and_pictures_are_clips_last_layer_but_one(fun_folder: Path) -> None:
    prior = WanFunPrior.load(fun_folder, PLAIN)
    words = prior.text.tokenizer(["a person moving"], return_tensors="pt").input_ids.shape[1]
    embedded = prior.text("a person moving")
    assert embedded.shape[1] == 512 and bool((embedded[:, words:] == 0).all())
    assert bool((embedded[:, :words].abs().sum(-1) > 0).all())
    assert prior.picture is not None
    seen: list[dict[str, torch.Tensor]] = []
    prior.picture.model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    tokens = prior.picture(random_conditions(9, 32, 32).reference)
    with torch.inference_mode():
        every = prior.picture.model(pixel_values=seen[0]["pixel_values"], output_hidden_states=True).hidden_states
    torch.testing.assert_close(tokens, every[-2])
    assert not torch.allclose(every[-2], every[-1])


def test_vace_sees_its_reference_as_noisy_as_the_video(vace_folder: Path) -> None:
    prior = WanVacePrior.load(vace_folder, PLAIN)
    prepared, x = prior.prepare(random_conditions(9, 32, 32)), torch.randn(16, 3, 4, 4)
    seen: list[torch.Tensor] = []

    class Echo(torch.nn.Module):
        def forward(self, stacked: torch.Tensor, *_: torch.Tensor, **__: object) -> tuple[torch.Tensor]:
            seen.append(stacked)
            return (stacked,)

    answer = vace_predictions(Echo(), x, 0.25, prepared)[0]
    torch.testing.assert_close(seen[0][0, :, :1], 0.25 * prepared.noise + 0.75 * prepared.reference)
    torch.testing.assert_close(seen[0][0, :, 1:], x)
    torch.testing.assert_close(answer, x)  # the reference's frame is dropped


def test_each_expert_has_its_own_noise_levels(tmp_path: Path) -> None:
    prior = WanFunPrior.load(write_fun_control(tmp_path, experts=True), PLAIN)
    x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    prepared = prior.prepare(random_conditions(9, 32, 32))
    for sigma, expert in ((0.9, 0), (0.875, 0), (0.87, 1), (0.1, 1)):
        alone = replace(prior, experts=(prior.experts[expert],))
        assert torch.equal(prior.velocity(x, sigma, prepared), alone.velocity(x, sigma, prepared))
        other = replace(prior, experts=(prior.experts[1 - expert],))
        assert not torch.equal(prior.velocity(x, sigma, prepared), other.velocity(x, sigma, prepared))


def test_restoring_runs_through_any_of_them(prior: WanFunPrior | WanVacePrior) -> None:
    conditions = random_conditions(9, 24, 40)  # not multiples of 16
    config = RestoreConfig(sampling=SamplingConfig(steps=2))
    video = restore(prior, conditions, config=config, seed=1)
    assert video.shape == conditions.coarse.shape
    assert np.array_equal(video, restore(prior, conditions, config=config, seed=1))


def test_the_mask_takes_the_least_of_a_latents_frames_and_pixels() -> None:
    preserved = np.full((9, 16, 16), 255, np.uint8)
    preserved[0, 3, 3] = 0
    preserved[6, 9, 2] = 51
    mask = latent_mask(preserved)
    expected = torch.ones(1, 3, 2, 2)
    expected[0, 0, 0, 0], expected[0, 2, 1, 0] = 0.0, 0.2
    torch.testing.assert_close(mask, expected)


def test_the_slot_keeps_one_model_on_the_device() -> None:
    class Recorder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.moves: list[str] = []

        def to(self, device: str) -> Recorder:
            self.moves.append(device)
            return self

    first, second = Recorder(), Recorder()
    slot = DeviceSlot(replace(OPTIONS, device="gpu"))
    for model in (first, first, second, first):
        slot(model)
    assert first.moves == ["gpu", "gpu", "cpu", "gpu"] and second.moves == ["gpu", "cpu"]


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer", "image_encoder"])
def test_a_folder_that_lacks_a_part_is_refused_with_its_name(fun_folder: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "x"
    shutil.copytree(fun_folder, folder)
    shutil.rmtree(folder / part)
    with pytest.raises(InputError, match=f"lacks {part}/ .from Wan-AI/"):
        WanFunPrior.load(folder, OPTIONS)


def test_a_vace_folder_of_another_model_or_without_parts_is_refused(vace_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(vace_folder, folder)
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace("WanVACETransformer3DModel", "WanTransformer3DModel"))
    with pytest.raises(InputError, match="its transformer is a WanTransformer3DModel"):
        WanVacePrior.load(folder, OPTIONS)
    shutil.rmtree(folder / "vae")
    with pytest.raises(InputError, match="lacks vae/"):
        WanVacePrior.load(folder, OPTIONS)


def test_a_damaged_part_is_refused(fun_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(fun_folder, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(InputError, match="vae: not a whole AutoencoderKLWan"):
        WanFunPrior.load(folder, OPTIONS)


def test_info_says_what_a_folder_holds_and_lacks(fun_folder: Path, vace_folder: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert ani3d.main(["prior", "info", str(fun_folder)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["prior"] == "wan-fun-control" and facts["usable"] and facts["lacks"] == []
    assert facts["transformers"]["transformer"]["num_layers"] == 2
    assert facts["transformers"]["transformer"]["parameters"] == sum(
        value.numel() for value in random_tensors(original_shapes()).values())
    assert set(facts["parts"]) == {"vae", "text_encoder", "tokenizer", "image_encoder"}
    assert prior_info(vace_folder)["usable"]
    partial = tmp_path / "partial"
    shutil.copytree(fun_folder, partial, ignore=shutil.ignore_patterns("vae", "*.safetensors"))
    facts = prior_info(partial)
    assert not facts["usable"] and len(facts["lacks"]) == 2 and "vae/" in facts["lacks"][1]
    assert ani3d.main(["prior", "info", str(tmp_path / "nothing")]) == 2


def test_code_that_a_tokenizers_folder_brings_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "own"}')
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": '
                                                  '["own.Own", null]}}')
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Own: pass\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(InputError, match="tokenizer: not a whole tokenizer") as error:
        load_tokenizer(folder)
    assert "\n" not in str(error.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["wan-fun-control", "wan-vace"])
def test_a_backend_without_a_folder_says_which_model_to_give(name: str) -> None:
    with pytest.raises(InputError, match="--prior-path"):
        load_prior(name)
