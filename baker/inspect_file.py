"""What any file the program reads holds: facts as plain JSON values, and a picture. `ani3d inspect` prints them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from baker.avatar import Avatar
from baker.avatars import MESHES, SPLATS, load_avatar
from baker.avatars.options import AvatarOptions
from baker.motion_files import KINDS, read_motion, split_source
from baker.motion_files.lhm import find_frames
from baker.motion_files.skeleton import SkeletonClip
from baker.roles import match_roles
from baker.source_pose import figure_height, reference_positions, unit_of, up_axis
from export_formats.output import new_file
from runtime.errors import InputError
from runtime.types import GaussianSet, Label

MAX_TREE = 200
"""Joints listed in a tree."""
PICTURE_GAUSSIANS = 20_000
MAX_CORNER = 1 << 40
"""No file has as many vertices."""


def inspect_file(source: str, *, options: AvatarOptions | None = None, textures: Path | None = None,
                 picture: Path | None = None) -> dict[str, Any]:
    """Facts about a bundle, an avatar or a motion; `picture` is written as PNG, atomically.
    A character's texture files are looked for in `textures`.

    Raises `InputError` naming the file where it is none of them or not sound.
    """
    options = (options or AvatarOptions()).check()
    path, clip = split_source(source)
    suffix = path.suffix.lower()
    if not path.exists():
        raise InputError(f"{source}: no such file")
    if path.is_dir() and not (path / "meta.json").is_file():
        if not find_frames(path):
            raise InputError(f"{path}: is a folder without LHM's frames (00001.json, …) and without a meta.json (SOG)")
        facts, image = _motion(source, picture is not None)
    elif suffix == ".ani3d":
        facts, image = _bundle(path, picture is not None)
    elif suffix in MESHES and clip is None:
        facts, image = _mesh(path, options, picture is not None)
    elif suffix in SPLATS or path.name == "meta.json" or path.is_dir():
        facts, image = _splats(path, options, picture is not None)
    elif suffix == ".npz" and not is_motion_npz(path):
        facts, image = _npz_avatar(path, options, textures, picture is not None)
    elif suffix in KINDS:
        facts, image = _motion(source, picture is not None)
    elif suffix == ".obj":
        facts, image = _obj(path, picture is not None)
    else:
        raise InputError(f"{path}: is not a bundle (.ani3d), an avatar (.npz, {', '.join((*MESHES, *SPLATS))}) or a "
                         f"motion ({', '.join(KINDS)}, a folder of LHM's frames)")
    if picture is not None:
        _save(image, picture)
    return {"file": path.name, **facts}


def format_facts(facts: dict[str, Any]) -> str:
    """Facts as lines for people; the skeleton as a tree."""
    lines = []
    for key, value in facts.items():
        if key == "skeleton":
            lines += ["skeleton", *(f"  {row}" for row in value)]
        elif isinstance(value, list) and len(value) > 6 and all(isinstance(v, str) for v in value):
            lines.append(f"{key:28} {len(value)}: {', '.join(value)}")
        elif isinstance(value, (list, dict)):
            import json

            lines.append(f"{key:28} {json.dumps(value)}")
        else:
            lines.append(f"{key:28} {value}")
    return "\n".join(lines)


def tree(names: tuple[str, ...], parents: np.ndarray) -> list[str]:
    """Joint names indented by depth, depth first."""
    children: dict[int, list[int]] = {}
    for i, parent in enumerate(parents):
        children.setdefault(int(parent), []).append(i)
    rows: list[str] = []
    stack = [(i, 0) for i in reversed(children.get(-1, []))]
    while stack and len(rows) < MAX_TREE:
        joint, depth = stack.pop()
        rows.append("  " * depth + names[joint])
        stack += [(i, depth + 1) for i in reversed(children.get(joint, []))]
    return rows + ([f"… {len(names) - len(rows)} more"] if len(names) > len(rows) else [])


# -- motions ------------------------------------------------------------------------------------------------------


def _motion(source: str, draw: bool) -> tuple[dict[str, Any], Any]:
    clip = read_motion(source)
    facts, warnings = clip_facts(clip, source)
    facts["warnings"] = [*clip.warnings, *warnings]
    if not draw:
        return facts, None
    from baker.pictures import clip_sheet

    axis = facts["up_axis"] or "y"
    caption = f"{Path(source).name}: {facts['kind']}, {clip.frames} frames, {clip.fps:.4g} fps, {axis} up"
    return facts, clip_sheet(clip, up=axis, caption=caption)


def clip_facts(clip: SkeletonClip, source: str) -> tuple[dict[str, Any], list[str]]:
    """Facts and warnings about a clip."""
    warnings = ["one frame: a pose, nothing moves"] if clip.frames == 1 else []
    reference = reference_positions(clip)
    roles = match_roles(clip.joint_names, clip.parents, reference, stated=clip.roles)
    axis = clip.up
    if roles:
        axis = axis or up_axis(clip, source)
        height = figure_height(reference, roles)
        unit = "m" if clip.metres else unit_of(height)
    else:
        warnings.append("not a person's skeleton: it can move only an avatar with the same joints")
        height, unit = float(np.ptp(reference, axis=0).max()), ""
    if roles and not unit:
        warnings.append(f"a figure {height:.3g} units tall is no usual unit; its size is taken from the avatar's legs")
    bones = np.linalg.norm(clip.rest_positions[1:] - clip.rest_positions[np.maximum(clip.parents[1:], 0)], axis=1)
    if len(bones) and (bones < 1e-9).sum() > 0:
        warnings.append(f"{int((bones < 1e-9).sum())} bones have no length")
    way = clip.positions[-1, 0] - clip.positions[0, 0]
    return {
        "is": "motion", "kind": clip.kind, "joints": len(clip.joint_names), "frames": clip.frames,
        "fps": round(clip.fps, 4), "duration_s": round((clip.frames - 1) / clip.fps, 3), "up_axis": axis, "unit": unit,
        "height_units": round(height, 3), "root_way_units": [round(float(v), 3) for v in way],
        "person": bool(roles), "roles": {role: clip.joint_names[i] for role, i in sorted(roles.items())
                                         if not any(c.isdigit() for c in role) or role.startswith("spine")},
        "skeleton": tree(clip.joint_names, clip.parents)}, warnings


# -- avatars ------------------------------------------------------------------------------------------------------


def _avatar_facts(avatar: Avatar) -> dict[str, Any]:
    roles = match_roles(avatar.rig.joint_names, avatar.rig.parents, avatar.rig.T_world_joint_rest[:, :3, 3])
    return {**gaussian_facts(avatar.gaussians), "joints": avatar.rig.joint_count,
            "influences": avatar.rig.skin_joints.shape[1], "person": bool(roles),
            "garments": [garment.name for garment in avatar.garments], "licence": avatar.licence,
            **_one_sided(avatar), "skeleton": tree(avatar.rig.joint_names, avatar.rig.parents)}


def _one_sided(avatar: Avatar) -> dict[str, list[str]]:
    """A warning about joints in the rest pose far from the mirror image of their partners on the other side."""
    joints = avatar.rig.T_world_joint_rest[:, :3, 3]
    place = {name: i for i, name in enumerate(avatar.rig.joint_names)}
    far = {name: float(np.linalg.norm(joints[i] * [-1, 1, 1] - joints[place[other]])) for name, i in place.items()
           if (other := name.replace("right", "left")) != name and other in place}
    odd = [f"{name} ({100 * away:.0f} cm)" for name, away in far.items() if away > 0.1]
    paired = len(far) > 3 and np.median(list(far.values())) < 0.02
    if not odd or not paired:
        return {}
    return {"warnings": [f"joints far from where their left partners are: {', '.join(odd[:8])}"]}


def gaussian_facts(gaussians: GaussianSet) -> dict[str, Any]:
    """Counts, size and opacity of Gaussians."""
    counts = np.bincount(gaussians.labels, minlength=len(Label))
    return {"gaussians": gaussians.count,
            "labels": {label.name.lower(): int(counts[label]) for label in Label if counts[label]},
            "size": [round(float(v), 4) for v in np.ptp(gaussians.means, axis=0)],
            "median_opacity": round(float(np.median(gaussians.opacities)), 3),
            "median_sigma": float(f"{np.exp(np.median(gaussians.log_scales)):.3g}")}


def _avatar_image(avatar: Avatar, caption: str) -> Any:
    from baker.pictures import avatar_sheet

    return avatar_sheet(avatar.gaussians, caption=caption, joints=avatar.rig.T_world_joint_rest[:, :3, 3].astype(
        np.float64), parents=avatar.rig.parents)


def _mesh(path: Path, options: AvatarOptions, draw: bool) -> tuple[dict[str, Any], Any]:
    from baker.avatars.gltf import part_names
    from baker.gltf_file import open_gltf
    from baker.motion_files.gltf import clip_names

    facts: dict[str, Any] = {"is": "avatar", "kind": "skinned mesh"}
    gltf = open_gltf(path)
    clips = clip_names(gltf)
    facts |= {"parts": list(part_names(gltf)), "clips": list(clips)}
    if clips and (not gltf.items("skins") or not facts["parts"]):
        motion, image = _motion(f"{path}#{clips[0]}", draw)
        return facts | motion, image
    avatar = load_avatar(str(path), options=options, count=PICTURE_GAUSSIANS)
    facts |= _avatar_facts(avatar)
    return facts, _avatar_image(avatar, f"{path.name}: {avatar.rig.joint_count} joints") if draw else None


def _npz_avatar(path: Path, options: AvatarOptions, textures: Path | None,
                draw: bool) -> tuple[dict[str, Any], Any]:
    from baker.avatars.body_model import is_body_model, read_body_model
    from baker.avatars.part_file import read_part_file

    facts: dict[str, Any] = {"is": "avatar", "kind": "character in parts"}
    if is_body_model(path):
        model = read_body_model(path)
        facts = {"is": "avatar", "kind": "body model", "vertices": len(model.vertices), "faces": len(model.faces),
                 "shape_coefficients": model.shape_directions.shape[2]}
    else:
        facts["parts"] = list(read_part_file(path, parts=()).available)
    avatar = load_avatar(str(path), texture_dir=textures, options=options, count=PICTURE_GAUSSIANS)
    facts |= _avatar_facts(avatar)
    return facts, _avatar_image(avatar, f"{path.name}: {facts['kind']}") if draw else None


def _splats(path: Path, options: AvatarOptions, draw: bool) -> tuple[dict[str, Any], Any]:
    """Splats, and the body fitted to them; what is no person is said in a warning."""
    from baker.avatars.splats import load_on_body, load_scan
    from baker.pictures import avatar_sheet
    from export_formats import format_of, read

    raw = read(path, axes="RUB")
    facts: dict[str, Any] = {"is": "avatar", "kind": "splats", "format": format_of(path)}
    if options.body_model is not None:
        avatar = load_on_body(path, options=options)
        return facts | _avatar_facts(avatar), _avatar_image(avatar, path.name) if draw else None
    try:
        scan = load_scan(path, options=options)
    except InputError as error:
        facts |= gaussian_facts(raw) | {"person": False, "warnings": [str(error).removeprefix(f"{path}: ")]}
        return facts, avatar_sheet(raw, caption=f"{path.name}: no person found") if draw else None
    fit = scan.fit
    up, front = fit.turn[1], fit.turn[2]
    facts |= _avatar_facts(scan.avatar) | {
        "fit": {"confidence": fit.confidence, "pose": fit.pose, "up": _axis_text(up), "facing": _axis_text(front),
                "metres_per_unit": round(fit.scale, 6), "residual_cm": round(100 * fit.residual, 2),
                "coverage": round(fit.coverage, 3), "facing_margin": round(fit.facing_margin, 3),
                "shape": {name: round(value, 2) for name, value in fit.sliders.items()}}}
    facts["mirrored"] = "yes (--mirror)" if options.mirror else "unknown: no shape tells; see --picture, and --mirror"
    if fit.confidence < 0.5:
        facts["warnings"] = ["the fit is unsure; look at --picture, and help with --up, --facing, --pose"]
    if not draw:
        return facts, None
    return facts, avatar_sheet(scan.posed, joints=scan.posed_joints[:22], parents=scan.avatar.rig.parents[:22],
                               caption=f"{path.name}: fitted, confidence {fit.confidence:.2f}, pose {fit.pose}")


def _axis_text(direction: np.ndarray) -> str:
    """`-y`, or `-y (12 deg off)`."""
    k = int(np.argmax(np.abs(direction)))
    off = float(np.rad2deg(np.arccos(min(abs(float(direction[k])), 1.0))))
    return ("-" if direction[k] < 0 else "") + "xyz"[k] + (f" ({off:.0f} deg off)" if off > 2 else "")


def _bundle(path: Path, draw: bool) -> tuple[dict[str, Any], Any]:
    from runtime.bundle import read_bundle
    from runtime.inspect import inspect_bundle

    facts = {"is": "bundle", **inspect_bundle(path)}
    facts.pop("file")
    if not draw:
        return facts, None
    from baker.pictures import avatar_sheet

    bundle = read_bundle(path)
    return facts, avatar_sheet(bundle.gaussians, caption=path.name,
                               joints=bundle.rig.T_world_joint_rest[:, :3, 3].astype(np.float64),
                               parents=bundle.rig.parents)


def _obj(path: Path, draw: bool) -> tuple[dict[str, Any], Any]:
    """Counts and size of a Wavefront mesh, which has no skeleton; drawn in grey from four sides."""
    from baker.motion_files.text import read_text

    vertices: list[list[float]] = []
    corners: list[list[int]] = []
    for line in read_text(path, what="OBJ").splitlines():
        try:
            if line.startswith("v "):
                vertices.append([float(word) for word in line.split()[1:4]])
            elif line.startswith("f "):
                corners.append([int(word.split("/")[0]) for word in line.split()[1:]])
            if len(corners) and max(map(abs, corners[-1]), default=0) > MAX_CORNER:
                raise ValueError
        except ValueError:
            raise InputError(f"{path}: {line[:60]!r} is no vertex or face; export it again") from None
    points = np.array(vertices) if all(len(v) == 3 for v in vertices) else np.zeros((0, 3))
    if not len(points) or not np.isfinite(points).all():
        raise InputError(f"{path}: has no vertices, or some that are no points; export it again")
    triangles = [(f[0], f[k], f[k + 1]) for f in corners for k in range(1, len(f) - 1)]
    faces = np.array(triangles or np.zeros((0, 3)), np.int64)
    faces = np.where(faces > 0, faces - 1, len(points) + faces)
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(points):
        raise InputError(f"{path}: a face names a vertex that is not there; export it again")
    facts = {"is": "mesh", "kind": "Wavefront OBJ", "vertices": len(points), "faces": len(corners),
             "size": [round(float(v), 4) for v in np.ptp(points, axis=0)],
             "warnings": ["has no skeleton: bind it in a modelling program and export it as .glb to use it"]}
    if not draw:
        return facts, None
    from baker.pictures import mesh_sheet

    return facts, mesh_sheet(points, faces, caption=f"{path.name}: {len(points)} vertices, {len(corners)} faces")


def is_motion_npz(path: Path) -> bool:
    """Whether an npz has a motion's arrays rather than an avatar's; names only."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return True
    return not ({"parts.npy", "v_template.npy"} & names)


def _save(image: Any, path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: pictures are written as .png")
    with new_file(path) as part:
        image.save(part, format="PNG")
