"""Users' clips for training a Wan prior: folders of a video, its pose video and a reference picture.

    CLIPS/NAME/video.mp4       what the person really did (.mp4 .mov .mkv .webm)
    CLIPS/NAME/pose.mp4        the same frames as skeletons on black, as `baker/conditions.py` draws them
    CLIPS/NAME/reference.png   the person from the front (.png .jpg .jpeg .webp)
    CLIPS/NAME/prompt.txt      text; may be absent
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from baker.conditions import Conditions
from runtime.errors import InputError

VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
MOST_BYTES = 4 << 30
"""Of a video's frames at the size asked for: 3 500 of 480 x 832. Two such videos are held at a time."""
LARGEST = 8192
"""A side of a picture or video is at most this [px]."""


@dataclass(frozen=True)
class UserClip:
    """One clip's files."""

    name: str
    video: Path
    pose: Path
    reference: Path
    prompt: str
    """Text; "" for the default."""

    @property
    def fingerprint(self) -> str:
        """Changes with the files' contents (sizes and first MiB) and the prompt."""
        digest = hashlib.sha256(self.prompt.encode())
        for path in (self.video, self.pose, self.reference):
            with open(path, "rb") as file:
                digest.update(f"{path.stat().st_size}:".encode() + file.read(1 << 20))
        return digest.hexdigest()[:32]


def list_clips(folder: Path) -> list[UserClip]:
    """The clips of a folder, by name. Raises `InputError` for a folder without any and for a clip that is not whole."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with a folder per clip (video, pose, reference)")
    clips = []
    for part in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        text = part / "prompt.txt"
        clips.append(UserClip(
            name=part.name, video=_one(part, "video", VIDEOS), pose=_one(part, "pose", VIDEOS),
            reference=_one(part, "reference", PICTURES),
            prompt=text.read_text(encoding="utf-8", errors="replace").strip()[:2000] if text.is_file() else ""))
    if not clips:
        raise InputError(f"{folder}: holds no clips; a clip is a folder with video.mp4, pose.mp4 and reference.png")
    return clips


def read_windows(clip: UserClip, *, frames: int, size: tuple[int, int]) -> list[tuple[np.ndarray, Conditions]]:
    """A clip in windows of `frames`: videos uint8 [T H X 3] with their conditions, at `size` (width, height).

    Windows do not overlap, but the last one ends with the clip. Pictures are scaled to cover the size and cut around
    their middle. Raises `InputError` for files that cannot be read, differ in length or are too short.
    """
    video, pose = read_video(clip.video, size), read_video(clip.pose, size)
    if len(video) != len(pose):
        raise InputError(f"{clip.pose}: {len(pose)} frames, {clip.video.name} has {len(video)}; draw a pose for each")
    if len(video) < frames:
        raise InputError(f"{clip.video}: {len(video)} frames are fewer than a window of {frames}; set frames lower or "
                         "leave the clip out")
    reference = read_picture(clip.reference, size)
    starts = list(range(0, len(video) - frames + 1, frames))
    if starts[-1] != len(video) - frames:
        starts.append(len(video) - frames)
    windows = []
    for start in starts:
        part = slice(start, start + frames)
        # A Wan model sees neither the coarse video nor the mask: they only steer the sampler.
        unseen = {"coarse": video[part], "preserved": np.zeros(video[part].shape[:3], np.uint8)}
        prompt = {"prompt": clip.prompt} if clip.prompt else {}
        windows.append((video[part], Conditions(pose=pose[part], reference=reference, **unseen, **prompt)))
    return windows


def read_video(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "T H X 3"]:
    """All frames at `size` (width, height). Raises `InputError` for a file that is no video, or a very long one."""
    frames: list[np.ndarray] = []
    longest = MOST_BYTES // (3 * size[0] * size[1])
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if len(frames) == longest or max(frame.width, frame.height) > LARGEST:
                    raise InputError(f"{path}: more than {longest} frames at {size[0]}x{size[1]}, or {LARGEST} px; cut "
                                     "it into several clips, or scale it")
                frames.append(_fitted(frame.to_image(), size))
    except (av.FFmpegError, IndexError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a video ({error})") from error
    if not frames:
        raise InputError(f"{path}: holds no frame")
    return np.stack(frames)


def read_picture(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "H X 3"]:
    """A picture at `size`. Raises `InputError` for a file that is none."""
    try:
        with Image.open(path) as image:
            if max(image.size) > LARGEST:
                raise InputError(f"{path}: {image.size[0]}x{image.size[1]}; at most {LARGEST} px a side")
            return _fitted(image.convert("RGB"), size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error})") from error


def _fitted(image: Image.Image, size: tuple[int, int]) -> UInt8[np.ndarray, "H X 3"]:
    width, height = size
    scale = max(width / image.width, height / image.height)
    # The box of the source that has the target's shape, around the middle.
    across, down = width / scale, height / scale
    left, top = (image.width - across) / 2, (image.height - down) / 2
    box = (left, top, left + across, top + down)
    return np.array(image.resize(size, Image.Resampling.LANCZOS, box=box), np.uint8)


def _one(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path:
    found = [folder / f"{stem}{suffix}" for suffix in suffixes if (folder / f"{stem}{suffix}").is_file()]
    if not found:
        raise InputError(f"{folder}: has no {stem}{suffixes[0]}; a clip is a folder with video.mp4, pose.mp4 and "
                         "reference.png")
    return found[0]
