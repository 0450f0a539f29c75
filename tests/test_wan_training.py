"""Training of Wan priors on users' clips: LoRA and all weights, resumed, on two processes, and what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import ani3d
from baker import wan_clips
from baker.priors import load_prior
from baker.priors.wan_fun_control import WanFunPrior
from baker.priors.wan_parts import WanOptions
from baker.priors.wan_tuned import LORA
from baker.wan_clips import list_clips, read_video, read_windows
from baker.wan_training import WanTrainConfig, train_on_clips
from export_formats.mp4 import write_mp4
from runtime.errors import InputError
from tests.tiny_images import random_conditions, random_video
from tests.tiny_wan import write_fun_control, write_vace

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = WanOptions(device="cpu", dtype=torch.float32, offload=False, tiling=False, guidance_scale=1.0)
TINY = WanTrainConfig(steps=4, lora_rank=2, lora_alpha=4.0, learning_rate=1e-2, warm_up=2, width=32, height=32,
                      frames=9, checkpoint_every=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fun_control(tmp_path_factory.mktemp("fun"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i, name in enumerate(("anna", "berta", "carla")):
        (folder / name).mkdir()
        write_mp4(random_video(11, 48, 40, seed=i), folder / name / "video.mp4", fps=16, size=(40, 48))
        write_mp4(random_video(11, 48, 40, seed=9 + i), folder / name / "pose.mp4", fps=16, size=(40, 48))
        Image.fromarray(random_video(1, 48, 40, seed=20 + i)[0]).save(folder / name / "reference.png")
    (folder / "anna" / "prompt.txt").write_text("a person moving")
    return folder


def velocity(prior: WanFunPrior) -> torch.Tensor:
    x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return prior.velocity(x, 0.6, prior.prepare(random_conditions(9, 32, 32)))


def held_out_losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["held_out_loss"] for line in lines if "held_out_loss" in line]


def test_windows_cover_a_clip_to_its_end_and_keep_its_middle(clips):
    first = list_clips(clips)[0]
    windows = read_windows(first, frames=9, size=(32, 32))
    whole = read_windows(first, frames=9, size=(40, 48))
    assert len(windows) == 2 and windows[0][0].shape == (9, 32, 32, 3) and windows[0][1].prompt == "a person moving"
    assert np.array_equal(windows[0][0][2], windows[1][0][0])  # 11 frames: the second window starts at frame 2
    source = random_video(11, 48, 40, seed=0)
    assert np.abs(whole[0][0].astype(int) - source[:9]).mean() < 6  # H.264 and its half-size chroma
    # 40x48 cut to a square around the middle and scaled by 0.8.
    middle = np.asarray(Image.fromarray(source[0, 4:44]).resize((32, 32), Image.Resampling.LANCZOS))
    assert np.abs(windows[0][0][0].astype(int) - middle).mean() < 6


def test_a_video_that_would_fill_the_memory_is_refused(clips, monkeypatch):
    video = list_clips(clips)[0].video
    frames = len(read_video(video, (32, 48)))
    monkeypatch.setattr(wan_clips, "MOST_BYTES", frames * 3 * 32 * 48)
    assert len(read_video(video, (32, 48))) == frames
    with pytest.raises(InputError, match="cut it into several clips"):
        read_video(video, (48, 48))


def test_lora_learns_and_resumes_to_the_same_bytes(model, clips, tmp_path):
    config = replace(TINY, steps=30, checkpoint_every=10)
    whole = train_on_clips("wan-fun-control", model, clips, tmp_path / "whole", config)
    losses = held_out_losses(tmp_path / "whole")
    assert losses[-1] < 0.9 * losses[0]
    train_on_clips("wan-fun-control", model, clips, tmp_path / "parts", replace(config, steps=20))
    parts = train_on_clips("wan-fun-control", model, clips, tmp_path / "parts", config)
    assert (whole / LORA).read_bytes() == (parts / LORA).read_bytes()


def test_merged_lora_answers_as_it_was_trained(model, clips, tmp_path):
    from peft import LoraConfig, set_peft_model_state_dict

    tuned = train_on_clips("wan-fun-control", model, clips, tmp_path / "out", TINY)
    merged = WanFunPrior.load(model, OPTIONS, tuned=tuned)
    base = WanFunPrior.load(model, OPTIONS)
    before = velocity(base)
    beside = base.experts[0]
    beside.add_adapter(LoraConfig(r=2, lora_alpha=4.0, target_modules=["to_q", "to_k", "to_v", "to_out.0",
                                                                       "net.0.proj", "net.2"]))
    with safe_open(tuned / LORA, framework="pt") as file:
        state = {name.removeprefix("transformer."): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    set_peft_model_state_dict(beside, state)
    assert torch.allclose(velocity(merged), velocity(base), atol=1e-5)
    assert (velocity(merged) - before).abs().max() > 1e-3
    assert merged.fingerprint != base.fingerprint


@pytest.mark.parametrize("backend", ["wan-fun-control", "wan-vace"])
def test_all_weights_can_be_trained_and_load_again(backend, model, clips, tmp_path):
    folder = model if backend == "wan-fun-control" else write_vace(tmp_path / "vace")
    tuned = train_on_clips(backend, folder, clips, tmp_path / "out",
                           replace(TINY, lora_rank=0, learning_rate=1e-3, steps=2))
    before, after = load_prior(backend, folder), load_prior(backend, folder, tuned=tuned)
    assert (velocity(after) - velocity(before)).abs().max() > 1e-4


def test_vace_takes_a_lora(clips, tmp_path):
    folder = write_vace(tmp_path / "vace")
    tuned = train_on_clips("wan-vace", folder, clips, tmp_path / "out", TINY)
    assert (tuned / "transformer" / LORA).is_file()
    change = velocity(load_prior("wan-vace", folder, tuned=tuned)) - velocity(load_prior("wan-vace", folder))
    assert change.abs().max() > 1e-4


def test_each_expert_learns_on_its_own_noise_levels(clips, tmp_path):
    folder = write_fun_control(tmp_path / "two", experts=True)
    tuned = train_on_clips("wan-fun-control", folder, clips, tmp_path / "out", replace(TINY, steps=2, experts="low"))
    assert [path.parent.name for path in tuned.rglob(LORA)] == ["low_noise_model"]
    base, trained = (load_prior("wan-fun-control", folder, tuned=which) for which in (None, tuned))
    inputs = base.prepare(random_conditions(9, 32, 32))
    x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(base.velocity(x, 0.9, inputs), trained.velocity(x, 0.9, inputs))
    assert not torch.equal(base.velocity(x, 0.5, inputs), trained.velocity(x, 0.5, inputs))


def test_two_processes_average_their_gradients(model, clips, tmp_path):
    """Two processes of one window each equal one process of two windows."""
    alone = train_on_clips("wan-fun-control", model, clips, tmp_path / "alone", replace(TINY, steps=2, batch=2))
    settings = [f"--set={name}={getattr(TINY, name)}" for name in
                ("lora_rank", "lora_alpha", "learning_rate", "warm_up", "width", "height", "frames")]
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
         "--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no",
         "--num_cpu_threads_per_process", "1", "-m", "ani3d", "prior", "train", "--backend", "wan-fun-control",
         "--prior-path", str(model), "--clips", str(clips), "-o",
         str(tmp_path / "pair"), "--set=steps=2", *settings],
        cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with safe_open(alone / LORA, framework="pt") as one, \
            safe_open(tmp_path / "pair" / "tuned" / LORA, framework="pt") as two:
        assert set(one.keys()) == set(two.keys())
        for name in one.keys():  # noqa: SIM118
            assert torch.allclose(one.get_tensor(name), two.get_tensor(name), atol=2e-5), name


def test_bad_input_is_said(model, clips, tmp_path):
    def refused(match: str, *, backend: str = "wan-fun-control", folder: Path = clips, **changes) -> None:
        with pytest.raises(InputError, match=match):
            train_on_clips(backend, model, folder, tmp_path / "out", replace(TINY, **changes))

    refused("4 k", frames=10)
    refused("multiples of 16", width=40)
    refused("not trained on clips", backend="embedded")
    refused("no such folder", folder=tmp_path / "nowhere")
    refused("fewer than a window of 81", frames=81)
    train_on_clips("wan-fun-control", model, clips, tmp_path / "out2", replace(TINY, steps=1))
    with pytest.raises(InputError, match="other settings"):
        train_on_clips("wan-fun-control", model, clips, tmp_path / "out2", replace(TINY, lora_rank=3))
    incomplete = tmp_path / "clips"
    (incomplete / "doris").mkdir(parents=True)
    refused("has no video.mp4", folder=incomplete)
    (incomplete / "doris" / "video.mp4").write_bytes(b"not a video")
    (incomplete / "doris" / "pose.mp4").write_bytes(b"neither")
    (incomplete / "doris" / "reference.png").write_bytes(b"nor a picture")
    refused("cannot be read as a video", folder=incomplete)


def test_a_lora_of_another_model_is_refused(model, clips, tmp_path):
    tuned = train_on_clips("wan-fun-control", model, clips, tmp_path / "out", replace(TINY, steps=1))
    with pytest.raises(InputError, match="holds neither"):
        load_prior("wan-fun-control", model, tuned=tmp_path / "nothing")
    whole = (tuned / LORA).read_bytes()
    (tuned / LORA).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a LoRA"):
        load_prior("wan-fun-control", model, tuned=tuned)
    from safetensors.torch import save_file

    save_file({"blocks.0.attn1.to_q.lora_A.weight": torch.zeros(2, 5),
               "blocks.0.attn1.to_q.lora_B.weight": torch.zeros(5, 2)}, tuned / LORA)
    with pytest.raises(InputError, match="does not fit"):
        load_prior("wan-fun-control", model, tuned=tuned)


def test_command_says_what_it_needs(capsys, tmp_path):
    assert ani3d.main(["prior", "train", "--backend", "wan-vace", "-o", str(tmp_path / "x")]) == 2
    assert "--clips" in capsys.readouterr().err
