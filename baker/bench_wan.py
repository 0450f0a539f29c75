"""`ani3d bench wan`: time and memory of one full-size step of the Wan Fun-Control transformers, with random weights.

A step's cost does not depend on what the weights are, so this needs no download.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from baker.priors.wan_fun_control import WanInputs, predictions
from baker.priors.wan_fun_model import WanFunTransformer
from baker.priors.wan_parts import SPACE, TEXT_TOKENS, TIME
from runtime.bench import time_ms
from runtime.errors import InputError

Figures = dict[str, float | int | str]
GIB = 2**30


@dataclass(frozen=True)
class WanSize:
    """A released model's size."""

    width: int
    """Of its tokens."""
    heads: int
    """Of its attention."""
    ffn: int
    """Width inside its feed-forward layers."""
    layers: int
    """Blocks."""
    channels: int = 48
    """Input channels."""


SIZES = {"wan2.1_fun_1.3b": WanSize(width=1536, heads=12, ffn=8960, layers=30),
         "wan2.1_fun_14b": WanSize(width=5120, heads=40, ffn=13824, layers=40)}
"""By the name in the figures."""
CLIP_TOKENS, CLIP_WIDTH, TEXT_WIDTH = 257, 1280, 4096


def bench_wan(*, size: tuple[int, int] = (480, 832), frames: int = 81, runs: int = 3) -> Figures:
    """Milliseconds and peak memory of one velocity (with guidance a step takes two) of
    each model that fits the card in bfloat16. Raises `InputError` without an NVIDIA GPU."""
    if not torch.cuda.is_available():
        raise InputError("torch sees no NVIDIA GPU; one step of the smallest Wan model at full size takes minutes "
                         "without")
    memory = torch.cuda.get_device_properties(0).total_memory
    figures: Figures = {"device_name": torch.cuda.get_device_name(), "torch_version": torch.__version__,
                        "frames_count": frames, "width_px": size[0], "height_px": size[1]}
    for name, wan in SIZES.items():
        weights = 2 * parameters(wan)
        if 1.3 * weights > memory:
            figures[f"{name}_fits"] = 0
            continue
        figures |= {f"{name}_{key}": value for key, value in step_figures(
            wan, size=size, frames=frames, device="cuda", dtype=torch.bfloat16, runs=runs).items()}
    return figures


def step_figures(wan: WanSize, *, size: tuple[int, int], frames: int, device: str, dtype: torch.dtype,
                 runs: int) -> Figures:
    """One model's figures on a device."""
    gpu = device == "cuda"
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with torch.device(device):
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model = WanFunTransformer(num_attention_heads=wan.heads, attention_head_dim=wan.width // wan.heads,
                                      in_channels=wan.channels, ffn_dim=wan.ffn, num_layers=wan.layers,
                                      added_kv_proj_dim=wan.width).eval().requires_grad_(False)
        finally:
            torch.set_default_dtype(default)
    latents = ((frames - 1) // TIME + 1, size[1] // SPACE, size[0] // SPACE)
    x = torch.randn(16, *latents, device=device)
    inputs = WanInputs(
        control=torch.randn(1, wan.channels - 16, *latents, device=device),
        reference=torch.randn(1, 16, *latents[1:], device=device),
        texts=(torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, device=device, dtype=dtype),),
        picture=torch.randn(1, CLIP_TOKENS, CLIP_WIDTH, device=device, dtype=dtype))

    def step() -> None:
        with torch.inference_mode():
            predictions(model, x, 0.6, inputs)
        if gpu:
            torch.cuda.synchronize()

    shortest, median = time_ms(step, runs=runs, warm_up=1)
    figures: Figures = {
        "parameters_count": sum(p.numel() for p in model.parameters()),
        "tokens_count": (latents[0] + 1) * (latents[1] // 2) * (latents[2] // 2),
        "step_ms_min": round(shortest, 1), "step_ms_median": round(median, 1)}
    if gpu:
        figures["step_peak_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
    return figures


def parameters(wan: WanSize) -> int:
    """About how many parameters a model has: its blocks' matrices."""
    return wan.layers * (10 * wan.width**2 + 2 * wan.width * wan.ffn)
