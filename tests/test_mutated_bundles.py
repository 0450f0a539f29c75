"""A thousand damaged and hostile bundles: each is refused by name in one line, or plays; none costs time or memory."""

from __future__ import annotations

import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_bundle import make_bundle

from runtime import archive
from runtime.actor import Actor
from runtime.bench_play import memory_peak_mib
from runtime.bundle import read_bundle, write_bundle
from runtime.cameras import orbit_camera
from runtime.errors import InputError
from runtime.raster import render
from runtime.stage import Stage
from runtime.types import Clip, PoseResidual, Residual

CAMERA = orbit_camera(np.zeros(3), azimuth=0.3, elevation=0.1, distance=3.0, fov_y=0.8, size=(16, 16))
MOST_MIB = 160
"""What reading a file of some kilobytes may take: 64 MiB inflated, and its checks."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle with a baked, a dense and a driven clip."""
    bundle = make_bundle(count=9, joints=3, frames=3, basis=2)
    dense = make_bundle(count=9, joints=3, frames=3, dense=True, texel_type=np.int16).clips[0]
    none = {name: replace(getattr(bundle.clips[0].residual, name), mean=np.zeros((0, 3), np.float32),
                          texels=np.zeros((2, 0, 3), np.int8)) for name in ("d_means", "d_rotations", "d_log_scales")}
    driven = Clip(name="driven", motion=bundle.clips[0].motion, residual=Residual(moving=np.zeros(0, np.int64), **none))
    rng = np.random.default_rng(0)
    network = PoseResidual(
        clip=0, counts=(2, 1, 0), lags=np.float32([0, 0.1]), joints=np.array([1, 2]),
        input_range=np.tile(np.float32([0, 1]), (30, 1)), output_range=np.tile(np.float32([-1, 1]), (3, 1)),
        weights=(rng.normal(size=(4, 30)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)),
        biases=(np.zeros(4, np.float32), np.zeros(3, np.float32)))
    path = tmp_path_factory.mktemp("sound") / "sound.ani3d"
    clips = (*bundle.clips, replace(dense, name="dense"), driven)
    write_bundle(replace(bundle, clips=clips, pose_residual=network), path)
    return path


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}


def flip_bits(content: bytes, entries: dict[str, bytes], rng: np.random.Generator, path: Path) -> None:
    """One to eight bits of the file."""
    damaged = bytearray(content)
    for bit in rng.integers(0, 8 * len(content), rng.integers(1, 9)):
        damaged[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(damaged)


def cut(content: bytes, entries: dict[str, bytes], rng: np.random.Generator, path: Path) -> None:
    """A piece is missing, at the end or inside."""
    start, length = rng.integers(0, len(content)), rng.integers(1, 400)
    path.write_bytes(content[:start] if rng.random() < 0.5 else content[:start] + content[start + length:])


def damage_a_block(content: bytes, entries: dict[str, bytes], rng: np.random.Generator, path: Path) -> None:
    """Other bytes in a block of a sound zip: no checksum notices."""
    names = [name for name in entries if name != "manifest.json" and entries[name]]
    name = names[rng.integers(len(names))]
    block = bytearray(entries[name])
    for place in rng.integers(0, len(block), rng.integers(1, 5)):
        block[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
    archive.write_archive(path, entries | {name: bytes(block)})


def absurd_counts(content: bytes, entries: dict[str, bytes], rng: np.random.Generator, path: Path) -> None:
    """A block's shape in the manifest says something else, and sometimes the block follows."""
    manifest = json.loads(entries["manifest.json"])
    name = list(manifest["blocks"])[rng.integers(len(manifest["blocks"]))]
    line = manifest["blocks"][name]
    axis = rng.integers(len(line["shape"]))
    line["shape"][axis] = int(rng.choice([0, 1, 2, 5, 255, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 40, -1]))
    blocks = {"manifest.json": json.dumps(manifest).encode()}
    size = int(np.prod([float(n) for n in line["shape"]])) * {"8": 1, "16": 2, "32": 4, "64": 8}[line["dtype"][1:]]
    if 0 <= size < 1 << 20:
        blocks[line["file"]] = (entries[line["file"]] * (size // max(len(entries[line["file"]]), 1) + 1))[:size]
    archive.write_archive(path, entries | blocks)


def damage_the_manifest(content: bytes, entries: dict[str, bytes], rng: np.random.Generator, path: Path) -> None:
    """A value of the manifest becomes something of another kind."""
    manifest = json.loads(entries["manifest.json"])
    node, keys = manifest, []
    while isinstance(node, dict | list) and len(node):
        key = list(node)[rng.integers(len(node))] if isinstance(node, dict) else int(rng.integers(len(node)))
        keys.append((node, key))
        node = node[key]
    parent, key = keys[rng.integers(len(keys))]
    strange = [None, True, -1, 1e308, 2 ** 70, "", "../x", "a" * 5000, [], {}, [[[]]], "\u202e", 0.5]
    parent[key] = strange[rng.integers(len(strange))]
    archive.write_archive(path, entries | {"manifest.json": json.dumps(manifest).encode()})


def zip_tricks(content: bytes, entries: dict[str, bytes], rng: np.random.Generator, path: Path) -> None:
    """What zip readers disagree about, or trust too much."""
    damaged = bytearray(content)
    directory = struct.unpack("<I", content[-6:-2])[0]
    headers = []
    at = directory
    while content[at:at + 4] == b"PK\x01\x02":
        headers.append(at)
        at += 46 + sum(struct.unpack("<3H", content[at + 28:at + 34]))
    at = headers[rng.integers(1, len(headers))]
    trick = rng.integers(9)
    if trick == 0:  # it says that it inflates to four gigabytes
        damaged[at + 24:at + 28] = b"\xff\xff\xff\xff"
    elif trick == 1:  # two entries share their bytes
        damaged[at + 42:at + 46] = content[headers[0] + 42:headers[0] + 46]
    elif trick == 2:  # another compression, encryption, or zip64
        damaged[at + (10 if rng.random() < 0.5 else 8)] ^= int(rng.choice([1, 8, 9, 12, 14]))
    elif trick == 3:  # names that leave the folder, in directory and entry alike
        name = [b"../../etc/passwd", b"/etc/passwd", b"C:\\x.u8", b"gaussians/\x00eans.f32"][rng.integers(4)]
        length = struct.unpack("<H", content[at + 28:at + 30])[0]
        local = struct.unpack("<I", content[at + 42:at + 46])[0]
        for start in (at + 46, local + 30):
            damaged[start:start + length] = name[:length].ljust(length, b"x")
    elif trick == 4:  # a bomb under a true checksum
        bomb = zlib.compress(bytes(int(rng.integers(70, 200)) << 20), 1)[2:-4]
        with zipfile.ZipFile(path, "w") as opened:
            for name, entry in entries.items():
                opened.writestr(name, entry if name != "gaussians/means.f32" else b"")
        path.write_bytes(path.read_bytes() + bomb[:1000])
        return
    elif trick == 5:  # a duplicate name
        path.write_bytes(content)
        with zipfile.ZipFile(path, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
            opened.writestr("manifest.json", entries["manifest.json"])
        return
    elif trick == 6:  # a comment that holds another archive, or a prefix
        path.write_bytes(content[:-2] + struct.pack("<H", len(content)) + content if rng.random() < 0.5
                         else b"MZ" + content)
        return
    elif trick == 7:  # more entries than there are, or fewer
        damaged[-14:-10] = struct.pack("<2H", *(int(n) for n in rng.choice([0, 1, 65535], 2)))
    else:  # an entry more, named by nobody
        archive.write_archive(path, entries | {"stray/code.py": b"import os"})
        return
    path.write_bytes(damaged)


MUTATIONS: dict[str, tuple[Callable, int, float]] = {
    "bit flips": (flip_bits, 200, 0.0), "cuts": (cut, 120, 1.0), "damaged blocks": (damage_a_block, 260, 0.0),
    "absurd counts": (absurd_counts, 170, 0.0), "damaged manifests": (damage_the_manifest, 130, 0.0),
    "zip tricks": (zip_tricks, 120, 0.97),
}
"""How, how many, and the least share that must be refused: an empty entry under another compression is harmless."""


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutated_bundle_is_refused_by_name_or_plays(sound: Path, tmp_path: Path, kind: str) -> None:
    mutate, count, least = MUTATIONS[kind]
    content, entries, path = sound.read_bytes(), entries_of(sound), tmp_path / "mutated.ani3d"
    play(sound)  # compiled and warm
    refused, began, peak = 0, time.process_time(), memory_peak_mib()
    for seed in range(count):
        mutate(content, entries, np.random.default_rng(seed), path)
        try:
            play(path)
        except InputError as error:
            refused += 1
            assert "mutated.ani3d" in str(error) and "\n" not in str(error) and len(str(error)) < 600
    assert memory_peak_mib() - peak < MOST_MIB
    assert refused >= least * count and refused > 0
    # 20 ms each on a busy machine; a file that makes a reader hang takes minutes.
    assert time.process_time() - began < 0.4 * count


def play(path: Path) -> None:
    """Read, pose every clip between two frames, sort, draw."""
    bundle = read_bundle(path)
    stage = Stage([bundle])
    for clip in range(len(bundle.clips)):
        actor = Actor(bundle, clip=clip, time=0.4 / bundle.clips[clip].motion.fps)
        stage.show([actor.moment()])
        assert np.isfinite(stage.arrays.means).all()
    assert np.array_equal(np.sort(stage.sort(CAMERA.T_camera_world)), np.arange(stage.count))
    assert np.isfinite(render(stage.figures[0].gaussians(), CAMERA).rgba).all()


def test_the_sound_bundle_plays(sound: Path) -> None:
    play(sound)
    assert sum(count for _, count, _ in MUTATIONS.values()) == 1000


@pytest.mark.parametrize("block", ["pose/weight0", "pose/lags", "pose/input_range"])
def test_an_empty_block_of_the_pose_residual_is_refused(sound: Path, tmp_path: Path, block: str) -> None:
    entries, path = entries_of(sound), tmp_path / "empty.ani3d"
    manifest = json.loads(entries["manifest.json"])
    manifest["blocks"][block]["shape"][0] = 0
    archive.write_archive(path, entries | {"manifest.json": json.dumps(manifest).encode(), f"{block}.f32": b""})
    with pytest.raises(InputError, match=r"empty\.ani3d: .* = 0, not 1 or more"):
        read_bundle(path)
