"""Pictures of what was imported: an avatar from four sides, a motion over time, a skeleton's sticks. Pillow images.

World y-up, metres. Every panel shows its whole subject; the floor of motions is a line at y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from baker.motion_files.skeleton import SkeletonClip
from baker.roles import match_roles
from baker.source_pose import reference_positions, upright
from runtime.cameras import orbit_camera
from runtime.raster import render
from runtime.types import Camera, GaussianSet

PANEL = (260, 420)
"""Width and height of one panel [px]."""
WIDE = (440, 420)
"""Of figures with their arms out."""
BACKGROUND = (0.93, 0.93, 0.93)
FOV = math.radians(30.0)


def avatar_sheet(gaussians: GaussianSet, *, caption: str = "", joints: np.ndarray | None = None,
                 parents: np.ndarray | None = None) -> Image.Image:
    """The Gaussians from the front, left, back and right, and, where given, the skeleton over them."""
    panels = []
    low, high = np.quantile(gaussians.means, 0.001, axis=0), np.quantile(gaussians.means, 0.999, axis=0)
    wide = max(high[0] - low[0], high[2] - low[2]) > 0.5 * (high[1] - low[1])
    for view, name in enumerate(("front", "left", "back", "right")):
        camera = frame_camera(gaussians.means, azimuth=view * math.pi / 2, size=WIDE if wide else PANEL)
        image = panel(gaussians, camera)
        if joints is not None and parents is not None:
            draw_sticks(image, joints, parents, camera)
        panels.append((image, name))
    return sheet(panels, caption)


def clip_sheet(clip: SkeletonClip, *, up: str, count: int = 8, caption: str = "") -> Image.Image:
    """The rest pose and `count` moments of a clip's sticks, with the axis `up` upward."""
    clip = _trunk_and_limbs(upright(clip, up))
    rest = replace(clip, positions=clip.rest_positions[None], turns_wxyz=clip.turns_wxyz[:1])
    moments = [(upright(rest, up).positions[0], "rest")]
    for frame in np.unique(np.linspace(0, clip.frames - 1, count).round().astype(int)):
        moments.append((clip.positions[frame], f"{frame / clip.fps:.2f} s"))
    size = max(float(np.ptp(p, axis=0).max()) for p, _ in moments) or 1.0
    panels = []
    for positions, name in moments:
        image = Image.new("RGB", PANEL, _color(BACKGROUND))
        scaled = (positions - 0.5 * (positions.min(0) + positions.max(0))) / size * 1.8
        camera = frame_camera(scaled, azimuth=math.radians(25), height=1.8)
        draw_sticks(image, scaled, clip.parents, camera, color=(0, 70, 160))
        panels.append((image, name))
    return sheet(panels, caption)


def mesh_sheet(vertices: Float[np.ndarray, "V 3"], faces: np.ndarray, *, caption: str = "") -> Image.Image:
    """A mesh's faces [F 3] in grey, lit from the camera, from the front, left, back and right."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    panels = []
    for view, name in enumerate(("front", "left", "back", "right")):
        camera = frame_camera(vertices, azimuth=view * math.pi / 2, size=WIDE)
        at = corners @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
        depth = np.maximum(at[..., 2], 1e-9)
        x, y = camera.fx * at[..., 0] / depth + camera.cx, camera.fy * at[..., 1] / depth + camera.cy
        light = 60 + 170 * np.abs(normals @ camera.T_camera_world[2, :3])
        image = Image.new("RGB", WIDE, _color(BACKGROUND))
        draw = ImageDraw.Draw(image)
        for face in np.argsort(-depth.mean(1)):  # far to near
            grey = int(light[face])
            draw.polygon(list(zip(x[face].tolist(), y[face].tolist(), strict=True)), fill=(grey, grey, grey))
        panels.append((image, name))
    return sheet(panels, caption)


def _trunk_and_limbs(clip: SkeletonClip) -> SkeletonClip:
    """The clip of a person without what does not hang on the hips: controls, scenery."""
    roles = match_roles(clip.joint_names, clip.parents, reference_positions(clip), stated=clip.roles)
    if "pelvis" not in roles:
        return clip
    keep = [roles["pelvis"]]
    for joint in range(roles["pelvis"] + 1, len(clip.parents)):
        if clip.parents[joint] in keep:
            keep.append(joint)
    place = {joint: i for i, joint in enumerate(keep)}
    return replace(clip, joint_names=tuple(clip.joint_names[j] for j in keep), positions=clip.positions[:, keep],
                   parents=np.array([place.get(int(clip.parents[j]), -1) for j in keep]),
                   rest_positions=clip.rest_positions[keep], turns_wxyz=clip.turns_wxyz[:, keep])


def frame_camera(points: Float[np.ndarray, "N 3"], *, azimuth: float, height: float | None = None,
                 elevation: float = 0.05, size: tuple[int, int] = PANEL) -> Camera:
    """A camera that sees nearly all points (the outer 0.1 % may be strays), `height` [m] tall or their own."""
    low, high = np.quantile(points, 0.001, axis=0), np.quantile(points, 0.999, axis=0)
    across = float(max((high - low)[[0, 2]])) * size[1] / size[0]
    extent = max(float((high - low)[1]), across, height or 0.0, 1e-3)
    return orbit_camera(0.5 * (low + high).astype(np.float64), azimuth=azimuth, elevation=elevation,
                        distance=1.12 * extent / (2 * math.tan(FOV / 2)) + 0.3 * extent, fov_y=FOV, size=size)


def panel(gaussians: GaussianSet, camera: Camera) -> Image.Image:
    """One view of Gaussians over the background."""
    rgba = render(gaussians, camera).rgba
    rgb = rgba[..., :3] + (1 - rgba[..., 3:]) * np.asarray(BACKGROUND, np.float32)
    return Image.fromarray((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))


def draw_sticks(image: Image.Image, joints: np.ndarray, parents: np.ndarray, camera: Camera, *,
                color: tuple[int, int, int] = (220, 30, 30), width: int = 2) -> None:
    """Bones as lines and joints as dots, over everything."""
    view = joints @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
    depth = np.maximum(view[:, 2], 1e-6)
    x, y = camera.fx * view[:, 0] / depth + camera.cx, camera.fy * view[:, 1] / depth + camera.cy
    draw = ImageDraw.Draw(image)
    for i, parent in enumerate(parents):
        if parent >= 0:
            draw.line([(x[parent], y[parent]), (x[i], y[i])], fill=color, width=width)
        draw.ellipse([x[i] - width, y[i] - width, x[i] + width, y[i] + width], fill=color)


def sheet(panels: Sequence[tuple[Image.Image, str]], caption: str, *, columns: int = 9) -> Image.Image:
    """Panels in rows with their names, and a caption above."""
    width, height = panels[0][0].size
    rows = math.ceil(len(panels) / columns)
    across = min(len(panels), columns)
    top = 22 if caption else 0
    whole = Image.new("RGB", (across * width, top + rows * height), (255, 255, 255))
    draw = ImageDraw.Draw(whole)
    if caption:
        draw.text((6, 5), caption[: across * width // 6], fill=(0, 0, 0))
    for i, (image, name) in enumerate(panels):
        x, y = i % columns * width, top + i // columns * height
        whole.paste(image, (x, y))
        draw.text((x + 6, y + 5), name, fill=(0, 0, 0))
    return whole


def _color(rgb: tuple[float, float, float]) -> tuple[int, int, int]:
    return tuple(int(255 * c + 0.5) for c in rgb)  # type: ignore[return-value]
