"""`ani3d evaluate bake` at a tiny size: every method runs, and a second run measures nothing again."""

import json
from pathlib import Path

import pytest

from baker import evaluate_bake
from baker.evaluate_bake import BakeEvaluationConfig, evaluate

TINY = BakeEvaluationConfig(cases=1, frames=5, gaussians=1500, iterations=2,
                            ablations="truth_single_layer,truth_pose_mlp,truth_bullet_time,prior_dataset_update")


def test_every_method_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = evaluate(TINY, tmp_path)
    assert [row["method"] for row in result["means"]] == list(TINY.methods)
    assert json.loads((tmp_path / "bake.json").read_text())["rows"] == result["rows"]
    assert (tmp_path / "case_00.png").stat().st_size > 1000
    learnt = [row for row in result["rows"] if not row["method"].startswith("rigid")]
    assert all(row["supervised_psnr_db"] > 15 for row in learnt)
    assert all(10 < row["psnr_db"] < 50 for row in result["rows"])

    def fail(*_: object) -> None:
        raise AssertionError("measured again")
    monkeypatch.setattr(evaluate_bake, "make_case", fail)
    assert evaluate(TINY, tmp_path)["means"] == result["means"]
