"""What a user may say about an avatar file beyond its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InputError
from runtime.types import Label

AXES = ("x", "y", "z", "-x", "-y", "-z")


@dataclass(frozen=True)
class AvatarOptions:
    """Corrections and companions of an avatar file; None or empty finds or needs nothing."""

    body_model: Path | None = None
    """A body in SMPL-X's key layout (.npz) that the splats were made on."""
    betas: Path | None = None
    """The subject's shape: .npz, .npy or .json with `betas`."""
    sample_points: Path | None = None
    """LHM's dense sample points (.ply), row by row the splats' places on the body's surface."""
    up: str | None = None
    """A scan's up axis."""
    facing: str | None = None
    """The direction a scan faces."""
    height: float | None = None
    """The person's height [m]."""
    pose: str | None = None
    """A scan's pose: 't', 'a' or 'relaxed'; None tries all."""
    mirror: bool = False
    """A scan's left and right are exchanged (a wrong change of handedness): turn them back."""
    labels: tuple[tuple[str, Label], ...] = ()
    """(part of a mesh's, node's or material's name, label) pairs, the first that fits counts."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The companion files."""
        return tuple(path for path in (self.body_model, self.betas, self.sample_points) if path is not None)

    def check(self) -> AvatarOptions:
        """Raise `InputError` for values that mean nothing; returns self."""
        for name, axis in (("--up", self.up), ("--facing", self.facing)):
            if axis is not None and axis not in AXES:
                raise InputError(f"{name} {axis}: give one of {', '.join(AXES)}")
        if self.up and self.facing and self.up.strip("-") == self.facing.strip("-"):
            raise InputError(f"--up {self.up} --facing {self.facing}: must be two different axes")
        if self.height is not None and not 0.3 <= self.height <= 3.0:
            raise InputError(f"--height {self.height:g}: must be between 0.3 and 3 metres")
        if self.pose is not None and self.pose not in ("t", "a", "relaxed"):
            raise InputError(f"--pose {self.pose}: give t, a or relaxed")
        return self


def parse_label(text: str) -> tuple[str, Label]:
    """`cape=garment` to ('cape', Label.GARMENT)."""
    name, _, label = text.rpartition("=")
    if not name or label.upper() not in Label.__members__:
        raise InputError(f"--label {text}: write NAME=LABEL with a label of "
                         f"{', '.join(member.lower() for member in Label.__members__)}")
    return name, Label[label.upper()]
