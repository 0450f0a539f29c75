"""The contact term: nothing outside the body, the depth inside it, a gradient that points out."""

import numpy as np
import torch

from baker.avatar import SkinnedMesh
from baker.contact import REACH, UNIT, BodyContact
from runtime.types import Motion, Rig

RADIUS = 0.1
CLEARANCE = 0.004


def tube() -> tuple[SkinnedMesh, Rig, Motion]:
    """A vertical tube of one joint that moves 0.2 m along x in frame 1."""
    rings, around = 40, 48
    angle, height = np.meshgrid(np.linspace(0, 2 * np.pi, around, endpoint=False), np.linspace(-0.5, 0.5, rings))
    vertices = np.stack([RADIUS * np.sin(angle), height, RADIUS * np.cos(angle)], -1).reshape(-1, 3)
    ring, column = np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij")
    a, b = ring * around + column, ring * around + (column + 1) % around
    quads = np.stack([a, b, b + around, a + around], -1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    body = SkinnedMesh(vertices=vertices.astype(np.float32), faces=faces.astype(np.int32),
                       skin_joints=np.zeros((len(vertices), 1), np.int32),
                       skin_weights=np.ones((len(vertices), 1), np.float32))
    rig = Rig(joint_names=("root",), parents=np.array([-1]), T_world_joint_rest=np.eye(4, dtype=np.float32)[None],
              skin_joints=np.zeros((2, 1), np.int32), skin_weights=np.ones((2, 1), np.float32))
    motion = Motion(fps=30.0, root_translations=np.array([[0, 0, 0], [0.2, 0, 0]], np.float32),
                    quats_wxyz=np.tile(np.array([1, 0, 0, 0], np.float32), (2, 1, 1)))
    return body, rig, motion


def contact(rest: np.ndarray) -> BodyContact:
    body, rig, motion = tube()
    return BodyContact(body, rig, motion, rest_means=rest.astype(np.float32), rows=np.arange(2), clearance=CLEARANCE)


def test_depth_below_the_clearance_is_squared_in_centimetres_and_pushes_out() -> None:
    rest = np.array([[0.0, 0.0, 0.3], [0.3, 0.0, 0.0]])
    depth = 0.03
    means = torch.tensor([[0.0, 0.0, RADIUS - depth], [0.3, 0.0, 0.0]], requires_grad=True)
    penalty = contact(rest).penalty(means, 0)
    # Two points, one of them deep; the mesh is a polygon, its surface at most R (1 - cos(pi / 48)) = 0.2 mm inside.
    expected = ((depth + CLEARANCE) / UNIT) ** 2 / 2
    assert abs(penalty.item() - expected) < 0.02 * expected
    penalty.backward()
    direction = means.grad[0] / means.grad[0].norm()
    assert direction[2] < -0.99
    assert not means.grad[1].any()


def test_the_body_moves_with_the_motion() -> None:
    rest = np.array([[0.0, 0.0, 0.3], [0.3, 0.0, 0.0]])
    means = torch.tensor([[0.0, 0.0, RADIUS + 0.05], [0.2, 0.1, RADIUS - 0.02]])
    term = contact(rest)
    assert term.penalty(means[1:].repeat(2, 1), 0).item() == 0.0
    assert term.penalty(means[1:].repeat(2, 1), 1).item() > 1.0


def test_what_lies_in_the_body_at_rest_may_stay_there() -> None:
    inside = np.array([[0.0, 0.0, RADIUS - 0.02], [0.3, 0.0, 0.0]])
    means = torch.from_numpy(inside).float()
    assert contact(inside).penalty(means, 0).item() < 1e-6


def test_points_beyond_reach_are_free() -> None:
    rest = np.array([[0.0, 0.0, 0.5], [0.5, 0.0, 0.0]])
    means = torch.tensor([[0.0, 0.0, RADIUS + REACH + 0.05]] * 2, requires_grad=True)
    penalty = contact(rest).penalty(means, 0)
    penalty.backward()
    assert penalty.item() == 0.0 and not means.grad.any()
