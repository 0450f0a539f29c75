"""What the Wan backends share: video codec, text and picture encoders, and moving models on and off the device.

Everything is read from a folder's parts in diffusers' and transformers' layouts (safetensors; nothing is unpickled).
Latents are [C t h w] float32, normalised by the codec's own mean and deviation.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.errors import InputError

SPACE, TIME = 8, 4
"""Pixels and frames per latent."""
TEXT_TOKENS = 512
"""Text is padded to this: diffusers tells picture tokens from text by the count."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's CLIP preprocessing [colours in 0..1]."""
NEGATIVE_PROMPT = ("blurred, static, low quality, compression artifacts, overexposed, deformed hands, extra limbs, "
                   "subtitles, cluttered background, gap in the middle of the skirt")
"""What classifier-free guidance leads away from."""

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class WanOptions:
    """How a Wan backend runs."""

    device: str
    """Where models compute."""
    dtype: torch.dtype
    """Of weights and activations; the codec always runs in float32."""
    offload: bool
    """Keep one model on the device at a time: 14B with its encoders does not fit on one card otherwise."""
    tiling: bool
    """Encode and decode in overlapping tiles: less memory, faint seams."""
    guidance_scale: float = 5.0
    """Classifier-free guidance; 1 is off and halves the time (the released code uses 5, facts §1.2)."""


def options_here() -> WanOptions:
    """For this machine: bfloat16 with offloading and tiling on a GPU, float32 on a CPU."""
    gpu = torch.cuda.is_available()
    return WanOptions(device="cuda" if gpu else "cpu", dtype=torch.bfloat16 if gpu else torch.float32, offload=gpu,
                      tiling=gpu)


class DeviceSlot:
    """Puts models on the device when they are used; with offloading, the one used before goes back first. A sampler's
    steps use one model many times in a row, so weights travel a few times a video and not every step."""

    def __init__(self, options: WanOptions) -> None:
        self.options = options
        self.resident: nn.Module | None = None

    def __call__(self, model: Module) -> Module:
        """The model, on the device."""
        if self.options.offload and self.resident is not model:
            if self.resident is not None:
                self.resident.to("cpu")
            self.resident = model
        return model.to(self.options.device)


@dataclass(frozen=True)
class WanCodec:
    """Wan's video codec behind the `VideoPrior` interface."""

    vae: AutoencoderKLWan
    slot: DeviceSlot

    @staticmethod
    def load(folder: Path, slot: DeviceSlot) -> WanCodec:
        """From a folder in diffusers' layout."""
        vae = load_part(AutoencoderKLWan, folder, dtype=torch.float32)
        if slot.options.tiling:
            vae.enable_tiling()
        return WanCodec(vae=vae, slot=slot)

    def encode(self, rgb: np.ndarray) -> Tensor:
        """Latents [C t h w] of a video uint8 [T H X 3]: the distribution's mode."""
        video = torch.from_numpy(rgb).permute(3, 0, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            device = self.slot.options.device
            latents = self.slot(self.vae).encode(video[None].to(device)).latent_dist.mode()[0].float()
        mean, deviation = self._scale(latents)
        return (latents - mean) / deviation

    def decode(self, latents: Tensor) -> np.ndarray:
        """Video uint8 [T H X 3] of latents [C t h w]."""
        mean, deviation = self._scale(latents)
        with torch.inference_mode():
            video = self.slot(self.vae).decode((latents * deviation + mean)[None]).sample[0]
        return ((video.permute(1, 2, 3, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        return tuple(torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)
                     for values in (config.latents_mean, config.latents_std))


def latent_mask(preserved: np.ndarray) -> Tensor:
    """Mask [1 t h w] in [0, 1] of a mask uint8 [T H X]: the least of each latent's frames and pixels, so that no
    latent that touches a garment edge counts as preserved (the released code takes the largest, facts §1.2)."""
    values = torch.from_numpy(preserved).float() / 255
    grouped = torch.cat([values[:1].expand(TIME, -1, -1), values[1:]])
    grouped = grouped.unflatten(0, (-1, TIME)).amin(1)
    return -F.max_pool2d(-grouped[None], SPACE)


@dataclass(frozen=True)
class TextEncoder:
    """umT5 with its tokenizer."""

    tokenizer: Any
    model: nn.Module
    slot: DeviceSlot

    @staticmethod
    def load(folder: Path, slot: DeviceSlot) -> TextEncoder:
        """From the parts `tokenizer` and `text_encoder` of a folder."""
        from transformers import UMT5EncoderModel

        tokenizer = load_tokenizer(folder / "tokenizer")
        model = load_part(UMT5EncoderModel, folder / "text_encoder", dtype=slot.options.dtype)
        return TextEncoder(tokenizer=tokenizer, model=model, slot=slot)

    def __call__(self, prompt: str) -> Tensor:
        """Embeddings [1 512 D], zero after the text's end, as Wan was trained."""
        tokens = self.tokenizer([prompt], padding="max_length", max_length=TEXT_TOKENS, truncation=True,
                                add_special_tokens=True, return_attention_mask=True, return_tensors="pt")
        options = self.slot.options
        with torch.inference_mode():
            mask = tokens.attention_mask.to(options.device)
            states = self.slot(self.model)(tokens.input_ids.to(options.device), mask).last_hidden_state
        return states.to(options.dtype) * mask[..., None].to(options.dtype)


@dataclass(frozen=True)
class PictureEncoder:
    """CLIP's vision tower, whose last but one layer Wan reads."""

    model: nn.Module
    slot: DeviceSlot

    @staticmethod
    def load(folder: Path, slot: DeviceSlot) -> PictureEncoder:
        """From a folder in transformers' layout."""
        from transformers import CLIPVisionModel

        return PictureEncoder(model=load_part(CLIPVisionModel, folder, dtype=slot.options.dtype), slot=slot)

    def __call__(self, rgb: np.ndarray) -> Tensor:
        """Tokens [1 S D] of a picture uint8 [H X 3], squashed to CLIP's square without cropping."""
        side = int(self.model.config.image_size)
        picture = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        picture = F.interpolate(picture, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_DEVIATION))
        pixels = ((picture - mean) / deviation).to(self.slot.options.device, self.slot.options.dtype)
        with torch.inference_mode():
            return self.slot(self.model)(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]


@dataclass(frozen=True)
class WanBackend:
    """What every Wan `VideoPrior` shares: codec, text, guidance."""

    codec: WanCodec
    text: TextEncoder
    slot: DeviceSlot
    weights: str
    """Tells checkpoints apart."""

    name: ClassVar[str]
    """As `baker.priors.PriorName` has it."""

    @property
    def options(self) -> WanOptions:
        """How it runs."""
        return self.slot.options

    @property
    def window(self) -> int:
        """As in training (facts §4.3)."""
        return 81

    @property
    def size_multiple(self) -> int:
        """The codec's 8 times the transformer's patch of 2."""
        return 2 * SPACE

    @property
    def fingerprint(self) -> str:
        return f"{self.name}:{self.weights}:{self.options.guidance_scale}:{self.options.dtype}"

    @property
    def device(self) -> str:
        return self.options.device

    def encode(self, rgb: np.ndarray) -> Tensor:
        return self.codec.encode(rgb)

    def decode(self, latents: Tensor) -> np.ndarray:
        return self.codec.decode(latents)

    def latent_mask(self, preserved: np.ndarray) -> Tensor:
        return latent_mask(preserved).to(self.options.device)

    def texts(self, prompt: str) -> tuple[Tensor, ...]:
        """Embeddings [1 512 D] of the prompt and, with guidance, of the negative prompt."""
        prompts = (prompt,) if self.options.guidance_scale == 1 else (prompt, NEGATIVE_PROMPT)
        return tuple(self.text(words) for words in prompts)

    def guided(self, answers: list[Tensor]) -> Tensor:
        """Classifier-free guidance over the velocities of `texts`."""
        if len(answers) == 1:
            return answers[0]
        return answers[1] + self.options.guidance_scale * (answers[0] - answers[1])


def files_fingerprint(folders: list[Path]) -> str:
    """Of folders' safetensors (names, sizes and headers; hashing tens of gigabytes would take minutes) and configs."""
    digest = hashlib.sha256()
    for number, folder in enumerate(folders):
        for file in [*sorted(folder.glob("*.safetensors")), *folder.glob("config.json")]:
            with open(file, "rb") as stream:
                digest.update(f"{number}/{file.name}:{file.stat().st_size}".encode() + stream.read(1 << 20))
    return digest.hexdigest()[:32]


def load_part(kind: type[Module], folder: Path, *, dtype: torch.dtype) -> Module:
    """A diffusers or transformers model from its folder, all of it. Raises `InputError` naming what is missing."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json here; download this part of the model")
    try:
        # Local files only, whatever the folder's name may look like.
        model, report = kind.from_pretrained(folder, torch_dtype=dtype, local_files_only=True, use_safetensors=True,
                                             output_loading_info=True)
    except Exception as error:
        raise InputError(f"{folder}: not a whole {kind.__name__} ({_first_line(error)}); download it again") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(f"{folder}: {len(missing)} tensors are missing: {', '.join(missing[:4])}; download it again")
    return model.eval()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; code that a folder brings is never run. Raises `InputError`."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as for models: anything may be raised
        raise InputError(f"{folder}: not a whole tokenizer ({_first_line(error)}); download it again") from error


def class_name(folder: Path) -> str:
    """The class that a diffusers folder's config names; "" where it names none."""
    for file in (folder / "model_index.json", folder / "config.json"):
        if file.is_file():
            try:
                return str(json.loads(file.read_text(encoding="utf-8")).get("_class_name", ""))
            except (ValueError, AttributeError):
                raise InputError(f"{file}: not a JSON object; download it again") from None
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
