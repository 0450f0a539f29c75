"""The embedded video prior: a small Wan-architecture transformer over patch-codec latents, made for a CPU.

Inputs stand on channels: noisy latents, pose, coarse video, reference, masks, and a flag that says whether the
coarse video is given (training leaves it out at times, so one model serves with and without it).
It predicts x0 as the coarse video moved by a predicted flow plus a latent residual; v = (x - x0) / sigma follows.
Predicting the velocity itself does not work at this size (facts/packages.md §2): a token of 768 numbers cannot carry
its noise through a width of 256. With its last layer zero, as at the start of training, x0 is the coarse video.
Letters: B batch, C codec channels, t h w latent sizes, others as in `runtime/__init__.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from baker.conditions import Conditions
from baker.priors.codec import PATCH, STRIDE, PatchCodec, pool_mask, to_bytes, to_signed
from runtime.errors import InputError

SHIPPED = Path(__file__).parent / "weights" / "embedded.safetensors"
"""The weights that come with ani3d."""
FORMAT = "ani3d-embedded-prior-2"
"""Marks the weights file, in its metadata."""
WINDOW = 33
"""Frames per window, as in training: 9 latent frames."""
SIZE_MULTIPLE = 16
"""Pixels: the codec's 4 times the transformer's patch of 4."""
TEXT_DIM = 16
"""The transformer asks for text; it gets one zero token of this width, which its projection turns into a learnt
constant."""
GARMENT_CHANNELS = 6
"""Channels of `garment_channels`."""
FLOW_UNIT = 4.0
"""Pixels of displacement per unit of the network's output, at the training height of 224."""


@dataclass(frozen=True)
class EmbeddedConfig:
    """The network's shape."""

    layers: int = 5
    """Transformer blocks."""
    width: int = 192
    """Token width; heads are 64 wide."""
    channels: int = 48
    """C, codec channels."""
    flow: bool = True
    """Whether x0 starts from the coarse video moved by a predicted flow."""


@dataclass(frozen=True)
class NetworkInputs:
    """One batch of what the network sees besides noisy latents and noise level."""

    pose: Tensor
    """Latents of the pose video [B C t h w]."""
    coarse: Tensor
    """Latents of the coarse video [B C t h w]; ignored where `sees_coarse` is 0."""
    coarse_video: Tensor
    """The coarse video itself [B T H X 3] in [-1, 1], which the flow moves."""
    reference: Tensor
    """Latents of the reference picture [B C 1 h w]."""
    mask: Tensor
    """Preserved mask at latent size [B 1 t h w]."""
    garment: Tensor
    """Where the coarse garment is, as `garment_channels` says [B 6 t h w]; ignored where `sees_coarse` is 0."""
    sees_coarse: Tensor
    """1 or 0 per clip [B]."""


class RestorationNetwork(nn.Module):
    """Predicts the clean latents x0 from noisy ones."""

    def __init__(self, config: EmbeddedConfig, codec: PatchCodec) -> None:
        super().__init__()
        self.config, self.codec = config, codec
        flow_channels = 2 * STRIDE if config.flow else 0
        self.transformer = WanTransformer3DModel(
            patch_size=(1, 4, 4), num_attention_heads=config.width // 64, attention_head_dim=64,
            in_channels=4 * config.channels + 2 + GARMENT_CHANNELS, out_channels=config.channels + flow_channels,
            text_dim=TEXT_DIM, freq_dim=64, ffn_dim=4 * config.width, num_layers=config.layers)
        for block in self.transformer.blocks:
            block.attn2.set_processor(OneKeyAttention())
            for unused in (block.norm2, block.attn2.to_q, block.attn2.to_k, block.attn2.norm_q, block.attn2.norm_k):
                unused.requires_grad_(False)
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)

    def forward(self, x: Tensor, sigma: Tensor, inputs: NetworkInputs) -> tuple[Tensor, Tensor]:
        """x0 [B C t h w] from x [B C t h w] at noise levels sigma [B] in (0, 1]; and the flow [B (4 2) t h w] [px]
        that moves the coarse video, of no channels where the network has none."""
        seen = inputs.sees_coarse.view(-1, 1, 1, 1, 1).to(x.dtype)
        flag = seen.expand(-1, 1, *x.shape[2:])
        # The best linear estimate of x0 from x alone. Unscaled, the noise leaked into the answer as blocks that 300
        # steps of training had not removed.
        estimate = x * ((1 - sigma) / ((1 - sigma).square() + sigma.square())).view(-1, 1, 1, 1, 1)
        stacked = torch.cat([estimate, inputs.pose, seen * inputs.coarse, inputs.reference.expand_as(x),
                             inputs.mask, seen * inputs.garment, flag], dim=1)
        text = x.new_zeros(len(x), 1, TEXT_DIM)
        out = self.transformer(stacked, 1000.0 * sigma, text, return_dict=False)[0].float()
        channels = self.config.channels
        base, flow = inputs.coarse, FLOW_UNIT * out[:, channels:]
        if self.config.flow:
            moved = move(inputs.coarse_video, flow)
            base = base + self.codec.encode_difference(moved - inputs.coarse_video)
        return seen * base + out[:, :channels], flow


def garment_channels(coarse_video: Tensor, preserved: Tensor) -> Tensor:
    """Six channels [B 6 t h w] that say where the garment is, from the coarse video [B T H X 3] in [-1, 1] and the
    preserved mask [B T H X] in [0, 1].

    Four are its coverage of a patch in each of the four frames: what differs from the background, which is the
    median colour of the picture's border, and is not preserved. Two are the place across and down from the
    garment's centre, in 32 px. Colours alone say neither in a way that holds for the next person.
    """
    border = torch.cat([coarse_video[:, :, 0], coarse_video[:, :, -1], coarse_video[:, :, :, 0],
                        coarse_video[:, :, :, -1]], dim=2)
    background = border.flatten(1, 2).median(dim=1).values[:, None, None, None]
    garment = ((coarse_video - background).abs().amax(-1) > 0.06).float() * (1 - preserved)
    garment = torch.cat([garment[:, :1].expand(-1, STRIDE, -1, -1), garment[:, 1:]], dim=1)
    batch, frames, height, width = garment.shape
    coverage = garment.reshape(batch, frames // STRIDE, STRIDE, height // STRIDE, STRIDE, width // STRIDE,
                               STRIDE).mean((4, 6))
    places = []
    for axis, count in ((-1, width // STRIDE), (-2, height // STRIDE)):
        at = (torch.arange(count, dtype=torch.float32, device=garment.device) + 0.5) * STRIDE
        at = at if axis == -1 else at[:, None]
        total = coverage.sum((2, 3, 4), keepdim=True).clamp_min(1e-3)
        centre = (coverage * at).sum((2, 3, 4), keepdim=True) / total
        places.append(((at - centre) / 32.0).expand(-1, -1, 1, height // STRIDE, width // STRIDE))
    return torch.cat([coverage, *places], dim=2).transpose(1, 2)


class OneKeyAttention:
    """Cross-attention to a single text token: softmax over one key is 1, so the answer is that token's value,
    whatever the query. Saves a tenth of the network's work; a test compares it with the full computation."""

    def __call__(self, attn: nn.Module, hidden_states: Tensor, encoder_hidden_states: Tensor,
                 attention_mask: Tensor | None = None, rotary_emb: object = None) -> Tensor:
        """Tokens [B S D] from tokens [B S D] and text [B 1 D]."""
        return attn.to_out[0](attn.to_v(encoder_hidden_states)).expand_as(hidden_states)


def move(video: Tensor, flow: Tensor) -> Tensor:
    """The video [B T H X 3] with each pixel fetched from where `flow` points.

    `flow` [B (4 2) t h w]: displacement (x, y) [px] for each of the four frames of a latent frame, bilinear between
    the centres of 4 x 4 patches; the first latent frame holds one frame, its first displacement. Borders repeat.
    """
    batch, frames, height, width, _ = video.shape
    per_frame = flow.unflatten(1, (STRIDE, 2)).permute(0, 3, 1, 2, 4, 5).flatten(1, 2)
    per_frame = torch.cat([per_frame[:, :1], per_frame[:, STRIDE:]], dim=1).flatten(0, 1)
    fine = F.interpolate(per_frame, size=(height, width), mode="bilinear", align_corners=False)
    columns = torch.arange(width, device=video.device, dtype=torch.float32) + 0.5
    rows = torch.arange(height, device=video.device, dtype=torch.float32) + 0.5
    # grid_sample's coordinates run over [-1, 1] from border to border.
    grid = torch.stack([(columns + fine[:, 0]) * (2 / width) - 1, (rows[:, None] + fine[:, 1]) * (2 / height) - 1],
                       dim=-1)
    pictures = video.flatten(0, 1).movedim(-1, 1)
    moved = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.movedim(1, -1).unflatten(0, (batch, frames))


@dataclass(frozen=True)
class EmbeddedPrior:
    """`VideoPrior` of the shipped network."""

    network: RestorationNetwork
    """In evaluation mode."""
    weights_sha256: str
    """Of the weights file."""
    sees_coarse: bool = True
    """Give the network the coarse video too. False is the paper's setting: pose and reference only."""

    @property
    def window(self) -> int:
        return WINDOW

    @property
    def size_multiple(self) -> int:
        return SIZE_MULTIPLE

    @property
    def fingerprint(self) -> str:
        return f"embedded:{self.weights_sha256}:{'coarse' if self.sees_coarse else 'pose only'}"

    @property
    def codec(self) -> PatchCodec:
        """The codec that the network was trained with."""
        return self.network.codec

    def encode(self, rgb: np.ndarray) -> Tensor:
        return self.codec.encode(to_signed(torch.from_numpy(rgb)))

    def decode(self, latents: Tensor) -> np.ndarray:
        return to_bytes(self.codec.decode(latents)).numpy()

    def latent_mask(self, preserved: np.ndarray) -> Tensor:
        return pool_mask(torch.from_numpy(preserved))

    def prepare(self, conditions: Conditions) -> NetworkInputs:
        coarse_video = to_signed(torch.from_numpy(conditions.coarse))
        return NetworkInputs(
            pose=self.encode(conditions.pose)[None], coarse=self.codec.encode(coarse_video)[None],
            coarse_video=coarse_video[None], reference=self.encode(conditions.reference[None])[None],
            mask=self.latent_mask(conditions.preserved)[None],
            garment=garment_channels(coarse_video[None], torch.from_numpy(conditions.preserved)[None] / 255.0),
            sees_coarse=torch.tensor([float(self.sees_coarse)]))

    def velocity(self, x: Tensor, sigma: float, prepared: NetworkInputs) -> Tensor:
        with torch.inference_mode(), low_precision():
            x0 = self.network(x[None], torch.tensor([sigma]), prepared)[0][0]
        return (x - x0) / sigma

    @staticmethod
    def load(path: Path) -> EmbeddedPrior:
        """The prior of a weights file. Raises `InputError` for a file that is absent, damaged or another's."""
        advice = "give another with --prior-path, or make one with `ani3d prior train`"
        if not path.is_file():
            raise InputError(f"{path}: no weights of the embedded prior here; {advice}")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            if metadata.get("format") != FORMAT:
                raise ValueError(f'its format is "{metadata.get("format")}", not "{FORMAT}"')
            config = EmbeddedConfig(**json.loads(metadata["config"]))
            codec = PatchCodec(basis=tensors.pop("codec.basis"), mean=tensors.pop("codec.mean"),
                               deviation=tensors.pop("codec.deviation"))
            if codec.basis.shape != (PATCH, config.channels):
                raise ValueError(f"the codec's basis is {tuple(codec.basis.shape)}")
            if not all(bool(value.isfinite().all()) for value in tensors.values()):
                raise ValueError("a weight is NaN or infinite")
            network = RestorationNetwork(config, codec)
            network.load_state_dict(tensors)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: not weights of the embedded prior ({reason}); {advice}") from error
        with open(path, "rb") as file:
            return EmbeddedPrior(network.eval(), weights_sha256=hashlib.file_digest(file, "sha256").hexdigest())


def save_weights(path: Path, network: RestorationNetwork, *, state: dict[str, Tensor], about: dict) -> None:
    """Write `state` (the network's, or an average of it) as float16, with the codec, atomically.

    `about` is stored as JSON beside the configuration (training settings, measured quality).
    """
    codec = network.codec
    tensors = {name: value.to(torch.float16).contiguous() for name, value in state.items()}
    tensors |= {"codec.basis": codec.basis.contiguous(), "codec.mean": codec.mean.contiguous(),
                "codec.deviation": codec.deviation.contiguous()}
    metadata = {"format": FORMAT, "config": json.dumps(asdict(network.config)),
                "about": json.dumps(about, sort_keys=True)}
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata=metadata)
    os.replace(temporary, path)


def low_precision() -> AbstractContextManager:
    """bfloat16 autocast on the CPU: 1.5 times faster where the processor has it (facts/packages.md §2)."""
    # diffusers keeps its norms in float32 on purpose; torch remarks on the mix once a process.
    warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
    return torch.autocast("cpu", dtype=torch.bfloat16)
