"""`ani3d prior info`: what a weights file or a model's folder holds, and what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from baker.priors.wan_checkpoint import WanCheckpoint
from baker.priors.wan_parts import class_name
from runtime.errors import InputError


def prior_info(path: Path | None = None) -> dict[str, Any]:
    """What `path` holds: weights or a training of the embedded prior (None: the shipped ones), or the folder of a Wan
    model, with what it lacks. Raises `InputError` for a path that is neither."""
    from baker.prior_training import info
    from baker.priors.embedded import SHIPPED

    if path is None or path.is_file() or (path / SHIPPED.name).is_file():
        return {"prior": "embedded"} | info(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; give weights, a training's folder or a model's folder")
    if (path / "transformer").is_dir() or "VACE" in class_name(path):
        return _vace(path)
    return _fun_control(path)


def _fun_control(folder: Path) -> dict[str, Any]:
    from baker.priors import wan_fun_control as fun
    from baker.priors.wan_fun_model import model_settings

    transformers = {}
    for part in fun.transformer_folders(folder):
        name = part.name if part != folder else "transformer"
        try:
            checkpoint = WanCheckpoint.open(part)
            transformers[name] = model_settings(checkpoint) | {
                "tensors": len(checkpoint.shapes), "parameters": _parameters(checkpoint)}
        except InputError as error:
            transformers[name] = {"error": str(error)}
    lacking = fun.missing_parts(folder)
    return {"prior": "wan-fun-control", "folder": str(folder), "transformers": transformers,
            "parts": _parts(folder, ("vae", "text_encoder", "tokenizer", "image_encoder")), "lacks": lacking,
            "usable": not lacking and not any("error" in part for part in transformers.values())}


def _vace(folder: Path) -> dict[str, Any]:
    from baker.priors import wan_vace as vace

    lacking = vace.missing_parts(folder)
    return {"prior": "wan-vace", "folder": str(folder), "parts": _parts(folder, vace.PARTS), "lacks": lacking,
            "usable": not lacking}


def _parameters(checkpoint: WanCheckpoint) -> int:
    total = 0
    for shape in checkpoint.shapes.values():
        count = 1
        for side in shape:
            count *= side
        total += count
    return total


def _parts(folder: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Bytes in each part that is there."""
    return {name: sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
            for name in names if (folder / name).is_dir()}
