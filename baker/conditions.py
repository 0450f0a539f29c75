"""What the video prior is told besides the coarse video (DESIGN §5): the pose video, drawn from the rig itself.

The pose is drawn as DWPose / OpenPose does with 18 body points (facts/upstream.md §7): filled ellipses for limbs
in 17 colours, the canvas dimmed to 0.6, then a disc for each joint. No detector is needed: the rig's joints are
projected, and a joint hidden behind the figure's own body is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, UInt8

from baker.trajectories import diagonal, root_targets
from baker.videos import PoseAt, render_video
from runtime._raster_template import compiled
from runtime.raster import render
from runtime.skinning import joint_transforms
from runtime.types import Camera, GaussianSet, Motion, Rig

KEYPOINTS = ("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
             "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
             "right_eye", "left_eye", "right_ear", "left_ear")
"""OpenPose's 18 body points, in its order."""

LIMBS = np.array([(1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
                  (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)])
"""The 17 drawn limbs, as pairs of keypoints."""

COLORS = np.array([
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85)], np.float32)
"""sRGB of limb i and of joint i."""

MIRRORED = np.array([0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16])
"""The keypoint that takes each one's place when left and right are exchanged."""

DRAWN_AT = 768.0
"""Picture height [px] at which DWPose's sizes hold (the paper's code detects at 768)."""
HALF_WIDTH = 4.0
"""Limb half-width and joint radius at that height [px]."""
DIMMED = 0.6
"""The limbs' share of their colour."""

SURFACE_TOLERANCE = 0.06
"""A face point counts as seen when the surface is at most this far in front of it [m]."""
JOINT_TOLERANCE = 0.20
"""The same for joints, which lie inside the body: about 0.13 m deep at the hips [m]."""


@dataclass(frozen=True)
class Conditions:
    """What a prior restores from. All pictures have one size; X is the width."""

    coarse: UInt8[np.ndarray, "T H X 3"]
    """The coarse render, sRGB."""
    pose: UInt8[np.ndarray, "T H X 3"]
    """The pose video, on black."""
    reference: UInt8[np.ndarray, "H X 3"]
    """The figure from its front, as it should look."""
    preserved: UInt8[np.ndarray, "T H X"]
    """The preserved mask M = human minus garment, coverage 0..255."""
    prompt: str = "a person moving, clean background, rotating camera, photorealistic, high quality"
    """Text, for priors that read it (the released code's default, facts §1.2)."""

    def __post_init__(self) -> None:
        frames, height, width, _ = self.coarse.shape
        expected = {"pose": (frames, height, width, 3), "reference": (height, width, 3),
                    "preserved": (frames, height, width)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"conditions: {name} has shape {getattr(self, name).shape}, the coarse video "
                                 f"asks for {shape}")

    def window(self, start: int, stop: int) -> Conditions:
        """Frames start..stop-1; frames past the end repeat the last one."""
        index = np.minimum(np.arange(start, stop), len(self.coarse) - 1)
        return Conditions(coarse=self.coarse[index], pose=self.pose[index], reference=self.reference,
                          preserved=self.preserved[index], prompt=self.prompt)


def pose_video(rig: Rig, motion: Motion, cameras: tuple[Camera, ...],
               pose_at: PoseAt | None = None) -> UInt8[np.ndarray, "T H X 3"]:
    """The pose video of frames 0..len(cameras)-1, seen by one camera each.

    `pose_at` gives the posed Gaussians, whose body may hide a joint; None draws every joint.
    """
    positions, seen = keypoints(rig, motion, cameras, pose_at)
    return draw_pose(positions, seen, height=cameras[0].height, width=cameras[0].width)


def keypoints(rig: Rig, motion: Motion, cameras: tuple[Camera, ...],
              pose_at: PoseAt | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions [T 18 2] of the keypoints and whether each is seen [T 18]; arguments as in `pose_video`."""
    points = rest_keypoints(rig)
    positions, seen = [], []
    for frame, camera in enumerate(cameras):
        T_world_joint = joint_transforms(rig, motion, frame)
        located, depth = project(points.in_world(rig, T_world_joint), camera)
        visible = points.known & (depth > 1e-3)
        if pose_at is not None:
            visible &= _unoccluded(located, depth, surface_depth(pose_at(frame), camera))
        positions.append(located)
        seen.append(visible)
    return np.stack(positions), np.stack(seen)


def reference_image(gaussians: GaussianSet, rig: Rig, *, size: tuple[int, int],
                    background: tuple[float, float, float]) -> UInt8[np.ndarray, "H X 3"]:
    """The figure in its rest pose from the front, as the coarse cameras frame it; `size` is (width, height)."""
    still = Motion(fps=30.0, root_translations=np.zeros((1, 3)),
                   quats_wxyz=np.tile([1.0, 0.0, 0.0, 0.0], (1, rig.joint_count, 1)))
    camera = diagonal(root_targets(rig, still, figure=gaussians.means), start_azimuth=0.0, turn=0.0, size=size)
    return render_video(lambda _: gaussians, camera, name="reference", background=background).rgb[0]


@dataclass(frozen=True)
class RestKeypoints:
    """The 18 points in a rig's rest pose, each fixed to one joint."""

    joints: np.ndarray
    """Joint that carries each point, int [18]."""
    positions: Float[np.ndarray, "18 3"]
    """Rest positions [m]."""
    known: Bool[np.ndarray, " 18"]
    """Whether the rig has the joint."""

    def in_world(self, rig: Rig, T_world_joint: Float[np.ndarray, "J 4 4"]) -> Float[np.ndarray, "18 3"]:
        """The points carried along by posed joints [m]; the neck is the middle of the shoulders."""
        carry = T_world_joint[self.joints] @ np.linalg.inv(rig.T_world_joint_rest[self.joints])
        points = np.einsum("pij,pj->pi", carry[:, :3, :3], self.positions) + carry[:, :3, 3]
        points[1] = 0.5 * (points[2] + points[5])
        return points


def rest_keypoints(rig: Rig) -> RestKeypoints:
    """Find the 18 points by SMPL-X joint names.

    Nose and ears hang on the head joint at average offsets from the eyes (nose 3.5 cm below and 3 cm in front,
    ears 1.5 cm below, 8.5 cm behind and 4.5 cm further out); without eye joints the eyes are put 3.2 cm to each
    side, 7 cm above and 8 cm in front of the head joint. Offsets scale with the figure (1.0 at 0.60 m from the
    pelvis to the head joint). A point whose joint is missing is marked unknown.
    """
    index = {name: i for i, name in enumerate(rig.joint_names)}
    rest = rig.T_world_joint_rest[:, :3, 3]
    joints, positions, known = np.zeros(18, np.int64), np.zeros((18, 3)), np.zeros(18, bool)
    for point, name in enumerate(KEYPOINTS):
        if name in index:
            joints[point], positions[point], known[point] = index[name], rest[index[name]], True
    known[1] = known[2] and known[5]
    if "head" in index:
        head = index["head"]
        scale = float(np.linalg.norm(rest[head] - rest[0])) / 0.60
        eyes = {side: _eye(index, rest, side, scale) for side in ("left", "right")}
        middle = 0.5 * (eyes["left"] + eyes["right"])
        face = {"nose": middle + scale * np.array([0.0, -0.035, 0.03])}
        for side, sign in (("left", 1.0), ("right", -1.0)):
            face[f"{side}_eye"] = eyes[side]
            face[f"{side}_ear"] = eyes[side] + scale * np.array([sign * 0.045, -0.015, -0.085])
        for name, position in face.items():
            point = KEYPOINTS.index(name)
            joints[point], positions[point], known[point] = head, position, True
    return RestKeypoints(joints=joints, positions=positions, known=known)


def _eye(index: dict[str, int], rest: np.ndarray, side: str, scale: float) -> np.ndarray:
    for name in (f"{side}_eye_smplhf", f"{side}_eye"):
        if name in index:
            return rest[index[name]]
    sign = 1.0 if side == "left" else -1.0
    return rest[index["head"]] + scale * np.array([sign * 0.032, 0.07, 0.08])


def project(points: Float[np.ndarray, "P 3"], camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions [P 2] (centres at +0.5) and depths [P] (metres along the view) of world points."""
    local = points @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
    depth = local[:, 2]
    safe = np.maximum(depth, 1e-6)
    return np.stack([camera.fx * local[:, 0] / safe + camera.cx, camera.fy * local[:, 1] / safe + camera.cy],
                    axis=1), depth


def surface_depth(gaussians: GaussianSet, camera: Camera) -> Float[np.ndarray, "H X"]:
    """Depth of the figure without its loose cloth and hair [m], weighted by opacity; infinite where opacity is below
    one half. A pose detector finds legs under a skirt too, and the cloth's motion hangs on them."""
    image = render(gaussians.take(~gaussians.may_move), camera)
    alpha = image.rgba[..., 3]
    return np.where(alpha > 0.5, image.depth / np.maximum(alpha, 1e-6), np.inf)


def _unoccluded(located: np.ndarray, depth: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Which points [P] lie at most a tolerance behind the surface; points off the picture are kept (a limb may
    leave it)."""
    height, width = surface.shape
    column, row = np.floor(located).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    front = surface[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    on_face = np.isin(np.arange(len(depth)), [0, 14, 15, 16, 17])
    tolerance = np.where(on_face, SURFACE_TOLERANCE, JOINT_TOLERANCE)
    return ~inside | (depth <= front + tolerance)


def draw_pose(positions: Float[np.ndarray, "T 18 2"], seen: Bool[np.ndarray, "T 18"], *, height: int,
              width: int) -> UInt8[np.ndarray, "T H X 3"]:
    """Draw keypoints [px] in DWPose's style, sizes scaled to `height`, edges antialiased over one pixel."""
    canvas = np.zeros((len(positions), height, width, 3), np.float32)
    scaled = HALF_WIDTH * height / DRAWN_AT
    _draw(canvas, positions.astype(np.float32), seen, LIMBS, COLORS, np.float32(scaled), np.float32(DIMMED))
    return (canvas + 0.5).astype(np.uint8)


@compiled()
@no_type_check
def _draw(canvas, positions, seen, limbs, colors, radius, dimmed):
    for t in range(canvas.shape[0]):
        for i in range(limbs.shape[0]):
            a, b = limbs[i, 0], limbs[i, 1]
            if seen[t, a] and seen[t, b]:
                _ellipse(canvas[t], positions[t, a], positions[t, b], radius, colors[i], dimmed)
        for i in range(positions.shape[1]):
            if seen[t, i]:
                _ellipse(canvas[t], positions[t, i], positions[t, i], radius, colors[i], np.float32(1.0))


@compiled()
@no_type_check
def _ellipse(image, a, b, radius, color, share):
    """Blend the filled ellipse whose long axis is a-b (a disc where a = b): half-length |a-b|/2, half-width
    `radius`. Coverage falls from 1 to 0 over the pixel that the first-order distance to the rim says."""
    mid_x, mid_y = 0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])
    along_x, along_y = 0.5 * (b[0] - a[0]), 0.5 * (b[1] - a[1])
    length = np.sqrt(along_x * along_x + along_y * along_y)
    if length < 1e-6:
        along_x, along_y, long_half = np.float32(1.0), np.float32(0.0), radius
    else:
        along_x, along_y, long_half = along_x / length, along_y / length, max(length, np.float32(0.5))
    reach_x = abs(along_x) * long_half + abs(along_y) * radius + 1
    reach_y = abs(along_y) * long_half + abs(along_x) * radius + 1
    for row in range(max(int(mid_y - reach_y), 0), min(int(mid_y + reach_y) + 1, image.shape[0])):
        for column in range(max(int(mid_x - reach_x), 0), min(int(mid_x + reach_x) + 1, image.shape[1])):
            dx, dy = column + 0.5 - mid_x, row + 0.5 - mid_y
            u = (dx * along_x + dy * along_y) / (long_half * long_half)
            w = (dy * along_x - dx * along_y) / (radius * radius)
            f = (u * long_half) ** 2 + (w * radius) ** 2 - 1
            slope = 2 * np.sqrt(u * u + w * w)
            cover = min(max(0.5 - f / max(slope, 1e-6), 0.0), 1.0)
            for channel in range(3):
                image[row, column, channel] += cover * (share * color[channel] - image[row, column, channel])
