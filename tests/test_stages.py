"""Stages: done once, redone when their inputs change, whole or absent whatever kills them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from baker import stages
from runtime.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


def count_work(log: list[str], name: str):
    def work(part: Path) -> dict:
        log.append(name)
        (part / "out.txt").write_text(name)
        return {"size_bytes": len(name)}
    return work


def test_finished_stage_is_reused_and_only_dependents_of_a_change_run_again(tmp_path):
    log: list[str] = []

    def pipeline(first: int, second: int) -> None:
        a = stages.run_stage(tmp_path, "010_a", config={"x": first}, inputs=[], work=count_work(log, "a"))
        b = stages.run_stage(tmp_path, "020_b", config={"y": second}, inputs=[a], work=count_work(log, "b"))
        stages.run_stage(tmp_path, "030_c", config={}, inputs=[b], work=count_work(log, "c"))

    pipeline(1, 1)
    pipeline(1, 1)
    assert log == ["a", "b", "c"]
    pipeline(1, 2)
    assert log == ["a", "b", "c", "b", "c"]
    record = json.loads((tmp_path / "020_b" / "stage.json").read_text())
    assert record["metrics"] == {"size_bytes": 1} and record["seconds"] >= 0


def test_failed_stage_leaves_no_finished_folder_and_continues_in_its_part_folder(tmp_path):
    def fails(part: Path) -> dict:
        (part / "half").write_text("kept")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        stages.run_stage(tmp_path, "010_a", config={}, inputs=[], work=fails)
    assert not (tmp_path / "010_a").exists()

    seen = {}

    def finishes(part: Path) -> dict:
        seen["half"] = (part / "half").read_text()
        return {}

    stages.run_stage(tmp_path, "010_a", config={}, inputs=[], work=finishes)
    assert seen == {"half": "kept"} and not (tmp_path / "010_a.part").exists()


def test_part_folder_of_another_config_is_dropped(tmp_path):
    part = tmp_path / "010_a.part"
    part.mkdir()
    (part / "fingerprint").write_text("of something else")
    (part / "half").write_text("stale")
    result = stages.run_stage(tmp_path, "010_a", config={}, inputs=[], work=lambda p: {"stale": (p / "half").exists()})
    assert result.metrics == {"stale": False}


def test_a_finished_folder_that_was_being_removed_is_never_taken_for_whole(tmp_path, monkeypatch):
    def pipeline(value: int) -> str:
        done = stages.run_stage(tmp_path, "010_a", config={"x": value}, inputs=[],
                                work=lambda part: (part / "out.txt").write_text(str(value)) and {})
        return (done.path / "out.txt").read_text()

    def killed_half_way(folder: Path) -> None:
        (folder / "out.txt").unlink()
        raise KeyboardInterrupt

    pipeline(1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages.shutil, "rmtree", killed_half_way)
        pipeline(2)
    assert pipeline(1) == "1"
    assert pipeline(2) == "2"


def test_a_stage_killed_between_its_record_and_its_renaming_is_not_worked_again(tmp_path, monkeypatch):
    log: list[str] = []

    def pipeline() -> stages.StageResult:
        return stages.run_stage(tmp_path, "010_a", config={}, inputs=[], work=count_work(log, "a"))

    def killed(*paths: Path) -> None:
        if Path(paths[1]).name == "010_a":
            raise KeyboardInterrupt
        rename(*paths)

    rename = os.replace
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages.os, "replace", killed)
        pipeline()
    done = pipeline()
    assert log == ["a"] and done.metrics == {"size_bytes": 1} and (done.path / "out.txt").read_text() == "a"
    assert {p.name for p in done.path.iterdir()} == {"out.txt", "stage.json"}


def test_kill_during_a_stage_loses_only_that_stage(tmp_path):
    code = ("import os, signal, sys; from pathlib import Path; from baker import stages\n"
            "bake = Path(sys.argv[1])\n"
            "a = stages.run_stage(bake, '010_a', config={}, inputs=[], work=lambda p: {})\n"
            "stages.run_stage(bake, '020_b', config={}, inputs=[a],\n"
            "                 work=lambda p: os.kill(os.getpid(), signal.SIGKILL))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "010_a" / "stage.json").exists() and not (tmp_path / "020_b").exists()


def test_second_bake_in_the_same_folder_is_refused(tmp_path):
    lock = stages.open_bake(tmp_path / "x.bake")
    code = ("import sys; from pathlib import Path; from baker import stages; from runtime.errors import InputError\n"
            "try: stages.open_bake(Path(sys.argv[1]))\nexcept InputError as e: print(e)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.bake")], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    lock.release()
    assert "another bake is running" in done.stdout


def test_output_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        stages.open_bake(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be written"):
        stages.open_bake(tmp_path / "file" / "x.bake")
    if os.path.isdir("/proc"):
        with pytest.raises(InputError, match="cannot be written"):
            stages.open_bake(Path("/proc/x.bake"))
