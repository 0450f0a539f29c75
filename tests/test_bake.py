"""Whole bakes at tiny size: they resume after a kill at any stage with the same bytes, and redo only what changed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_gltf import write_glb

from baker import bake as bake_module
from baker.bake import BakeRequest, describe_sources, optimise_inputs
from baker.config import preset, with_settings
from baker.stages import STAGES
from baker.supervision import CPU
from runtime.bundle import read_bundle
from runtime.decoders.onnx_model import onnx_model
from runtime.errors import InputError

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


def sources(avatar: str = "builtin", motion: str = "walk", **choices: object) -> dict:
    return describe_sources(BakeRequest(avatar=avatar, motion=motion, output=Path("x.bake"), **choices))


def paint(path: Path, grey: int) -> Path:
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(path)
    return path


def test_every_file_that_an_avatar_is_read_from_counts(tmp_path):
    # 1. A texture beside a mesh; a picture that nothing reads does not.
    mesh = str(write_glb(tmp_path / "person.glb", external_texture=paint(tmp_path / "skin.png", 0).name))
    before = sources(mesh)
    paint(tmp_path / "other.png", 9)
    assert sources(mesh) == before
    paint(tmp_path / "skin.png", 200)
    assert sources(mesh) != before
    # 2. A character's textures, wherever they were found.
    character = tmp_path / "who.npz"
    np.savez(character, parts=np.array([["body", "cloth.png"], ["collider", ""]]))
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    paint(tmp_path / "a" / "cloth.png", 1), paint(tmp_path / "b" / "cloth.png", 2)
    first, second = (sources(str(character), textures=tmp_path / name) for name in ("a", "b"))
    paint(tmp_path / "b" / "cloth.png", 1)
    assert first != second and sources(str(character), textures=tmp_path / "b") == first
    # 3. A SOG's pictures.
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "meta.json").write_text("{}")
    (tmp_path / "scan" / "means_l.webp").write_bytes(b"1")
    described = [sources(str(tmp_path / "scan" / name)) for name in ("", "meta.json")]
    (tmp_path / "scan" / "means_l.webp").write_bytes(b"2")
    assert all(sources(str(tmp_path / "scan" / name)) != old for name, old in
               zip(("", "meta.json"), described, strict=True))


def test_every_file_that_a_motion_is_read_from_counts(tmp_path):
    (tmp_path / "02.asf").write_text("one")
    (tmp_path / "02_01.amc").write_text("two")
    before = sources(motion=str(tmp_path / "02_01.amc"))
    (tmp_path / "02.asf").write_text("three")
    assert sources(motion=str(tmp_path / "02_01.amc")) != before


def test_lpips_weights_are_read_at_the_door_and_count_by_content(tmp_path):
    weights = tmp_path / "vgg.safetensors"
    config = with_settings(preset("draft"), [f"optimise.lpips_weights={weights}", "optimise.lpips=0.1"])
    with pytest.raises(InputError, match=r"vgg\.safetensors"):
        bake_module.bake(BakeRequest(avatar="builtin", motion="walk", output=tmp_path / "x.bake"), config)
    assert not (tmp_path / "x.bake").exists()
    weights.write_bytes(b"one")
    before = optimise_inputs(config.optimise, CPU)
    weights.write_bytes(b"two")
    assert optimise_inputs(config.optimise, CPU) != before
    plain = preset("draft").optimise
    assert optimise_inputs(plain, CPU) == asdict(plain) | asdict(CPU)


def test_output_without_a_name_takes_its_folders_and_a_seed_below_zero_is_refused(tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    def seen(request: BakeRequest) -> dict:
        raise Stopped(request.output)

    monkeypatch.setattr(bake_module, "describe_sources", seen)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for text, expected in ((".", (tmp_path / "here").resolve()), ("..", tmp_path.resolve()), ("x", Path("x"))):
        with pytest.raises(Stopped) as stopped:
            bake_module.bake(BakeRequest(avatar="builtin", motion="walk", output=Path(text)), preset("draft"))
        assert stopped.value.args == (expected,)
    with pytest.raises(InputError, match="--seed -1: must be 0 or more"):
        bake_module.bake(BakeRequest(avatar="builtin", motion="walk", output=Path("x"), seed=-1), preset("draft"))


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
