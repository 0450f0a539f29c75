"""A whole bake: sources, avatar, coarse video, restoring, 4D optimisation, distillation, bundle, report (DESIGN §8)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from baker import cloth, rasterisers
from baker.avatar import Avatar
from baker.avatar_file import (
    load_gaussians,
    load_saved_avatar,
    load_saved_motion,
    save_avatar,
    save_gaussians,
    save_motion,
)
from baker.avatars import avatar_files, load_avatar
from baker.avatars.options import AvatarOptions
from baker.conditions import Conditions, pose_video, reference_image
from baker.config import BakeConfig, CoarseConfig
from baker.distil import distil
from baker.field import ResidualField
from baker.losses import Lpips
from baker.motions import MotionOptions, clip_name, load_motion, motion_files_of
from baker.optimise import optimise
from baker.optimise_config import OptimiseConfig
from baker.priors import VideoPrior, load_prior
from baker.progress import Progress
from baker.residual_mlp import MlpConfig, with_pose_residual
from baker.restore import restore
from baker.segmenters import Segmenter, load_segmenter
from baker.stages import StageResult, file_fingerprint, open_bake, read_record, run_stage
from baker.supervision import Backend, Subject, Supervision
from baker.trajectories import diagonal, root_targets
from baker.videos import PoseAt, Video, load_video, render_video, save_video
from runtime.bundle import lod_order, reorder, write_bundle
from runtime.decoders.onnx_model import onnx_model
from runtime.errors import InputError
from runtime.fast_skinning import pose_gaussians
from runtime.skinning import skinning_matrices
from runtime.types import GROUPS, Bundle, Camera, Clip, Manifest, Motion, OffsetTexture, Residual

MAX_KEPT = 640 << 20
"""Bytes of posed Gaussians that are remembered: 400 frames of 40 000."""


@dataclass(frozen=True)
class BakeRequest:
    """What the user asked for: inputs and choices that are no tuning."""

    avatar: str
    """`builtin`, `builtin:SEED` or a file."""
    motion: str
    """A procedural motion's name or a file."""
    output: Path
    """Folder of the bake."""
    parts: tuple[str, ...] = ()
    """Parts of a character file to wear; empty takes the importer's default."""
    textures: Path | None = None
    """Where a character's textures are."""
    gaussians: int | None = None
    """Gaussians to make from a mesh; None takes the importer's default."""
    frames: tuple[int, int] | None = None
    """Frames A..B-1 of the motion; None bakes all."""
    motion_options: MotionOptions = field(default_factory=MotionOptions)
    """Rate, speed, loop, place and axes of the motion (its `frames` are those above)."""
    binding: str = "diffused"
    """How Gaussians follow the body."""
    prior: str = "embedded"
    """Name of the video prior."""
    prior_path: Path | None = None
    """Its weights, where not shipped."""
    prior_tuned: Path | None = None
    """What training on clips made of it."""
    segmenter: str = "labels"
    """Who finds the preserved mask of the coarse videos."""
    segmenter_path: Path | None = None
    """Its weights, where it needs any."""
    supervision: str = "prior"
    """`prior`, or `simulation`: learn from a cloth simulation of the avatar's own garments."""
    rasteriser: str = "cpu"
    """Backend of the optimisation."""
    device: str = "cpu"
    """Torch device of the optimisation: `cpu` or `cuda`."""
    seed: int = 0
    """Seeds noise and sampling order."""
    residual_mlp: bool = False
    """Train the network that moves the cloth of motions that were not baked, and put it into the bundle."""
    avatar_options: AvatarOptions = field(default_factory=AvatarOptions)
    """Companions and corrections of an avatar file."""


@dataclass(frozen=True)
class BakeResult:
    """Where the results are."""

    bundle: Path
    report: Path
    stages: tuple[StageResult, ...]


def bake(request: BakeRequest, config: BakeConfig) -> BakeResult:
    """Run or continue a bake.

    Raises `InputError` before anything is written when an input cannot be used.
    """
    # 1. The door: whatever the user gave is read and checked before the folder is made.
    if request.seed < 0:
        raise InputError(f"--seed {request.seed}: must be 0 or more")
    if request.output.name in ("", ".."):  # `.` has no name to call the bundle by
        request = replace(request, output=request.output.resolve())
    # First needed after the restoring, which can take hours.
    rasterisers.load(request.rasteriser)
    if config.optimise.lpips and config.optimise.lpips_weights:
        Lpips(Path(config.optimise.lpips_weights))
    sources = describe_sources(request)
    loaded = None if _avatar_is_done(request, sources) else load_inputs(request)
    prior = None
    if request.supervision == "prior":
        prior = load_prior(request.prior, request.prior_path, tuned=request.prior_tuned)
    segmenter = load_segmenter(request.segmenter, request.segmenter_path)
    if loaded and request.supervision == "simulation" and not loaded[0].garments:
        raise InputError(f"{request.avatar}: has no garment to simulate; name a mesh part that is one (--label PART="
                         "garment; `ani3d inspect` lists them), or use --supervision prior")
    with open_bake(request.output), Progress() as progress:
        return _Pipeline(request, config, prior, segmenter, progress).run(sources, loaded)


def describe_sources(request: BakeRequest) -> dict[str, Any]:
    """What the bake is made from: names, sizes and SHA-256 of files, and the choices that change them."""
    described: dict[str, Any] = {"parts": list(request.parts), "gaussians": request.gaussians,
                                 "frames": list(request.frames) if request.frames else None,
                                 "binding": request.binding, "seed": request.seed}
    for key in ("avatar", "motion"):
        text = getattr(request, key)
        path = Path(text)
        described[key] = ({"file": path.name, "bytes": path.stat().st_size, "sha256": file_fingerprint(path)}
                          if path.is_file() else {"name": text})
    files = [path for path in motion_files_of(request.motion) if path.is_file()]
    if files and files != [Path(request.motion)]:  # FILE#CLIP, a folder of frames, or files that go together
        described["motion"]["sha256"] = [file_fingerprint(path) for path in files]
    if beside := avatar_files(request.avatar, texture_dir=request.textures):
        described["avatar"]["beside"] = [file_fingerprint(path) for path in beside]
    if request.avatar_options != AvatarOptions():
        described["avatar_options"] = {key: str(value) for key, value in asdict(request.avatar_options).items()}
        described["companions"] = [file_fingerprint(path) for path in request.avatar_options.files if path.is_file()]
    if request.motion_options != MotionOptions():
        described["motion_options"] = asdict(request.motion_options)
    return described


def load_inputs(request: BakeRequest) -> tuple[Avatar, Motion]:
    """The avatar and the motion, checked against each other."""
    avatar = load_avatar(request.avatar, parts=request.parts, binding=request.binding, count=request.gaussians,
                         seed=request.seed, texture_dir=request.textures, options=request.avatar_options)
    motion = load_motion(request.motion, avatar, options=replace(request.motion_options, frames=request.frames))
    motion.check(request.motion, rig=avatar.rig)
    avatar.gaussians.check(request.avatar)
    avatar.rig.check(request.avatar, gaussians=avatar.gaussians.count)
    if not avatar.gaussians.may_move.any():
        raise InputError(f"{request.avatar}: nothing of it may move (no garment, no hair); choose other --parts, or "
                         "say what hangs: --label NAME=garment")
    return avatar, motion


def _avatar_is_done(request: BakeRequest, sources: dict[str, Any]) -> bool:
    saved = request.output / "000_sources" / "sources.json"
    if read_record(request.output / "010_avatar") is None or not saved.is_file():
        return False
    return json.loads(saved.read_text(encoding="utf-8")) == sources


def optimise_inputs(config: OptimiseConfig, backend: Backend) -> dict[str, Any]:
    """What the optimisation depends on besides the videos; LPIPS's weights count by their content."""
    weights = Path(config.lpips_weights) if config.lpips and config.lpips_weights else None
    content = {"lpips_weights_sha256": file_fingerprint(weights)} if weights else {}
    return asdict(config) | asdict(backend) | content


def start_azimuths(config: CoarseConfig, *, offset: float = 0.0) -> list[float]:
    """Evenly spaced start azimuths [rad]; `offset` in parts of the spacing."""
    return [2 * np.pi * (i + offset) / config.trajectories for i in range(config.trajectories)]


def total_turn(config: CoarseConfig, motion: Motion) -> float:
    """Azimuth a trajectory covers over the whole clip [rad]; in a short clip at least what they need to see all sides
    together."""
    turns = max(motion.duration / config.seconds_per_turn, 1 / config.trajectories)
    return float(np.deg2rad(config.turn_degrees) * turns)


def elevation(config: CoarseConfig, index: int) -> float:
    """Camera elevation of the `index`-th trajectory [rad]: below and above the mean in turn."""
    side = 1 if index % 2 else -1
    return float(np.deg2rad(config.elevation_degrees + side * config.elevation_spread_degrees))


class _Pipeline:
    """The stages in order; each method is one stage."""

    def __init__(self, request: BakeRequest, config: BakeConfig, prior: VideoPrior | None, segmenter: Segmenter,
                 progress: Progress) -> None:
        self.request, self.config, self.prior, self.progress = request, config, prior, progress
        self.segmenter = segmenter
        self.mlp = MlpConfig(seed=request.seed) if request.residual_mlp else None
        self.background = (config.coarse.background,) * 3
        self.backend = Backend(rasteriser=request.rasteriser, device=request.device)

    def run(self, sources: dict[str, Any], loaded: tuple[Avatar, Motion] | None) -> BakeResult:
        from baker.report import write_report

        bake_dir = self.request.output
        done: list[StageResult] = []

        def stage(name: str, config: Any, inputs: list[StageResult], work: Callable[[Path], Mapping], *,
                  device: str = "cpu") -> StageResult:
            self.progress.stage(name)
            done.append(run_stage(bake_dir, name, config=config, inputs=inputs, work=work, device=device))
            return done[-1]

        config = self.config
        first = stage("000_sources", sources, [], lambda part: self.sources(part, sources))
        second = stage("010_avatar", {}, [first], lambda part: self.avatar(part, loaded))
        self.open_avatar(second.path)
        coarse = stage("020_coarse", asdict(config.coarse) | {"segmenter": self.segmenter.fingerprint}, [second],
                       self.coarse)
        restored = stage("030_restore", self.restore_config(), [coarse], lambda part: self.restore(part, coarse.path),
                         device="cpu" if self.prior is None else self.prior.device)
        field = stage("040_optimise", optimise_inputs(config.optimise, self.backend), [restored],
                      lambda part: self.optimise(part, restored.path), device=self.backend.device)
        offsets = stage("050_distil", asdict(config.distil), [field], lambda part: self.distil(part, field.path))
        mlp = {"residual_mlp": asdict(self.mlp)} if self.mlp else {}
        bundle = stage("060_bundle", {"name": bake_dir.stem} | mlp, [offsets],
                       lambda part: self.bundle(part, field.path, offsets))
        report = stage("070_report", {"stages": [s.fingerprint for s in done]}, [bundle],
                       lambda part: write_report(part, bake_dir, config, self.request, progress=self.progress))
        return BakeResult(bundle.path / f"{bake_dir.stem}.ani3d", report.path / "report.html", tuple(done))

    def restore_config(self) -> dict[str, Any]:
        """What restoring depends on; the prior's own fingerprint stands for its weights."""
        if self.prior is None:
            return {"supervision": "simulation", "cloth": asdict(cloth.ClothConfig())}
        return {"supervision": "prior", "prior": self.prior.fingerprint} | asdict(self.config.restore)

    def open_avatar(self, folder: Path) -> None:
        """Later stages read the avatar as stage 010 stored it, so that a resumed bake sees the same bits."""
        self.avatar_ = load_saved_avatar(folder / "avatar.npz")
        self.motion = load_saved_motion(folder / "motion.npz")
        self.targets = root_targets(self.avatar_.rig, self.motion, figure=self.avatar_.gaussians.means)
        self.rigid: PoseAt = self.kept(
            lambda t: pose_gaussians(self.avatar_.gaussians, self.avatar_.rig,
                                     skinning_matrices(self.avatar_.rig, self.motion, t)))

    def sources(self, part: Path, sources: dict[str, Any]) -> dict[str, Any]:
        (part / "sources.json").write_text(json.dumps(sources, indent=1), encoding="utf-8")
        return {}

    def avatar(self, part: Path, loaded: tuple[Avatar, Motion] | None) -> dict[str, Any]:
        avatar, motion = loaded or load_inputs(self.request)
        save_avatar(part / "avatar.npz", avatar)
        save_motion(part / "motion.npz", motion)
        return {"gaussians": avatar.gaussians.count, "moving_gaussians": int(avatar.gaussians.may_move.sum()),
                "joints": avatar.rig.joint_count, "frames": motion.frames, "fps": motion.fps}

    def trajectory(self, index: int, *, offset: float = 0.0) -> tuple:
        """Cameras of the `index`-th diagonal trajectory; its start moved by `offset` spacings."""
        config = self.config.coarse
        return diagonal(self.targets, start_azimuth=start_azimuths(config, offset=offset)[index],
                        turn=total_turn(config, self.motion), size=(config.width, config.height),
                        elevation=elevation(config, index))

    def coarse(self, part: Path) -> dict[str, Any]:
        count = self.config.coarse.trajectories
        for i in self.progress.track(range(count), "rendering trajectories"):
            save_video(part / f"trajectory{i}.npz", self.coarse_video(self.rigid, self.trajectory(i), f"trajectory{i}"))
        return {"trajectories": count}

    def coarse_video(self, pose_at: PoseAt, cameras: tuple[Camera, ...], name: str) -> Video:
        """What the prior restores, with the segmenter's preserved mask."""
        video = render_video(pose_at, cameras, name=name, background=self.background)
        return replace(video, preserved=self.segmenter.preserved(video))

    def conditions(self, coarse: Video, pose_at: PoseAt) -> Conditions:
        """What the prior is told about a coarse video."""
        size = (self.config.coarse.width, self.config.coarse.height)
        return Conditions(
            coarse=coarse.rgb, preserved=coarse.preserved,
            pose=pose_video(self.avatar_.rig, self.motion, coarse.cameras, pose_at),
            reference=reference_image(self.avatar_.gaussians, self.avatar_.rig, size=size, background=self.background))

    def restore(self, part: Path, coarse: Path) -> dict[str, Any]:
        pose_at = self.simulated(part) if self.prior is None else self.rigid
        for i in self.progress.track(range(self.config.coarse.trajectories), "restoring trajectories"):
            path = part / f"trajectory{i}.npz"
            if path.exists():
                continue
            video = load_video(coarse / path.name)
            if self.prior is None:
                restored = render_video(pose_at, video.cameras, name=video.name, background=self.background)
            else:
                restored = self.restored(video, pose_at, seed=i)
            save_video(path, restored)
        return {"supervision": self.request.supervision}

    def simulated(self, part: Path) -> PoseAt:
        """Poses of a cloth simulation of the avatar's garments."""
        truth = cloth.simulate(self.avatar_, self.motion, cloth.ClothConfig(),
                               progress=lambda done, total: self.progress.report(done, total, "simulating cloth"))
        np.savez(part / "truth.npz", *truth.garment_vertices)
        return self.kept(truth.posed)

    def kept(self, pose_at: PoseAt) -> PoseAt:
        """`pose_at` that remembers as many of its last frames as fit into `MAX_KEPT`: each trajectory asks for all."""
        frame_bytes = 40 * self.avatar_.gaussians.count  # means, quaternions and scales; the rest is shared
        return lru_cache(maxsize=max(MAX_KEPT // frame_bytes, 1))(pose_at)

    def restored(self, coarse: Video, pose_at: PoseAt, *, seed: int) -> Video:
        """A coarse video through the prior (Algorithm 1)."""
        assert self.prior is not None
        rgb = restore(self.prior, self.conditions(coarse, pose_at), config=self.config.restore,
                      seed=self.request.seed * 1000 + seed, progress=self.progress.report)
        return Video(name=coarse.name, cameras=coarse.cameras, rgb=rgb, preserved=coarse.preserved)

    def optimise(self, part: Path, restored: Path) -> dict[str, Any]:
        videos = [load_video(restored / f"trajectory{i}.npz") for i in range(self.config.coarse.trajectories)]

        def update(round_index: int, pose_at: PoseAt) -> list[Video]:
            """Dataset update (paper 4.3): the current state from new start azimuths, restored again."""
            new = []
            for i in range(self.config.coarse.trajectories):
                path = part / f"update{round_index}_trajectory{i}.npz"
                if not path.exists():
                    offset = (0.5 + 0.25 * (round_index - 1)) % 1.0
                    coarse = self.coarse_video(pose_at, self.trajectory(i, offset=offset), path.stem)
                    seed = 100 * round_index + i
                    save_video(path, self.restored(coarse, pose_at, seed=seed))
                new.append(load_video(path))
            return new

        avatar = self.avatar_
        learned = optimise(
            Subject(gaussians=avatar.gaussians, rig=avatar.rig, motion=self.motion, body=avatar.body),
            Supervision(videos=tuple(videos), background=self.background,
                        update=None if self.prior is None else update),
            config=self.optimise_config(), checkpoint_dir=part, backend=self.backend, seed=self.request.seed,
            progress=self.progress.report)
        assert isinstance(learned.field, ResidualField)
        learned.field.save(part / "field.safetensors")
        save_gaussians(part / "gaussians.npz", learned.gaussians, learned.rig)
        (part / "history.json").write_text(json.dumps(learned.history), encoding="utf-8")
        return {"iterations": self.optimise_config().iterations, "gaussians": learned.gaussians.count}

    def optimise_config(self) -> OptimiseConfig:
        """The settings, with more iterations for a clip longer than they are meant for."""
        config = self.config.optimise
        longer = max(1.0, self.motion.frames / config.frames)
        return replace(config, iterations=round(longer * config.iterations))

    def distil(self, part: Path, field_dir: Path) -> dict[str, Any]:
        field = ResidualField.load(field_dir / "field.safetensors")
        gaussians, rig = load_gaussians(field_dir / "gaussians.npz", self.avatar_.rig)
        residual, metrics = distil(field, gaussians, rig, self.motion, self.config.distil)
        save_residual(part / "residual.npz", residual)
        return metrics

    def bundle(self, part: Path, field_dir: Path, offsets: StageResult) -> dict[str, Any]:
        gaussians, rig = load_gaussians(field_dir / "gaussians.npz", self.avatar_.rig)
        residual = load_residual(offsets.path / "residual.npz")
        metrics = {key: float(offsets.metrics[key]) for key in
                   ("position_error_mm_p99", "rotation_error_deg_p99", "psnr_db")}
        name = self.request.output.stem
        clip = Clip(name=clip_name(self.request.motion), motion=self.motion, residual=residual)
        manifest = Manifest(name=self.avatar_.name, generator="ani3d 0.1.0", source_licence=self.avatar_.licence,
                            distillation=metrics)
        bundle = Bundle(gaussians=gaussians, rig=rig, clips=(clip,), manifest=manifest)
        bundle = reorder(bundle, lod_order(bundle.gaussians))
        learnt: dict[str, Any] = {}
        if self.mlp:
            bundle, learnt = with_pose_residual(bundle, self.mlp)
        if bundle.pose_residual:
            (part / "residual.onnx").write_bytes(onnx_model(bundle.pose_residual))
        path = part / f"{name}.ani3d"
        blocks = write_bundle(bundle, path)
        return {"bytes": path.stat().st_size, "bytes_by_block": blocks} | learnt


def save_residual(path: Path, residual: Residual) -> None:
    """Write a residual as npz."""
    arrays: dict[str, np.ndarray] = {"moving": residual.moving}
    for name in GROUPS:
        for key, value in vars(getattr(residual, name)).items():
            if value is not None:
                arrays[f"{name}.{key}"] = value
    np.savez(path, **arrays)


def load_residual(path: Path) -> Residual:
    """Read what `save_residual` wrote."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    groups = {name: OffsetTexture(**{key: arrays.get(f"{name}.{key}")
                                     for key in ("mean", "texels", "texel_scales", "coefficients")})
              for name in GROUPS}
    return Residual(moving=arrays["moving"], **groups)
