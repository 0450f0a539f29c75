"""baker/posing.py against the numpy reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from baker import posed_scene  # noqa: E402
from baker.posing import GaussianTensors, from_rotvec, pose, pose_tables, reference  # noqa: E402
from runtime import rotations, skinning  # noqa: E402
from runtime.types import GaussianSet, Motion, Rig  # noqa: E402


def random_person(seed: int, *, count: int = 300, joints: int = 12) -> tuple[GaussianSet, Rig, Motion]:
    """A random tree of joints with random weights, in metres and radians a person has."""
    rng = np.random.default_rng(seed)
    parents = np.array([-1] + [int(rng.integers(0, i)) for i in range(1, joints)])
    rest = np.tile(np.eye(4), (joints, 1, 1))
    rest[:, :3, :3] = rotations.to_matrix(rotations.normalize(rng.normal(size=(joints, 4))))
    rest[:, :3, 3] = rng.normal(size=(joints, 3)) * 0.4
    weights = rng.dirichlet(np.ones(4), count).astype(np.float32)
    rig = Rig(joint_names=tuple(f"j{i}" for i in range(joints)), parents=parents, T_world_joint_rest=rest,
              skin_joints=rng.integers(0, joints, (count, 4)).astype(np.int32), skin_weights=weights)
    quats = rotations.from_rotvec(rng.normal(size=(3, joints, 3)) * 0.6)
    motion = Motion(fps=30.0, root_translations=rng.normal(size=(3, 3)), quats_wxyz=quats)
    gaussians = GaussianSet(
        means=rng.normal(size=(count, 3)).astype(np.float32) * 0.5,
        quats_wxyz=rotations.normalize(rng.normal(size=(count, 4))).astype(np.float32),
        log_scales=rng.uniform(-7, -4, (count, 3)).astype(np.float32),
        opacity_logits=rng.normal(size=count).astype(np.float32),
        sh0=rng.normal(size=(count, 3)).astype(np.float32), labels=rng.integers(0, 8, count).astype(np.uint8))
    return gaussians, rig, motion


def torch_pose(gaussians: GaussianSet, rig: Rig, motion: Motion, frame: int,
               offsets: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    tables = pose_tables(rig, motion, frames=[frame])
    tensors = GaussianTensors.from_set(gaussians)
    return [value.numpy() for value in pose(
        tensors.means, tensors.quats_wxyz, tensors.log_scales, *[torch.from_numpy(o) for o in offsets],
        tables.blended[0], tables.turn_quats[0])]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [0.0, 1e-4, 0.05, 1.0])
def test_torch_posing_agrees_with_numpy(seed: int, size: float) -> None:
    """Worst seen over these cases: 4.8e-7 m and 2.4e-7 in quaternions; float32 has 1.2e-7 at one metre."""
    gaussians, rig, motion = random_person(seed)
    rng = np.random.default_rng(seed + 100)
    offsets = tuple((size * rng.normal(size=(gaussians.count, 3))).astype(np.float32) for _ in range(3))
    moved = skinning.apply_residual(gaussians, np.arange(gaussians.count), *offsets)
    expected = skinning.pose_gaussians(moved, rig, motion, 1)
    means, quats, scales = torch_pose(gaussians, rig, motion, 1, offsets)
    assert np.abs(means - expected.means).max() < 1e-5
    sign = np.sign((quats * expected.quats_wxyz).sum(1, keepdims=True))
    assert np.abs(sign * quats - expected.quats_wxyz).max() < 1e-5
    np.testing.assert_allclose(scales, np.exp(expected.log_scales), rtol=1e-5)


def test_zero_residual_is_the_identity_to_the_last_bit() -> None:
    gaussians, rig, _ = random_person(7)
    still = Motion(fps=30.0, root_translations=np.zeros((1, 3)),
                   quats_wxyz=np.tile([1.0, 0, 0, 0], (1, rig.joint_count, 1)))
    count = gaussians.count
    zero = torch.zeros(count, 3)
    tensors = GaussianTensors.from_set(gaussians)
    identity = torch.eye(4).expand(count, 4, 4), torch.tensor([1.0, 0, 0, 0]).expand(count, 4)
    means, quats, scales = pose(tensors.means, tensors.quats_wxyz, tensors.log_scales, zero, zero, zero, *identity)
    assert torch.equal(means, tensors.means) and torch.equal(quats, tensors.quats_wxyz)
    assert torch.equal(scales, torch.exp(tensors.log_scales))
    # Through a rig at rest the matrices are only as exact as their inverses.
    means, _, _ = torch_pose(gaussians, rig, still, 0, (np.zeros((count, 3), np.float32),) * 3)
    assert np.abs(means - gaussians.means).max() < 1e-5


def test_gradients_agree_with_differences_and_are_finite_at_zero() -> None:
    gaussians, rig, motion = random_person(3, count=6)
    tables = pose_tables(rig, motion, frames=[2])
    blended, turn = tables.blended[0].double(), tables.turn_quats[0].double()
    base = [torch.from_numpy(a).double() for a in (gaussians.means, gaussians.quats_wxyz, gaussians.log_scales)]
    for size in (0.0, 0.3):
        offsets = [torch.full((6, 3), size, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        assert torch.autograd.gradcheck(lambda *o: pose(*base, *o, blended, turn), offsets, atol=1e-7)


@pytest.mark.parametrize("size", [0.0, 5e-4, 2e-3, 0.4, 3.0])
def test_kernels_agree_with_plain_torch_in_value_and_gradient(size: float) -> None:
    """Worst seen 3e-7 in value and 4e-7 in gradient, against plain torch in double."""
    gaussians, rig, motion = random_person(8)
    tables = pose_tables(rig, motion, frames=[1])
    rest = [torch.from_numpy(a) for a in (gaussians.means, gaussians.quats_wxyz, gaussians.log_scales)]
    generator = torch.Generator().manual_seed(0)
    offsets = [size * torch.randn(gaussians.count, 3, generator=generator) for _ in range(3)]
    probes = [torch.randn(gaussians.count, width, generator=generator) for width in (3, 4, 3)]

    def gradients(function, dtype: torch.dtype) -> tuple[list, tuple]:
        leaves = [o.to(dtype).requires_grad_() for o in offsets]
        fixed = [v.to(dtype) for v in (*rest, tables.blended[0], tables.turn_quats[0])]
        values = function(*fixed[:3], *leaves, *fixed[3:])
        loss = sum((v * p.to(dtype)).sum() for v, p in zip(values, probes, strict=True))
        return [v.detach() for v in values], torch.autograd.grad(loss, leaves)

    fast, slow = gradients(pose, torch.float32), gradients(reference, torch.float64)
    for one, other in zip([*fast[0], *fast[1]], [*slow[0], *slow[1]], strict=True):
        assert (one - other).abs().max() < 2e-6 * other.abs().max()


def test_rest_pose_that_wants_a_gradient_gets_one() -> None:
    gaussians, rig, motion = random_person(2, count=5)
    tables = pose_tables(rig, motion, frames=[1])
    means = torch.from_numpy(gaussians.means).requires_grad_()
    zero = torch.zeros(5, 3)
    posed, _, _ = pose(means, torch.from_numpy(gaussians.quats_wxyz), torch.from_numpy(gaussians.log_scales), zero,
                       zero, zero, tables.blended[0], tables.turn_quats[0])
    torch.testing.assert_close(torch.autograd.grad(posed.sum(), means)[0], tables.blended[0][:, :3, :3].sum(1))


def test_tables_are_the_blend_and_its_nearest_rotation() -> None:
    _, rig, motion = random_person(6)
    tables = pose_tables(rig, motion, frames=[0, 2])
    for i, frame in enumerate((0, 2)):
        blended = skinning.blend(skinning.skinning_matrices(rig, motion, frame), rig.skin_joints, rig.skin_weights)
        np.testing.assert_allclose(tables.blended[i], blended, atol=1e-6)
        turns = rotations.from_matrix(rotations.nearest_rotation(blended[:, :3, :3]))
        # Random weights on random joints come near to where the nearest rotation jumps: rounding grows there.
        assert np.quantile(np.abs(tables.turn_quats[i].numpy() - turns).max(1), 0.99) < 1e-5


def test_a_scene_remembers_a_bounded_number_of_poses_and_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians, rig, motion = random_person(4)
    whole = posed_scene.PosedScene(gaussians, rig, motion, torch.device("cpu"))
    monkeypatch.setattr(posed_scene, "MAX_KEPT", 300 * 60)
    bounded = posed_scene.PosedScene(gaussians, rig, motion, torch.device("cpu"))
    none = torch.zeros(len(whole.moving), 3)
    for frame in (0, 1, 2, 0, 2, 1):
        for a, b in zip(whole.posed(frame, none, none, none), bounded.posed(frame, none, none, none), strict=True):
            assert torch.equal(a, b)
        assert len(bounded.tables) <= bounded.most
    assert bounded.most == 1 and len(whole.tables) == 3


def test_rotation_vectors_are_continuous_across_the_series() -> None:
    for angle in (0.9999e-3, 1.0001e-3, 0.1, 3.0):
        vector = np.array([[0.6, 0.0, 0.8]]) * angle
        got = from_rotvec(torch.from_numpy(vector)).numpy()
        assert np.abs(got - rotations.from_rotvec(vector)).max() < 3e-15  # angle^4 / 384 at 1e-3


def test_a_set_survives_tensors_bit_for_bit() -> None:
    gaussians, _, _ = random_person(11)
    back = GaussianTensors.from_set(gaussians).to_set()
    for name in ("means", "quats_wxyz", "log_scales", "opacity_logits", "sh0", "labels"):
        assert np.array_equal(getattr(back, name), getattr(gaussians, name)), name


def test_tables_of_some_rows_are_rows_of_all_tables() -> None:
    _, rig, motion = random_person(5)
    rows = np.array([3, 200, 17])
    some, everything = (pose_tables(rig, motion, frames=[0, 2], rows=r) for r in (rows, None))
    assert torch.equal(some.blended, everything.blended[:, rows])
    assert torch.equal(some.turn_quats, everything.turn_quats[:, rows])


DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data beside the repository")
def test_torch_and_numpy_agree_on_a_real_person_in_a_real_motion() -> None:
    from baker.avatars import load_avatar
    from baker.motions import load_motion

    avatar = load_avatar(str(DATA / "cc0_human" / "cc0_character_f01.npz"), count=4000)
    motion = load_motion(str(DATA / "motion" / "amass_layout_npz" / "fair1_dab.npz"), avatar)
    zero = np.zeros_like(avatar.gaussians.means)
    for frame in (0, 170, 338):
        expected = skinning.pose_gaussians(avatar.gaussians, avatar.rig, motion, frame)
        means, quats, _ = torch_pose(avatar.gaussians, avatar.rig, motion, frame, (zero, zero, zero))
        # Positions reach 2 m: float32 rounding is 1e-7 of that, a few times over.
        np.testing.assert_allclose(means, expected.means, atol=1e-5)
        turned = np.abs((quats * expected.quats_wxyz).sum(-1))
        assert turned.min() > 1 - 1e-5
