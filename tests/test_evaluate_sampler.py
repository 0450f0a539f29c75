"""The sampler's evaluation on tiny clips: every row is there, the coarse row is exact, and the files are written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ani3d
from baker import evaluate_sampler
from baker.evaluate_sampler import EvaluationConfig, measure, samplers, table
from baker.prior_data import CHANNELS, COARSE, GARMENT, POSE, PRESERVED, TRUTH, PriorDataConfig
from baker.priors.embedded import EmbeddedPrior
from baker.sampling_rivals import RIVALS
from tests.test_priors import small_network


def packed_clip(seed: int) -> np.ndarray:
    """A clip [T+1 H X C] of a square that the coarse video shows two pixels off."""
    rng = np.random.default_rng(seed)
    clip = np.zeros((10, 48, 32, CHANNELS), np.uint8)
    clip[..., TRUTH] = clip[..., COARSE] = 128
    color = rng.integers(0, 255, 3)
    clip[:, 20:36, 8:20, TRUTH] = color
    clip[:, 20:36, 10:22, COARSE] = color
    clip[:, 20:36, 8:22, GARMENT] = 255
    clip[:, 4:16, 10:20, PRESERVED] = 255
    clip[:, 8, 14, POSE] = (255, 0, 0)
    return clip


def tiny_prior() -> EmbeddedPrior:
    return EmbeddedPrior(small_network(zero_head=False), weights_sha256="tiny")


def test_every_sampler_has_a_row_in_both_regimes() -> None:
    config = EvaluationConfig(steps=2)
    prior = tiny_prior()
    clips = [packed_clip(0), packed_clip(1)]
    rows, pictures = measure(config, {"pose + reference": replace(prior, sees_coarse=False),
                                      "with coarse video": prior}, clips)
    names = [(row["regime"], row["sampler"]) for row in rows]
    assert len(names) == len(set(names)) == 2 + 2 * len(samplers(config))
    assert all(name in samplers(config) for name in RIVALS)
    coarse = rows[0]
    # The off-by-two square: 4 of 14 columns differ.
    expected = -10 * np.log10(np.mean([4 / 14 * np.mean(((128 - clip[0, 25, 10, TRUTH].astype(float)) / 255) ** 2)
                                       for clip in clips]))
    assert coarse["garment_psnr"] == pytest.approx(expected, abs=1e-3)
    assert coarse["preserved_psnr"] == 99.0 and coarse["worst_gain_db"] == 0.0
    assert all(np.isfinite(list(value for value in row.values() if not isinstance(value, str))).all() for row in rows)
    assert pictures.shape == (48 * (len(rows) + 1), 32 * 6, 3)
    assert len(table(rows).splitlines()) == 1 + len(rows)


def test_the_command_writes_table_numbers_and_strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evaluate_sampler, "held_out_clips", lambda config, folder, progress: [packed_clip(0)])
    monkeypatch.setattr(evaluate_sampler, "load_prior", lambda name, path: tiny_prior())
    code = ani3d.main(["evaluate", "sampler", "-o", str(tmp_path / "out"), "--set", "steps=2", "--json"])
    assert code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "sampler.json").read_text())
    assert printed["config"]["steps"] == 2 and printed["clips"] == 1
    assert (tmp_path / "out" / "sampler.png").is_file() and (tmp_path / "out" / "sampler.txt").is_file()


def test_clips_of_other_motions_are_not_taken_for_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Path] = []

    def made(data: PriorDataConfig, folder: Path, progress: object) -> SimpleNamespace:
        assert data.simulations == 5
        used.append(folder)
        return SimpleNamespace(read=lambda simulation, clip: packed_clip(0))

    monkeypatch.setattr(evaluate_sampler, "make_dataset", made)
    (tmp_path / "motions").mkdir()
    (tmp_path / "motions" / "a.bvh").write_text("one")
    plain, mixed = EvaluationConfig(), EvaluationConfig(motion_folder=str(tmp_path / "motions"))
    for config in (plain, mixed, mixed):
        evaluate_sampler.held_out_clips(config, tmp_path / "clips")
    (tmp_path / "motions" / "a.bvh").write_text("two")
    evaluate_sampler.held_out_clips(mixed, tmp_path / "clips")
    assert used[0] == tmp_path / "clips" and used[1] == used[2] and len(set(used)) == 3


def test_samplers_start_at_the_same_level_and_repeat_with_their_seed() -> None:
    levels: list[float] = []

    def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
        levels.append(sigma)
        return x

    y = torch.ones(2, 3, 4, 4)
    for name, sampler in samplers(EvaluationConfig(steps=3)).items():
        levels.clear()
        first = sampler(velocity, y, torch.ones_like(y), 4)
        assert max(levels) == pytest.approx(5 * 0.6 / 3.4), name
        assert torch.equal(first, sampler(velocity, y, torch.ones_like(y), 4)), name
