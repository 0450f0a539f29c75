"""What training made of a Wan model: a LoRA, or whole weights, in a folder laid out as the model's own.

For each transformer (the folder itself, `transformer/`, or the experts' folders) there may be
    lora.safetensors                      "blocks.0.attn1.to_q.lora_A.weight" [rank in], ".lora_B.weight" [out rank]
    diffusion_pytorch_model.safetensors   all weights, named as the base model names them
A transformer with neither is the base model's. Names are diffusers', so that a LoRA opens in its pipelines too
(Hu et al. 2021, LoRA: W + alpha / rank * B A).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from baker.priors.wan_checkpoint import WEIGHTS
from runtime.errors import InputError

Transformer = TypeVar("Transformer", bound=nn.Module)
LORA = "lora.safetensors"
"""A LoRA's file name."""
PREFIX = "transformer."
"""What diffusers' pipelines put before every name."""
LARGEST_RANK = 1024


def load_tuned(part: Path, base: Path, tuned: Path | None, load: Callable[[Path], Transformer]) -> Transformer:
    """The transformer of folder `part`, relative to the model's folder `base`, with what `tuned` holds for it.

    Raises `InputError` for a folder that holds nothing for any transformer, and for a LoRA that does not fit.
    """
    if tuned is None:
        return load(base / part)
    if not any(path for name in (LORA, WEIGHTS) for path in tuned.rglob(name)):
        raise InputError(f"{tuned}: holds neither {LORA} nor {WEIGHTS}; give the folder that `ani3d prior train "
                         "--backend` wrote")
    if (tuned / part / WEIGHTS).is_file():
        return load(tuned / part)
    model = load(base / part)
    if (tuned / part / LORA).is_file():
        merge_lora(model, tuned / part / LORA)
    return model


def merge_lora(model: nn.Module, file: Path) -> None:
    """Add a LoRA to the weights of a model, which then runs as fast as before.

    Raises `InputError` for a damaged file and for a LoRA of another model.
    """
    tensors, alpha = read_lora(file)
    modules = dict(model.named_modules())
    for name in sorted({key.rpartition(".lora_")[0] for key in tensors}):
        down, up = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
        weight = getattr(modules.get(name), "weight", None)
        if down is None or up is None or weight is None or weight.ndim != 2 \
                or (up.shape[0], down.shape[1]) != tuple(weight.shape) or up.shape[1] != down.shape[0]:
            raise InputError(f"{file}: its {name} does not fit the model; give the LoRA of this model")
        with torch.no_grad():
            change = up.float() @ down.float() * (alpha / len(down) if alpha else 1.0)
            weight.copy_((weight.float() + change.to(weight.device)).to(weight.dtype))


def read_lora(file: Path) -> tuple[dict[str, Tensor], float]:
    """Tensors of a LoRA file without prefix, and its alpha (0: the rank). Raises `InputError` for another file."""
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {key.removeprefix(PREFIX): stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            alpha = float((stored.metadata() or {}).get("alpha", 0.0))
    except Exception as error:
        raise InputError(f"{file}: not a LoRA in safetensors ({str(error).splitlines()[0]}); train it again") from error
    strangers = [key for key in tensors if not key.endswith((".lora_A.weight", ".lora_B.weight"))]
    if strangers or not tensors:
        raise InputError(f"{file}: {strangers[0] if strangers else 'nothing'} in it is no LoRA tensor in diffusers' "
                         "naming; convert the LoRA")
    ranks = {min(value.shape) if value.ndim == 2 else 0 for value in tensors.values()}
    if not math.isfinite(alpha) or not 0 < min(ranks) <= max(ranks) <= LARGEST_RANK:
        raise InputError(f"{file}: ranks {min(ranks)} to {max(ranks)}, alpha {alpha}; a LoRA has 1 to {LARGEST_RANK}")
    return tensors, alpha


def tuned_fingerprint(tuned: Path | None) -> str:
    """Of the files in a tuned folder: names, sizes and beginnings; "" without one."""
    if tuned is None:
        return ""
    digest = hashlib.sha256()
    for file in sorted(path for name in (LORA, WEIGHTS) for path in tuned.rglob(name)):
        with open(file, "rb") as stream:
            digest.update(f"{file.relative_to(tuned).as_posix()}:{file.stat().st_size}".encode() + stream.read(1 << 24))
    return ":" + digest.hexdigest()[:32]
