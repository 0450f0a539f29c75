"""Grounding DINO finds a person and clothes in the frame where it is surest, SAM 2 follows both through the video.

transformers' own processors of these models need torchvision, which must not be installed (facts/packages.md §1): the
pictures are prepared here. A folder holds `grounding-dino/` (with its tokenizer) and `sam2/`.
Letters as in `runtime/__init__.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GroundingDinoForObjectDetection, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from baker.priors.wan_parts import files_fingerprint, load_part, load_tokenizer
from baker.videos import Video
from runtime.errors import InputError

TEXTS = ("person.", "clothes.")
"""What is looked for; Grounding DINO wants lower case and a full stop (facts §7)."""
THRESHOLD = 0.25
"""Least score of a box, as the released code has it (facts §1.2)."""
SHORT_SIDE, LONG_SIDE = 800, 1333
"""Grounding DINO's picture size [px]: short side, unless the long one grows beyond its bound."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of colours in 0..1; both models use them."""
PROBES = 5
"""Frames, evenly spread, in which the detector looks."""


@dataclass(frozen=True)
class GroundedSam2:
    """`Segmenter` of two networks."""

    detector: nn.Module
    tokenizer: Any
    tracker: nn.Module
    weights: str = ""
    """Tells weights apart."""

    @property
    def fingerprint(self) -> str:
        return f"grounded-sam2:{self.weights}"

    @staticmethod
    def load(folder: Path) -> GroundedSam2:
        """From a folder; raises `InputError` naming what is missing."""
        detector = load_part(GroundingDinoForObjectDetection, folder / "grounding-dino", dtype=torch.float32)
        tracker = load_part(Sam2VideoModel, folder / "sam2", dtype=torch.float32)
        tokenizer = load_tokenizer(folder / "grounding-dino")
        return GroundedSam2(detector=detector, tokenizer=tokenizer, tracker=tracker,
                            weights=files_fingerprint([folder / "grounding-dino", folder / "sam2"]))

    def preserved(self, video: Video) -> UInt8[np.ndarray, "T H X"]:
        """Person and not clothes. Raises `InputError` for a video without a person; without clothes the whole person
        is preserved."""
        person, clothes = (self.follow(video.rgb, text) for text in TEXTS)
        if person is None:
            raise InputError(f'{video.name}: no "{TEXTS[0]}" found; use the segmenter labels')
        kept = person if clothes is None else person & ~clothes
        return np.where(kept, 255, 0).astype(np.uint8)

    def follow(self, rgb: UInt8[np.ndarray, "T H X 3"], text: str) -> np.ndarray | None:
        """Mask bool [T H X] of what `text` names, from the surest of a few frames both ways; None if it is nowhere."""
        frames = np.unique(np.linspace(0, len(rgb) - 1, min(PROBES, len(rgb))).round().astype(int))
        found = [(*self.detect(rgb[frame], text), int(frame)) for frame in frames]
        score, box, frame = max(found, key=lambda candidate: candidate[0])
        return None if score < THRESHOLD else self.track(rgb, box, frame)

    def detect(self, picture: UInt8[np.ndarray, "H X 3"], text: str) -> tuple[float, Tensor]:
        """Score in [0, 1] and box (left, top, right, bottom) [px] of the best match."""
        height, width = picture.shape[:2]
        scale = min(SHORT_SIDE / min(height, width), LONG_SIDE / max(height, width))
        pixels = normalised(picture[None], size=(round(height * scale), round(width * scale)))
        words = self.tokenizer([text], return_tensors="pt")
        with torch.inference_mode():
            out = self.detector(pixel_values=pixels, pixel_mask=torch.ones_like(pixels[:, 0], dtype=torch.long),
                                input_ids=words.input_ids, attention_mask=words.attention_mask,
                                token_type_ids=torch.zeros_like(words.input_ids))
        scores = out.logits[0].sigmoid().amax(-1)
        best = int(scores.argmax())
        x, y, w, h = out.pred_boxes[0, best]
        box = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * torch.tensor([width, height, width, height])
        return float(scores[best]), box

    def track(self, rgb: UInt8[np.ndarray, "T H X 3"], box: Tensor, frame: int) -> np.ndarray:
        """Mask bool [T H X] of what is in the box (pixels of `rgb`) at a frame, followed forward and back."""
        height, width = rgb.shape[1:3]
        side = int(self.tracker.config.image_size)
        masks = np.zeros(rgb.shape[:3], bool)
        with torch.inference_mode():
            session = Sam2VideoInferenceSession(video=normalised(rgb, size=(side, side)), video_height=height,
                                                video_width=width, dtype=torch.float32)
            # A box is two points, labelled 2 and 3, in the pixels of the model's square picture.
            corners = box.view(1, 1, 2, 2) * torch.tensor([side / width, side / height])
            session.add_point_inputs(session.obj_id_to_idx(1), frame, {
                "point_coords": corners, "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32)})
            session.obj_with_new_inputs = [1]
            self.tracker(inference_session=session, frame_idx=frame)
            for reverse in (False, True):
                for seen in self.tracker.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=reverse):
                    mask = F.interpolate(seen.pred_masks[:1].float(), size=(height, width), mode="bilinear",
                                         align_corners=False)
                    masks[seen.frame_idx] = (mask[0, 0] > 0).numpy()
        return masks


def normalised(rgb: UInt8[np.ndarray, "T H X 3"], *, size: tuple[int, int]) -> Tensor:
    """Pictures [T 3 h w] resized without cropping and normalised as ImageNet's."""
    pictures = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    pictures = F.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return (pictures - mean) / deviation
