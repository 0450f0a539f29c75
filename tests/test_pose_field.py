"""The pose-driven baseline: zero at first, a function of pose alone, deaf to far joints."""

import numpy as np
import pytest
import torch

from baker.pose_field import RINGS, PoseField
from runtime import rotations
from runtime.types import GaussianSet, Label, Motion, Rig

JOINTS = 8


def chain() -> tuple[GaussianSet, Rig, Motion]:
    """A chain of joints, three Gaussians on each; frames 0 and 3 hold the same pose, in frame 2 the last joint only
    turns."""
    count = 3 * JOINTS
    rng = np.random.default_rng(0)
    joint = np.repeat(np.arange(JOINTS), 3)
    gaussians = GaussianSet(
        means=(np.stack([0.1 * joint] * 3, 1) + rng.normal(size=(count, 3)) * 0.02).astype(np.float32),
        quats_wxyz=np.tile(np.float32([1, 0, 0, 0]), (count, 1)), log_scales=np.full((count, 3), -4, np.float32),
        opacity_logits=np.zeros(count, np.float32), sh0=np.zeros((count, 3), np.float32),
        labels=np.full(count, Label.GARMENT, np.uint8))
    rig = Rig(joint_names=tuple("abcdefgh"), parents=np.arange(-1, JOINTS - 1),
              T_world_joint_rest=np.tile(np.eye(4, dtype=np.float32), (JOINTS, 1, 1)),
              skin_joints=joint[:, None].astype(np.int32), skin_weights=np.ones((count, 1), np.float32))
    turns = np.zeros((4, JOINTS, 3))
    turns[1, :, 0] = 0.5
    turns[2, -1, 1] = 0.7
    return gaussians, rig, Motion(fps=30.0, root_translations=np.zeros((4, 3), np.float32),
                                  quats_wxyz=rotations.from_rotvec(turns).astype(np.float32))


def offsets(field: PoseField, frame: int) -> torch.Tensor:
    return field(torch.tensor([float(frame)]))[0][0]


def test_it_starts_at_zero_and_moves_centres_only() -> None:
    for value in PoseField(*chain())(torch.tensor([0.0, 2.0])):
        assert value.shape == (2, 3 * JOINTS, 3) and not value.any()


def test_equal_poses_get_equal_offsets_and_far_joints_are_not_seen() -> None:
    field = PoseField(*chain())
    torch.nn.init.normal_(field.layers[-1].weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        zero, one, two, three = (offsets(field, frame) for frame in range(4))
    torch.testing.assert_close(zero, three, rtol=0, atol=0)
    assert (zero - one).abs().amax(1).min() > 1e-5
    moved = (zero - two).abs().amax(1).reshape(JOINTS, 3)
    # The last joint alone turned: who sits more than RINGS joints from it does not notice.
    assert not moved[: JOINTS - 1 - RINGS].any() and (moved[JOINTS - 1 - RINGS:] > 1e-6).all()


def test_it_learns_an_offset_that_depends_on_the_pose() -> None:
    field = PoseField(*chain())
    planes, layers = field.parameter_groups()
    adam = torch.optim.Adam([{"params": planes, "lr": 3e-2}, {"params": layers, "lr": 5e-3}])
    targets = [torch.tensor([0.0, 0.02 * frame, 0.0]).expand(3 * JOINTS, 3) for frame in (0, 1)]

    def error() -> torch.Tensor:
        return sum((offsets(field, frame) - targets[frame]).square().sum() for frame in (0, 1))

    before = error().item()
    for _ in range(40):
        adam.zero_grad()
        error().backward()
        adam.step()
    assert error().item() < 0.05 * before


def test_it_keeps_its_gaussians() -> None:
    gaussians, rig, motion = chain()
    field = PoseField(gaussians, rig, motion)
    assert field.at(gaussians.means, np.arange(gaussians.count)) is field
    with pytest.raises(ValueError, match="keeps its Gaussians"):
        field.at(gaussians.means[1:], np.arange(1, gaussians.count))
