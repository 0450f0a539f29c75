"""The residual field: a HexPlane with an MLP decoder at the M Gaussians that may move (DESIGN §4, paper D.2).

A function of canonical position and time, applied before skinning; exactly zero at step 0. Letters: M moving
Gaussians, B frames of a batch, T frames, R cells of a plane along an axis, S samples of a plane along time,
D features, L levels. `reference` is the plain definition; on a CPU `forward` is the same in one fused kernel
(`baker/_field_evaluation.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from baker._field_evaluation import FixedPoints, Moment, evaluate
from baker.optimise_config import FieldConfig
from runtime.errors import InputError

SPACE_AXES = ((0, 1), (0, 2), (1, 2))
"""Axes of the planes xy, xz, yz; the first is the row."""


class ResidualField(nn.Module):
    """d_means, d_rotations, d_log_scales [M 3] at every frame of a clip of T frames."""

    def __init__(self, points: Float[np.ndarray, "M 3"], moving: Int[np.ndarray, " M"], *, frames: int,
                 config: FieldConfig, seed: int = 0, bounds: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """`points` are the canonical centres [m] of the Gaussians with indices `moving`, over `frames` = T. The
        planes span them, or the box between the corners `bounds` [3] [m]."""
        super().__init__()
        if len(points) == 0:
            raise ValueError("a residual field needs at least one Gaussian that may move")
        self.config, self.frames = config, frames
        self.moving = np.ascontiguousarray(moving, dtype=np.int64)
        self.register_buffer("points", torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)))
        low, high = bounds or (points.min(0), points.max(0))
        # A margin of a thousandth keeps a flat or single-point set from dividing by zero.
        self.register_buffer("low", torch.from_numpy(low.astype(np.float32)))
        self.register_buffer("extent", torch.from_numpy(np.maximum(high - low, 1e-3).astype(np.float32)))
        generator = torch.Generator().manual_seed(seed)
        samples = max(2, round(config.time_samples * frames)) if frames > 1 else 1
        cells = [config.base * 2 ** level for level in range(config.levels)]
        self.space = nn.ParameterList(
            _smooth_noise(r, 4 * 2 ** level, config.features, generator) for level, r in enumerate(cells))
        self.time = nn.ParameterList(torch.ones(3, samples, r, config.features) for r in cells)
        width = config.width
        self.hidden_in = nn.Linear(config.features * config.levels, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, 9)
        for layer in (self.hidden_in, self.hidden):
            bound = (6 / layer.in_features) ** 0.5
            layer.weight.data = bound * (2 * torch.rand(layer.weight.shape, generator=generator) - 1)
            layer.bias.data.zero_()
        self.out.weight.data.zero_()
        self.out.bias.data.zero_()
        scale = [config.mean_scale] * 3 + [config.rotation_scale] * 3 + [config.log_scale_scale] * 3
        self.register_buffer("scale", torch.tensor(scale))
        unit = (self.points - self.low) / self.extent
        self._fixed_points = FixedPoints(unit.numpy(), cells)

    def forward(self, frames: Float[Tensor, " B"]) -> tuple[
            Float[Tensor, "B M 3"], Float[Tensor, "B M 3"], Float[Tensor, "B M 3"]]:
        """`(d_means [m], d_rotations [rad], d_log_scales)` at frames in 0..T-1, fractional ones allowed."""
        if self.points.device.type != "cpu" or self.out.weight.dtype != torch.float32:
            return self.reference(frames)
        decoder = [p for layer in (self.hidden_in, self.hidden, self.out) for p in (layer.weight, layer.bias)]
        value = evaluate(self._fixed_points, self._moments(frames), self.scale.numpy(), list(self.space),
                         list(self.time), decoder)
        return value[..., 0:3], value[..., 3:6], value[..., 6:9]

    def reference(self, frames: Float[Tensor, " B"]) -> tuple[
            Float[Tensor, "B M 3"], Float[Tensor, "B M 3"], Float[Tensor, "B M 3"]]:
        """What `forward` gives, in plain torch, on any device and in any precision."""
        return self.decode(self.features_reference(self.points, frames))

    def at(self, points: Float[np.ndarray, "P 3"], moving: Int[np.ndarray, " P"]) -> ResidualField:
        """This field at other Gaussians: the planes and the decoder are shared, not copied."""
        low = self.low.cpu().numpy()
        other = ResidualField(points, moving, frames=self.frames, config=self.config,
                              bounds=(low, low + self.extent.cpu().numpy())).to(self.low.device)
        other.low, other.extent = self.low, self.extent
        other.space, other.time = self.space, self.time
        other.hidden_in, other.hidden, other.out = self.hidden_in, self.hidden, self.out
        other._fixed_points = FixedPoints(((other.points - other.low) / other.extent).cpu().numpy(),
                                          [plane.shape[1] for plane in self.space])
        return other

    def parameter_groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """What is learnt: planes, and the decoder's weights."""
        decoder = [p for layer in (self.hidden_in, self.hidden, self.out) for p in layer.parameters()]
        return [*self.space, *self.time], decoder

    def decode(self, features: Float[Tensor, "B M D"]) -> tuple[
            Float[Tensor, "B M 3"], Float[Tensor, "B M 3"], Float[Tensor, "B M 3"]]:
        """The MLP."""
        hidden = torch.relu(self.hidden_in(features))
        hidden = torch.relu(self.hidden(hidden))
        value = self.out(hidden) * self.scale
        return value[..., 0:3], value[..., 3:6], value[..., 6:9]

    def features_reference(self, points: Float[Tensor, "P 3"], frames: Float[Tensor, " B"]) -> Float[Tensor, "B P D"]:
        """The definition, anywhere: bilinear samples of all six planes, at `points` [m] and frames."""
        unit = (2 * (points - self.low) / self.extent - 1).to(self.space[0].dtype)
        t = (2 * frames / max(self.frames - 1, 1) - 1).to(unit)
        levels = []
        for space, time in zip(self.space, self.time, strict=True):
            product = torch.ones(len(frames), len(points), self.config.features, dtype=unit.dtype, device=unit.device)
            for plane, (row, column) in zip(space, SPACE_AXES, strict=True):
                product = product * grid_sample(plane, unit[:, column], unit[:, row])
            for axis in range(3):
                sampled = [grid_sample(time[axis], unit[:, axis], moment.expand(len(points))) for moment in t]
                product = product * torch.stack(sampled)
            levels.append(product)
        return torch.cat(levels, dim=-1)

    def smoothness_in_space(self) -> Float[Tensor, ""]:
        """Mean squared second difference of the space planes along both axes, summed over levels."""
        return sum((second_difference(p, 1) + second_difference(p, 2) for p in self.space), torch.zeros(()))

    def smoothness_in_time(self) -> Float[Tensor, ""]:
        """Mean squared second difference of the time planes along time, summed over levels."""
        return sum((second_difference(p, 1) for p in self.time), torch.zeros(()))

    def time_l1(self) -> Float[Tensor, ""]:
        """Mean |1 - time plane|, summed over levels."""
        return sum(((1 - p).abs().mean() for p in self.time), torch.zeros(()))

    @torch.no_grad()
    def sample(self) -> Float[np.ndarray, "T M 9"]:
        """The offsets at every frame: metres, radians, log scales."""
        with one_thread():
            frames = [torch.cat(self(torch.tensor([float(t)])), -1) for t in range(self.frames)]
        return torch.cat(frames).numpy()

    def save(self, path: Path) -> None:
        """Write weights, points and configuration as one safetensors file, whole or not at all."""
        save_tensors(path, self.state_dict() | {"moving": torch.from_numpy(self.moving)},
                     {"frames": str(self.frames)} | {key: repr(value) for key, value in asdict(self.config).items()})

    @staticmethod
    def load(path: Path) -> ResidualField:
        """Read what `save` wrote; raises `InputError` for anything else."""
        tensors, metadata = load_tensors(path)
        try:
            config = FieldConfig(**{key: type(default)(metadata[key])
                                    for key, default in asdict(FieldConfig()).items()})
            field = ResidualField(tensors["points"].numpy(), tensors.pop("moving").numpy(),
                                  frames=int(metadata["frames"]), config=config)
            field.load_state_dict(tensors)
            field = field.at(field.points.numpy(), field.moving)
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(f"{path}: is no residual field of this version ({type(error).__name__}); "
                             f"run the optimisation again") from error
        return field

    def _moments(self, frames: Tensor) -> list[Moment]:
        """The two samples of the time axis around each frame and the weight of the later."""
        last = self.time[0].shape[1] - 1
        moments = []
        for frame in frames.tolist():
            position = min(max(frame / max(self.frames - 1, 1) * last, 0.0), float(last))
            before = min(int(position), max(last - 1, 0))
            moments.append(Moment(before, min(before + 1, last), position - before))
        return moments


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: the heavy work is in kernels with threads of their own, and torch's parallel regions over
    what is left (pictures, points) are too small to pay on a CPU (two threads take 1.0 to 6 times as long, the latter
    beside other work); and results cannot depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file beside `path` and rename it there."""
    partial = path.with_name(path.name + ".tmp")
    save_file({key: value.contiguous() for key, value in tensors.items()}, partial, metadata=metadata)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; raises `InputError` when it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except Exception as error:
        # safetensors raises its own type for a damaged header and OSError for a missing file.
        raise InputError(f"{path}: cannot be read ({error}); run the stage again") from error


def _smooth_noise(cells: int, knots: int, features: int, generator: torch.Generator) -> Float[Tensor, "3 R R D"]:
    """Space planes to start from: smooth between `knots` random values along an axis, uniform in [0.5, 1.5].

    4DGaussians starts from white noise in [0.1, 0.5]. The product of three such is 0.03, which the decoder does
    not see beside its bias for the first thousand steps, and neighbours start with unrelated features.
    """
    noise = 0.5 + torch.rand(3, features, knots, knots, generator=generator)
    smooth = F.interpolate(noise, size=(cells, cells), mode="bicubic", align_corners=True)
    return smooth.permute(0, 2, 3, 1).contiguous()


def grid_sample(plane: Float[Tensor, "H X D"], x: Float[Tensor, " P"], y: Float[Tensor, " P"]) -> Float[Tensor, "P D"]:
    """Bilinear samples of a plane at column x and row y, each in [-1, 1] from the first cell to the last."""
    grid = torch.stack([x, y], dim=-1)[None, :, None]
    sampled = F.grid_sample(plane.permute(2, 0, 1)[None], grid, mode="bilinear", align_corners=True,
                            padding_mode="border")
    return sampled[0, :, :, 0].t()


def second_difference(plane: Tensor, axis: int) -> Tensor:
    """Mean squared second difference along an axis; 0 where it is shorter than three."""
    if plane.shape[axis] < 3:
        return torch.zeros(())
    return torch.diff(plane, n=2, dim=axis).square().mean()
