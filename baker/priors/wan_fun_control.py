"""The `wan-fun-control` prior: Wan2.1-Fun-V1.1-Control (1.3B, 14B) and Wan2.2-Fun-A14B-Control with its two experts.

A folder holds
    diffusion_pytorch_model.safetensors (or its parts and index) and config.json   Wan2.1-Fun
    high_noise_model/, low_noise_model/ with the same                              Wan2.2-Fun
    vae/ text_encoder/ tokenizer/      from Wan-AI/Wan2.1-T2V-1.3B-Diffusers
    image_encoder/                     from Wan-AI/Wan2.1-I2V-14B-480P-Diffusers, Wan2.1-Fun only
How conditions go in: facts/upstream.md §4.3. Letters as in `baker/priors/__init__.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from baker.conditions import Conditions
from baker.priors.wan_checkpoint import WanCheckpoint
from baker.priors.wan_fun_model import WanFunTransformer, load_transformer
from baker.priors.wan_parts import (
    DeviceSlot,
    PictureEncoder,
    TextEncoder,
    WanBackend,
    WanCodec,
    WanOptions,
    files_fingerprint,
    options_here,
)
from baker.priors.wan_tuned import load_tuned, tuned_fingerprint
from runtime.errors import InputError

BOUNDARY = 0.875
"""Wan2.2's high-noise expert works from this sigma up."""
HIGH, LOW = "high_noise_model", "low_noise_model"
"""Folders of the two experts."""


@dataclass(frozen=True)
class WanInputs:
    """What the transformer sees besides noisy latents."""

    control: Tensor
    """Latents of the pose video, and zeros for the start image's channels [1 C t h w]."""
    reference: Tensor
    """Latents of the reference picture [1 16 h w]."""
    texts: tuple[Tensor, ...]
    """Embeddings [1 512 D] of the prompt and, with guidance, of the negative prompt."""
    picture: Tensor | None
    """CLIP's tokens of the reference picture [1 257 D]."""


@dataclass(frozen=True)
class WanFunPrior(WanBackend):
    """`VideoPrior` of a Fun-Control model."""

    experts: tuple[WanFunTransformer, ...]
    """One model, or the experts for high and low noise."""
    picture: PictureEncoder | None

    name = "wan-fun-control"

    def prepare(self, conditions: Conditions) -> WanInputs:
        pose = self.encode(conditions.pose)
        spare = self.experts[0].config.in_channels - 2 * len(pose)  # the start image's, and in Wan2.2 its mask's
        return WanInputs(
            control=torch.cat([pose, pose.new_zeros(spare, *pose.shape[1:])])[None],
            reference=self.encode(conditions.reference[None])[None, :, 0],
            texts=self.texts(conditions.prompt),
            picture=None if self.picture is None else self.picture(conditions.reference))

    def velocity(self, x: Tensor, sigma: float, prepared: WanInputs) -> Tensor:
        expert = self.experts[0] if sigma >= BOUNDARY else self.experts[-1]
        with torch.inference_mode():
            return self.guided(predictions(self.slot(expert), x, sigma, prepared))

    @staticmethod
    def load(folder: Path, options: WanOptions | None = None, *, tuned: Path | None = None) -> WanFunPrior:
        """The prior of a folder, with what `ani3d prior train` made of its transformers (`tuned`, see `wan_tuned.py`).

        Raises `InputError` naming what the folder lacks.
        """
        options = options or options_here()
        lacking = missing_parts(folder)
        if lacking:
            raise InputError(f"{folder}: lacks {'; '.join(lacking)}")
        experts = tuple(load_tuned(part.relative_to(folder), folder, tuned,
                                   lambda path: load_transformer(path, dtype=options.dtype))
                        for part in transformer_folders(folder))
        with_picture = experts[0].config.image_dim is not None
        slot = DeviceSlot(options)
        return WanFunPrior(
            experts=experts, codec=WanCodec.load(folder / "vae", slot), text=TextEncoder.load(folder, slot),
            picture=PictureEncoder.load(folder / "image_encoder", slot) if with_picture else None,
            slot=slot, weights=files_fingerprint([*transformer_folders(folder), *(folder / part for part in (
                "vae", "text_encoder", "image_encoder"))]) + tuned_fingerprint(tuned))


def predictions(model: nn.Module, x: Tensor, sigma: float, inputs: WanInputs) -> list[Tensor]:
    """Velocities [C t h w] of a transformer, one for each text: control, reference and picture stay in both branches
    of the guidance, only the text changes."""
    dtype = inputs.texts[0].dtype
    stacked = torch.cat([x[None], inputs.control], dim=1).to(dtype)
    time = torch.tensor([1000.0 * sigma], device=x.device)
    reference = inputs.reference.to(dtype)
    return [model(stacked, time, text, inputs.picture, reference)[0].float() for text in inputs.texts]


def transformer_folders(folder: Path) -> list[Path]:
    """The folders that hold transformers: the experts', or the folder itself."""
    experts = [folder / HIGH, folder / LOW]
    return experts if any(part.is_dir() for part in experts) else [folder]


def missing_parts(folder: Path) -> list[str]:
    """What a folder lacks, each with where to get it."""
    if not folder.is_dir():
        return ["everything: it is no folder"]
    lacking = []
    has_picture = False
    for part in transformer_folders(folder):
        try:
            checkpoint = WanCheckpoint.open(part)
            has_picture |= any("image_embedder" in name for name in checkpoint.shapes)
        except InputError as error:
            lacking.append(f"the transformer ({error})")
    wanted = ["vae", "text_encoder", "tokenizer"] + (["image_encoder"] if has_picture else [])
    for part in wanted:
        marker = "tokenizer_config.json" if part == "tokenizer" else "config.json"
        if not (folder / part / marker).is_file():
            source = "I2V-14B-480P" if part == "image_encoder" else "T2V-1.3B"
            lacking.append(f"{part}/ (from Wan-AI/Wan2.1-{source}-Diffusers)")
    return lacking
