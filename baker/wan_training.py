"""`ani3d prior train --backend`: fit a Wan prior to a user's clips, by LoRA or in all weights.

1. Each window of each clip is encoded once (video, pose, reference, picture tokens, text) and kept on disk.
2. Rectified flow on those latents: x = (1 - sigma) data + sigma noise, the model says noise - data. Now and then a
   condition is left out, as the models were trained (facts/upstream.md §4.3), so that guidance goes on working.
3. What was learnt is written as `baker/priors/wan_tuned.py` reads it: `ani3d bake --prior-tuned DIR`.

`accelerate launch -m ani3d prior train ...` runs it on several GPUs: every process draws its own windows and gradients
are averaged. All batches are a function of (seed, step), so a run that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from baker.priors import wan_fun_control, wan_vace
from baker.priors.wan_checkpoint import WEIGHTS, WanCheckpoint
from baker.priors.wan_fun_control import BOUNDARY, HIGH, LOW, WanFunPrior, WanInputs
from baker.priors.wan_fun_model import WanFunTransformer
from baker.priors.wan_parts import options_here
from baker.priors.wan_tuned import LORA, PREFIX
from baker.priors.wan_vace import WanVacePrior
from baker.wan_clips import list_clips
from baker.wan_latents import Inputs, Report, WanPrior, encode_clips, save_atomically, stored_windows, unpack
from runtime.errors import InputError

BACKENDS: dict[str, type[WanFunPrior] | type[WanVacePrior]] = {"wan-fun-control": WanFunPrior, "wan-vace": WanVacePrior}
"""What can be trained on clips."""
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")
"""Modules that get a LoRA: attention's and the feed-forward layers' matrices."""
VALIDATION_LEVELS = (0.25, 0.6, 0.9)
"""Noise levels at which held-out windows are measured."""


@dataclass(frozen=True)
class WanTrainConfig:
    """Settings of a training on clips."""

    seed: int = 0
    """Seeds LoRA, windows, noise and left-out conditions."""
    steps: int = 1000
    """Optimiser steps for each transformer. May be raised between runs of one training."""
    lora_rank: int = 32
    """Rank of the LoRA; 0 trains all weights."""
    lora_alpha: float = 32.0
    """The LoRA counts alpha / rank."""
    learning_rate: float = 1e-4
    """AdamW's, after `warm_up` steps; about 1e-5 suits a training of all weights."""
    warm_up: int = 20
    """Steps over which the learning rate rises."""
    batch: int = 1
    """Windows per step and process."""
    width: int = 480
    """Picture width [px], a multiple of 16."""
    height: int = 832
    """Picture height [px], a multiple of 16."""
    frames: int = 81
    """Frames of a window, 4 k + 1."""
    left_out: float = 0.1
    """Share of windows without pose, without reference, without picture tokens, and without text, each."""
    shift: float = 5.0
    """Timestep shift of the noise levels, the sampler's default."""
    experts: str = "both"
    """Of Wan2.2's two experts: `both`, `high` or `low`."""
    held_out: int = 1
    """The last clips, by name, are kept for validation where there are more than this."""
    checkpoint_every: int = 100
    """Steps between checkpoints and validations."""


def train_on_clips(backend: str, weights: Path, clips: Path, out: Path, config: WanTrainConfig,
                   progress: Report | None = None) -> Path:
    """Train the prior of folder `weights` in folder `out`, or go on there; returns the folder for `--prior-tuned`.

    Raises `InputError` for a backend that is not Wan, clips or weights that cannot be used, and an `out` that holds a
    training with other settings.
    """
    _check(config)
    accelerator = _accelerator()
    if backend not in BACKENDS:
        raise InputError(f'backend "{backend}" is not trained on clips; choose {" or ".join(BACKENDS)}')
    options = replace(options_here(), guidance_scale=1.0, device=_device(accelerator))
    listed = list_clips(clips)
    prior = BACKENDS[backend].load(weights, options)
    latents = out / f"latents_{config.width}x{config.height}x{config.frames}"
    if accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        settings = {"backend": backend, "weights": prior.fingerprint} | asdict(config)
        _check_same_training(out, settings)
        encode_clips(prior, listed, latents, frames=config.frames, size=(config.width, config.height),
                     progress=progress)
        _store_settings(out, settings)
    accelerator.wait_for_everyone()
    training, held_out = stored_windows(latents, listed, held_out=config.held_out)
    for name, transformer, levels in _transformers(prior, config):
        tuned = out / "tuned" / name
        written = (tuned / LORA).is_file() or (tuned / WEIGHTS).is_file()
        if not written or _steps_done(out, name) < config.steps:
            course = Course(accelerator=accelerator, config=config, training=training, held_out=held_out,
                            weights=weights, out=out)
            _Training(course, transformer, name, levels).run(progress)
    return out / "tuned"


@dataclass(frozen=True)
class Course:
    """What the trainings of a prior's transformers share."""

    accelerator: Any
    """`accelerate.Accelerator`."""
    config: WanTrainConfig
    training: list[Path]
    """Stored windows that teach."""
    held_out: list[Path]
    """Stored windows that only measure."""
    weights: Path
    """The base model's folder."""
    out: Path
    """Where the training lives."""


class _Training:
    """One transformer's training."""

    def __init__(self, course: Course, transformer: nn.Module, name: str, levels: tuple[float, float]) -> None:
        self.course, self.config, self.accelerator = course, course.config, course.accelerator
        self.name, self.levels = name, levels
        self.step = 0
        self.model = transformer.to(_device(self.accelerator)).train()
        if self.config.lora_rank:
            self._add_lora()
        else:
            self.model.float().requires_grad_(True)
        self.model.enable_gradient_checkpointing()
        self.trained = {key: value for key, value in self.model.named_parameters() if value.requires_grad}
        optimiser = torch.optim.AdamW(self.trained.values(), lr=self.config.learning_rate, weight_decay=0.01)
        self.resume(optimiser)
        self.wrapped, self.optimiser = self.accelerator.prepare(self.model, optimiser)

    def _add_lora(self) -> None:
        from peft import LoraConfig

        self.model.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            self.model.add_adapter(LoraConfig(r=self.config.lora_rank, lora_alpha=self.config.lora_alpha,
                                              target_modules=list(LORA_TARGETS)))
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def run(self, progress: Report | None) -> None:
        """Steps up to the configured count; then the result is written."""
        if self.step == 0:
            self.validate()
        while self.step < self.config.steps:
            loss = self.take_step()
            if progress is not None and self.accelerator.is_main_process:
                progress(self.step, self.config.steps, f"training {self.name or 'the transformer'}")
            self.log({"loss": round(loss, 5)})
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self.validate()
                self.checkpoint()
        self.export()

    def take_step(self) -> float:
        """One optimiser step over all processes; returns this process's mean loss."""
        config, accelerator = self.config, self.accelerator
        rate = config.learning_rate * min((self.step + 1) / max(config.warm_up, 1), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        total = 0.0
        for k in range(config.batch):
            draw = accelerator.process_index * config.batch + k
            rng = np.random.default_rng((config.seed, self.step, draw))
            video, inputs = self.window(self.course.training[int(rng.integers(len(self.course.training)))], rng)
            sigma = self.level(float(rng.random()))
            last = k == config.batch - 1
            with ExitStack() as stack:
                if not last:
                    stack.enter_context(accelerator.no_sync(self.wrapped))
                loss = self.loss(self.wrapped, video, inputs, sigma, seed=int(rng.integers(2**62))) / config.batch
                accelerator.backward(loss)
            total += float(loss.detach())
        accelerator.clip_grad_norm_(list(self.trained.values()), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def loss(self, model: nn.Module, video: Tensor, inputs: Inputs, sigma: float, *, seed: int) -> Tensor:
        """Mean squared error of the velocity at one noise level."""
        noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(seed)).to(video.device)
        x = (1 - sigma) * video + sigma * noise
        predictions = (wan_fun_control if isinstance(inputs, WanInputs) else wan_vace).predictions
        with self.accelerator.autocast():
            said = predictions(model, x, sigma, inputs)[0]
        return (said - (noise - video)).square().mean()

    def level(self, uniform: float) -> float:
        """A noise level of this transformer's range, shifted as the sampler's are."""
        low, high = (s / (self.config.shift - (self.config.shift - 1) * s) for s in self.levels)  # unshifted
        t = low + (high - low) * max(uniform, 1e-3)
        return self.config.shift * t / (1 + (self.config.shift - 1) * t)

    def window(self, path: Path, rng: np.random.Generator | None) -> tuple[Tensor, Inputs]:
        """Latents and conditions of a stored window; with a generator, some conditions are left out."""
        with safe_open(path, framework="pt", device=_device(self.accelerator)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        video, without = tensors.pop("video"), tensors.pop("without_text")
        inputs = unpack(tensors)
        if rng is None:
            return video, inputs
        pose, reference, picture, text = rng.random(4) < self.config.left_out
        if text:
            inputs = replace(inputs, texts=(without,))
        if isinstance(inputs, WanInputs):
            # Zeros are how the models were taught "none" (facts/upstream.md §4.3). VACE has no such value.
            inputs = replace(inputs, control=inputs.control * (not pose), reference=inputs.reference * (not reference),
                             picture=None if inputs.picture is None else inputs.picture * (not picture))
        return video, inputs

    @torch.no_grad()
    def validate(self) -> None:
        """Log the mean loss over the held-out windows at fixed levels and noise."""
        held_out = self.course.held_out
        if not held_out or not self.accelerator.is_main_process:
            return
        # On the bare model: a wrapped one would wait for the other processes.
        losses = [float(self.loss(self.model, *self.window(path, None), sigma, seed=i))
                  for i, path in enumerate(held_out) for sigma in VALIDATION_LEVELS
                  if self.levels[0] <= sigma <= self.levels[1]]
        self.log({"held_out_loss": round(float(np.mean(losses)), 5), "windows": len(held_out)})

    def log(self, entry: dict[str, Any]) -> None:
        """A line of `log.jsonl`."""
        if self.accelerator.is_main_process:
            with open(self.course.out / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"transformer": self.name or "transformer", "step": self.step} | entry) + "\n")

    def checkpoint(self) -> None:
        """Keep weights, moments and the step's number."""
        if not self.accelerator.is_main_process:
            return
        tensors = {f"weight.{name}": value.detach() for name, value in self.trained.items()}
        for name, value in self.trained.items():
            state = self.optimiser.optimizer.state[value]
            tensors |= {f"{key}.{name}": state[key] for key in ("step", "exp_avg", "exp_avg_sq")}
        save_atomically(tensors, _checkpoint(self.course.out, self.name), {"step": str(self.step)})

    def resume(self, optimiser: torch.optim.AdamW) -> None:
        """Go on from the checkpoint, if there is one."""
        path = _checkpoint(self.course.out, self.name)
        if not path.is_file():
            return
        with safe_open(path, framework="pt") as file:
            self.step = int(file.metadata()["step"])
            for name, parameter in self.trained.items():
                parameter.data.copy_(file.get_tensor(f"weight.{name}"))
                optimiser.state[parameter] = {
                    key: file.get_tensor(f"{key}.{name}").to(parameter.device if key != "step" else "cpu")
                    for key in ("step", "exp_avg", "exp_avg_sq")}

    def export(self) -> None:
        """Write what was learnt as `wan_tuned.py` reads it."""
        if not self.accelerator.is_main_process:
            return
        folder = self.course.out / "tuned" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        if self.config.lora_rank:
            # peft calls a trained matrix "....lora_A.default.weight".
            tensors = {PREFIX + name.replace(".default.", "."): value for name, value in self.trained.items()}
            save_atomically(tensors, folder / LORA, {"alpha": str(self.config.lora_alpha)})
        else:
            state = {name: value.to(options_here().dtype) for name, value in self.model.state_dict().items()}
            base = self.course.weights / self.name
            if isinstance(self.model, WanFunTransformer):
                located = WanCheckpoint.open(base).located
                state = {located[name][1]: value for name, value in state.items()}
            if (base / "config.json").is_file():
                shutil.copyfile(base / "config.json", folder / "config.json")
            save_atomically(state, folder / WEIGHTS, {"format": "pt"})
        self.model.to("cpu")


def _accelerator() -> Any:
    try:
        from accelerate import Accelerator
        from peft import LoraConfig  # noqa: F401
    except ImportError as error:
        raise InputError(f'training on clips needs the train extra ({error}): pip install "ani3d[train]"') from error
    gpu = torch.cuda.is_available()
    return Accelerator(cpu=not gpu, mixed_precision="bf16" if gpu else "no")


def _device(accelerator: Any) -> str:
    """Its name; a CPU has no number, which several processes would give it."""
    return str(accelerator.device) if accelerator.device.type == "cuda" else accelerator.device.type


def _transformers(prior: WanPrior, config: WanTrainConfig) -> Iterator[tuple[str, nn.Module, tuple[float, float]]]:
    """Folder, model and range of noise levels of each transformer to be trained."""
    if isinstance(prior, WanVacePrior):
        yield "transformer", prior.transformer, (0.0, 1.0)
    elif len(prior.experts) == 1:
        yield "", prior.experts[0], (0.0, 1.0)
    else:
        if config.experts in ("both", "high"):
            yield HIGH, prior.experts[0], (BOUNDARY, 1.0)
        if config.experts in ("both", "low"):
            yield LOW, prior.experts[1], (0.0, BOUNDARY)


def _checkpoint(out: Path, name: str) -> Path:
    return out / f"checkpoint_{name or 'transformer'}.safetensors"


def _steps_done(out: Path, name: str) -> int:
    path = _checkpoint(out, name)
    if not path.is_file():
        return 0
    with safe_open(path, framework="pt") as file:
        return int(file.metadata()["step"])


def _check(config: WanTrainConfig) -> None:
    if config.frames % 4 != 1 or config.frames < 5 or config.width % 16 or config.height % 16:
        raise InputError(f"windows of {config.frames} frames at {config.width}x{config.height}: frames must be 4 k + 1 "
                         "and both sides multiples of 16")
    if config.steps < 1 or config.batch < 1 or config.lora_rank < 0 or config.checkpoint_every < 1:
        raise InputError("steps, batch and checkpoint_every must be at least 1, lora_rank at least 0")
    if config.experts not in ("both", "high", "low"):
        raise InputError(f'experts is "{config.experts}"; choose both, high or low')


def _settings_text(settings: dict[str, Any]) -> str:
    """What must stay the same in a folder: all but steps and cadence."""
    kept = {name: value for name, value in settings.items() if name not in ("steps", "checkpoint_every")}
    return json.dumps(kept, indent=1, sort_keys=True)


def _check_same_training(out: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder of other settings."""
    path = out / "config.json"
    if path.is_file() and path.read_text(encoding="utf-8") != _settings_text(settings):
        raise InputError(f"{path}: this folder holds a training with other settings; give another folder")


def _store_settings(out: Path, settings: dict[str, Any]) -> None:
    part = out / ".config.part"
    part.write_text(_settings_text(settings), encoding="utf-8")
    os.replace(part, out / "config.json")
