"""The transformer of Wan2.1-Fun-Control and Wan2.2-Fun-Control: diffusers' Wan model with a reference picture.

diffusers has no such class (facts/upstream.md §4.4). The reference's latents become tokens through `ref_conv` and are
put before the video's as time index 0; they are dropped again before the output. Letters: B batch, D width,
t h w latent sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from diffusers import WanTransformer3DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from baker.priors.wan_checkpoint import WanCheckpoint
from runtime.errors import InputError

Transformer = TypeVar("Transformer", bound=nn.Module)
HEAD_DIM = 128
"""Of every released Wan model."""


class WanFunTransformer(WanTransformer3DModel):
    """Wan's transformer with `ref_conv`. A subclass, because loading, saving, offloading and adapters of diffusers and
    peft come with the base class; only the forward pass differs."""

    @register_to_config
    def __init__(self, patch_size: tuple[int, ...] = (1, 2, 2), num_attention_heads: int = 12,
                 attention_head_dim: int = HEAD_DIM, in_channels: int = 48, out_channels: int = 16,
                 text_dim: int = 4096, freq_dim: int = 256, ffn_dim: int = 8960, num_layers: int = 30,
                 cross_attn_norm: bool = True, qk_norm: str | None = "rms_norm_across_heads", eps: float = 1e-6,
                 image_dim: int | None = 1280, added_kv_proj_dim: int | None = 1536, rope_max_seq_len: int = 1024,
                 pos_embed_seq_len: int | None = None, ref_channels: int = 16) -> None:
        """Arguments as in `WanTransformer3DModel`, defaults those of Wan2.1-Fun-V1.1-1.3B-Control; `ref_channels` are
        the reference latents'."""
        super().__init__(
            patch_size=patch_size, num_attention_heads=num_attention_heads, attention_head_dim=attention_head_dim,
            in_channels=in_channels, out_channels=out_channels, text_dim=text_dim, freq_dim=freq_dim, ffn_dim=ffn_dim,
            num_layers=num_layers, cross_attn_norm=cross_attn_norm, qk_norm=qk_norm, eps=eps, image_dim=image_dim,
            added_kv_proj_dim=added_kv_proj_dim, rope_max_seq_len=rope_max_seq_len,
            pos_embed_seq_len=pos_embed_seq_len)
        self.ref_conv = nn.Conv2d(ref_channels, num_attention_heads * attention_head_dim, patch_size[1:],
                                  stride=patch_size[1:])

    def forward(self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor,
                encoder_hidden_states_image: Tensor | None = None, reference: Tensor | None = None) -> Tensor:
        """Velocity [B C t h w] from stacked latents [B in t h w], timesteps [B] (1000 sigma), text [B 512 D'], image
        tokens [B 257 D''] or None, and the reference's latents [B 16 h w] (None: zeros, which is how training left
        the reference out, facts §4.3)."""
        batch, _, frames, height, width = hidden_states.shape
        if reference is None:
            reference = hidden_states.new_zeros(batch, self.config.ref_channels, height, width)
        # Rotary positions depend on the shape alone: one frame more, the reference's, in front.
        rotary = self.rope(hidden_states[:, :1, :1].expand(-1, -1, frames + 1, -1, -1))
        video = self.patch_embedding(hidden_states).flatten(2).transpose(1, 2)
        prefix = self.ref_conv(reference).flatten(2).transpose(1, 2)
        tokens = torch.cat([prefix, video], dim=1)
        level, modulation, text, image = self.condition_embedder(timestep, encoder_hidden_states,
                                                                 encoder_hidden_states_image)
        context = text if image is None else torch.cat([image, text], dim=1)
        modulation = modulation.unflatten(1, (6, -1))
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                tokens = self._gradient_checkpointing_func(block, tokens, context, modulation, rotary)
            else:
                tokens = block(tokens, context, modulation, rotary)
        tokens = tokens[:, prefix.shape[1]:]
        shift, scale = (self.scale_shift_table.to(level.device) + level[:, None]).chunk(2, dim=1)
        tokens = (self.norm_out(tokens.float()) * (1 + scale) + shift).type_as(tokens)
        _, down, across = self.config.patch_size
        patches = self.proj_out(tokens).unflatten(1, (frames, height // down, width // across))
        patches = patches.unflatten(-1, (down, across, -1)).permute(0, 6, 1, 2, 4, 3, 5)
        return patches.flatten(5, 6).flatten(3, 4)


def model_settings(checkpoint: WanCheckpoint) -> dict[str, int | None]:
    """The model's arguments, from the shapes of a checkpoint's tensors and, for the heads, its config.json."""
    def shape(name: str) -> tuple[int, ...]:
        if name not in checkpoint.shapes:
            raise InputError(f"{checkpoint.folder}: the tensor {name} is missing; download the checkpoint again, or "
                             "give that of a Fun-Control model")
        return checkpoint.shapes[name]

    width, channels = shape("patch_embedding.weight")[:2]
    if channels <= 36 or "ref_conv.weight" not in checkpoint.shapes:
        raise InputError(f"{checkpoint.folder}: {channels} input channels"
                         f"{'' if 'ref_conv.weight' in checkpoint.shapes else ' and no ref_conv'}: this is a Wan "
                         "model but no Fun-Control one (48 or 52 channels, with ref_conv); give such a checkpoint")
    heads = checkpoint.settings.get("num_heads", width // HEAD_DIM)
    if heads < 1 or width % heads:
        raise InputError(f"{checkpoint.folder}/config.json: num_heads is {heads}, the width is {width}")
    image = checkpoint.shapes.get("condition_embedder.image_embedder.norm1.weight")
    return {
        "num_attention_heads": heads, "attention_head_dim": width // heads, "in_channels": channels,
        "out_channels": shape("proj_out.weight")[0] // 4, "ref_channels": shape("ref_conv.weight")[1],
        "text_dim": shape("condition_embedder.text_embedder.linear_1.weight")[1],
        "freq_dim": shape("condition_embedder.time_embedder.linear_1.weight")[1],
        "ffn_dim": shape("blocks.0.ffn.net.0.proj.weight")[0], "num_layers": checkpoint.blocks,
        "image_dim": None if image is None else image[0], "added_kv_proj_dim": None if image is None else width,
    }


def load_transformer(folder: Path, *, dtype: torch.dtype) -> WanFunTransformer:
    """The model of a checkpoint folder in original naming. Raises `InputError` naming what is missing."""
    checkpoint = WanCheckpoint.open(folder)
    settings = model_settings(checkpoint)
    with torch.device("meta"):
        model = WanFunTransformer(**settings)
    checkpoint.check({name: tuple(value.shape) for name, value in model.state_dict().items()})
    return fill(model, checkpoint.tensors(), dtype=dtype)


def fill(model: Transformer, tensors: dict[str, Tensor], *, dtype: torch.dtype) -> Transformer:
    """A Wan transformer made on the meta device, with its tensors, all of which it must have; those that diffusers
    keeps in float32 stay so. (diffusers' own loading of such models asks for the accelerate package.)"""
    keep = set(WanTransformer3DModel._keep_in_fp32_modules)
    ready = {name: value.to(torch.float32 if keep & set(name.split(".")) else dtype)
             for name, value in tensors.items()}
    model.load_state_dict(ready, strict=True, assign=True)
    # Rotary tables are no part of a checkpoint: on the meta device they hold nothing yet.
    config = model.config
    model.rope = type(model.rope)(config.attention_head_dim, config.patch_size, config.rope_max_seq_len)
    return model.eval()
