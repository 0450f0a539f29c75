"""`report.html`: what a bake looks like and what it cost, in one self-contained file."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from baker.config import BakeConfig, show
from baker.progress import Progress
from baker.stages import read_record
from baker.videos import Video, load_video, psnr, to_uint8
from export_formats.mp4 import write_mp4
from runtime.bundle import read_bundle
from runtime.cameras import orbit_camera
from runtime.framing import DISTANCE, FOV_Y
from runtime.player import Player
from runtime.raster import render

CSS = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;
padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd;padding-bottom:.2rem}
img,video{max-width:100%;border-radius:4px}table{border-collapse:collapse}
td,th{padding:.2rem .9rem .2rem 0;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}pre{background:#f5f5f5;padding:.8rem;overflow:auto}
.note{color:#666}
"""


def write_report(part: Path, bake: Path, config: BakeConfig, request: Any, *, progress: Progress) -> dict[str, Any]:
    """Render the pictures of a finished bake and write `report.html` into `part`; returns the measured quality."""
    bundle_path = bake / "060_bundle" / f"{bake.stem}.ani3d"
    player = Player(read_bundle(bundle_path))
    background = (config.coarse.background,) * 3
    count = config.coarse.trajectories

    # 1. The supervised trajectories once more, played from the finished bundle.
    quality, first = [], None
    for i in progress.track(range(count), "measuring trajectories"):
        coarse = load_video(bake / "020_coarse" / f"trajectory{i}.npz")
        restored = load_video(bake / "030_restore" / f"trajectory{i}.npz")
        baked = play_video(player, restored, background)
        quality.append({"trajectory": i, "baked_against_restored_psnr_db": round(psnr(baked, restored.rgb), 2),
                        "coarse_against_restored_psnr_db": round(psnr(coarse.rgb, restored.rgb), 2)})
        first = first or (coarse, restored, baked)
    coarse, restored, baked = first

    # 2. Pictures.
    strip = side_by_side(coarse.rgb, restored.rgb, baked, columns=6)
    around = contact_sheet(player, background)
    video = part / "compare.mp4"
    frames = compare_frames(coarse.rgb, restored.rgb, baked)
    size = (3 * config.coarse.width * VIDEO_ZOOM, config.coarse.height * VIDEO_ZOOM)
    write_mp4(frames, video, fps=player.fps, size=size)

    # 3. The page.
    mean = {key: round(float(np.mean([row[key] for row in quality])), 2) for key in quality[0] if key != "trajectory"}
    page = "\n".join([
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{html.escape(bake.stem)} · ani3d</title><style>{CSS}</style>",
        f"<h1>{html.escape(bake.stem)}</h1>",
        f"<p>{html.escape(Path(request.avatar).name)} · {html.escape(Path(request.motion).name)} · supervised by "
        f"{'a cloth simulation' if request.supervision == 'simulation' else 'the video prior'}</p>",
        "<h2>Coarse, restored, baked</h2>",
        f"<p>Left to right over time; rows: rigid skinning, the "
        f"{'simulated' if request.supervision == 'simulation' else 'restored'} video, the bundle as it plays.</p>",
        picture(strip),
        f"<p><video controls loop autoplay muted playsinline src='{data_uri(video.read_bytes(), 'video/mp4')}'>"
        "</video></p>",
        "<h2>The bundle from all sides</h2><p>Rigid skinning above, baked below, at one moment.</p>", picture(around),
        "<h2>Quality</h2>", table(quality),
        f"<p>Mean: {mean['baked_against_restored_psnr_db']} dB baked, "
        f"{mean['coarse_against_restored_psnr_db']} dB coarse, each against the restored video.</p>",
        "<h2>Optimisation</h2>", loss_plot(json.loads((bake / "040_optimise" / "history.json").read_text())),
        "<h2>Stages</h2>", table(stage_rows(bake)),
        "<h2>The file</h2>", table(bundle_rows(bake, bundle_path, player)),
        "<h2>What was off</h2>", off_list(config, request),
        "<h2>Settings</h2>", f"<pre>{html.escape(show(config))}</pre>",
    ])
    (part / "report.html").write_text(page, encoding="utf-8")
    return {"quality": quality, "mean": mean}


VIDEO_ZOOM = 2
"""Pixels of the comparison video per restored pixel."""


def play_video(player: Player, like: Video, background: Sequence[float]) -> np.ndarray:
    """The bundle along a video's cameras, uint8 [T H X 3]."""
    frames = []
    for t, camera in enumerate(like.cameras):
        image = render(player.gaussians_at(t / player.fps, loop=False), camera)
        frames.append(to_uint8(image.rgba[..., :3] + (1 - image.rgba[..., 3:]) * np.asarray(background, np.float32)))
    return np.stack(frames)


def side_by_side(*videos: np.ndarray, columns: int) -> np.ndarray:
    """Rows of videos [T H X 3], columns of evenly spaced times; figures are cropped to the middle two thirds."""
    times = np.linspace(0, len(videos[0]) - 1, columns + 2).round().astype(int)[1:-1]
    width = videos[0].shape[2]
    crop = slice(width // 8, width - width // 8)
    rows = [np.concatenate([video[t][:, crop] for t in times], axis=1) for video in videos]
    return np.concatenate(rows, axis=0).repeat(2, 0).repeat(2, 1)


def contact_sheet(player: Player, background: Sequence[float], *, views: int = 8) -> np.ndarray:
    """Rigid (above) and baked (below) from all sides, at the moment with the largest residual."""
    moments = np.arange(player.frame_count) / player.fps
    sizes = [np.abs(player.residual_at(moment)[0]).mean() for moment in moments]
    moment = float(moments[int(np.argmax(sizes))])
    rows = []
    for residual in (False, True):
        gaussians = player.gaussians_at(moment, residual=residual, loop=False)
        target = np.median(gaussians.means, axis=0)
        row = []
        for view in range(views):
            camera = orbit_camera(target, azimuth=2 * math.pi * view / views, elevation=math.radians(8),
                                  distance=DISTANCE * 0.9, fov_y=FOV_Y, size=(270, 468))
            image = render(gaussians, camera)
            row.append(to_uint8(image.rgba[..., :3] + (1 - image.rgba[..., 3:]) * np.asarray(background, np.float32)))
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows, axis=0)


def compare_frames(*videos: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of several videos beside each other, enlarged and named."""
    names = ("coarse", "restored", "baked")
    for frames in zip(*videos, strict=True):
        joined = Image.fromarray(np.concatenate(frames, axis=1))
        joined = joined.resize((joined.width * VIDEO_ZOOM, joined.height * VIDEO_ZOOM), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(joined)
        for i, name in enumerate(names):
            draw.text((i * joined.width // 3 + 8, 6), name, fill=(255, 255, 255))
        yield np.asarray(joined)


def loss_plot(history: list[dict[str, float]]) -> str:
    """Inline SVG: every logged loss over iterations, log scale."""
    keys = [key for key in history[0] if key not in ("iteration", "seconds")] if history else []
    if not keys:
        return "<p>No iterations were logged.</p>"
    width, height, left = 900, 260, 60
    steps = np.array([row["iteration"] for row in history], float)
    colors = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b")
    series = {key: np.log10(np.maximum([row[key] for row in history], 1e-9)) for key in keys}
    low = math.floor(min(values.min() for values in series.values()))
    high = math.ceil(max(values.max() for values in series.values()))
    high = max(high, low + 1)
    parts = [f"<svg viewBox='0 0 {width} {height + 24}' width='100%'>"]
    for decade in range(low, high + 1):
        y = height - (decade - low) / (high - low) * height
        parts.append(f"<line x1='{left}' x2='{width}' y1='{y:.1f}' y2='{y:.1f}' stroke='#eee'/>"
                     f"<text x='0' y='{y + 4:.1f}' font-size='11'>1e{decade}</text>")
    for i, (key, values) in enumerate(series.items()):
        x = left + (steps - steps[0]) / max(steps[-1] - steps[0], 1) * (width - left)
        y = height - (values - low) / (high - low) * height
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        color = colors[i % len(colors)]
        parts.append(f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='1.5'/>"
                     f"<text x='{left + 8 + i * 130}' y='{height + 18}' font-size='12' fill='{color}'>"
                     f"{html.escape(key)}</text>")
    return "".join(parts) + "</svg>"


def stage_rows(bake: Path) -> list[dict[str, Any]]:
    """Seconds and peak memory of every finished stage."""
    rows = []
    for folder in sorted(bake.glob("0[0-9]0_*")):
        record = read_record(folder)
        if record and not folder.name.endswith(".part"):
            rows.append({"stage": record["stage"], "seconds": round(record["seconds"], 1),
                         "peak_memory_mib": record.get("peak_memory_mib"), "device": record.get("device")})
    return rows


def bundle_rows(bake: Path, path: Path, player: Player) -> list[dict[str, Any]]:
    """Sizes and errors of the bundle."""
    distilled = read_record(bake / "050_distil") or {"metrics": {}}
    facts = {"bytes": path.stat().st_size, "frames": player.frame_count, "fps": player.fps}
    facts |= {k: v for k, v in distilled["metrics"].items() if isinstance(v, (int, float, str))}
    return [{"what": key, "value": value} for key, value in facts.items()]


def off_list(config: BakeConfig, request: Any) -> str:
    """What this bake did without, and why."""
    notes = [] if config.optimise.lpips_weights else [
        "LPIPS: its network's weights were not given (optimise.lpips_weights)."]
    if config.optimise.density_rounds <= 0:
        notes.append("Adaptive density: optimise.density_rounds is 0.")
    if request.supervision == "simulation":
        notes.append("Video prior and dataset update: the supervision was a simulation.")
    elif config.optimise.update_every <= 0:
        notes.append("Dataset update: optimise.update_every is 0.")
    return "<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>"


def table(rows: list[dict[str, Any]]) -> str:
    """An HTML table of equal-keyed rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    body = "".join("<tr>" + "".join(
        f"<td{' class=n' if isinstance(v, (int, float)) else ''}>{html.escape(str(v))}</td>" for v in row.values())
        + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def picture(image: np.ndarray) -> str:
    """An <img> with the picture inside."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return f"<p><img src='{data_uri(buffer.getvalue(), 'image/jpeg')}'></p>"


def data_uri(content: bytes, kind: str) -> str:
    """Bytes inside a URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
