"""How a restored video is measured against the truth: in the garment, in the rest of the person, in the face, in time.

Videos are uint8 [T H X 3], regions bool [T H X]. Letters as in `runtime/__init__.py`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from torch import nn

SSIM_SIGMA, SSIM_TRUNCATE = 1.5, 3.34
"""The window of Wang et al. 2004: 11 x 11 pixels, deviation 1.5."""
FACE_SIDE = 28
"""Side of the face crop [px] in a picture of 224: about the head's width."""
NOSE = np.array([255, 0, 0])
"""The pose video's colour of the nose's disc; nothing else in it is that bright a red."""
FEATURES = 64
"""Of the Fréchet distance's network."""

Videos = UInt8[np.ndarray, "T H X 3"]
Region = Bool[np.ndarray, "T H X"]


def squared_error(video: Videos, truth: Videos, region: Region) -> tuple[float, int]:
    """Sum of squared errors of colours in [0, 1] in a region, and how many numbers were summed."""
    difference = (video[region].astype(np.float64) - truth[region]) / 255.0
    return float((difference**2).sum()), difference.size


def psnr(parts: list[tuple[float, int]]) -> float:
    """PSNR [dB] of several clips' `squared_error` taken together; 99 for no error."""
    total, count = np.asarray(parts, np.float64).sum(0)
    return round(float(-10 * np.log10(max(total / max(count, 1), 10**-9.9))), 3)


def ssim(video: Videos, truth: Videos, region: Region) -> float:
    """Mean structural similarity over a region (Wang et al. 2004), of the three colours."""
    def blur(plane: np.ndarray) -> np.ndarray:
        return gaussian_filter(plane, (0, SSIM_SIGMA, SSIM_SIGMA), truncate=SSIM_TRUNCATE)

    values = []
    for channel in range(3):
        a, b = video[..., channel].astype(np.float32) / 255, truth[..., channel].astype(np.float32) / 255
        mean_a, mean_b = blur(a), blur(b)
        variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
        covariance = blur(a * b) - mean_a * mean_b
        similarity = ((2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)
                      / ((mean_a**2 + mean_b**2 + 0.01**2) * (variance_a + variance_b + 0.03**2)))
        values.append(float(similarity[region].mean()))
    return float(np.mean(values))


def flicker(video: Videos, truth: Videos, region: Region) -> float:
    """Mean absolute difference of the change from frame to frame between video and truth [0..255], where both frames
    lie in the region."""
    change = np.diff(video.astype(np.float32), axis=0) - np.diff(truth.astype(np.float32), axis=0)
    both = region[1:] & region[:-1]
    return float(np.abs(change)[both].mean())


def face_centres(pose: Videos) -> Float[np.ndarray, "F 3"]:
    """Frame, row and column of the nose in the frames whose pose video shows it."""
    red = (np.abs(pose.astype(np.int32) - NOSE).max(-1) < 64)
    found = []
    for frame, picture in enumerate(red):
        rows, columns = np.nonzero(picture)
        if len(rows):
            found.append((frame, rows.mean(), columns.mean()))
    return np.asarray(found, np.float64).reshape(-1, 3)


def face_crops(video: Videos, centres: Float[np.ndarray, "F 3"]) -> UInt8[np.ndarray, "F S S 3"]:
    """The squares around `face_centres`, pushed inside the picture."""
    side = min(FACE_SIDE * video.shape[1] // 224, *video.shape[1:3])
    crops = []
    for frame, row, column in centres:
        top = int(np.clip(row - side / 2, 0, video.shape[1] - side))
        left = int(np.clip(column - side / 2, 0, video.shape[2] - side))
        crops.append(video[int(frame), top : top + side, left : left + side])
    return np.asarray(crops, np.uint8).reshape(-1, side, side, 3)


class RandomFeatures:
    """A convolutional network of fixed random weights: no trained one comes with ani3d. Its features tell textures,
    edges and their layout apart; they know nothing of people, so distances compare methods and mean nothing alone."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1234)
            layers: list[nn.Module] = []
            for width_in, width_out in ((3, 32), (32, 64), (64, FEATURES)):
                layers += [nn.Conv2d(width_in, width_out, 5, stride=2, padding=2), nn.LeakyReLU(0.2)]
            self.network = nn.Sequential(*layers).eval()
            for layer in self.network:
                if isinstance(layer, nn.Conv2d):
                    nn.init.orthogonal_(layer.weight.flatten(1))
                    nn.init.zeros_(layer.bias)

    def maps(self, pictures: UInt8[np.ndarray, "B H X 3"]) -> torch.Tensor:
        """Features [B 64 H/8 X/8]."""
        signed = torch.from_numpy(pictures.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return self.network(signed)

    def pooled(self, video: Videos, region: Region) -> Float[np.ndarray, "T 64"]:
        """Mean features of each frame's region."""
        maps = self.maps(video)
        weight = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(region.astype(np.float32))[:, None],
                                                         maps.shape[-2:])
        summed = (maps * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-6)
        return summed.numpy().astype(np.float64)

    def identity_distance(self, faces: UInt8[np.ndarray, "F S S 3"], truth: UInt8[np.ndarray, "F S S 3"]) -> float:
        """1 - cosine similarity of the features of two sets of face crops, averaged over the crops."""
        if not len(faces):
            return float("nan")
        a, b = (self.maps(crops).flatten(1) for crops in (faces, truth))
        centre = b.mean(0)  # what all faces share would make every cosine near 1
        return float(1 - torch.nn.functional.cosine_similarity(a - centre, b - centre).mean())


def frechet_distance(a: Float[np.ndarray, "A D"], b: Float[np.ndarray, "B D"]) -> float:
    """Between Gaussians fitted to two sets of features (Heusel et al. 2017)."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    small = 1e-9 * np.eye(len(cov_a))
    root = sqrtm((cov_a + small) @ (cov_b + small)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root))
