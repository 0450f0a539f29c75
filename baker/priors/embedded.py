"""The embedded video prior: a small Wan-architecture transformer over patch-codec latents, made for a CPU.

Inputs stand on channels: noisy latents, pose, coarse video, reference, masks, and a flag that says whether the
coarse video is given (training leaves it out at times, so one model serves with and without it).
With the coarse video it predicts, per pixel, whether to keep the coarse pixel, to put moved cloth there or to
uncover the background (`baker/priors/layers.py`), and a latent residual; x0 is their sum, v = (x - x0) / sigma.
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

from baker.conditions import Conditions
from baker.priors.codec import PATCH, STRIDE, PatchCodec, pool_mask, to_bytes, to_signed
from baker.priors.layers import (
    LAYERS,
    CoarseLayers,
    border_color,
    coarse_layers,
    compose,
    garment_channels,
    layer_odds,
    pool_mean,
)
from baker.priors.refinement import RefinementHead
from runtime.errors import InputError

SHIPPED = Path(__file__).parent / "weights" / "embedded.safetensors"
"""The weights that come with ani3d."""
FORMAT = "ani3d-embedded-prior-3"
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
LOGIT_UNIT = 4.0
"""Log-odds of a layer per unit of the network's output."""


@dataclass(frozen=True)
class EmbeddedConfig:
    """The network's shape."""

    layers: int = 5
    """Transformer blocks."""
    width: int = 192
    """Token width; heads are 64 wide."""
    channels: int = 48
    """C, codec channels."""
    features: int = 32
    """Channels that the transformer hands to the convolutions."""
    head_width: int = 64
    """Channels of the convolutions."""
    head_blocks: int = 3
    """Residual blocks of them."""

    def __post_init__(self) -> None:
        # Weights files come from anywhere: a network that they only claim must not be built first.
        bounds = {"layers": (1, 64, 1), "width": (64, 2048, 64), "channels": (1, PATCH, 1), "features": (1, 1024, 1),
                  "head_width": (8, 2048, 8), "head_blocks": (0, 64, 1)}
        for name, (least, most, step) in bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most or value % step:
                raise ValueError(f"{name} is {value}, must be {least} to {most}"
                                 f"{f', a multiple of {step}' if step > 1 else ''}")


@dataclass(frozen=True)
class NetworkInputs:
    """One batch of what the network sees besides noisy latents and noise level."""

    pose: Tensor
    """Latents of the pose video [B C t h w]."""
    coarse: Tensor
    """Latents of the coarse video [B C t h w]; ignored where `sees_coarse` is 0."""
    layers: CoarseLayers
    """The coarse video taken apart; ignored where `sees_coarse` is 0."""
    reference: Tensor
    """Latents of the reference picture [B C 1 h w]."""
    mask: Tensor
    """Preserved mask at latent size [B 1 t h w]."""
    garment: Tensor
    """Where the coarse garment is, as `garment_channels` says [B 6 t h w]; ignored where `sees_coarse` is 0."""
    sees_coarse: Tensor
    """1 or 0 per clip [B]."""


@dataclass(frozen=True)
class Prediction:
    """What the network says of a batch; layers and flow mean something only where the coarse video is seen."""

    x0: Tensor
    """Clean latents [B C t h w]."""
    log_shares: Tensor
    """Of the layers [4 B T H X]."""
    flow: Tensor
    """Where the garment's colours are fetched [B (4 2) t h w] [px]."""
    composed: Tensor
    """The layers put together, without the residual [B T H X 3]."""


class RestorationNetwork(nn.Module):
    """Predicts the clean latents x0 from noisy ones."""

    def __init__(self, config: EmbeddedConfig, codec: PatchCodec) -> None:
        super().__init__()
        self.config, self.codec = config, codec
        seen = 4 * config.channels + 2 + GARMENT_CHANNELS
        self.transformer = WanTransformer3DModel(
            patch_size=(1, 4, 4), num_attention_heads=config.width // 64, attention_head_dim=64, in_channels=seen,
            out_channels=config.features, text_dim=TEXT_DIM, freq_dim=64, ffn_dim=4 * config.width,
            num_layers=config.layers)
        for block in self.transformer.blocks:
            block.attn2.set_processor(OneKeyAttention())
            for unused in (block.norm2, block.attn2.to_q, block.attn2.to_k, block.attn2.norm_q, block.attn2.norm_k):
                unused.requires_grad_(False)
        self.head = RefinementHead(features=config.features, seen=seen, width=config.head_width,
                                   blocks=config.head_blocks,
                                   out=config.channels + 2 * STRIDE + LAYERS * STRIDE**3)

    def forward(self, x: Tensor, sigma: Tensor, inputs: NetworkInputs) -> Prediction:
        """From x [B C t h w] at noise levels sigma [B] in (0, 1]."""
        seen = inputs.sees_coarse.view(-1, 1, 1, 1, 1).to(x.dtype)
        flag = seen.expand(-1, 1, *x.shape[2:])
        # The best linear estimate of x0 from x alone. Unscaled, the noise leaked into the answer as blocks that 300
        # steps of training had not removed.
        estimate = x * ((1 - sigma) / ((1 - sigma).square() + sigma.square())).view(-1, 1, 1, 1, 1)
        stacked = torch.cat([estimate, inputs.pose, seen * inputs.coarse, inputs.reference.expand_as(x),
                             inputs.mask, seen * inputs.garment, flag], dim=1)
        text = x.new_zeros(len(x), 1, TEXT_DIM)
        features = self.transformer(stacked, 1000.0 * sigma, text, return_dict=False)[0]
        out = self.head(features, stacked, sigma).float()
        channels = self.config.channels
        residual, flow, logits = out.split([channels, 2 * STRIDE, LAYERS * STRIDE**3], dim=1)
        flow = FLOW_UNIT * flow
        log_shares = layer_odds(inputs.layers, LOGIT_UNIT * logits)
        shares = log_shares.exp()
        # Colours do not teach the flow: on stripes their gradient leads to the nearest stripe that matches, and 800
        # steps with it left the flow as good as unlearnt.
        composed = compose(inputs.layers, shares, flow.detach())
        # What is kept is kept as it is: the residual speaks only where a layer other than the first is chosen.
        gate = 1 - seen * pool_mean(shares[0])
        return Prediction(x0=seen * self.codec.encode(composed) + gate * residual, log_shares=log_shares, flow=flow,
                          composed=composed)


class OneKeyAttention:
    """Cross-attention to a single text token: softmax over one key is 1, so the answer is that token's value,
    whatever the query. Saves a tenth of the network's work; a test compares it with the full computation."""

    def __call__(self, attn: nn.Module, hidden_states: Tensor, encoder_hidden_states: Tensor,
                 attention_mask: Tensor | None = None, rotary_emb: object = None) -> Tensor:
        """Tokens [B S D] from tokens [B S D] and text [B 1 D]."""
        return attn.to_out[0](attn.to_v(encoder_hidden_states)).expand_as(hidden_states)


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
    def device(self) -> str:
        return "cpu"

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
        coarse = to_signed(torch.from_numpy(conditions.coarse))[None]
        layers = coarse_layers(coarse, torch.from_numpy(conditions.preserved)[None] / 255.0, border_color(coarse))
        return NetworkInputs(
            pose=self.encode(conditions.pose)[None], coarse=self.codec.encode(layers.video), layers=layers,
            reference=self.encode(conditions.reference[None])[None],
            mask=self.latent_mask(conditions.preserved)[None], garment=garment_channels(layers.garment),
            sees_coarse=torch.tensor([float(self.sees_coarse)]))

    def velocity(self, x: Tensor, sigma: float, prepared: NetworkInputs) -> Tensor:
        with torch.inference_mode(), low_precision():
            x0 = self.network(x[None], torch.tensor([sigma]), prepared).x0[0]
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
            with torch.device("meta"):  # takes no memory, whatever the file claims
                wanted = RestorationNetwork(config, codec).state_dict()
            if {name: value.shape for name, value in wanted.items()} != {n: v.shape for n, v in tensors.items()}:
                raise ValueError("its tensors are not those of the network that it says it holds")
            network = RestorationNetwork(config, codec)
            network.load_state_dict(tensors)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
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
