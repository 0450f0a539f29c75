"""From one kind of motion or splat file to another: `ani3d convert IN OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from baker.avatars import MESHES, SPLATS, load_avatar
from baker.avatars.options import AvatarOptions
from baker.body import JOINT_NAMES, PARENTS, make_body
from baker.motion_files import is_motion_file, read_motion, split_source
from baker.motion_files.amass import write_amass
from baker.motion_files.bvh import write_bvh
from baker.motion_files.lhm import write_lhm
from baker.motion_gaits import ProceduralName, procedural
from baker.motion_options import MotionOptions, at_rate, closed_loop, cut, on_the_spot
from baker.motions import clip_of, on_rig
from runtime import rotations
from runtime.errors import InputError
from runtime.types import GaussianSet, Motion, Rig

MOTION_TARGETS = (".bvh", ".npz", "a folder's name (LHM's frames)")


def convert(source: str, target: Path, *, avatar_options: AvatarOptions, motion_options: MotionOptions,
            parts: tuple[str, ...] = (), textures: Path | None = None, count: int | None = None) -> str:
    """Write `source` as the kind that `target`'s name says; returns one line about it.

    Motions become BVH (on their own skeleton where nothing else was asked), AMASS-layout npz or LHM's frames (on
    SMPL-X's joints). Avatars become splats in the zero pose, meshes as `count` of them, a character's `parts`
    with its `textures`. Raises `InputError`.
    """
    suffix = target.suffix.lower()
    motion_options.check()
    if source in get_args(ProceduralName) or (is_motion_file(source) and not _is_avatar(source)):
        if suffix not in (".bvh", ".npz", ""):
            raise InputError(f"{target}: motions are written as {', '.join(MOTION_TARGETS)}")
        return _convert_motion(source, target, motion_options)
    if suffix not in SPLATS:
        raise InputError(f"{target}: avatars are written as splats ({', '.join(SPLATS)})")
    avatar = load_avatar(source, parts=parts, texture_dir=textures, options=avatar_options, count=count)
    return _write_splats(avatar.gaussians, avatar.rig, target)


def _is_avatar(source: str) -> bool:
    from baker.inspect_file import is_motion_npz

    path, clip = split_source(source)
    suffix = path.suffix.lower()
    return (suffix in MESHES and clip is None) or suffix in SPLATS or (suffix == ".npz" and not is_motion_npz(path))


def _convert_motion(source: str, target: Path, options: MotionOptions) -> str:
    clip = None if source in get_args(ProceduralName) else read_motion(source)
    changed = options != MotionOptions()
    if clip is not None and target.suffix.lower() == ".bvh" and not changed and (clip.parents < 0).sum() == 1:
        _make_folder(target)
        write_bvh(target, clip)
        return f"{target}: {clip.frames} frames, {len(clip.joint_names)} joints, {clip.fps:g} fps"
    rig = smplx_rig()
    motion = procedural(source, rig) if clip is None else on_rig(clip, rig, source=source, options=options)[0]
    motion = cut(at_rate(motion, options), options.frames, source)
    if options.in_place:
        motion = on_the_spot(motion)
    motion = closed_loop(motion, options.loop, source)
    _make_folder(target)
    if target.suffix.lower() == ".bvh":
        write_bvh(target, clip_of(motion, rig))
    else:
        poses = rotations.to_rotvec(rotations.normalize(motion.quats_wxyz.astype(np.float64)))
        if target.suffix.lower() == ".npz":
            write_amass(target, poses, motion.root_translations, fps=motion.fps)
        elif target.exists():
            raise InputError(f"{target}: is there already; name a new folder")
        else:
            write_lhm(target, poses, motion.root_translations)
    return f"{target}: {motion.frames} frames on SMPL-X's joints, {motion.fps:g} fps"


def _make_folder(target: Path) -> None:
    """The folder that `target` goes into, as exporters make it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); choose another place") from None


def smplx_rig() -> Rig:
    """The built-in body's skeleton, binding one point."""
    rest = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_NAMES), 1, 1))
    rest[:, :3, 3] = make_body({}).joints
    return Rig(joint_names=JOINT_NAMES, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
               skin_joints=np.zeros((1, 1), np.int32), skin_weights=np.ones((1, 1), np.float32))


def _write_splats(gaussians: GaussianSet, rig: Rig, target: Path) -> str:
    """The Gaussians through the exporter of the target's kind."""
    from export_formats import ExportOptions, write
    from runtime.types import Bundle, Clip, Manifest, OffsetTexture, Residual

    empty = OffsetTexture(mean=np.zeros((0, 3), np.float32), texels=np.zeros((1, 0, 3), np.int8),
                          texel_scales=np.zeros((1, 3), np.float32), coefficients=None)
    still = Motion(fps=30.0, root_translations=np.zeros((1, 3), np.float32),
                   quats_wxyz=np.tile(np.float32([1, 0, 0, 0]), (1, rig.joint_count, 1)), joint_names=rig.joint_names)
    residual = Residual(moving=np.zeros(0, np.int64), d_means=empty, d_rotations=empty, d_log_scales=empty)
    bundle = Bundle(gaussians=gaussians, rig=rig, clips=(Clip(name="rest", motion=still, residual=residual),),
                    manifest=Manifest(name=target.stem, generator="ani3d", source_licence="", distillation={}))
    kind = {".ply": "ply", ".spz": "spz", ".sog": "sog", ".splat": "splat", ".ksplat": "ksplat"}[target.suffix.lower()]
    report = write(bundle, target, to=kind, options=ExportOptions(rest=True, axes="RUB" if kind == "ply" else None))
    lost = f"; not held: {'; '.join(report.lost)}" if report.lost else ""
    return f"{target}: {gaussians.count} Gaussians in the zero pose, {report.size_bytes} bytes{lost}"
