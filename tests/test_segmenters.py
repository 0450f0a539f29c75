"""Segmenters: what the labels say, and Grounding DINO with SAM 2 on tiny random networks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    PreTrainedTokenizerFast,
    Sam2VideoConfig,
    Sam2VideoModel,
    SwinConfig,
)

from baker.segmenters import LOADERS, Segmenter, SegmenterName, load_segmenter
from baker.segmenters.grounded_sam2 import GroundedSam2, normalised
from baker.videos import Video
from runtime.errors import InputError
from tests.tiny_images import random_video

SIDE = 64
"""Of the tiny tracker's picture [px]."""


def write_folder(folder: Path) -> Path:
    """grounding-dino/ and sam2/ with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = SwinConfig(image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
                              window_size=2, out_features=["stage2", "stage3", "stage4"])
        text = BertConfig(vocab_size=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                          intermediate_size=16, max_position_embeddings=64)
        GroundingDinoForObjectDetection(GroundingDinoConfig(
            backbone_config=backbone, text_config=text, num_queries=12, encoder_layers=1, encoder_ffn_dim=16,
            encoder_attention_heads=2, decoder_layers=2, decoder_ffn_dim=16, decoder_attention_heads=2, d_model=32,
            max_text_len=32)).save_pretrained(folder / "grounding-dino")
        hiera = {"model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1,
                 "image_size": [SIDE, SIDE], "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
                 "num_attention_heads_per_stage": [1, 2, 4, 8], "window_size_per_stage": [4, 4, 4, 2],
                 "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4]}
        vision = {"model_type": "sam2_vision_model", "backbone_config": hiera, "fpn_hidden_size": 128,
                  "backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
        Sam2VideoModel(Sam2VideoConfig(
            vision_config=vision, image_size=SIDE,
            prompt_encoder_config={"hidden_size": 128, "image_size": SIDE, "patch_size": 16},
            mask_decoder_config={"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2,
                                 "iou_head_hidden_dim": 32},
            memory_attention_hidden_size=128, memory_attention_num_layers=1,
            memory_attention_feed_forward_hidden_size=32, memory_attention_rope_feat_sizes=[4, 4],
            memory_encoder_hidden_size=128, memory_encoder_output_channels=64, mask_downsampler_embed_dim=128,
            memory_fuser_embed_dim=128, memory_fuser_intermediate_dim=32, memory_fuser_num_layers=1,
            )).save_pretrained(folder / "sam2")
    tokenizer = Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1, "person": 2, "clothes": 3, ".": 4}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        folder / "grounding-dino")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("segmenter"))


def video(frames: int = 4) -> Video:
    preserved = np.zeros((frames, 48, 40), np.uint8)
    preserved[:, :20] = 255
    return Video(name="v", cameras=(), rgb=random_video(frames, 48, 40), preserved=preserved)


@pytest.mark.parametrize("name", get_args(SegmenterName))
def test_a_segmenter_keeps_the_contract(name: SegmenterName, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(LOADERS) == set(get_args(SegmenterName))
    segmenter = load_segmenter(name, folder)
    assert isinstance(segmenter, Segmenter)
    monkeypatch.setattr("baker.segmenters.grounded_sam2.THRESHOLD", 0.0)  # random weights are sure of nothing
    mask = segmenter.preserved(video())
    assert mask.shape == (4, 48, 40) and mask.dtype == np.uint8
    if name == "labels":
        assert np.array_equal(mask, video().preserved)


def test_pictures_are_resized_whole_and_normalised() -> None:
    white = np.full((1, 30, 50, 3), 255, np.uint8)
    pixels = normalised(white, size=(60, 20))
    assert pixels.shape == (1, 3, 60, 20)
    torch.testing.assert_close(pixels[0, :, 7, 3], torch.tensor([(1 - m) / d for m, d in zip(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]), atol=1e-5, rtol=0)


def test_a_box_is_in_the_videos_pixels(folder: Path) -> None:
    segmenter = GroundedSam2.load(folder)
    score, box = segmenter.detect(video().rgb[0], "person.")
    assert 0 < score < 1 and box.shape == (4,)
    assert box[0] < box[2] <= 60 and box[1] < box[3] <= 72  # up to half a box beyond 40 x 48


def test_tracking_prompts_one_frame_and_visits_every_frame_both_ways(folder: Path) -> None:
    segmenter = GroundedSam2.load(folder)
    whole = segmenter.track(video(5).rgb, torch.tensor([2.0, 2.0, 38.0, 46.0]), 2)
    again = segmenter.track(video(5).rgb, torch.tensor([2.0, 2.0, 38.0, 46.0]), 2)
    assert whole.shape == (5, 48, 40) and np.array_equal(whole, again)


def test_other_weights_are_another_segmenter(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    same = GroundedSam2.load(tmp_path / "copy").fingerprint
    assert same == GroundedSam2.load(folder).fingerprint != load_segmenter("labels").fingerprint
    config = tmp_path / "copy" / "sam2" / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert GroundedSam2.load(tmp_path / "copy").fingerprint != same


class Scripted(GroundedSam2):
    """Answers from a table, to test what is made of them."""

    def follow(self, rgb: np.ndarray, text: str) -> np.ndarray | None:
        mask = np.zeros(rgb.shape[:3], bool)
        if text == "person.":
            mask[:, 10:30] = True
            return mask
        mask[:, 20:40] = True
        return None if rgb.max() < 10 else mask


def test_what_is_preserved_is_person_and_not_clothes() -> None:
    segmenter = Scripted(detector=torch.nn.Identity(), tokenizer=None, tracker=torch.nn.Identity())
    mask = segmenter.preserved(video())
    assert (mask[:, 10:20] == 255).all() and mask.sum() == 255 * 4 * 10 * 40
    bare = segmenter.preserved(replace(video(), rgb=np.zeros((4, 48, 40, 3), np.uint8)))
    assert bare.sum() == 255 * 4 * 20 * 40


def test_a_video_without_a_person_and_a_folder_without_weights_are_refused(
        folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baker.segmenters.grounded_sam2.THRESHOLD", 1.1)
    with pytest.raises(InputError, match=r'no "person\." found'):
        GroundedSam2.load(folder).preserved(video())
    with pytest.raises(InputError, match=r"grounding-dino: no config\.json"):
        load_segmenter("grounded-sam2", tmp_path)
    with pytest.raises(InputError, match="brings no weights"):
        load_segmenter("grounded-sam2")
    with pytest.raises(InputError, match="labels, grounded-sam2"):
        load_segmenter("sam9")
