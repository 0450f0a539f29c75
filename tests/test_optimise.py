"""The 4D optimisation on a small known case: it learns, it resumes bit for bit, it refuses what does not fit."""

import functools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baker import optimise as module
from baker.field import ResidualField
from baker.optimise import CHECKPOINT, Learned, optimise, pose_with_field
from baker.optimise_config import FieldConfig, OptimiseConfig
from baker.posed_scene import ClothPairs
from baker.supervision import CPU, Shot, Subject, Supervision, Update
from baker.trajectories import diagonal, root_targets
from baker.videos import PoseAt, Video, psnr, render_video
from runtime import rotations
from runtime.errors import InputError
from runtime.skinning import apply_residual, pose_gaussians
from runtime.types import GaussianSet, Label, Motion, Rig

FRAMES = 8
GRAY = (0.5, 0.5, 0.5)
FAST = OptimiseConfig(iterations=160, checkpoint_every=40, record_every=20, pyramid_levels=3, lpips=0.0,
                      field=FieldConfig(base=8, levels=2, features=8, width=32, time_samples=1.0))


class Stop(Exception):
    """Stands for a kill."""


@functools.cache
def figure() -> tuple[GaussianSet, Rig, Motion]:
    """A striped cone (the skirt) below a still column, two joints, a turn."""
    rng = np.random.default_rng(0)
    moving, count = 260, 360
    height, angle = rng.uniform(0.35, 1.0, count), rng.uniform(0, 2 * np.pi, count)
    radius = np.where(np.arange(count) < moving, 0.55 - 0.45 * height, 0.06)
    height = np.where(np.arange(count) < moving, height, height + 0.55)
    stripes = np.stack([np.sin(6 * angle), np.cos(9 * height * 3), np.sin(2 * angle)], 1)
    gaussians = GaussianSet(
        means=np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], 1).astype(np.float32),
        quats_wxyz=rotations.normalize(rng.normal(size=(count, 4))).astype(np.float32),
        log_scales=np.log(rng.uniform(0.025, 0.04, (count, 3))).astype(np.float32),
        opacity_logits=np.full(count, 3.0, np.float32), sh0=(1.2 * stripes).astype(np.float32),
        labels=np.where(np.arange(count) < moving, Label.GARMENT, Label.SKIN).astype(np.uint8))
    rest = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    rest[:, 1, 3] = (0.9, 1.2)
    weights = np.stack([1 - np.clip(height - 0.6, 0, 1), np.clip(height - 0.6, 0, 1)], 1).astype(np.float32)
    rig = Rig(joint_names=("root", "chest"), parents=np.array([-1, 0]), T_world_joint_rest=rest,
              skin_joints=np.tile([0, 1], (count, 1)), skin_weights=weights)
    turns = np.zeros((FRAMES, 2, 3))
    turns[:, :, 1] = np.linspace(0, 0.6, FRAMES)[:, None]
    motion = Motion(fps=30.0, root_translations=np.zeros((FRAMES, 3), np.float32),
                    quats_wxyz=rotations.from_rotvec(turns).astype(np.float32))
    return gaussians, rig, motion


def true_pose_at(frame: int) -> GaussianSet:
    """The cone swings sideways by up to 6 cm at its hem and billows."""
    gaussians, rig, motion = figure()
    moving = np.flatnonzero(gaussians.may_move)
    points, t = gaussians.means[moving], frame / (FRAMES - 1)
    low = (1.0 - points[:, 1:2]) / 0.65
    offset = low * (np.array([[0.06, 0.0, 0.03]]) * math.sin(2 * math.pi * t)
                    + 0.1 * math.cos(2 * math.pi * t) * points * [1, 0, 1]).astype(np.float32)
    zero = np.zeros_like(points)
    return pose_gaussians(apply_residual(gaussians, moving, offset.astype(np.float32), zero, zero), rig, motion,
                          frame)


@functools.cache
def video(azimuth: float, *, truth: bool = True) -> Video:
    gaussians, rig, motion = figure()
    cameras = diagonal(root_targets(rig, motion), start_azimuth=azimuth, turn=math.pi, size=(48, 80))
    rigid: PoseAt = functools.partial(pose_gaussians, gaussians, rig, motion)
    return render_video(true_pose_at if truth else rigid, cameras, name=f"from{azimuth:.1f}", background=GRAY)


def videos() -> list[Video]:
    return [video(azimuth) for azimuth in (0.0, math.pi / 2, math.pi, 3 * math.pi / 2)]


def subject() -> Subject:
    gaussians, rig, motion = figure()
    return Subject(gaussians=gaussians, rig=rig, motion=motion)


def supervision(update: Update | None = None) -> Supervision:
    return Supervision(videos=tuple(videos()), background=GRAY, update=update)


def learn(folder: Path, config: OptimiseConfig = FAST, *, update: Update | None = None) -> Learned:
    folder.mkdir(exist_ok=True)
    return optimise(subject(), supervision(update), config=config, checkpoint_dir=folder)


def start(folder: Path, config: OptimiseConfig) -> module._Run:
    return module._Run(subject(), supervision(), config, folder / CHECKPOINT, backend=CPU, seed=0)


@functools.cache
def unbroken(folder: Path) -> Learned:
    return learn(folder)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return unbroken(tmp_path_factory.mktemp("unbroken"))


def equal_bits(a: ResidualField, b: ResidualField) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_learning_brings_seen_and_unseen_views_to_the_truth(learned: Learned) -> None:
    field, history = learned.field, learned.history
    # An azimuth between the trained ones, through the same clip.
    for azimuth, gain in ((0.0, 6.0), (0.9, 5.0)):
        truth, coarse = video(azimuth), video(azimuth, truth=False)
        mine = render_video(pose_with_field(field, *figure()), truth.cameras, name="mine", background=GRAY)
        assert psnr(mine.rgb, truth.rgb) > psnr(coarse.rgb, truth.rgb) + gain
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert [row["iteration"] for row in history] == list(range(20, 161, 20))


def test_only_gaussians_that_may_move_do(learned: Learned) -> None:
    gaussians, rig, motion = figure()
    still = ~gaussians.may_move
    moved = pose_with_field(learned.field, gaussians, rig, motion)(3)
    rigid = pose_gaussians(gaussians, rig, motion, 3)
    np.testing.assert_array_equal(moved.means[still], rigid.means[still])
    assert np.abs(moved.means - rigid.means)[~still].max() > 0.01


@pytest.mark.parametrize("kill_at", [3, 97])
def test_killed_and_resumed_run_equals_an_unbroken_one_bit_for_bit(
        learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int) -> None:
    step, steps = module._Run.step, []

    def dying(run: module._Run) -> None:
        steps.append(run.iteration)
        if len(steps) == kill_at:
            raise Stop
        step(run)

    with monkeypatch.context() as patch:
        patch.setattr(module._Run, "step", dying)
        with pytest.raises(Stop):
            learn(tmp_path)
    with monkeypatch.context() as patch:
        again: list[int] = []
        patch.setattr(module._Run, "step", lambda run: (again.append(run.iteration), step(run))[1])
        resumed = learn(tmp_path)
        field, history = resumed.field, resumed.history
    assert again[0] == kill_at // 40 * 40, "the run began somewhere else than at its last checkpoint"
    assert equal_bits(field, learned.field)
    drop = [{key: value for key, value in row.items() if key != "seconds"} for row in history]
    assert drop == [{key: value for key, value in row.items() if key != "seconds"} for row in learned.history]


def test_dataset_update_is_called_once_a_round_and_resumes_bit_for_bit(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(FAST, iterations=30, update_every=10, checkpoint_every=7)
    calls: list[tuple[int, float]] = []

    def update(round_index: int, pose_at: PoseAt) -> list[Video]:
        calls.append((round_index, float(np.abs(pose_at(2).means).sum())))
        return [video(0.3 * round_index)]

    whole = learn(tmp_path / "whole", config, update=update)
    assert [index for index, _ in calls] == [1, 2] and calls[0][1] != calls[1][1]
    step = module._Run.step

    def dying(run: module._Run) -> None:
        if run.iteration == 25:
            raise Stop
        step(run)

    with monkeypatch.context() as patch:
        patch.setattr(module._Run, "step", dying)
        with pytest.raises(Stop):
            learn(tmp_path / "broken", config, update=update)
    broken = learn(tmp_path / "broken", config, update=update)
    assert equal_bits(broken.field, whole.field)


def test_adaptive_density_stays_in_its_budget_and_resumes_bit_for_bit(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(FAST, iterations=40, density_rounds=2, density_budget=1.1, checkpoint_every=7)
    gaussians, _, _ = figure()
    whole = learn(tmp_path / "whole", config)
    added = whole.gaussians.count - gaussians.count
    assert added == 2 * round(0.05 * gaussians.may_move.sum())
    assert whole.gaussians.may_move[-added:].all() and len(whole.rig.skin_weights) == whole.gaussians.count
    np.testing.assert_array_equal(whole.field.moving, np.flatnonzero(whole.gaussians.may_move))
    step = module._Run.step

    def dying(run: module._Run) -> None:
        if run.iteration == 34:
            raise Stop
        step(run)

    with monkeypatch.context() as patch:
        patch.setattr(module._Run, "step", dying)
        with pytest.raises(Stop):
            learn(tmp_path / "broken", config)
    broken = learn(tmp_path / "broken", config)
    assert equal_bits(broken.field, whole.field)
    for name in ("means", "log_scales"):
        np.testing.assert_array_equal(getattr(broken.gaussians, name), getattr(whole.gaussians, name))


def test_planted_floaters_are_dropped_and_cloth_is_kept(tmp_path: Path) -> None:
    gaussians, rig, motion = figure()
    planted = np.flatnonzero(gaussians.may_move)[[3, 50, 200]]
    means = gaussians.means.copy()
    means[planted] += np.float32([[1.2, 0.5, 0], [-1.1, 0.2, 0.3], [0.2, 1.3, 1.0]])
    with_floaters = replace(gaussians, means=means)
    result = optimise(Subject(gaussians=with_floaters, rig=rig, motion=motion), supervision(),
                      config=replace(FAST, iterations=5), checkpoint_dir=tmp_path)
    kept = np.delete(np.arange(gaussians.count), planted)
    np.testing.assert_array_equal(result.gaussians.means, with_floaters.means[kept])
    np.testing.assert_array_equal(result.rig.skin_weights, rig.skin_weights[kept])
    np.testing.assert_array_equal(result.field.moving, np.flatnonzero(result.gaussians.may_move))
    result.field.save(tmp_path / "field.safetensors")
    again = ResidualField.load(tmp_path / "field.safetensors")
    with torch.no_grad():
        for mine, loaded in zip(result.field(torch.tensor([2.0])), again(torch.tensor([2.0])), strict=True):
            torch.testing.assert_close(mine, loaded, rtol=0, atol=0)


def test_every_frame_is_drawn_once_before_any_repeats_and_no_video_twice_in_a_step(tmp_path: Path) -> None:
    run = start(tmp_path, replace(FAST, views=3))
    picks = [run.pick(step) for step in range(2 * FRAMES)]
    first, second = ([frame for frame, _ in part] for part in (picks[:FRAMES], picks[FRAMES:]))
    assert sorted(first) == sorted(second) == list(range(FRAMES)) and first != second
    assert all(len({shot.key for shot in chosen}) == 3 for _, chosen in picks)
    assert all(shot.picture == shot.frame == frame for frame, chosen in picks for shot in chosen)
    assert {shot.video.name for _, chosen in picks for shot in chosen} == {video.name for video in videos()}


def test_torn_checkpoint_is_refused_and_another_configs_too(tmp_path: Path) -> None:
    learn(tmp_path, replace(FAST, iterations=2))
    with pytest.raises(InputError, match="belongs to other settings"):
        learn(tmp_path, replace(FAST, iterations=3))
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:100])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: cannot be read"):
        learn(tmp_path, replace(FAST, iterations=2))


def test_unfit_input_is_refused_at_the_door(tmp_path: Path) -> None:
    gaussians, _, motion = figure()
    still = replace(gaussians, labels=np.zeros_like(gaussians.labels))
    eight, four = tuple(range(8)), tuple(range(4))
    for who, seen, message in (
            (replace(subject(), motion=motion.slice(0, 4)), supervision(), "has 8 frames, the motion 4"),
            (subject(), replace(supervision(), moments=(eight, eight, eight, four)), "moments are not 8 of the 8"),
            (subject(), replace(supervision(), moments=((0, 1, 2, 3, 4, 5, 6, 8),) * 4), "moments are not 8 of the 8"),
            (replace(subject(), gaussians=still), supervision(), "nothing of this avatar may move"),
            (subject(), replace(supervision(), videos=()), "no video")):
        with pytest.raises(InputError, match=message):
            optimise(who, seen, config=FAST, checkpoint_dir=tmp_path)


def test_isometry_is_zero_on_a_rigid_turn_and_counts_a_stretch() -> None:
    gaussians, _, _ = figure()
    moving = np.flatnonzero(gaussians.may_move)
    pairs = ClothPairs(gaussians, moving, 4, torch.device("cpu"))
    rest = torch.from_numpy(gaussians.means[moving])
    turn = torch.from_numpy(rotations.to_matrix(rotations.from_rotvec(np.array([0.3, 1.0, -0.4]))).astype(np.float32))
    # float32 positions of a metre: 1e-7 m of rounding on distances of centimetres, squared.
    assert pairs.stretch(rest @ turn.T + 0.3).item() < 1e-9
    assert pairs.stretch(1.1 * rest).item() == pytest.approx(0.01, rel=0.05)


def test_missing_lpips_weights_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn(tmp_path, replace(FAST, iterations=3, lpips=0.1))
    assert capsys.readouterr().err.count("LPIPS is off") == 1


def test_the_depth_term_is_zero_without_a_residual_and_sees_cloth_before_the_preserved(tmp_path: Path) -> None:
    run = start(tmp_path, replace(FAST, depth=1.0))
    shot = Shot(videos()[0], 3, 3)
    zero = torch.zeros(len(run.scene.moving), 3)
    rigid = run.scene.posed(3, zero, zero, zero)
    assert run.view_terms(shot, rigid)["depth"].item() < 1e-6
    # Lift the cloth over the preserved column.
    lifted = run.scene.posed(3, zero + torch.tensor([0.0, 0.5, 0.0]), zero, zero)
    assert run.view_terms(shot, lifted)["depth"].item() > 0.005


def test_pictures_may_show_the_moments_they_say(tmp_path: Path) -> None:
    seen = replace(supervision(), moments=((5,) * FRAMES, tuple(range(FRAMES)), (5,) * FRAMES, (0,) * FRAMES))
    run = module._Run(subject(), seen, FAST, tmp_path / CHECKPOINT, backend=CPU, seed=0)
    assert {frame: len(shots) for frame, shots in run.shots.items()} == {
        frame: 1 + (2 * FRAMES if frame == 5 else FRAMES if frame == 0 else 0) for frame in range(FRAMES)}
    frozen = replace(supervision(), moments=((2,) * FRAMES, (6,) * FRAMES) * 2)
    run = module._Run(subject(), frozen, FAST, tmp_path / CHECKPOINT, backend=CPU, seed=0)
    assert {run.pick(step)[0] for step in range(9)} == {2, 6}
    run.step()
    assert run.iteration == 1
