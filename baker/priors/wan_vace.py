"""The `wan-vace` prior: Wan VACE through diffusers, the pose video as its control and the reference as its picture.

A folder in diffusers' layout (transformer/ vae/ text_encoder/ tokenizer/), such as Wan-AI/Wan2.1-VACE-1.3B-diffusers.
VACE puts the reference before the video as latent frames of their own, which it denoises too: x gets that frame, noised
to the same level from what is known of it. Letters as in `baker/priors/__init__.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import WanVACETransformer3DModel
from safetensors.torch import load_file
from torch import Tensor, nn

from baker.conditions import Conditions
from baker.priors.wan_checkpoint import weight_files
from baker.priors.wan_fun_model import fill
from baker.priors.wan_parts import (
    SPACE,
    DeviceSlot,
    TextEncoder,
    WanBackend,
    WanCodec,
    WanOptions,
    class_name,
    files_fingerprint,
    options_here,
)
from baker.priors.wan_tuned import load_tuned, tuned_fingerprint
from runtime.errors import InputError

PARTS = ("transformer", "vae", "text_encoder", "tokenizer")
"""Folders that a VACE folder must hold."""


@dataclass(frozen=True)
class VaceInputs:
    """What the transformer sees besides noisy latents."""

    control: Tensor
    """16 + 16 latent channels (kept, to be made) and 64 of the mask, the reference's frame first [1 96 t+1 h w]."""
    reference: Tensor
    """Latents of the reference picture [C 1 h w]."""
    noise: Tensor
    """What it is noised with [C 1 h w]."""
    texts: tuple[Tensor, ...]
    """Embeddings [1 512 D] of the prompt and, with guidance, of the negative prompt."""


@dataclass(frozen=True)
class WanVacePrior(WanBackend):
    """`VideoPrior` of a VACE model."""

    transformer: WanVACETransformer3DModel

    name = "wan-vace"

    def prepare(self, conditions: Conditions) -> VaceInputs:
        pose, reference = self.encode(conditions.pose), self.encode(conditions.reference[None])
        # A mask of ones everywhere: all of the video is to be made, nothing of it is kept (grey, 0 in [-1, 1]).
        nothing = self.encode(np.full_like(conditions.pose, 128))
        video = torch.cat([nothing, pose, pose.new_ones(SPACE**2, *pose.shape[1:])])
        picture = torch.cat([reference, torch.zeros_like(reference),
                             reference.new_zeros(SPACE**2, *reference.shape[1:])])
        generator = torch.Generator().manual_seed(0)
        return VaceInputs(control=torch.cat([picture, video], dim=1)[None], reference=reference,
                          noise=torch.randn(reference.shape, generator=generator).to(reference),
                          texts=self.texts(conditions.prompt))

    def velocity(self, x: Tensor, sigma: float, prepared: VaceInputs) -> Tensor:
        with torch.inference_mode():
            return self.guided(predictions(self.slot(self.transformer), x, sigma, prepared))

    @staticmethod
    def load(folder: Path, options: WanOptions | None = None, *, tuned: Path | None = None) -> WanVacePrior:
        """The prior of a folder, with what `ani3d prior train` made of its transformer (`tuned`, see `wan_tuned.py`).

        Raises `InputError` naming what the folder lacks.
        """
        options = options or options_here()
        lacking = missing_parts(folder)
        if lacking:
            raise InputError(f"{folder}: lacks {', '.join(lacking)}; give the folder of a Wan VACE model in diffusers' "
                             "layout")
        slot = DeviceSlot(options)
        transformer = load_tuned(Path("transformer"), folder, tuned,
                                 lambda path: load_transformer(path, dtype=options.dtype))
        return WanVacePrior(transformer=transformer, codec=WanCodec.load(folder / "vae", slot),
                            text=TextEncoder.load(folder, slot), slot=slot,
                            weights=files_fingerprint([folder / part for part in PARTS]) + tuned_fingerprint(tuned))


def predictions(model: nn.Module, x: Tensor, sigma: float, inputs: VaceInputs) -> list[Tensor]:
    """Velocities [C t h w] of the transformer, one for each text."""
    dtype = inputs.texts[0].dtype
    first = sigma * inputs.noise + (1 - sigma) * inputs.reference
    stacked = torch.cat([first, x], dim=1)[None].to(dtype)
    time = torch.tensor([1000.0 * sigma], device=x.device)
    control = inputs.control.to(dtype)
    return [model(stacked, time, text, control_hidden_states=control, return_dict=False)[0][0, :, 1:].float()
            for text in inputs.texts]


def load_transformer(folder: Path, *, dtype: torch.dtype) -> WanVACETransformer3DModel:
    """The model of a folder in diffusers' layout. Raises `InputError` naming what is missing."""
    try:
        config = WanVACETransformer3DModel.load_config(folder, local_files_only=True)
        with torch.device("meta"):
            model = WanVACETransformer3DModel.from_config(config)
        tensors: dict[str, Tensor] = {}
        for file in weight_files(folder):
            tensors |= load_file(file)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{folder}: not a whole VACE transformer ({str(error).splitlines()[0]}); download it "
                         "again") from error
    wanted = set(model.state_dict())
    for what, names in (("are missing", wanted - set(tensors)), ("have no place in it", set(tensors) - wanted)):
        if names:
            raise InputError(f"{folder}: {len(names)} tensors {what}: {', '.join(sorted(names)[:4])}; download it "
                             "again")
    return fill(model, tensors, dtype=dtype)


def missing_parts(folder: Path) -> list[str]:
    """What a folder lacks of a VACE model."""
    lacking = [f"{part}/" for part in PARTS
               if not (folder / part / ("tokenizer_config.json" if part == "tokenizer" else "config.json")).is_file()]
    named = class_name(folder / "transformer") if (folder / "transformer").is_dir() else ""
    if named and named != WanVACETransformer3DModel.__name__:
        lacking.append(f"a {WanVACETransformer3DModel.__name__} (its transformer is a {named})")
    return lacking
