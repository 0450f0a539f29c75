"""`ani3d evaluate bake` at a tiny size: every method runs, and a second run measures nothing again."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baker import evaluate_bake
from baker.bake import elevation, total_turn
from baker.config import CoarseConfig
from baker.evaluate_bake import BakeEvaluationConfig, evaluate
from runtime.errors import InputError
from runtime.types import Motion

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


def test_methods_can_be_chosen_by_name() -> None:
    assert replace(TINY, only="truth").methods == ("rigid", "truth")
    assert replace(TINY, only="rigid,prior_density").methods == ("rigid", "prior_density")
    with pytest.raises(InputError, match=r"no 'thruth'; there are rigid_lhm"):
        replace(TINY, only="thruth").methods  # noqa: B018


def test_trajectories_keep_the_priors_camera_speed_and_see_all_sides_of_a_short_clip() -> None:
    config = CoarseConfig(trajectories=4)
    for frames, turn in ((181, 4 * math.pi), (46, math.pi), (5, math.pi / 2)):
        motion = Motion(fps=30.0, root_translations=np.zeros((frames, 3), np.float32),
                        quats_wxyz=np.tile(np.float32([1, 0, 0, 0]), (frames, 1, 1)))
        assert total_turn(config, motion) == pytest.approx(turn)
    spread = replace(config, elevation_spread_degrees=5.0)
    assert [round(math.degrees(elevation(spread, k))) for k in range(4)] == [5, 15, 5, 15]
    assert elevation(config, 0) == elevation(config, 1)
