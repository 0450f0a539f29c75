"""`ani3d prior train`: make the clips, fit the codec, train the network, keep what beats the coarse video.

Everything is a function of (config, step): killed at any moment and started again, it goes on from the last
checkpoint and ends at the same weights. Letters as in `baker/priors/embedded.py`.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from baker.prior_batches import Batch, BatchConfig, draw_batch
from baker.prior_data import ClipStore, PriorDataConfig, Report, make_dataset
from baker.prior_validation import FEW_STEPS, validate
from baker.priors.codec import PatchCodec, fit_codec, sample_patches, to_signed
from baker.priors.embedded import (
    SHIPPED,
    EmbeddedConfig,
    EmbeddedPrior,
    Prediction,
    RestorationNetwork,
    low_precision,
    save_weights,
)
from baker.restore_config import SamplingConfig
from runtime.errors import InputError

SHIFT = 5.0
"""Timestep shift of the noise levels, the sampler's default."""
CODEC_CLIPS = 60
"""Clips whose patches the codec is fitted to."""
WARM_UP = 50
"""Steps over which the learning rate rises."""


@dataclass(frozen=True)
class PriorTrainConfig:
    """Settings of a training."""

    data: PriorDataConfig = field(default_factory=PriorDataConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    network: EmbeddedConfig = field(default_factory=EmbeddedConfig)
    seed: int = 0
    """Seeds the initial weights and every batch."""
    steps: int = 6000
    """Optimiser steps in all. May be raised or lowered between runs of one training."""
    learning_rate: float = 1e-3
    """AdamW's; constant after the warm-up, falling to a twentieth over the last quarter of the steps."""
    average: float = 0.99
    """Decay of the exponential average of the weights, which is what gets saved."""
    t0: float = 0.7
    """Times are drawn from here down to 0 (before the shift), with a density that rises with time: what the sampler
    gets wrong at high noise it keeps."""
    start: float = 0.5
    """Share of clips that see the coarse video whose time is the sampler's start."""
    square_weight: float = 1.5
    """Weight of the restored video's squared error beside its absolute one: outlines that are in doubt go soft, sure
    ones stay sharp. Absolute errors alone gave the sharpest pictures and 0.9 dB less in the garment region."""
    layer_weight: float = 0.3
    """Weight of the layers' cross-entropy [1/nat]."""
    composed_weight: float = 1.0
    """Weight of the composed video's absolute error, which teaches layers and flow what the residual could hide."""
    flow_weight: float = 0.1
    """Weight of the flow's error [1/px], where the simulation's correspondences tell the true flow."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    validate_every: int = 300
    """Steps between validations, a multiple of `checkpoint_every`."""
    validation_clips: int = 8
    """Held-out clips restored each time."""


@dataclass
class _State:
    """What a checkpoint holds."""

    network: RestorationNetwork
    optimiser: torch.optim.AdamW
    average: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0
    """Time spent in optimiser steps, over all runs [s]."""
    best: float = 0.0
    """Garment-region PSNR of the best weights so far [dB]; 0 while none beat the coarse video."""


def train(config: PriorTrainConfig, out: Path, progress: Report | None = None) -> Path:
    """Train in folder `out`, or go on there; returns the best weights file.

    Raises `InputError` when `out` holds a training with other settings, or when nothing beat the coarse video.
    """
    out.mkdir(parents=True, exist_ok=True)
    _check_same_training(config, out)
    return fit(config, make_dataset(config.data, out / "clips", progress), out, progress)


def fit(config: PriorTrainConfig, store: ClipStore, out: Path, progress: Report | None = None, *,
        start: RestorationNetwork | None = None) -> Path:
    """Train on the clips of a store: the second half of `train`. With `start`, a network of `config.network`'s shape,
    go on from its weights, and keep none that measure worse."""
    names = [name for name in store.list() if name[0] < config.data.simulations]
    clips = [store.read(*name) for name in names if name[0] >= config.data.held_out]
    held_out = _spread([store.read(*name) for name in names if name[0] < config.data.held_out],
                       config.validation_clips)
    if not clips or not held_out:
        raise InputError(f"{store.folder}: {len(clips)} training and {len(held_out)} held-out clips; "
                         "raise data.simulations above data.held_out")
    state = _start(config, clips, out, start)
    if start is not None and state.step == 0:
        _validate(config, state, held_out, out)
    recent: list[dict[str, float]] = []
    while state.step < config.steps:
        began = time.perf_counter()
        recent.append(_train_step(config, state, clips))
        state.seconds += time.perf_counter() - began
        last = state.step == config.steps
        if progress is not None:
            progress(state.step, config.steps, "training the prior")
        if state.step % 50 == 0 or last:
            means = {name: round(float(np.mean([parts[name] for parts in recent])), 5) for name in recent[0]}
            recent.clear()
            _log(out, {"step": state.step} | means | {"train_seconds": round(state.seconds)})
        if state.step % config.validate_every == 0 or last:
            _validate(config, state, held_out, out)
        if state.step % config.checkpoint_every == 0 or last:
            _save_checkpoint(state, out)
    best = out / SHIPPED.name
    if not best.is_file():
        raise InputError(f"{out}: no checkpoint beat the coarse video in {state.step} steps; raise steps or clips")
    return best


def info(path: Path | None = None) -> dict[str, Any]:
    """What a weights file (None: the shipped one) or the best of a training's folder holds."""
    path = path or SHIPPED
    if path.is_dir():
        path = path / SHIPPED.name
    prior = EmbeddedPrior.load(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata().get("about", "{}"))
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": prior.weights_sha256,
            "parameters": sum(p.numel() for p in prior.network.parameters()),
            "network": asdict(prior.network.config), **about}


def learning_rate(config: PriorTrainConfig, step: int) -> float:
    """Warm-up, constant, then a straight fall over the last quarter of the steps."""
    left = (config.steps - step) / max(config.steps / 4, 1)
    return config.learning_rate * min((step + 1) / WARM_UP, 1.0, 0.05 + 0.95 * left)


def _train_step(config: PriorTrainConfig, state: _State, clips: list[np.ndarray]) -> dict[str, float]:
    """One optimiser step, a function of (config, state); returns the parts of the loss."""
    rng = np.random.default_rng((config.seed, state.step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    codec = state.network.codec
    batch = draw_batch(config.batch, clips, codec, rng)
    x, sigma = noisy(config, batch, rng, generator)
    with low_precision():
        prediction = state.network(x, sigma, batch.inputs)
    parts = losses(batch, prediction, codec)
    total = (parts["restored"] + config.square_weight * parts["square"] + config.composed_weight * parts["composed"]
             + config.layer_weight * parts["layers"] + config.flow_weight * parts["flow_px"])
    state.optimiser.zero_grad(set_to_none=True)
    total.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(config, state.step)
    state.optimiser.step()
    # A short memory at first: the average must forget the untrained weights.
    decay = min(config.average, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value in state.network.state_dict().items():
            state.average[name].lerp_(value, 1 - decay)
    state.step += 1
    return {name: float(value.detach()) for name, value in parts.items()}


def noisy(config: PriorTrainConfig, batch: Batch, rng: np.random.Generator,
           generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy latents x [B C t h w] at levels sigma [B], as the sampler meets them.

    The sampler starts from the coarse video, and its Euler steps carry that along: at sigma, from a start at s0, the
    clean part of x is the coarse video with the share sigma (1 - s0) / (s0 (1 - sigma)), the rest what was predicted
    since. With the truth in x instead, the network reads the coarse outline that it gets at use as the truth's. A
    clip without the coarse video sees the truth, as in any flow model.
    """
    seen = batch.inputs.sees_coarse.bool()
    at_start = torch.from_numpy(rng.random(len(seen)) < config.start) & seen
    drawn = torch.from_numpy(config.t0 * np.sqrt(rng.uniform(1e-3, 1, len(seen)))).float()
    first = torch.where(at_start, drawn.new_tensor(SamplingConfig().t0), drawn)
    begin = torch.maximum(first, drawn.new_tensor(SamplingConfig().t0))
    sigma, s0 = (SHIFT * t / (1 + (SHIFT - 1) * t) for t in (first, begin))
    share = (seen * sigma * (1 - s0) / (s0 * (1 - sigma))).view(-1, 1, 1, 1, 1)
    clean = share * batch.inputs.coarse + (1 - share) * batch.truth
    level = sigma.view(-1, 1, 1, 1, 1)
    return level * torch.randn(clean.shape, generator=generator) + (1 - level) * clean, sigma


def losses(batch: Batch, prediction: Prediction, codec: PatchCodec) -> dict[str, Tensor]:
    """Mean absolute and squared error of the restored video (colours in [-1, 1]); over clips that see the coarse video
    also the composed video's absolute error, the layers' cross-entropy [nat] and the flow's error, Huber's [px]."""
    difference = codec.decode(prediction.x0) - batch.video
    restored, square = difference.abs().mean(-1), difference.square().mean(-1)
    weight, seen = batch.weight, batch.weight * batch.inputs.sees_coarse.view(-1, 1, 1, 1)
    composed = (prediction.composed - batch.video).abs().mean(-1)
    kept, sharp, uncovered, soft = prediction.log_shares.unbind(0)
    said = torch.stack([kept, torch.logaddexp(sharp, soft), uncovered])  # in focus or not, it is garment
    entropy = -(batch.shares * said).sum(0)
    known = batch.flow_weight * batch.inputs.sees_coarse.view(-1, 1, 1, 1, 1)
    off = F.smooth_l1_loss(prediction.flow, batch.flow, reduction="none") * known
    return {"restored": (restored * weight).sum() / weight.sum(), "square": (square * weight).sum() / weight.sum(),
            "composed": (composed * seen).sum() / seen.sum().clamp_min(1.0),
            "layers": (entropy * seen).sum() / seen.sum().clamp_min(1.0),
            "flow_px": off.sum() / known.sum().clamp_min(1.0)}


def _validate(config: PriorTrainConfig, state: _State, held_out: list[np.ndarray], out: Path) -> None:
    """Measure the averaged weights; keep them when they are the best and beat the coarse video."""
    network = RestorationNetwork(config.network, state.network.codec)
    network.load_state_dict(state.average)
    prior = EmbeddedPrior(network.eval(), weights_sha256="")
    result = validate(prior, held_out, sampling=FEW_STEPS, pose_only=2, strips=out / f"strips_{state.step:06d}.png")
    score = result.garment_psnr["restored"]
    kept = score > max(state.best, result.garment_psnr["coarse"])
    _log(out, {"step": state.step, "kept": kept} | asdict(result))
    if kept:
        state.best = score
        about = {"steps": state.step, "train_seconds": round(state.seconds), "validation": asdict(result),
                 "settings": asdict(config)}
        save_weights(out / SHIPPED.name, network, state=state.average, about=about)


def _start(config: PriorTrainConfig, clips: list[np.ndarray], out: Path, start: RestorationNetwork | None) -> _State:
    """The state of the checkpoint in `out`; else of the network `start`; else a fresh one with a codec fitted to the
    clips."""
    path = out / "checkpoint.safetensors"
    tensors: dict[str, Tensor] = {}
    if path.is_file():
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            numbers = json.loads(file.metadata()["numbers"])
        codec = PatchCodec(*(tensors[f"codec.{part}"] for part in ("basis", "mean", "deviation")))
    else:
        codec = start.codec if start is not None else _fit_codec(config, clips)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = RestorationNetwork(config.network, codec)
    optimiser = torch.optim.AdamW(_trained(network).values(), lr=config.learning_rate, weight_decay=0.01, fused=True)
    if not tensors:
        if start is not None:
            network.load_state_dict(start.state_dict())
        average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return _State(network=network, optimiser=optimiser, average=average)
    network.load_state_dict(_part(tensors, "network."))
    for name, parameter in _trained(network).items():
        optimiser.state[parameter] = {key: tensors[f"adam.{key}.{name}"].clone()
                                      for key in ("step", "exp_avg", "exp_avg_sq")}
    return _State(network=network, optimiser=optimiser, average=_part(tensors, "average."), **numbers)


def _trained(network: RestorationNetwork) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value.clone() for name, value in tensors.items() if name.startswith(prefix)}


def _save_checkpoint(state: _State, out: Path) -> None:
    codec = state.network.codec
    tensors = {f"codec.{part}": getattr(codec, part).contiguous() for part in ("basis", "mean", "deviation")}
    tensors |= {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    for name, parameter in _trained(state.network).items():
        tensors |= {f"adam.{key}.{name}": value for key, value in state.optimiser.state[parameter].items()}
    numbers = {"step": state.step, "seconds": state.seconds, "best": state.best}
    save_file(tensors, out / "checkpoint.tmp", metadata={"numbers": json.dumps(numbers)})
    os.replace(out / "checkpoint.tmp", out / "checkpoint.safetensors")


def _fit_codec(config: PriorTrainConfig, clips: list[np.ndarray]) -> PatchCodec:
    """From truth and pose videos of evenly spread clips, four patches to one."""
    generator = torch.Generator().manual_seed(config.seed)
    patches = []
    for clip in _spread(clips, CODEC_CLIPS):
        for part, count in ((slice(0, 3), 4000), (slice(6, 9), 1000)):
            video = to_signed(torch.from_numpy(np.ascontiguousarray(clip[:-1, ..., part])))
            patches.append(sample_patches(video, count=count, generator=generator))
    return fit_codec(torch.cat(patches), channels=config.network.channels)


def _spread(items: list[np.ndarray], count: int) -> list[np.ndarray]:
    """At most `count` items, evenly spread."""
    picks = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)) if items else []
    return [items[i] for i in picks]


def _check_same_training(config: PriorTrainConfig, out: Path) -> None:
    """Store the settings in a new folder; refuse a folder of other settings (steps, cadence and the number of
    simulations may change)."""
    path = out / "config.json"
    settings = asdict(config)
    settings["data"].pop("simulations")
    for name in ("steps", "checkpoint_every", "validate_every"):
        settings.pop(name)
    text = json.dumps(settings, indent=1, sort_keys=True)
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise InputError(f"{path}: this folder holds a training with other settings; give another folder")
        return
    temporary = out / "config.tmp"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _log(out: Path, entry: dict[str, Any]) -> None:
    with open(out / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
