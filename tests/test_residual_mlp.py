"""The pose-driven residual: learnt, bounded, equal in every decoder, in the file and on every path that plays it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from sample_bundle import make_bundle

from baker import residual_mlp
from baker.avatar import Avatar
from baker.distil import distil
from baker.distil_config import DistilConfig
from baker.residual_mlp import MlpConfig, carrying_joints, drive, train, window_features, with_driven_clip
from runtime import rotations, stage_reference
from runtime.actor import Actor
from runtime.actor_loop import Loop
from runtime.bundle import read_bundle, write_bundle
from runtime.decoders import DECODERS, CoefficientDecoder, load_decoder, tensorrt_decoder
from runtime.decoders.onnx_model import OPSET, onnx_model
from runtime.errors import InputError
from runtime.lod import level_of_detail
from runtime.pose_residual import pose_features
from runtime.stage import Stage
from runtime.types import Bundle, Label, Motion, PoseResidual

JOINTS = 5
CONFIG = MlpConfig(textures=8)


def swinging(frames: int, *, speed: float, reach: float, seed: int = 0, wild: float = 0.0) -> Motion:
    """Legs that swing as in a walk; `wild` adds turns that no training has seen."""
    rng = np.random.default_rng(seed)
    phase = np.arange(frames)[:, None] / 30 * speed + rng.uniform(0, 6)
    vectors = np.zeros((frames, JOINTS, 3))
    vectors[:, 1:, 0] = reach * np.sin(phase + np.arange(JOINTS - 1))
    vectors += wild * rng.normal(size=(frames, JOINTS, 3))
    roots = np.zeros((frames, 3), np.float32)
    roots[:, 2] = 0.03 * np.arange(frames)
    return Motion(fps=30.0, root_translations=roots, quats_wxyz=rotations.from_rotvec(vectors).astype(np.float32))


def cloth(bundle: Bundle, motion: Motion) -> np.ndarray:
    """Offsets [T M 9] of a made-up cloth that follows its legs 0.1 s late."""
    late = np.clip(np.arange(motion.frames) - 3, 0, None)
    angles = rotations.to_rotvec(motion.quats_wxyz[late].astype(np.float64))[:, 1:, 0]
    points = bundle.gaussians.means[bundle.gaussians.may_move]
    shapes = np.random.default_rng(9).normal(size=(JOINTS - 1, len(points), 9)) * ([0.05] * 3 + [0.1] * 3 + [0.02] * 3)
    shapes *= np.sin(3 * points)[None, :, [0, 1, 2] * 3]
    return np.einsum("tj,jmc->tmc", angles + 0.3 * angles ** 2, shapes).astype(np.float32)


@pytest.fixture(scope="module")
def baked() -> Bundle:
    """A bundle whose clip was distilled from the made-up cloth."""
    bundle = make_bundle(count=240, joints=JOINTS, frames=5)
    motion = swinging(90, speed=5.0, reach=0.5)
    residual, _ = distil(cloth(bundle, motion), bundle.gaussians, bundle.rig, motion,
                         DistilConfig(views=1, width=32, height=48))
    return replace(bundle, clips=(replace(bundle.clips[0], motion=motion, residual=residual),))


@pytest.fixture(scope="module")
def trained(baked: Bundle) -> PoseResidual:
    return train(baked, CONFIG)


def predicted(bundle: Bundle, own: PoseResidual, motion: Motion, name: str = "numpy") -> np.ndarray:
    """Coefficients [T K] for a motion."""
    decoder = load_decoder(name, own)
    return np.stack([decoder(row) for row in window_features(bundle, motion, own.lags, own.joints)])


def offsets(bundle: Bundle, own: PoseResidual, coefficients: np.ndarray) -> np.ndarray:
    """The positions' part of coefficients [T K]."""
    group = bundle.clips[own.clip].residual.d_means
    count = own.counts[0]
    textures = group.texels[:count] * group.texel_scales[:count, None]
    return np.tensordot(coefficients[:, :count], textures, 1) + group.mean


def test_motions_that_were_not_baked_are_closer_to_the_truth_than_rigid_skinning(baked: Bundle,
                                                                                 trained: PoseResidual) -> None:
    for speed, reach, seed in ((5.0, 0.5, 1), (6.0, 0.4, 2), (4.0, 0.55, 3)):
        motion = swinging(60, speed=speed, reach=reach, seed=seed)
        truth = cloth(baked, motion)[..., :3]
        wrong = np.linalg.norm(offsets(baked, trained, predicted(baked, trained, motion)) - truth, axis=2).mean()
        # Measured 0.24 to 0.43 of rigid skinning's error. On simulated cloth: see the changelog.
        assert wrong < 0.6 * np.linalg.norm(truth, axis=2).mean()


def test_no_pose_whatever_leads_out_of_the_range_of_training(baked: Bundle, trained: PoseResidual) -> None:
    for motion in (swinging(40, speed=40.0, reach=3.0), swinging(40, speed=5.0, reach=0.5, wild=2.0)):
        values = predicted(baked, trained, motion)
        assert (values >= trained.output_range[:, 0]).all() and (values <= trained.output_range[:, 1]).all()
    for poison in (np.inf, -np.inf, 1e30, -1e30):
        values = load_decoder("numpy", trained)(np.full(trained.input_count, poison, np.float32))
        assert np.isfinite(values).all() and (values <= trained.output_range[:, 1]).all()


def test_training_twice_gives_equal_bits(baked: Bundle, trained: PoseResidual) -> None:
    again = train(baked, CONFIG)
    for mine, theirs in zip(trained.weights + trained.biases, again.weights + again.biases, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_second_clip_is_learnt_in_the_first_ones_textures(baked: Bundle) -> None:
    motion = swinging(60, speed=9.0, reach=0.6, seed=5)
    residual, _ = distil(cloth(baked, motion), baked.gaussians, baked.rig, motion,
                         DistilConfig(views=1, width=32, height=48))
    second = replace(baked.clips[0], name="second", motion=motion, residual=residual)
    both = replace(baked, clips=(*baked.clips, second))
    truth, errors = cloth(baked, motion)[..., :3], []
    for bundle in (baked, both):
        own = train(bundle, CONFIG)
        assert own.clip == 0
        errors.append(np.linalg.norm(offsets(baked, own, predicted(baked, own, motion)) - truth, axis=2).mean())
    assert errors[1] < 0.8 * errors[0]


def test_the_onnx_file_is_sound_and_says_its_opset(trained: PoseResidual) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    model = onnx.load_from_string(onnx_model(trained))
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert [(value.name, [d.dim_value for d in value.type.tensor_type.shape.dim]) for value in
            (model.graph.input[0], model.graph.output[0])] == [
        ("features", [1, trained.input_count]), ("coefficients", [1, trained.output_count])]


def test_onnx_runtime_agrees_with_torch_and_numpy_and_says_what_runs(baked: Bundle, trained: PoseResidual) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'ani3d[onnx]'")
    import torch

    def in_torch(features: np.ndarray) -> np.ndarray:
        ranges = torch.as_tensor(trained.input_range)
        value = ((torch.as_tensor(features) - ranges[:, 0]) * ranges[:, 1]).clamp(-3, 3)
        for index, (weight, bias) in enumerate(zip(trained.weights, trained.biases, strict=True)):
            value = (torch.tanh(value) if index else value) @ torch.as_tensor(weight).T + torch.as_tensor(bias)
        least, largest = torch.as_tensor(trained.output_range).unbind(1)
        return value.clamp(least, largest).numpy()

    motion = swinging(40, speed=7.0, reach=1.0, wild=0.5)
    onnx, plain = predicted(baked, trained, motion, "onnx"), predicted(baked, trained, motion)
    features = window_features(baked, motion, trained.lags, trained.joints)
    span = np.abs(trained.output_range).max()
    assert np.abs(onnx - in_torch(features)).max() < 1e-4 * span and np.abs(onnx - plain).max() < 1e-4 * span
    decoder = load_decoder("onnx", trained)
    assert decoder.provider == f"onnxruntime {decoder._session.get_providers()[0]}"


def test_a_decoder_that_cannot_run_says_what_to_install(trained: PoseResidual, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, package in (("tensorrt", "tensorrt"), ("onnx", "onnxruntime")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InputError, match="pip install 'ani3d"):
            load_decoder(name, trained)
    assert isinstance(load_decoder("numpy", trained), CoefficientDecoder) and set(DECODERS) == {
        "numpy", "onnx", "tensorrt"}


def test_an_engine_is_built_once_where_it_can_be_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of TensorRT only what the cache does is looked at: the library is not on every machine."""
    fake = MagicMock(__version__="10.3")
    build = fake.Builder.return_value.build_serialized_network
    build.return_value = b"engine"
    (tmp_path / "file").write_text("no folder")
    for folder, times in (("cache", 1), ("file", 2)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / folder))
        build.reset_mock()
        assert [tensorrt_decoder._engine(fake, b"model", "a card") for _ in range(2)] == [b"engine"] * 2
        assert build.call_count == times, folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tensorrt_decoder._engine(fake, b"model", "another card")
    assert len(list((tmp_path / "cache" / "ani3d" / "engines").iterdir())) == 2


def test_a_driven_clip_plays_alike_in_the_player_and_its_reference_and_survives_the_file(
        baked: Bundle, tmp_path: Path) -> None:
    bundle = with_driven_clip(baked, swinging(30, speed=6.0, reach=0.5, seed=4), name="driven", config=CONFIG)
    write_bundle(bundle, tmp_path / "a.ani3d")
    back = read_bundle(tmp_path / "a.ani3d")
    assert back.pose_residual is not None and bundle.pose_residual is not None
    for mine, theirs in zip(vars(bundle.pose_residual).values(), vars(back.pose_residual).values(), strict=True):
        assert np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else str(mine) == str(theirs)
    actor, stage = Actor(back, clip=1, time=0.35), Stage([back])
    stage.show([actor.moment()])
    expected = stage_reference.gaussians_at(back, actor.moment())
    np.testing.assert_allclose(stage.arrays.means, expected.means, atol=3e-6)
    rigid = stage_reference.gaussians_at(back, replace(actor.moment(), residual=False))
    moved = np.linalg.norm(expected.means - rigid.means, axis=1)
    moving = back.clips[0].residual.moving
    assert moved[moving].mean() > 2e-3 and np.delete(moved, moving).max() < 1e-6
    # Fading from the baked clip, and a level of detail, keep the network.
    actor.start(0, fade_seconds=0.2)
    actor.advance(0.1)
    stage.show([actor.moment()])
    np.testing.assert_allclose(stage.arrays.means, stage_reference.gaussians_at(back, actor.moment()).means, atol=3e-6)
    part = level_of_detail(back, 100)
    assert part.pose_residual is not None
    Stage([part]).show([Actor(part, clip=1).moment()])


def test_features_do_not_depend_on_heading_or_place(baked: Bundle) -> None:
    motion = swinging(20, speed=5.0, reach=0.5, wild=0.1)
    turn = rotations.from_rotvec(np.array([0.0, 2.0, 0.0]))
    quats = motion.quats_wxyz.astype(np.float64).copy()
    quats[:, 0] = rotations.multiply(turn, quats[:, 0])
    roots = motion.root_translations @ rotations.to_matrix(turn).T + [5, 0, -3]
    elsewhere = replace(motion, quats_wxyz=quats.astype(np.float32), root_translations=roots.astype(np.float32))
    lags, joints = np.float32([0.0, 0.1]), np.array([1, 3])
    for frame in (0.0, 7.0, 12.4):
        np.testing.assert_allclose(pose_features(baked.rig, motion, frame, lags=lags, joints=joints),
                                   pose_features(baked.rig, elsewhere, frame, lags=lags, joints=joints), atol=2e-4)


def test_a_closed_loop_has_no_beginning(baked: Bundle) -> None:
    motion = swinging(24, speed=2 * np.pi / 0.8, reach=0.5)
    loop = Loop(period=24, fade=0, closed=True, travel=(0.0, 24 * 0.03))
    lags, joints = np.float32([0.0, 0.2]), np.array([1, 2])

    def at(frame: float) -> np.ndarray:
        return pose_features(baked.rig, motion, frame, lags=lags, joints=joints, loop=loop)

    np.testing.assert_allclose(at(24.0), at(0.0), atol=1e-4)
    assert np.abs(at(0.0) - at(-0.01)).max() < 0.05 and np.abs(at(23.99) - at(0.0)).max() < 0.05


@pytest.mark.parametrize(("change", "complaint"), [
    ({"clip": 7}, "names clip 7"), ({"counts": (99, 0, 0)}, "more textures"), ({"counts": (-1, 1, 1)}, "more textures"),
    ({"lags": np.float32([0.1, 0.2])}, "lags"), ({"joints": np.array([0, 1])}, "not the root"),
    ({"joints": np.array([1, 200])}, "not the root"), ({"weights": ()}, "unknown block"),
    ({"output_range": np.float32([[1, 0]] * 3)}, "pose residual"), ({"biases": (np.float32([1]),)}, "has shape"),
])
def test_a_wrong_network_in_a_file_is_refused(baked: Bundle, trained: PoseResidual, tmp_path: Path, change: dict,
                                              complaint: str) -> None:
    broken = replace(baked, pose_residual=replace(trained, **change))
    with pytest.raises(InputError, match=complaint):
        write_bundle(broken, tmp_path / "a.ani3d")
    assert not list(tmp_path.iterdir())


def test_a_motion_driven_twice_has_two_names(baked: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of this bundle moves, too: its own Gaussians stand on the floor."""
    moving = replace(baked.gaussians, labels=np.full_like(baked.gaussians.labels, int(Label.GARMENT)))
    write_bundle(replace(baked, gaussians=moving), tmp_path / "a.ani3d")
    stood: list[int] = []

    def motion(name: str, avatar: Avatar) -> Motion:
        stood.append(len(avatar.body.vertices))
        return swinging(12, speed=5.0, reach=0.5)

    monkeypatch.setattr(residual_mlp, "load_motion", motion)
    for source, target in (("a", "b"), ("b", "c"), ("c", "d")):
        drive(tmp_path / f"{source}.ani3d", "swing", tmp_path / f"{target}.ani3d", CONFIG)
    assert [clip.name for clip in read_bundle(tmp_path / "d.ani3d").clips[1:]] == ["swing", "swing 2", "swing 3"]
    assert stood == 3 * [240]


def test_drive_adds_a_motion_to_a_file(baked: Bundle, tmp_path: Path) -> None:
    write_bundle(baked, tmp_path / "a.ani3d")
    with pytest.raises(InputError, match="moonwalk"):
        drive(tmp_path / "a.ani3d", "moonwalk", tmp_path / "b.ani3d", CONFIG)
    nothing = replace(baked, clips=(replace(baked.clips[0], residual=make_bundle(
        count=240, joints=JOINTS, frames=90, dense=True).clips[0].residual),))
    with pytest.raises(InputError, match="bake a motion first"):
        train(nothing, CONFIG)
    clip = baked.clips[0]
    standing = replace(clip.motion, root_translations=np.zeros_like(clip.motion.root_translations),
                       quats_wxyz=np.repeat(clip.motion.quats_wxyz[:1], clip.motion.frames, 0))
    still = replace(baked, clips=(replace(clip, motion=standing),))
    with pytest.raises(InputError, match="one pose only"):
        train(still, CONFIG)
    assert carrying_joints(baked, baked.clips[0].residual.moving, 2).tolist() == sorted(
        carrying_joints(baked, baked.clips[0].residual.moving, 2).tolist())
