"""`ani3d truth`: a garment is simulated, and what is written agrees with itself and with the avatar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ani3d
from baker.avatar_file import load_saved_avatar, load_saved_motion
from baker.videos import load_video
from runtime.fast_skinning import pose_gaussians
from runtime.skinning import skinning_matrices


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("truth") / "walk"
    code = ani3d.main(["truth", "builtin", "walk", "-o", str(out), "--frames", "0:9", "--gaussians", "4000", "--set",
                       "trajectories=1", "--set", "width=64", "--set", "height=112"])
    assert code == 0
    return out


def test_garments_move_and_the_rest_is_rigid(folder: Path) -> None:
    avatar, motion = load_saved_avatar(folder / "avatar.npz"), load_saved_motion(folder / "motion.npz")
    assert motion.frames == 9 and len(list((folder / "frames").iterdir())) == 9
    with np.load(folder / "frames" / "00008.npz", allow_pickle=False) as file:
        means, quats = file["means"], file["quats_wxyz"]
    rigid = pose_gaussians(avatar.gaussians, avatar.rig, skinning_matrices(avatar.rig, motion, 8))
    still = ~avatar.gaussians.may_move
    np.testing.assert_allclose(means[still], rigid.means[still], atol=1e-5)
    away = np.linalg.norm(means - rigid.means, axis=1)[avatar.gaussians.may_move]
    assert away.max() > 0.01  # [m]: the hem lags
    np.testing.assert_allclose(np.linalg.norm(quats, axis=1), 1.0, atol=1e-4)


def test_the_simulated_mesh_carries_its_gaussians(folder: Path) -> None:
    with np.load(folder / "garments.npz", allow_pickle=False) as file:
        faces, vertices = file["skirt_faces"], file["skirt_vertices"]
    assert vertices.shape[0] == 9 and faces.max() < vertices.shape[1]
    with np.load(folder / "frames" / "00004.npz", allow_pickle=False) as file:
        means = file["means"]
    low, high = vertices[4].min(0) - 0.02, vertices[4].max(0) + 0.02
    skirt = load_saved_avatar(folder / "avatar.npz").garments[0].gaussian_indices
    assert ((means[skirt] > low) & (means[skirt] < high)).all()


def test_videos_differ_in_the_garment_and_agree_in_what_both_preserve(folder: Path) -> None:
    truth, rigid = (load_video(folder / "videos" / f"orbit0_{name}.npz") for name in ("truth", "rigid"))
    assert truth.rgb.shape == (9, 112, 64, 3)
    both = (truth.preserved > 250) & (rigid.preserved > 250)
    assert both.sum() > 1000
    assert np.abs(truth.rgb[both].astype(int) - rigid.rgb[both]).max() <= 8  # a twentieth of a Gaussian over 98 %
    assert (np.abs(truth.rgb.astype(int) - rigid.rgb).max(-1) > 30).sum() > 50
    assert (folder / "videos" / "orbit0_truth.mp4").stat().st_size > 1000


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    code = ani3d.main(["truth", "builtin", "walk", "-o", str(tmp_path), "--frames", "0:2", "--gaussians", "4000"])
    assert code == 2 and "notes.txt" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
