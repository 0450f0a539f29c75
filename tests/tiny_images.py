"""Small random videos and conditions."""

from __future__ import annotations

import numpy as np
import torch

from baker.conditions import Conditions


def random_video(frames: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random colours, uint8 [T H X 3]."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 3, 5, 4))).float()
    smooth = torch.nn.functional.interpolate(coarse, size=(frames, height, width), mode="trilinear")
    return smooth[0].permute(1, 2, 3, 0).to(torch.uint8).numpy()


def random_conditions(frames: int, height: int, width: int) -> Conditions:
    mask = np.zeros((frames, height, width), np.uint8)
    mask[:, : height // 2] = 255
    return Conditions(coarse=random_video(frames, height, width, 1), pose=random_video(frames, height, width, 2),
                      reference=random_video(1, height, width, 3)[0], preserved=mask)
