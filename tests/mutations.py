"""Damaged copies of input files, for every reader: bits flipped, pieces cut, doubled, exchanged, numbers replaced."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sample_fbx
from sample_gltf import write_glb

from baker.avatars import load_avatar
from baker.avatars.body_model import read_betas, read_body_model
from baker.convert import smplx_rig
from baker.gltf_file import open_gltf
from baker.motion_files import read_motion
from baker.motion_files.amass import write_amass
from baker.motion_files.bvh import write_bvh
from baker.motion_files.lhm import write_lhm
from baker.motion_gaits import procedural
from baker.motions import MotionOptions, clip_of, on_rig
from runtime import rotations
from runtime.errors import InputError

NUMBERS = (b"nan", b"inf", b"-1", b"0", b"1e308", b"99999999999", b"-0", b"1e-308", b"", b"x", b"1.5", b"4294967295")


def mutants(data: bytes, rng: np.random.Generator, *, text: bool) -> Iterator[bytes]:
    """Endlessly many damaged copies."""
    while True:
        broken = bytearray(data)
        kind = rng.integers(0, 7)
        a, b = sorted(int(v) for v in rng.integers(0, len(data) + 1, 2))
        b = min(b, a + int(rng.integers(1, 200)))
        if kind == 0:
            for place in rng.integers(0, len(data), int(rng.integers(1, 8))):
                broken[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del broken[a:]
        elif kind == 2:
            del broken[a:b]
        elif kind == 3:
            broken[a:a] = broken[a:b]
        elif kind == 4:
            broken[a:b] = bytes(rng.integers(0, 256, b - a, np.uint8))
        else:
            # A number of the text (of the JSON in a GLB's head) becomes another.
            head = data if text else data[:6000]
            found = list(re.finditer(rb"-?\d+(\.\d+)?", head))
            if not found:
                continue
            pick = found[int(rng.integers(len(found)))]
            word = NUMBERS[int(rng.integers(len(NUMBERS)))]
            if not text:
                word = word[: pick.end() - pick.start()].ljust(pick.end() - pick.start())
            broken[pick.start():pick.end()] = word
        yield bytes(broken)


def npz_mutants(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Damaged copies of an npz: half of the archive, half of one array inside it under a sound checksum."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    outside = mutants(data, rng, text=False)
    inside = {name: mutants(content, rng, text=False) for name, content in members.items()}
    names = sorted(members)
    while True:
        yield next(outside)
        name, made = names[int(rng.integers(len(names)))], io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, next(inside[name]) if member == name else content)
        yield made.getvalue()


def subjects(folder: Path) -> dict[str, tuple[Path, bool, Callable[[], object]]]:
    """Reader name to (file to damage, is it text, what reads it). Small files: damage is likelier to matter."""
    rig = smplx_rig()
    clip = clip_of(procedural("walk", rig, seconds=1.0, fps=2.0), rig)
    write_bvh(folder / "walk.bvh", clip)
    poses = rotations.to_rotvec(np.tile([1.0, 0, 0, 0], (2, 55, 1)))
    write_amass(folder / "pose.npz", poses, np.zeros((2, 3)), fps=30.0)
    write_lhm(folder / "frames", poses, np.zeros((2, 3)))
    (folder / "w.asf").write_text(
        ":units\n length 0.45\n angle deg\n:root\n order TX TY TZ RX RY RZ\n axis XYZ\n orientation 0 0 0\n"
        ":bonedata\nbegin\n name a\n direction 0 1 0\n length 2\n axis 10 20 30 XYZ\n dof rx ry rz\nend\n:hierarchy\n"
        "begin\n root a\nend\n")
    (folder / "w.amc").write_text(":DEGREES\n1\nroot 0 0 0 0 0 0\na 1 2 3\n2\nroot 0 0 1 0 0 0\na 1 2 4\n")
    glb = write_glb(folder / "boxes.glb")
    fbx = sample_fbx.write(folder / "person.fbx", sample_fbx.person(), packed=False)
    document = open_gltf(glb)
    (folder / "boxes.bin").write_bytes(document.binary)
    (folder / "boxes.gltf").write_text(json.dumps(
        {**document.json, "buffers": [{"uri": "boxes.bin", "byteLength": len(document.binary)}]}))
    count = 12
    np.savez(folder / "model.npz", v_template=np.random.default_rng(0).random((count, 3)),
             shapedirs=np.zeros((count, 3, 10)), J_regressor=np.full((24, count), 1 / count),
             weights=np.full((count, 24), 1 / 24), f=np.array([[0, 1, 2]]),
             kintree_table=np.array([[-1, *range(23)], range(24)]))
    (folder / "betas.json").write_text(json.dumps({"betas": [0.1] * 10}))

    def motion(name: str) -> Callable[[], object]:
        def read() -> object:
            return on_rig(read_motion(str(folder / name)), rig, source=name, options=MotionOptions())
        return read

    return {
        "bvh": (folder / "walk.bvh", True, motion("walk.bvh")),
        "amass": (folder / "pose.npz", False, motion("pose.npz")),
        "lhm": (folder / "frames" / "smplx_params" / "00002.json", True, motion("frames")),
        "asf": (folder / "w.asf", True, lambda: read_motion(str(folder / "w.amc"))),
        "amc": (folder / "w.amc", True, lambda: read_motion(str(folder / "w.amc"))),
        "fbx avatar": (fbx, False, lambda: load_avatar(str(fbx), count=100)),
        "glb motion": (glb, False, motion("boxes.glb#0")),
        "glb avatar": (glb, False, lambda: load_avatar(str(glb), count=100)),
        "gltf avatar": (folder / "boxes.gltf", True, lambda: load_avatar(str(folder / "boxes.gltf"), count=100)),
        "gltf motion": (folder / "boxes.gltf", True, motion("boxes.gltf#0")),
        "body model": (folder / "model.npz", False, lambda: read_body_model(folder / "model.npz")),
        "betas": (folder / "betas.json", True, lambda: read_betas(folder / "betas.json")),
    }


def run(folder: Path, *, count: int, seed: int, memory: bool = False) -> dict[str, tuple[int, int]]:
    """Read `count` mutants with every reader; returns (read, refused) by reader.

    Raises whatever is not an `InputError` of one line, with the mutant left in `folder`.
    """
    outcome: dict[str, tuple[int, int]] = {}
    for name, (path, text, read) in subjects(folder).items():
        original = path.read_bytes()
        rng = np.random.default_rng([seed, len(name), sum(name.encode())])
        good = bad = 0
        source = npz_mutants(original, rng) if path.suffix == ".npz" else mutants(original, rng, text=text)
        for data, _ in zip(source, range(count), strict=False):
            path.write_bytes(data)
            if memory:
                tracemalloc.start()
            try:
                read()
                good += 1
            except InputError as error:
                assert "\n" not in str(error) and str(error), name
                bad += 1
            if memory:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert peak < 512 << 20, (name, peak)
        path.write_bytes(original)
        read()
        outcome[name] = good, bad
    return outcome
