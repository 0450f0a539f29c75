"""The bundle an engine's player gets: driven clips carry their own coefficients, what is not asked for is not in it."""

import numpy as np
from asymmetric_figure import make_figure, with_driven_clip

from export_formats import ExportOptions
from export_formats.player_bundle import FILE, write_player_bundle
from runtime.bundle import read_bundle, write_bundle
from runtime.player import Player


def test_driven_clip_gets_the_networks_coefficients(tmp_path):
    write_bundle(with_driven_clip(make_figure()), tmp_path / "driven.ani3d")
    bundle = read_bundle(tmp_path / "driven.ani3d")
    write_player_bundle(bundle, tmp_path, ExportOptions())
    written = read_bundle(tmp_path / FILE)
    assert written.pose_residual is None
    moved = 0.0
    for clip in (0, 1):
        before, after = Player(bundle, clip), Player(written, clip)
        for frame in range(before.frame_count):
            expected = before.gaussians_at(frame / before.fps)
            shown = after.gaussians_at(frame / before.fps)
            np.testing.assert_allclose(shown.means, expected.means, atol=1e-6)
            np.testing.assert_allclose(shown.log_scales, expected.log_scales, atol=1e-6)
            rigid = before.gaussians_at(frame / before.fps, residual=False)
            moved = max(moved, float(np.abs(expected.means - rigid.means).max()))
    assert moved > 1e-3, "the test's residual moves nothing"


def test_level_of_detail_and_rigid_skinning_are_all_that_is_written(tmp_path):
    bundle = with_driven_clip(make_figure())
    count = bundle.gaussians.count // 2
    write_player_bundle(bundle, tmp_path, ExportOptions(lod=count, residual=False))
    written = read_bundle(tmp_path / FILE)
    assert written.gaussians.count == count
    assert [len(clip.residual.moving) for clip in written.clips] == [0, 0]
    assert written.pose_residual is None
