"""`.gsd` files, read back by a decoder written from the converter's source and nothing of ours."""

import json
import struct

import numpy as np
import pytest
from sample_bundle import make_bundle

from export_formats import ExportOptions, gsd
from export_formats.axes import from_ours
from runtime.errors import InputError
from runtime.player import Player
from runtime.rotations import to_matrix

lz4 = pytest.importorskip("lz4", reason="pip install 'ani3d[formats]'")


def unpack_lz4(block, size):
    """A raw LZ4 block (lz4_Block_format.md)."""
    out, at = bytearray(), 0
    while at < len(block):
        token = block[at]
        at += 1

        def length(value, at):
            while value >= 15 and (more := block[at]) is not None:
                value, at = value + more, at + 1
                if more < 255:
                    break
            return value, at

        literals, at = length(token >> 4, at)
        out += block[at:at + literals]
        at += literals
        if at == len(block):
            break
        offset = block[at] | block[at + 1] << 8
        matched, at = length(token & 15, at + 2)
        for _ in range(matched + 4):
            out.append(out[-offset])
    assert len(out) == size
    return bytes(out)


def decode(content):
    """The header and each frame's textures [P 4] of a file."""
    assert content[:4] == b"GSD1"
    header = json.loads(content[8:8 + struct.unpack("<I", content[4:8])[0]])
    at, frames = 8 + struct.unpack("<I", content[4:8])[0], []
    for about in header["frames"]:
        size = struct.unpack("<I", content[at:at + 4])[0]
        assert size == about["compressedSize"]
        pixels = about["textureWidth"] * about["textureHeight"]
        raw, start, textures = unpack_lz4(content[at + 4:at + 4 + size], pixels * (16 + 3 * 8)), 0, []
        for key in ("positionPrecision", "rotationPrecision", "scaleOpacityPrecision", "shPrecision"):
            width, dtype = (16, "<f4") if header[key] == 0 else (8, "<f2")
            part = np.frombuffer(raw, np.uint8, pixels * width, start).reshape(width, pixels).T
            textures.append(np.ascontiguousarray(part).view(dtype))
            start += pixels * width
        frames.append(textures)
        at += 4 + size
    assert at == len(content)
    return header, frames


def test_every_frame_is_the_players_in_unreals_axes(tmp_path):
    bundle = make_bundle(1, count=45, frames=4)
    report = gsd.write(bundle, tmp_path / "walk.gsd", ExportOptions())
    header, frames = decode((tmp_path / "walk.gsd").read_bytes())
    assert report.frames == header["frameCount"] == len(frames) == 4
    assert (header["targetFPS"], header["gaussianCount"], header["textureWidth"]) == (30.0, 45, 7)
    player = Player(bundle)
    for i, (position, rotation, size, color) in enumerate(frames):
        expected = player.gaussians_at(i / 30.0, loop=False)
        colmap = from_ours(expected, "RDF")
        unreal = colmap.means @ np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]], np.float32)
        np.testing.assert_array_equal(position[:45, :3], unreal)
        assert (position[:45, 3] == 0).all() and (position[45:] == (0, 0, 0, 1)).all()
        assert (rotation[45:] == (0, 0, 0, 1)).all() and (size[45:] == 0).all() and (color[45:] == 0).all()
        wxyz = np.stack([rotation[:45, 3], rotation[:45, 1], -rotation[:45, 2], rotation[:45, 0]], axis=1)
        wxyz = wxyz.astype(np.float64) / np.linalg.norm(wxyz.astype(np.float64), axis=1, keepdims=True)
        # Half floats: 2^-11 of a component.
        np.testing.assert_allclose(to_matrix(wxyz), to_matrix(colmap.quats_wxyz.astype(np.float64)), atol=3e-3)
        scales = np.exp(colmap.log_scales)
        np.testing.assert_allclose(size[:45, :3], scales[:, [2, 0, 1]], rtol=1e-3)
        np.testing.assert_allclose(size[:45, 3], expected.opacities, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(color[:45, :3], expected.sh0, rtol=1e-3, atol=1e-6)
        about = header["frames"][i]
        np.testing.assert_allclose([about["minPosition"][c] for c in "xyz"], 100 * unreal.min(axis=0), rtol=1e-5)
        np.testing.assert_allclose([about["maxPosition"][c] for c in "xyz"], 100 * unreal.max(axis=0), rtol=1e-5)


def test_frames_and_detail_are_as_asked_and_nothing_is_left_where_it_fails(tmp_path):
    bundle = make_bundle(count=40, frames=9)
    gsd.write(bundle, tmp_path / "part.gsd", ExportOptions(frames=(2, 5), lod=10))
    header, frames = decode((tmp_path / "part.gsd").read_bytes())
    assert len(frames) == 3 and header["gaussianCount"] == 10 and header["textureWidth"] == 4
    with pytest.raises(InputError, match="not in 0:9"):
        gsd.write(bundle, tmp_path / "none.gsd", ExportOptions(frames=(5, 20)))
    assert [path.name for path in tmp_path.iterdir()] == ["part.gsd"]
