"""Whole bakes at tiny size: they resume after a kill at any stage with the same bytes, and redo only what changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from baker.stages import STAGES
from runtime.bundle import read_bundle
from runtime.decoders.onnx_model import onnx_model

ROOT = Path(__file__).resolve().parent.parent
CHARACTER = ROOT.parent / "shared" / "data" / "cc0_human" / "cc0_character_f01.npz"
WALK = ROOT.parent / "shared" / "data" / "motion" / "amass_layout_npz" / "cmu_02_01_walk.npz"
SMALL = ["--gaussians", "6000", "--frames", "0:9", "--set", "coarse.trajectories=2", "--set", "coarse.width=64",
         "--set", "coarse.height=112"]
QUICK = ["--set", "optimise.iterations=24", "--set", "optimise.checkpoint_every=5",
         "--set", "optimise.update_every=12", "--residual-mlp"]


def command(output: Path, *extra: str, avatar: str = "builtin", motion: str = "twirl") -> list[str]:
    return [sys.executable, "-m", "ani3d", "bake", avatar, motion, "-o", str(output), *SMALL, *QUICK, *extra]


def run(argv: list[str]) -> None:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """A finished tiny bake of the built-in person."""
    output = tmp_path_factory.mktemp("unbroken") / "x.bake"
    run(command(output))
    return output


def bundle_bytes(bake: Path) -> bytes:
    return (bake / "060_bundle" / f"{bake.stem}.ani3d").read_bytes()


def fingerprints(bake: Path) -> dict[str, tuple[str, int]]:
    """Fingerprint and time of writing of every stage."""
    return {name: (json.loads((bake / name / "stage.json").read_text())["fingerprint"],
                   (bake / name / "stage.json").stat().st_mtime_ns) for name in STAGES}


def test_bake_leaves_every_stage_a_readable_bundle_and_a_report(unbroken):
    assert {p.name for p in unbroken.iterdir() if p.is_dir()} == set(STAGES)
    bundle = read_bundle(unbroken / "060_bundle" / "x.ani3d")
    clip = bundle.clips[0]
    assert clip.motion.frames == 9 and clip.residual.frames == 9
    moves = bundle.gaussians.may_move
    assert np.array_equal(np.flatnonzero(moves), clip.residual.moving)
    assert bundle.pose_residual is not None
    assert (unbroken / "060_bundle" / "residual.onnx").read_bytes() == onnx_model(bundle.pose_residual)
    learnt = json.loads((unbroken / "060_bundle" / "stage.json").read_text())["metrics"]
    assert 0 < learnt["residual_mlp_error_mm"] < learnt["residual_mlp_rigid_error_mm"]
    page = (unbroken / "070_report" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2 and "data:video/mp4;base64," in page and "<polyline" in page
    assert "LPIPS" in page


def reached(bake: Path, stage: str) -> bool:
    """Whether a running bake is inside `stage` (in the optimisation: past its first checkpoint), or just left it."""
    part = bake / f"{stage}.part"
    inside = any(part.glob("checkpoint*")) if stage == "040_optimise" else part.exists()
    return inside or (bake / stage).exists()


def test_killed_in_each_long_stage_the_bundle_has_the_same_bytes(unbroken, tmp_path):
    bake = tmp_path / "x.bake"
    killed = []
    for stage in ("010_avatar", "020_coarse", "030_restore", "040_optimise", "050_distil", "070_report"):
        process = subprocess.Popen(command(bake), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not reached(bake, stage):
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed.append(stage)
        process.wait()
    assert {"020_coarse", "030_restore", "040_optimise"} <= set(killed)
    run(command(bake))
    assert bundle_bytes(bake) == bundle_bytes(unbroken)


def test_changed_optimisation_reruns_optimise_and_later_and_nothing_earlier(unbroken):
    before = fingerprints(unbroken)
    content = bundle_bytes(unbroken)
    run(command(unbroken, "--set", "optimise.iterations=25"))
    after = fingerprints(unbroken)
    same = [name for name in STAGES if before[name] == after[name]]
    assert same == ["000_sources", "010_avatar", "020_coarse", "030_restore"]
    run(command(unbroken))
    assert bundle_bytes(unbroken) == content


@pytest.mark.skipif(not CHARACTER.exists(), reason="needs ../shared/data beside the repository")
def test_real_person_and_motion_bake_from_a_cloth_simulation(tmp_path):
    bake = tmp_path / "f01.bake"
    run(command(bake, "--parts", "body,longskirt,shoes,hair,eyes,eyebrows,eyelashes", "--supervision", "simulation",
                avatar=str(CHARACTER), motion=str(WALK)))
    bundle = read_bundle(bake / "060_bundle" / "f01.ani3d")
    assert bundle.rig.joint_count == 55 and bundle.clips[0].motion.frames == 9
