"""Segmenters: which pixels of a video must be preserved (DESIGN §9). One Protocol, one dictionary of loaders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from baker.videos import Video
from runtime.errors import InputError

SegmenterName = Literal["labels", "grounded-sam2"]
"""`labels`: the mask rendered from the Gaussians' labels, exact. `grounded-sam2`: Grounding DINO finds person and
clothes, SAM 2 follows them; for avatars without labels. Weights from the user's folder."""


@runtime_checkable
class Segmenter(Protocol):
    """Finds the preserved mask M = human minus garment (paper 4.2, D.1)."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever its answers may: a bake made with another is made anew."""

    def preserved(self, video: Video) -> UInt8[np.ndarray, "T H X"]:
        """Coverage 0..255 of every frame."""


class LabelSegmenter:
    """What the renderer already knows."""

    fingerprint = "labels"

    def preserved(self, video: Video) -> UInt8[np.ndarray, "T H X"]:
        return video.preserved


def load_segmenter(name: str, path: Path | None = None) -> Segmenter:
    """The segmenter called `name` (a `SegmenterName`), from its folder where it needs one. Raises `InputError`."""
    if name not in LOADERS:
        raise InputError(f'segmenter "{name}" is not known; choose one of {", ".join(get_args(SegmenterName))}')
    return LOADERS[name](path)


def _load_grounded_sam2(path: Path | None) -> Segmenter:
    from baker.segmenters.grounded_sam2 import GroundedSam2

    if path is None:
        raise InputError("the segmenter grounded-sam2 brings no weights: give a folder that holds grounding-dino/ (of "
                         "IDEA-Research/grounding-dino-tiny) and sam2/ (of facebook/sam2.1-hiera-large)")
    return GroundedSam2.load(path)


LOADERS: dict[str, Callable[[Path | None], Segmenter]] = {
    "labels": lambda path: LabelSegmenter(), "grounded-sam2": _load_grounded_sam2}
"""The loader of each name; it imports its packages itself."""
