"""The latents and conditions of users' clips, encoded once and kept on disk: what a Wan prior is trained on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from baker.priors.wan_fun_control import WanFunPrior, WanInputs
from baker.priors.wan_vace import VaceInputs, WanVacePrior
from baker.wan_clips import UserClip, read_windows

WanPrior = WanFunPrior | WanVacePrior
Inputs = WanInputs | VaceInputs
Report = Callable[[int, int, str], None]
"""Progress: done, total, what is being done."""


def encode_clips(prior: WanPrior, clips: list[UserClip], folder: Path, *, frames: int, size: tuple[int, int],
                 progress: Report | None = None) -> None:
    """Write the latents of every window that are not there yet, one file each; windows of changed clips are redone."""
    folder.mkdir(parents=True, exist_ok=True)
    without = prior.text("")
    for done, clip in enumerate(clips):
        stem = _stem(clip)
        if not (folder / f"{stem}.done").is_file():
            windows = read_windows(clip, frames=frames, size=size)
            for i, (video, conditions) in enumerate(windows):
                tensors = {"video": prior.encode(video), "without_text": without} | pack(prior.prepare(conditions))
                save_atomically(tensors, folder / f"{stem}.{i:03d}.safetensors")
            (folder / f"{stem}.done").touch()
        if progress is not None:
            progress(done + 1, len(clips), "encoding clips")


def stored_windows(folder: Path, clips: list[UserClip], *, held_out: int) -> tuple[list[Path], list[Path]]:
    """Stored windows to train on, and those of the last `held_out` clips, to measure on, where more clips are left."""
    cut = len(clips) - (held_out if len(clips) > held_out else 0)
    stored = [sorted(path for path in folder.glob("*.safetensors") if path.name.startswith(f"{_stem(clip)}."))
              for clip in clips]
    return [path for paths in stored[:cut] for path in paths], [path for paths in stored[cut:] for path in paths]


def pack(inputs: Inputs) -> dict[str, Tensor]:
    """Conditions as named tensors."""
    tensors = {field.name: getattr(inputs, field.name) for field in fields(inputs) if field.name != "texts"}
    return {name: value for name, value in tensors.items() if value is not None} | {"text": inputs.texts[0]}


def unpack(tensors: dict[str, Tensor]) -> Inputs:
    """The conditions of `pack`."""
    rest = dict(tensors)
    texts = (rest.pop("text"),)
    if "noise" in rest:
        return VaceInputs(texts=texts, **rest)
    return WanInputs(texts=texts, picture=rest.pop("picture", None), **rest)


def _stem(clip: UserClip) -> str:
    return f"{clip.name}.{clip.fingerprint}"


def save_atomically(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file: one that exists is whole."""
    part = path.with_name(f".{path.name}.part")
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part, metadata=metadata)
    os.replace(part, path)
