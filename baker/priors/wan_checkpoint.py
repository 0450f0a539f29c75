"""Reading Wan checkpoints in their original key names: what a file holds, and the names diffusers gives its tensors.

Files are safetensors, one or several with an index; nothing is unpickled. Names as in facts/upstream.md §4.2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from runtime.errors import InputError

WEIGHTS = "diffusion_pytorch_model.safetensors"
"""The file's name in a checkpoint folder; with an index of several, WEIGHTS + ".index.json"."""
MOST_TENSORS = 20_000
"""A checkpoint of more is refused; Wan 14B has 1,300."""
PREFIX = "model.diffusion_model."
"""Some tools put it before every name."""

TOP_LEVEL = {
    "patch_embedding": "patch_embedding", "ref_conv": "ref_conv",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out", "head": "",
}
"""Original module to diffusers'; "head" holds only the modulation, which is a parameter of the model itself."""
IN_BLOCK = {
    "": "", "norm3": "norm2", "ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2",
    **{f"{theirs}.{short}": f"{ours}.{long}" for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
       for short, long in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"), ("norm_q", "norm_q"),
                           ("norm_k", "norm_k"))},
    "cross_attn.k_img": "attn2.add_k_proj", "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
}
"""The same inside a block. Wan applies norm3 before cross-attention; diffusers numbers the norms in order of use."""


def diffusers_name(original: str) -> str | None:
    """The name diffusers' Wan model (with `ref_conv`) gives an original tensor; None for a name that is not Wan's."""
    module, _, leaf = original.removeprefix(PREFIX).rpartition(".")
    leaf = "scale_shift_table" if leaf == "modulation" else leaf
    if module.startswith("blocks."):
        _, number, *rest = module.split(".")
        inner = IN_BLOCK.get(".".join(rest))
        return None if inner is None or not number.isdecimal() else _join("blocks", number, inner, leaf)
    outer = TOP_LEVEL.get(module)
    return None if outer is None else _join(outer, leaf)


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


@dataclass(frozen=True)
class WanCheckpoint:
    """A checkpoint's files and the shapes of its tensors, by diffusers' names."""

    folder: Path
    shapes: dict[str, tuple[int, ...]]
    """By diffusers' name."""
    located: dict[str, tuple[Path, str]]
    """File and original name of each."""

    @staticmethod
    def open(folder: Path) -> WanCheckpoint:
        """Read the headers of a folder's files. Raises `InputError` for files that are absent, damaged or not Wan's."""
        shapes: dict[str, tuple[int, ...]] = {}
        located: dict[str, tuple[Path, str]] = {}
        strangers = []
        for file in weight_files(folder):
            try:
                with safe_open(file, framework="pt") as tensors:
                    for original in tensors.keys():  # noqa: SIM118
                        name = diffusers_name(original)
                        if name is None:
                            strangers.append(original)
                        else:
                            shapes[name] = tuple(tensors.get_slice(original).get_shape())
                            located[name] = (file, original)
            except Exception as error:
                reason = str(error).splitlines()[0]
                raise InputError(f"{file}: not a whole safetensors file ({reason}); download it again") from error
        count = len(shapes) + len(strangers)
        if count > MOST_TENSORS:
            raise InputError(f"{folder}: {count} tensors; a Wan model has at most {MOST_TENSORS}")
        if strangers:
            raise InputError(f"{folder}: not a Wan checkpoint in original naming: it holds {_some(strangers)}; give "
                             "the folder of a Wan2.1-Fun or Wan2.2-Fun control model")
        return WanCheckpoint(folder=folder, shapes=shapes, located=located)

    def check(self, expected: dict[str, tuple[int, ...]]) -> None:
        """Refuse a checkpoint that lacks tensors, has others, or has them in other shapes."""
        missing = [name for name in expected if name not in self.shapes]
        if missing:
            raise InputError(f"{self.folder}: {len(missing)} of {len(expected)} tensors are missing: {_some(missing)}; "
                             "download the checkpoint again, or give that of a Fun-Control model")
        extra = [self.located[name][1] for name in self.shapes if name not in expected]
        if extra:
            raise InputError(f"{self.folder}: {len(extra)} tensors have no place in the model: {_some(extra)}; give "
                             "the checkpoint of a Fun-Control model")
        wrong = [f"{name} {list(self.shapes[name])}, not {list(shape)}" for name, shape in expected.items()
                 if self.shapes[name] != shape]
        if wrong:
            raise InputError(f"{self.folder}: tensors of another shape: {_some(wrong)}; its config.json does not "
                             "belong to its weights")

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, as stored, by diffusers' names."""
        loaded: dict[str, Tensor] = {}
        for file in {file for file, _ in self.located.values()}:
            with safe_open(file, framework="pt") as tensors:
                loaded |= {name: tensors.get_tensor(original) for name, (where, original) in self.located.items()
                           if where == file}
        return loaded

    @property
    def blocks(self) -> int:
        """How many transformer blocks there are."""
        return 1 + max((int(name.split(".")[1]) for name in self.shapes if name.startswith("blocks.")), default=-1)

    @property
    def settings(self) -> dict[str, int]:
        """The numbers in `config.json` beside the weights; empty without one."""
        path = self.folder / "config.json"
        if not path.is_file():
            return {}
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return {key: value for key, value in values.items() if isinstance(value, int)}
        except (ValueError, AttributeError) as error:
            raise InputError(f"{path}: not a JSON object ({error}); download it again") from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: the one, or those of its index. Raises `InputError` where one is absent."""
    whole, index = folder / WEIGHTS, folder / (WEIGHTS + ".index.json")
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise InputError(f"{folder}: holds neither {WEIGHTS} nor its index; give the folder of a Wan checkpoint")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index}: not an index of safetensors files ({error}); download it again") from None
    files = [folder / Path(name).name for name in names]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise InputError(f"{folder}: {len(absent)} of {len(files)} files are missing: {_some(absent)}; download them")
    return files


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
