"""The settings of a bake, as one frozen tree, and its presets."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from baker.distil_config import DistilConfig
from baker.optimise_config import OptimiseConfig
from baker.restore_config import RestoreConfig, SamplingConfig
from runtime.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class CoarseConfig:
    """The coarse videos (paper 4.3: diagonal view-time sampling)."""

    trajectories: int = 4
    """Orbits with evenly spaced start azimuths (the paper's figure shows 3)."""
    turn_degrees: float = 360.0
    """Azimuth each trajectory covers in `seconds_per_turn`."""
    seconds_per_turn: float = 3.0
    """Time of one `turn_degrees` [s]: the camera speed that the prior was trained on. A clip too short for the
    trajectories to see all sides together turns faster."""
    elevation_degrees: float = 10.0
    """Mean camera elevation (the released code's 10 degrees, facts §1.2)."""
    elevation_spread_degrees: float = 0.0
    """Trajectories look from so much below and above it in turn."""
    width: int = 128
    """Video width [px], a multiple of 16."""
    height: int = 224
    """Video height [px], a multiple of 16."""
    background: float = 0.5
    """Grey level behind the figure, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.trajectories < 1 or self.seconds_per_turn <= 0:
            raise InputError("coarse.trajectories and coarse.seconds_per_turn must be positive")
        if not (16 <= self.width <= 4096 and 16 <= self.height <= 4096):
            raise InputError(f"coarse.width and coarse.height must be 16..4096 pixels, not {self.width}x{self.height}")
        if not 0 <= self.background <= 1:
            raise InputError(f"coarse.background is {self.background}, must be in 0..1")


@dataclass(frozen=True)
class BakeConfig:
    """Everything a bake depends on besides its inputs; one section per stage."""

    coarse: CoarseConfig = field(default_factory=CoarseConfig)
    restore: RestoreConfig = field(default_factory=RestoreConfig)
    optimise: OptimiseConfig = field(default_factory=OptimiseConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)


PRESETS = ("draft", "standard", "paper")
"""Names that `preset` takes."""
SIMULATED_TRAJECTORIES = 12
"""Orbits of a simulation: they cost rendering alone, agree with each other, and the more show a moment the nearer the
cloth comes to the truth (search in `baker/optimise_config.py`). Restored ones contradict each other: 8 and 12 brought
nothing over 4 there."""
POSITIVE = ("optimise.views", "optimise.frames", "optimise.checkpoint_every",
            "optimise.record_every", "optimise.regularise_every", "optimise.neighbours")
"""Settings that must be at least 1."""


def check(config: BakeConfig) -> BakeConfig:
    """Raise `InputError` naming the first setting that is out of range; returns the config."""
    for path in POSITIVE:
        value: Any = config
        for name in path.split("."):
            value = getattr(value, name)
        if value < 1:
            raise InputError(f"{path} is {value}, must be at least 1")
    return config


def preset(name: str, *, supervision: str = "prior", prior: str = "embedded") -> BakeConfig:
    """`draft` (minutes on a CPU), `standard` (a workstation), `paper` (832x480x81, 30k iterations, a GPU).

    Restored videos contradict each other in detail, simulated ones do not: learning from the prior holds the cloth
    together far more strongly. On the built-in person's walk this kept the fabric's pattern where `OptimiseConfig`'s
    own weights, found on simulated videos, smeared it, and made the clip five times smaller. One step of sampling is
    the embedded prior's best; the paper's sampler is for the model that the paper drives with it. Simulated videos are
    worth `SIMULATED_TRAJECTORIES` orbits and a time sample a frame.
    """
    base = BakeConfig()
    if supervision == "prior":
        firm = replace(base.optimise, iterations=700, dssim=1.0, isometry=0.5, shape=0.3, smooth_time=0.1,
                       smooth_space=0.01)
        base = replace(base, optimise=firm)
    else:
        field_config = replace(base.optimise.field, time_samples=1.0)
        base = replace(base, coarse=replace(base.coarse, trajectories=SIMULATED_TRAJECTORIES),
                       optimise=replace(base.optimise, field=field_config))
    if prior != "embedded":
        base = replace(base, restore=replace(base.restore, sampling=SamplingConfig()))
    if name == "draft":
        return base
    if name == "standard":
        orbits = max(base.coarse.trajectories, 6)
        return replace(base, coarse=replace(base.coarse, trajectories=orbits, width=240, height=416),
                       optimise=replace(base.optimise, iterations=4 * base.optimise.iterations))
    if name == "paper":
        return replace(base, coarse=replace(base.coarse, trajectories=3, width=480, height=832),
                       optimise=replace(base.optimise, iterations=30_000, update_every=5_000))
    raise InputError(f"preset {name!r}: choose {', '.join(PRESETS)}")


def with_settings(config: T, settings: Sequence[str]) -> T:
    """A copy with `section.field=value` strings applied. Values are read as Python literals of the field's type."""
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator:
            raise InputError(f"--set {setting}: write it as FIELD=VALUE")
        try:
            config = _with_value(config, path.split("."), text, setting)
        except InputError:
            raise
        except ValueError as error:  # a config's own check of its fields
            raise InputError(f"--set {setting}: {error}") from None
    return config


def _with_value(config: Any, path: Sequence[str], text: str, setting: str) -> Any:
    names = [f.name for f in fields(config)]
    if path[0] not in names:
        raise InputError(f"--set {setting}: no setting {path[0]!r}; there are {', '.join(names)}")
    old = getattr(config, path[0])
    if is_dataclass(old):
        if len(path) == 1:
            inner = ", ".join(f"{path[0]}.{f.name}" for f in fields(old))
            raise InputError(f"--set {setting}: is a section; there are {inner}")
        return replace(config, **{path[0]: _with_value(old, path[1:], text, setting)})
    if len(path) > 1:
        raise InputError(f"--set {setting}: {path[0]} is no section")
    kind = next(f.type for f in fields(config) if f.name == path[0])
    return replace(config, **{path[0]: _parse(text, old, setting, union="|" in kind or "Literal" in kind)})


def _parse(text: str, old: Any, setting: str, *, union: bool) -> Any:
    """`text` as a value of `old`'s type; of any, for a field of several types, whose class then checks it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not union and type(value) is not type(old):
        raise InputError(f"--set {setting}: must be a {type(old).__name__}, like {old!r}")
    return value


def show(config: Any, prefix: str = "") -> str:
    """One `section.field = value` line per setting."""
    lines = []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        lines.append(show(value, f"{prefix}{f.name}.") if is_dataclass(value) else f"{prefix}{f.name} = {value!r}")
    return "\n".join(lines)
