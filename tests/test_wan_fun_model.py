"""The Fun-Control transformer against a plain implementation in the original key names, and its checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from baker.bench_wan import SIZES, WanSize, parameters, step_figures
from baker.priors.wan_checkpoint import WEIGHTS, WanCheckpoint, diffusers_name
from baker.priors.wan_fun_model import load_transformer
from runtime.errors import InputError

WIDTH, HEADS, LAYERS, CHANNELS, TEXT, FREQ, FFN, IMAGE = 24, 2, 2, 48, 20, 16, 40, 10


def original_shapes(*, channels: int = CHANNELS, image: bool = True) -> dict[str, tuple[int, ...]]:
    """A tiny checkpoint's tensors in the names of the original Wan code."""
    def linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    shapes = {"patch_embedding.weight": (WIDTH, channels, 1, 2, 2), "patch_embedding.bias": (WIDTH,),
              "ref_conv.weight": (WIDTH, 16, 2, 2), "ref_conv.bias": (WIDTH,),
              **linear("text_embedding.0", WIDTH, TEXT), **linear("text_embedding.2", WIDTH, WIDTH),
              **linear("time_embedding.0", WIDTH, FREQ), **linear("time_embedding.2", WIDTH, WIDTH),
              **linear("time_projection.1", 6 * WIDTH, WIDTH), **linear("head.head", 64, WIDTH),
              "head.modulation": (1, 2, WIDTH)}
    if image:
        shapes |= {**norm("img_emb.proj.0", IMAGE), **linear("img_emb.proj.1", IMAGE, IMAGE),
                   **linear("img_emb.proj.3", WIDTH, IMAGE), **norm("img_emb.proj.4", WIDTH)}
    for i in range(LAYERS):
        block = f"blocks.{i}"
        shapes |= {f"{block}.modulation": (1, 6, WIDTH), **norm(f"{block}.norm3", WIDTH),
                   **linear(f"{block}.ffn.0", FFN, WIDTH), **linear(f"{block}.ffn.2", WIDTH, FFN)}
        for attention in ("self_attn", "cross_attn"):
            names = ["q", "k", "v", "o"] + (["k_img", "v_img"] if image and attention == "cross_attn" else [])
            norms = ["norm_q", "norm_k"] + (["norm_k_img"] if image and attention == "cross_attn" else [])
            for name in names:
                shapes |= linear(f"{block}.{attention}.{name}", WIDTH, WIDTH)
            shapes |= {f"{block}.{attention}.{name}.weight": (WIDTH,) for name in norms}
    return shapes


def random_tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: 0.3 * torch.randn(shape, generator=generator) + (1.0 if ".norm" in name and "weight" in name else 0)
            for name, shape in shapes.items()}


def write_checkpoint(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"num_heads": HEADS, "model_type": "i2v"}))
    return folder


def plain_forward(w: dict[str, Tensor], x: Tensor, time: float, text: Tensor, image: Tensor | None,
                  reference: Tensor) -> Tensor:
    """Wan's forward pass for one sample, written straight from its definition: x [C t h w], text [512 D]."""
    def linear(name: str, value: Tensor) -> Tensor:
        return value @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def layer_norm(value: Tensor, name: str | None = None, eps: float = 1e-6) -> Tensor:
        out = (value - value.mean(-1, keepdim=True)) / torch.sqrt(value.var(-1, unbiased=False, keepdim=True) + eps)
        return out if name is None else out * w[f"{name}.weight"] + w[f"{name}.bias"]

    def rms_norm(name: str, value: Tensor) -> Tensor:
        return value / torch.sqrt(value.square().mean(-1, keepdim=True) + 1e-6) * w[f"{name}.weight"]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (value.unflatten(-1, (HEADS, -1)).transpose(0, 1) for value in (q, k, v))
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
        return (weights @ v).transpose(0, 1).flatten(1)

    _, frames, height, width = x.shape
    rows, columns = height // 2, width // 2
    patches = x.reshape(-1, frames, rows, 2, columns, 2).permute(1, 2, 4, 0, 3, 5).reshape(frames * rows * columns, -1)
    video = patches @ w["patch_embedding.weight"].flatten(1).T + w["patch_embedding.bias"]
    picture = reference.reshape(-1, rows, 2, columns, 2).permute(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    prefix = picture @ w["ref_conv.weight"].flatten(1).T + w["ref_conv.bias"]
    tokens = torch.cat([prefix, video])

    # Rotary angles: the first pairs turn with time, the next with the row, the last with the column.
    dim = WIDTH // HEADS
    sizes = (dim - 4 * (dim // 6), 2 * (dim // 6), 2 * (dim // 6))
    place = torch.stack(torch.meshgrid(torch.arange(frames + 1), torch.arange(rows), torch.arange(columns),
                                       indexing="ij"), dim=-1).reshape(-1, 3).double()
    angles = torch.cat([place[:, axis, None] / 10000 ** (torch.arange(0, size, 2) / size)
                        for axis, size in enumerate(sizes)], dim=1)
    turn = torch.polar(torch.ones_like(angles), angles)[:, None]

    def rotate(value: Tensor) -> Tensor:
        pairs = torch.view_as_complex(value.unflatten(-1, (HEADS, dim // 2, 2)).double().contiguous())
        return torch.view_as_real(pairs * turn).flatten(1)

    rates = 10000 ** (-torch.arange(FREQ // 2) / (FREQ // 2))
    wave = torch.cat([torch.cos(time * rates), torch.sin(time * rates)]).to(x.dtype)
    level = linear("time_embedding.2", F.silu(linear("time_embedding.0", wave)))
    modulation = linear("time_projection.1", F.silu(level)).reshape(6, WIDTH)
    words = linear("text_embedding.2", F.gelu(linear("text_embedding.0", text), approximate="tanh"))
    if image is not None:
        image = linear("img_emb.proj.1", layer_norm(image, "img_emb.proj.0", 1e-5))
        image = layer_norm(linear("img_emb.proj.3", F.gelu(image)), "img_emb.proj.4", 1e-5)
    for i in range(LAYERS):
        b = f"blocks.{i}"
        e = (w[f"{b}.modulation"][0] + modulation)
        inner = layer_norm(tokens) * (1 + e[1]) + e[0]
        q, k = (rotate(rms_norm(f"{b}.self_attn.norm_{n}", linear(f"{b}.self_attn.{n}", inner))).to(x.dtype)
                for n in "qk")
        answer = attend(q, k, linear(f"{b}.self_attn.v", inner))
        tokens = tokens + linear(f"{b}.self_attn.o", answer) * e[2]
        inner = layer_norm(tokens, f"{b}.norm3")
        q = rms_norm(f"{b}.cross_attn.norm_q", linear(f"{b}.cross_attn.q", inner))
        answer = attend(q, rms_norm(f"{b}.cross_attn.norm_k", linear(f"{b}.cross_attn.k", words)),
                        linear(f"{b}.cross_attn.v", words))
        if image is not None:
            k = rms_norm(f"{b}.cross_attn.norm_k_img", linear(f"{b}.cross_attn.k_img", image))
            answer = answer + attend(q, k, linear(f"{b}.cross_attn.v_img", image))
        tokens = tokens + linear(f"{b}.cross_attn.o", answer)
        inner = layer_norm(tokens) * (1 + e[4]) + e[3]
        inner = linear(f"{b}.ffn.2", F.gelu(linear(f"{b}.ffn.0", inner), approximate="tanh"))
        tokens = tokens + inner * e[5]
    shift, scale = w["head.modulation"][0] + level
    out = linear("head.head", layer_norm(tokens[len(prefix):]) * (1 + scale) + shift)
    out = out.reshape(frames, rows, columns, 2, 2, 16)
    return torch.einsum("fhwqrc->cfhqwr", out).reshape(16, frames, height, width)


@pytest.mark.parametrize(("channels", "image"), [(48, True), (52, False)], ids=["Wan2.1-Fun", "Wan2.2-Fun"])
def test_the_forward_pass_equals_a_plain_implementation(tmp_path: Path, channels: int, image: bool) -> None:
    weights = random_tensors(original_shapes(channels=channels, image=image))
    model = load_transformer(write_checkpoint(tmp_path / "x", weights), dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    x, reference = (torch.randn(shape, generator=generator) for shape in ((channels, 3, 4, 6), (16, 4, 6)))
    text, tokens = torch.randn(512, TEXT, generator=generator), torch.randn(257, IMAGE, generator=generator)
    with torch.inference_mode():
        got = model(x[None], torch.tensor([714.0]), text[None], tokens[None] if image else None, reference[None])[0]
        none = model(x[None], torch.tensor([714.0]), text[None], tokens[None] if image else None)[0]
    expected = plain_forward(weights, x, 714.0, text, tokens if image else None, reference)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    without = plain_forward(weights, x, 714.0, text, tokens if image else None, torch.zeros_like(reference))
    torch.testing.assert_close(none, without, rtol=0, atol=1e-5 * float(without.abs().max()))
    assert not torch.allclose(got, none, atol=1e-3)


def test_every_tensor_finds_its_place_and_none_is_left_over(tmp_path: Path) -> None:
    weights = random_tensors(original_shapes())
    model = load_transformer(write_checkpoint(tmp_path / "x", weights), dtype=torch.float32)
    ours = model.state_dict()
    names = {diffusers_name(name) for name in weights}
    assert names == set(ours) and len(names) == len(weights)
    for name, value in weights.items():
        assert torch.equal(ours[diffusers_name(name)], value), name
    assert not any(value.is_meta for value in [*model.parameters(), *model.buffers()])


def test_several_files_with_an_index_load_as_one_does(tmp_path: Path) -> None:
    weights = random_tensors(original_shapes())
    whole = load_transformer(write_checkpoint(tmp_path / "whole", weights), dtype=torch.float32)
    folder = tmp_path / "parts"
    folder.mkdir()
    names = sorted(weights)
    parts = {"part-1.safetensors": names[::2], "part-2.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / (WEIGHTS + ".index.json")).write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"num_heads": HEADS}))
    split = load_transformer(folder, dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), split.state_dict().values(),
                                                 strict=True))
    (folder / "part-2.safetensors").unlink()
    with pytest.raises(InputError, match=r"1 of 2 files are missing: part-2\.safetensors"):
        WanCheckpoint.open(folder)


def test_bfloat16_keeps_what_diffusers_keeps_in_float32(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "x", random_tensors(original_shapes()))
    model = load_transformer(folder, dtype=torch.bfloat16)
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert model.scale_shift_table.dtype == model.blocks[0].norm2.weight.dtype == torch.float32
    x = torch.randn(1, CHANNELS, 2, 4, 4, dtype=torch.bfloat16)
    with torch.inference_mode():
        out = model(x, torch.tensor([500.0]), torch.zeros(1, 512, TEXT, dtype=torch.bfloat16),
                    torch.zeros(1, 257, IMAGE, dtype=torch.bfloat16))
    assert out.shape == (1, 16, 2, 4, 4) and bool(out.isfinite().all())


def spoilt(kind: str, folder: Path) -> str:
    """Write a checkpoint with one fault; returns what the message must say."""
    weights = random_tensors(original_shapes())
    if kind == "partial":
        write_checkpoint(folder, {name: value for name, value in weights.items() if not name.startswith("blocks.1.")
                                  or "self_attn" in name})
        return r"tensors are missing: .*blocks\.1\.(scale_shift_table|attn2)"
    if kind == "no reference":
        write_checkpoint(folder, {name: value for name, value in weights.items() if "ref_conv" not in name})
        return "no ref_conv.*no Fun-Control"
    if kind == "text to video":
        write_checkpoint(folder, random_tensors(original_shapes(channels=16)))
        return "16 input channels.*no Fun-Control"
    if kind == "another model":
        write_checkpoint(folder, {"unet.down.0.weight": torch.zeros(2, 2)})
        return r"not a Wan checkpoint.*unet\.down\.0\.weight"
    if kind == "wrong shape":
        write_checkpoint(folder, weights | {"blocks.1.ffn.2.weight": torch.zeros(WIDTH, FFN + 1)})
        return r"another shape: blocks\.1\.ffn\.net\.2\.weight \[24, 41\], not \[24, 40\]"
    if kind == "left over":
        write_checkpoint(folder, weights | {"blocks.0.self_attn.k_img.bias": torch.zeros(3)})
        return "not a Wan checkpoint"
    whole = write_checkpoint(folder, weights) / WEIGHTS
    whole.write_bytes(whole.read_bytes()[:-100] if kind == "truncated" else b"PK\x03\x04 not safetensors")
    return "not a whole safetensors file"


@pytest.mark.parametrize("kind", ["partial", "no reference", "text to video", "another model", "wrong shape",
                                  "left over", "truncated", "not safetensors"])
def test_a_bad_checkpoint_is_refused_with_what_is_wrong(tmp_path: Path, kind: str) -> None:
    said = spoilt(kind, tmp_path / "x")
    with pytest.raises(InputError, match=said):
        load_transformer(tmp_path / "x", dtype=torch.float32)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds neither"):
        WanCheckpoint.open(tmp_path)


def test_a_step_of_any_size_is_measured():
    tiny = WanSize(width=48, heads=2, ffn=64, layers=2)
    figures = step_figures(tiny, size=(32, 48), frames=9, device="cpu", dtype=torch.float32, runs=1)
    assert figures["tokens_count"] == 4 * 3 * 2 and figures["step_ms_min"] > 0
    assert figures["parameters_count"] > parameters(tiny)


def test_released_sizes_are_what_their_names_say():
    assert parameters(SIZES["wan2.1_fun_1.3b"]) == pytest.approx(1.5e9, rel=0.1)
    assert parameters(SIZES["wan2.1_fun_14b"]) == pytest.approx(16e9, rel=0.1)
