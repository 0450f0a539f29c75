"""Training of the embedded prior on tiny drawn clips: it learns, it resumes to the same bits, it refuses mix-ups."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from baker.cloth import ClothConfig
from baker.prior_batches import Batch, BatchConfig, draw_batch, encode_batch
from baker.prior_data import (
    COARSE,
    EXCHANGED,
    FLOW,
    GARMENT,
    POSE,
    PRESERVED,
    TRUTH,
    TRUTH_GARMENT,
    ClipStore,
    PriorDataConfig,
    TrainingClip,
    draw_material,
    encode_flow,
    motion_files_in,
)
from baker.prior_training import PriorTrainConfig, fit, info, losses, noisy, train
from baker.priors.codec import fit_codec, to_bytes, to_signed
from baker.priors.embedded import EmbeddedConfig, EmbeddedPrior, Prediction
from runtime.errors import InputError

FRAMES, HEIGHT, WIDTH = 9, 48, 32


def pendulum_clip(seed: int) -> TrainingClip:
    """A striped cloth on a moving body: in the coarse video it follows the body, in the truth it lags behind."""
    rng = np.random.default_rng(seed)
    times = np.arange(FRAMES)
    phase, swing = rng.uniform(0, 2 * np.pi), rng.uniform(2, 5)
    body = WIDTH / 2 + swing * np.sin(0.6 * times + phase)
    lagging = WIDTH / 2 + swing * np.sin(0.6 * (times - 1.5) + phase)
    color = rng.integers(60, 250, 3)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5

    def draw(cloth_at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        video = np.full((FRAMES, HEIGHT, WIDTH, 3), 128, np.uint8)
        preserved, garment = (np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8) for _ in range(2))
        for t in range(FRAMES):
            head = (np.abs(columns - body[t]) < 4) & (rows < 20)
            # The cloth hangs from the body: its top follows, its hem is where `cloth_at` says.
            middle = body[t] + (cloth_at[t] - body[t]) * np.clip((rows - 18) / 24, 0, 1)
            cloth = (np.abs(columns - middle) < 5 + (rows - 18) / 6) & (rows >= 18) & (rows < 42) & ~head
            video[t][head] = (200, 160, 140)
            stripes = np.where((rows.astype(int) // 4) % 2 == 0, 1.0, 0.6)
            video[t][cloth] = (stripes[..., None] * color)[cloth]
            preserved[t][head], garment[t][cloth] = 255, 255
        return video, preserved, garment

    truth, _, garment = draw(lagging)
    # The cloth of the truth lies `across` pixels further in the coarse video.
    across = (body - lagging)[:, None, None] * np.clip((rows - 18) / 24, 0, 1)
    flow = encode_flow(np.stack([across, np.zeros_like(across)], axis=-1), garment > 0)
    coarse, preserved, coarse_garment = draw(body)
    pose = np.zeros_like(truth)
    for t in range(FRAMES):
        pose[t, 5:30, int(body[t])] = (255, 0, 0)
    return TrainingClip(truth=truth, coarse=coarse, pose=pose, pose_exchanged=pose // 2, preserved=preserved,
                        garment=np.maximum(garment, coarse_garment), truth_garment=garment, flow=flow,
                        reference=coarse[0])


def test_clips_of_any_number_are_listed(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    numbers = [(0, 0), (0, 9), (0, 100), (12, 3), (10_000, 1)]
    for simulation, clip in numbers:
        store.path(simulation, clip).touch()
    (tmp_path / "clip_other.npy").touch()
    assert store.list() == numbers


def filled_store(folder: Path, *, simulations: int, clips: int) -> ClipStore:
    folder.mkdir()
    store = ClipStore(folder)
    for simulation in range(simulations):
        for clip in range(clips):
            store.write(simulation, clip, pendulum_clip(100 * simulation + clip))
    return store


TINY = PriorTrainConfig(
    data=PriorDataConfig(simulations=17, held_out=1),
    network=EmbeddedConfig(layers=1, width=64, features=16, head_width=32, head_blocks=1),
    batch=BatchConfig(size=4, crop_width=32, crop_height=48, crop_frames=9, whole=0.0), validation_clips=4, steps=4,
    checkpoint_every=2, validate_every=100)
ONE_WHOLE = BatchConfig(size=1, crop_width=WIDTH, crop_height=HEIGHT, crop_frames=FRAMES, whole=0.0, coarse_dropout=0.0)


def test_training_beats_the_coarse_video_in_the_garment_region(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=17, clips=4)
    config = replace(TINY, steps=60, learning_rate=2e-3, average=0.95, checkpoint_every=60)
    best = fit(config, store, tmp_path)
    validation = info(best)["validation"]
    garment, whole = validation["garment_psnr"], validation["psnr"]
    assert garment["restored"] > garment["coarse"] + 1.0
    assert garment["codec"] > garment["restored"]
    assert whole["restored"] > whole["coarse"]
    assert (tmp_path / "strips_000060.png").is_file()


def test_fine_tuning_starts_from_the_weights_given_and_keeps_none_that_are_worse(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=17, clips=2)
    config = replace(TINY, steps=40, learning_rate=2e-3, average=0.95, checkpoint_every=40)
    for name in ("first", "tuned", "ruined"):
        (tmp_path / name).mkdir()
    first = EmbeddedPrior.load(fit(config, store, tmp_path / "first")).network
    score = info(tmp_path / "first")["validation"]["garment_psnr"]["restored"]
    fit(replace(config, steps=4), store, tmp_path / "tuned", start=first)
    fit(replace(config, steps=4, learning_rate=3.0), store, tmp_path / "ruined", start=first)
    for name in ("tuned", "ruined"):
        log = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        measured = [entry for entry in log if "kept" in entry]
        # Float16 in the file between.
        assert measured[0]["step"] == 0 and abs(measured[0]["garment_psnr"]["restored"] - score) < 0.02
        assert measured[1]["step"] == 4
        best = max(entry["garment_psnr"]["restored"] for entry in measured)
        assert info(tmp_path / name)["validation"]["garment_psnr"]["restored"] == best
    assert not measured[1]["kept"]


def test_motions_of_a_folder_are_all_kinds_that_are_long_enough(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    bvh = ("HIERARCHY\nROOT Hips\n{\n OFFSET 0 0 0\n CHANNELS 3 Xposition Yposition Zposition\n End Site\n {\n"
           "  OFFSET 0 1 0\n }\n}\nMOTION\n")
    for name, frames, step in (("long.bvh", 40, 1 / 30), ("deep/er/SHORT.BVH", 9, 1 / 30),
                               ("deep/fast.bvh", 60, 1 / 120), ("deep/slow.bvh", 9, 0.2)):
        (tmp_path / name).write_text(f"{bvh}Frames: {frames}\nFrame Time: {step}\n" + "0 0 0\n" * frames)
    (tmp_path / "LICENSE").write_text("free")
    assert [path.name for path in motion_files_in(tmp_path, frames=33)] == ["slow.bvh", "long.bvh"]
    with pytest.raises(InputError, match="no motions of 33 frames or more"):
        motion_files_in(tmp_path / "deep" / "er", frames=33)


def test_drawn_materials_repeat_and_spread_about_the_usual_one() -> None:
    drawn = [draw_material(np.random.default_rng(seed)) for seed in range(200)]
    assert drawn[3] == draw_material(np.random.default_rng(3))
    for name, low, high in (("density", 0.5, 1.8), ("bend_compliance", 0.02, 30.0), ("drag", 0.75, 1.25)):
        ratios = np.array([getattr(material, name) for material in drawn]) / getattr(ClothConfig(), name)
        assert low <= ratios.min() < 0.85 and 1.15 < ratios.max() <= high and 0.75 < np.median(ratios) < 1.3, name
    assert all(material.substeps == ClothConfig().substeps for material in drawn)


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_killed_training_ends_at_the_same_bits(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=3, clips=2)

    def kill_at_3(done: int, total: int, text: str) -> None:
        if done == 3:
            raise Killed

    for name in ("straight", "killed"):
        (tmp_path / name).mkdir()
    with pytest.raises(Killed):
        fit(TINY, store, tmp_path / "killed", kill_at_3)  # its last checkpoint is step 2
    for name in ("straight", "killed"):
        with contextlib.suppress(InputError):  # four steps need not beat the coarse video
            fit(TINY, store, tmp_path / name)
    straight, killed = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("straight", "killed"))
    assert straight.keys() == killed.keys()
    assert all(torch.equal(straight[name], killed[name]) for name in straight)
    moved = [name for name in straight if name.startswith("network.")
             and not torch.equal(straight[name], straight[name.replace("network.", "average.")])]
    assert moved, "nothing was trained"


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    filled_store(tmp_path / "clips", simulations=2, clips=1)
    config = replace(TINY, data=PriorDataConfig(simulations=2, held_out=1, clips_per_simulation=1))
    with contextlib.suppress(InputError):
        train(config, tmp_path)  # every clip is there: nothing is simulated
    assert (tmp_path / "checkpoint.safetensors").is_file()
    with pytest.raises(InputError, match=r"config\.json: this folder holds a training with other settings"):
        train(replace(config, seed=5), tmp_path)


def test_without_held_out_clips_training_is_refused(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=1)
    with pytest.raises(InputError, match="0 training and 1 held-out"):
        fit(TINY, store, tmp_path)


def test_a_stored_clip_comes_back_whole(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=2)
    clip, packed = pendulum_clip(1), store.read(0, 1)
    assert store.list() == [(0, 0), (0, 1)]
    for part, content in ((TRUTH, clip.truth), (COARSE, clip.coarse), (POSE, clip.pose),
                          (EXCHANGED, clip.pose_exchanged), (PRESERVED, clip.preserved), (GARMENT, clip.garment),
                          (FLOW, clip.flow), (TRUTH_GARMENT, clip.truth_garment)):
        assert np.array_equal(packed[:-1, ..., part], content)
    assert np.array_equal(packed[-1, ..., TRUTH], clip.reference)


def test_a_flipped_batch_shows_the_exchanged_pose(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=1)
    clip = store.read(0, 0)
    codec = fit_codec(torch.randn(500, 192, generator=torch.Generator().manual_seed(0)), channels=192)
    config = replace(ONE_WHOLE, recolor=0.0)
    seen = set()
    for seed in range(8):
        batch = draw_batch(config, [clip], codec, np.random.default_rng(seed))
        pose = to_bytes(codec.decode(batch.inputs.pose))[0].numpy()
        flipped = not np.array_equal(pose, clip[:-1, ..., POSE])
        if flipped:
            assert np.array_equal(pose, clip[:-1, ..., EXCHANGED][:, :, ::-1])
        truth = to_bytes(codec.decode(batch.truth))[0].numpy()
        assert np.array_equal(truth, clip[:-1, ..., TRUTH][:, :, :: -1 if flipped else 1])
        frame = np.asarray(clip[6, ..., FLOW.start]).astype(float)[:, :: -1 if flipped else 1]
        flow, weight = (value.unflatten(1, (4, 2))[0, 1, 0, 2].numpy() for value in (batch.flow, batch.flow_weight))
        whole = block_mean(frame > 0) == 1  # patches the cloth fills
        expected = block_mean((frame - 128) / 2 * (-1 if flipped else 1))
        assert whole.sum() > 5 and (weight[whole] == 1).all()
        np.testing.assert_allclose(flow[whole], expected[whole], atol=1e-4)
        seen.add(flipped)
    assert seen == {False, True}


def block_mean(frame: np.ndarray) -> np.ndarray:
    return frame.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean((1, 3))


def test_the_flow_counts_only_where_it_is_known_garment_of_the_truth(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=1)
    packed = np.array(store.read(0, 0))
    packed[..., FLOW], packed[..., TRUTH_GARMENT] = 0, 0
    packed[:, 8:16, 12:20, FLOW] = 128 + np.uint8(12)  # two by two patches: 6 px both ways
    packed[:, 8:16, 12:18, TRUTH_GARMENT] = 255
    batch = whole_batch(packed)
    flow, weight = batch.flow[0, :, 0], batch.flow_weight[0, 0, 0]
    assert (flow[:, 2:4, 3:5] == 6).all() and not flow[:, :, 5:].any()
    assert weight[2, 3] == 1 and weight[2, 4] == 0.5 and weight.sum() == 3


def whole_batch(packed: np.ndarray, *, seen: float = 1.0) -> Batch:
    codec = fit_codec(torch.randn(500, 192, generator=torch.Generator().manual_seed(0)), channels=192)
    return encode_batch(torch.from_numpy(packed[None]), torch.full((1, 3), 128, dtype=torch.uint8), codec,
                        sees_coarse=torch.tensor([seen]), still_weight=0.3)


def test_every_pixel_is_kept_garment_or_uncovered(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=1)
    packed = np.array(store.read(0, 0))
    kept, garment, uncovered = whole_batch(packed).shares[:, 0].numpy()
    np.testing.assert_allclose(kept + garment + uncovered, 1.0, atol=1e-6)
    np.testing.assert_array_equal(garment, packed[:-1, ..., TRUTH_GARMENT] / np.float32(255))
    same = (packed[:-1, ..., TRUTH] == packed[:-1, ..., COARSE]).all(-1)
    assert (kept[same & (garment == 0)] == 1).all()
    bare = (packed[:-1, ..., COARSE] != 128).any(-1) & (packed[:-1, ..., TRUTH] == 128).all(-1)
    assert bare.sum() > 20 and (uncovered[bare] == 1).all()


def test_losses_vanish_for_a_perfect_answer_and_ignore_layers_of_clips_without_the_coarse_video(
        tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=1)
    codec = fit_codec(torch.randn(500, 192, generator=torch.Generator().manual_seed(0)), channels=192)
    batch = whole_batch(np.array(store.read(0, 0)))
    shares = torch.cat([batch.shares, torch.zeros_like(batch.shares[:1])])
    right = Prediction(x0=batch.truth, log_shares=shares.clamp_min(1e-12).log(), flow=batch.flow, composed=batch.video)
    assert all(float(value) < 1e-4 for value in losses(batch, right, codec).values())
    wrong = replace(right, flow=batch.flow + 5, composed=-batch.video, log_shares=right.log_shares.flip(0))
    found = losses(batch, wrong, codec)
    assert found["flow_px"] == pytest.approx(4.5, abs=1e-3)  # Huber's: 5 - 1/2
    assert found["composed"] > 0.1 and found["layers"] > 1 and found["restored"] < 1e-4
    blind = losses(whole_batch(np.array(store.read(0, 0)), seen=0.0), wrong, codec)
    assert blind["flow_px"] == blind["composed"] == blind["layers"] == 0


def test_noisy_latents_carry_the_coarse_video_as_the_samplers_steps_do(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=1)
    batch = whole_batch(np.array(store.read(0, 0)))
    y, truth = batch.inputs.coarse, batch.truth
    config = replace(TINY, start=0.0)
    x, sigma = noisy(config, batch, np.random.default_rng(1), torch.Generator().manual_seed(2))
    s = float(sigma[0])
    s0 = max(15 / 17, s)  # a time above the start is a start of its own
    eps = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    # Euler from s0 to s along x0 = truth: x' = (s / s0) x + (1 - s / s0) x0.
    expected = s / s0 * (s0 * eps + (1 - s0) * y) + (1 - s / s0) * truth
    torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)
    x, sigma = noisy(replace(TINY, start=1.0), batch, np.random.default_rng(1), torch.Generator().manual_seed(2))
    s0 = 15 / 17
    assert float(sigma[0]) == pytest.approx(s0)
    torch.testing.assert_close(x, s0 * eps + (1 - s0) * y, atol=1e-4, rtol=0)
    blind = whole_batch(np.array(store.read(0, 0)), seen=0.0)
    x, sigma = noisy(config, blind, np.random.default_rng(1), torch.Generator().manual_seed(2))
    torch.testing.assert_close(x, sigma * eps + (1 - sigma) * truth, atol=1e-4, rtol=0)


def test_recolouring_treats_truth_coarse_and_reference_alike(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "clips", simulations=1, clips=1)
    clip = np.array(store.read(0, 0))
    clip[..., COARSE] = clip[..., TRUTH]
    codec = fit_codec(torch.randn(500, 192, generator=torch.Generator().manual_seed(0)), channels=192)
    config = replace(ONE_WHOLE, recolor=1.0)
    batch = draw_batch(config, [clip], codec, np.random.default_rng(4))
    assert torch.equal(batch.truth, batch.inputs.coarse)
    assert not torch.equal(batch.truth, codec.encode(to_signed(torch.from_numpy(clip[None, :-1, ..., TRUTH]))))
