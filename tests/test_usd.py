"""OpenUSD: reopened, the time samples are the player's Gaussians; USD's own validators find nothing."""

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure, with_driven_clip
from export_checks import angles

import export_formats
from export_formats import ExportOptions
from runtime.errors import InputError
from runtime.player import Player
from runtime.types import GaussianSet

Usd = pytest.importorskip("pxr.Usd", reason="install usd-core: pip install 'ani3d[formats]'")
from pxr import UsdGeom, UsdValidation, UsdVol  # noqa: E402

FIGURE = make_figure()


def field_of(stage) -> "UsdVol.ParticleField3DGaussianSplat":
    fields = [prim for prim in stage.Traverse() if prim.IsA(UsdVol.ParticleField3DGaussianSplat)]
    assert len(fields) == 1 and stage.GetDefaultPrim().IsValid()
    return UsdVol.ParticleField3DGaussianSplat(fields[0])


def gaussians_at(field, code: float) -> GaussianSet:
    quats = np.array([(q.GetReal(), *q.GetImaginary()) for q in field.GetOrientationsAttr().Get(code)], np.float32)
    opacities = np.array(field.GetOpacitiesAttr().Get(code))
    return GaussianSet(
        means=np.array(field.GetPositionsAttr().Get(code)), quats_wxyz=quats,
        log_scales=np.log(np.array(field.GetScalesAttr().Get(code))),
        opacity_logits=np.log(opacities / (1 - opacities)),
        sh0=np.array(field.GetRadianceSphericalHarmonicsCoefficientsAttr().Get(code)),
        labels=np.zeros(len(quats), np.uint8))


def errors_of(stage) -> list:
    registry = UsdValidation.ValidationRegistry()
    return UsdValidation.ValidationContext(registry.GetOrLoadAllValidators()).Validate(stage)


@pytest.mark.parametrize("suffix", [".usdc", ".usda", ".usd"])
def test_time_samples_are_the_players_frames(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    report = export_formats.write(FIGURE, path, to="usd")
    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode(), stage.GetTimeCodesPerSecond()) == (0, 6, 30)
    field, player = field_of(stage), Player(FIGURE)
    for frame in range(report.frames):
        back, truth = gaussians_at(field, frame), player.gaussians_at(frame / 30, loop=False)
        np.testing.assert_array_equal(back.means, truth.means)
        assert angles(back.quats_wxyz, truth.quats_wxyz).max() < 1e-5
        np.testing.assert_allclose(back.log_scales, truth.log_scales, atol=1e-5)
        np.testing.assert_allclose(back.opacities, truth.opacities, atol=1e-6)
        np.testing.assert_array_equal(back.sh0, truth.sh0)
        low, high = np.array(field.GetExtentAttr().Get(frame))
        assert (low <= truth.means).all() and (high >= truth.means).all()
    assert_right_way_round(gaussians_at(field, 3))
    # Between samples USD interpolates positions linearly.
    two, three = (player.gaussians_at(frame / 30, loop=False).means for frame in (2, 3))
    assert np.abs(np.array(field.GetPositionsAttr().Get(2.5)) - (two + three) / 2).max() < 1e-6


@pytest.mark.parametrize("options", [ExportOptions(), ExportOptions(rest=True), ExportOptions(frames=(2, 3)),
                                     ExportOptions(fps=12, lod=100)])
def test_usds_validators_find_nothing(tmp_path, options):
    export_formats.write(FIGURE, tmp_path / "a.usdc", to="usd", options=options)
    assert errors_of(Usd.Stage.Open(str(tmp_path / "a.usdc"))) == []


def test_usds_validators_can_find_something(tmp_path):
    export_formats.write(FIGURE, tmp_path / "a.usda", to="usd", options=ExportOptions(rest=True))
    text = (tmp_path / "a.usda").read_text()
    (tmp_path / "a.usda").write_text(text.replace('    upAxis = "Y"\n', "").replace('    defaultPrim = "Avatar"\n', ""))
    assert errors_of(Usd.Stage.Open(str(tmp_path / "a.usda")))


def test_what_does_not_change_is_written_once(tmp_path):
    export_formats.write(FIGURE, tmp_path / "a.usdc", to="usd", options=ExportOptions(residual=False))
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    field = field_of(stage)
    assert field.GetScalesAttr().GetNumTimeSamples() == 0 and field.GetPositionsAttr().GetNumTimeSamples() == 7


def test_clip_moved_by_the_pose_residual_samples_its_sizes(tmp_path):
    figure = with_driven_clip(FIGURE)
    export_formats.write(figure, tmp_path / "a.usdc", to="usd", options=ExportOptions(clip=1))
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    truth = Player(figure, 1).gaussians_at(4 / 30, loop=False)
    back = gaussians_at(field_of(stage), 4)
    np.testing.assert_allclose(back.log_scales, truth.log_scales, atol=1e-5)
    np.testing.assert_array_equal(back.means, truth.means)


def test_bad_names_and_axes_leave_nothing(tmp_path):
    for name, options in (("a.glb", ExportOptions()), ("a.usd", ExportOptions(axes="RFU"))):
        with pytest.raises(InputError, match=name):
            export_formats.write(FIGURE, tmp_path / name, to="usd", options=options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(tmp_path):
    """OpenUSD says it in its own source lines."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"a\.usdc: cannot be written: \w+") as error:
        export_formats.write(FIGURE, tmp_path / "file" / "a.usdc", to="usd")
    assert "\n" not in str(error.value) and [path.name for path in tmp_path.iterdir()] == ["file"]
