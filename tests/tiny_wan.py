"""Folders of tiny random Wan models, laid out as the real ones are."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanVACETransformer3DModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import CLIPVisionConfig, CLIPVisionModel, PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from tests.test_wan_fun_model import IMAGE, TEXT, original_shapes, random_tensors, write_checkpoint

WORDS = ("<pad>", "<unk>", "a", "person", "moving", "blurred", "skirt")


def write_shared_parts(folder: Path) -> None:
    """vae/, text_encoder/ and tokenizer/."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                         temperal_downsample=[False, True, True]).save_pretrained(folder / "vae")
        UMT5EncoderModel(UMT5Config(vocab_size=len(WORDS), d_model=TEXT, d_kv=4, d_ff=16, num_layers=1,
                                    num_heads=2)).save_pretrained(folder / "text_encoder")
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        folder / "tokenizer")


def write_fun_control(folder: Path, *, experts: bool = False) -> Path:
    """A Wan2.1-Fun folder, or with `experts` a Wan2.2-Fun one."""
    if experts:
        for part, scale in (("high_noise_model", 1.0), ("low_noise_model", 0.5)):
            tensors = random_tensors(original_shapes(channels=52, image=False))
            write_checkpoint(folder / part, {name: scale * value for name, value in tensors.items()})
    else:
        write_checkpoint(folder, random_tensors(original_shapes()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            CLIPVisionModel(CLIPVisionConfig(hidden_size=IMAGE, intermediate_size=12, num_hidden_layers=2,
                                             num_attention_heads=2, image_size=32, patch_size=2)).save_pretrained(
                folder / "image_encoder")
    write_shared_parts(folder)
    return folder


def write_vace(folder: Path) -> Path:
    """A Wan VACE folder in diffusers' layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        WanVACETransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
            text_dim=TEXT, freq_dim=16, ffn_dim=32, num_layers=2, cross_attn_norm=True,
            qk_norm="rms_norm_across_heads", rope_max_seq_len=32, vace_layers=[0], vace_in_channels=96,
            ).save_pretrained(folder / "transformer")
    write_shared_parts(folder)
    return folder
