"""Vertex animation textures, sampled as a shader would, and read by OpenEXR's own library."""

import json

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure
from export_checks import OPACITY_8_BITS, Bounds, assert_within
from hypothesis import given, settings
from hypothesis import strategies as st

import export_formats
from export_formats import ExportOptions, axes, exr, splats, vat
from runtime.errors import InputError
from runtime.player import Player
from runtime.types import SH_C0, GaussianSet

OpenEXR = pytest.importorskip("OpenEXR", reason="install OpenEXR: pip install 'ani3d[dev]'")
Image = pytest.importorskip("PIL.Image", reason="install Pillow: pip install 'ani3d[export]'")
FIGURE = make_figure()


class Sampler:
    """A vertex shader's view of an exported folder: textures, the JSON, and one texel a Gaussian and frame."""

    def __init__(self, folder):
        self.folder = folder
        self.facts, = json.loads((folder / f"{folder.name}_data.json").read_text())

    def texture(self, key: str) -> np.ndarray:
        exr_path, png_path = (self.folder / f"{self.folder.name}_{key}.{kind}" for kind in ("exr", "png"))
        if exr_path.exists():
            return OpenEXR.File(str(exr_path)).channels()["RGBA"].pixels.astype(np.float64)
        return np.asarray(Image.open(png_path)) / 255.0

    def frame(self, key: str, frame: int) -> np.ndarray:
        """Texels [N 4] of a frame, each at its own column and row."""
        index = np.arange(self.facts["Gaussians"])
        row = frame * self.facts["Rows per Frame"] + index // self.facts["Width"]
        return self.texture(key)[row, index % self.facts["Width"]]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = (np.array([self.facts[f"Bound {end} {a}"] for a in "XYZ"]) for end in ("Min", "Max"))
        return low, high

    def gaussians(self, frame: int) -> GaussianSet:
        pos, rot, col = self.frame("pos", frame)[:, :3], self.frame("rot", frame), self.frame("col", 0)
        scale = self.frame("col2", min(frame, self.facts["Scale Frames"] - 1))[:, :3]
        if self.facts["Two Position Textures"]:
            low, high = self.bounds()
            pos = (pos + 0.01 * self.frame("pos2", frame)[:, :3]) * (high - low) + low
            rot = rot * 2 - 1
            log_low, log_high = self.facts["Log Scale Min"], self.facts["Log Scale Max"]
            scale = np.exp(log_low + scale * (log_high - log_low))
        return splats.to_gaussians(
            "vat", means=pos, quats_wxyz=np.roll(rot, 1, axis=1), log_scales=np.log(scale),
            opacity_logits=splats.logits_of(col[:, 3]), sh0=(col[:, :3] - 0.5) / SH_C0,
            axes=self.facts["Axis System"])


def bounds_of(texture: str, sampler: Sampler) -> Bounds:
    low, high = sampler.bounds()
    largest = max(np.abs(low).max(), np.abs(high).max())
    logs = sampler.facts.get("Log Scale Max", 0) - sampler.facts.get("Log Scale Min", 0)
    return {
        # Float: only the exponential and logarithm of sizes and opacities round.
        "exr-float": Bounds(position=0, log_scale=1e-5, angle=1e-5, opacity=1e-6, color=1e-6),
        # Half: 11 bits of each value; colours and opacities are below 1.
        "exr-half": Bounds(position=2 ** -11 * 2 ** np.ceil(np.log2(largest)), log_scale=2 ** -10, angle=4 * 2 ** -11,
                           opacity=2 ** -11, color=2 ** -11),
        # The second texture has steps of 0.01 / 255 of the bounds; bytes for the rest, a quaternion's of 2 / 255.
        "png": Bounds(position=(high - low).max() * 0.5 * 0.01 / 255 + 1e-6, log_scale=logs / 510 + 1e-6,
                      angle=4 * 2 / 255,
                      opacity=OPACITY_8_BITS, color=0.5 / 255 + 1e-6)}[texture]


@pytest.mark.parametrize("texture", vat.KINDS)
@pytest.mark.parametrize("letters", ["RUB", "RUF", "BRU"])
def test_sampled_textures_are_the_players_frames(tmp_path, texture, letters):
    folder = tmp_path / "figure"
    report = export_formats.write(FIGURE, folder, to="vat", options=ExportOptions(texture=texture, axes=letters))
    sampler, player = Sampler(folder), Player(FIGURE)
    assert sampler.facts["Frame Count"] == report.frames == 7 and sampler.facts["Houdini FPS"] == 30
    assert sorted(sampler.facts["Files"] + ["figure_data.json"]) == sorted(f.name for f in folder.iterdir())
    for frame in range(7):
        truth = player.gaussians_at(frame / 30, loop=False)
        back = sampler.gaussians(frame)
        assert_within(back, truth, bounds_of(texture, sampler))
        assert_right_way_round(back)


def test_alpha_of_positions_is_the_largest_size(tmp_path):
    for texture in ("exr-float", "png"):
        export_formats.write(FIGURE, tmp_path / texture, to="vat", options=ExportOptions(texture=texture))
        sampler = Sampler(tmp_path / texture)
        truth = np.exp(Player(FIGURE).gaussians_at(0.1, loop=False).log_scales).max(axis=1)
        alpha = sampler.frame("pos", 3)[:, 3]
        if texture == "png":
            largest = sampler.facts["Pscale Max"]
            size = (alpha + 0.01 * sampler.frame("pos2", 3)[:, 3]) * largest
            np.testing.assert_allclose(size, truth, atol=3e-5 * largest)
        else:
            np.testing.assert_allclose(alpha, truth, rtol=1e-6)


@pytest.mark.parametrize("letters", ["RUB", "RUF"])
def test_bone_textures_play_the_rig(tmp_path, letters):
    """Skinning with the bone texture alone is rigid playing: the three textures are all a shader needs."""
    folder = tmp_path / "figure"
    export_formats.write(FIGURE, folder, to="vat", options=ExportOptions(axes=letters))
    sampler = Sampler(folder)
    bones = sampler.texture("bone").reshape(7, sampler.facts["Joints"], 3, 4)
    rest = sampler.frame("rest_pos", 0)[:, :3]
    for frame in range(7):
        posed = np.zeros_like(rest)
        for influence in range(sampler.facts["Influences"]):
            pair = sampler.frame("skin", influence // 2)
            joint, weight = pair[:, 2 * (influence % 2)].astype(int), pair[:, 2 * (influence % 2) + 1]
            matrix = bones[frame, joint]
            posed += weight[:, None] * (np.einsum("nij,nj->ni", matrix[:, :, :3], rest) + matrix[:, :, 3])
        truth = axes.from_ours(Player(FIGURE).gaussians_at(frame / 30, residual=False, loop=False), letters)
        assert np.abs(posed - truth.means).max() < 2e-6


def test_sizes_that_do_not_change_are_one_frame(tmp_path):
    export_formats.write(FIGURE, tmp_path / "a", to="vat", options=ExportOptions(residual=False))
    sampler = Sampler(tmp_path / "a")
    assert sampler.facts["Scale Frames"] == 1 and len(sampler.texture("col2")) == sampler.facts["Rows per Frame"]


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 9), half=st.booleans(), seed=st.integers(0, 99))
def test_openexr_reads_what_we_write(tmp_path_factory, height, width, half, seed):
    rng = np.random.default_rng(seed)
    # Noise does not deflate: some chunks are stored as they are. Zeros do.
    picture = np.where(rng.random((height, 1, 1)) < 0.5, 0, rng.normal(size=(height, width, 4)))
    picture = picture.astype("<f2" if half else "<f4")
    path = tmp_path_factory.mktemp("exr") / "a.exr"
    path.write_bytes(exr.encode(picture))
    np.testing.assert_array_equal(OpenEXR.File(str(path)).channels()["RGBA"].pixels, picture)


def test_too_many_texels_and_unknown_kinds_leave_nothing(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="choose"):
        export_formats.write(FIGURE, tmp_path / "a", to="vat", options=ExportOptions(texture="tiff"))
    monkeypatch.setattr(vat, "MAX_TEXELS", 1000)
    with pytest.raises(InputError, match="--lod"):
        export_formats.write(FIGURE, tmp_path / "a", to="vat", options=ExportOptions())
    assert list(tmp_path.iterdir()) == []


def test_textures_of_another_name_are_nobodys_to_replace(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "hand_pos.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"hand_pos\.png"):
        export_formats.write(FIGURE, tmp_path / "a", to="vat")
    assert (tmp_path / "a" / "hand_pos.png").read_bytes() == b"mine"
