"""Loose cloth and hair of the built-in person that swing: Gaussians on the sheets of `person_drape.py`. Metres, sRGB.

Letters: G Gaussians of one piece, V vertices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from baker.avatar import Garment, SkinnedMesh
from baker.binding import bind, closest_points, mesh_edges
from baker.body import Body
from baker.meshes import interpolate, sample_mesh
from baker.person_colors import fabric, mix, smoothstep
from baker.person_config import PersonConfig
from baker.person_drape import Sheet, make_cape, make_lock, make_sleeve
from baker.person_pieces import INFLUENCES, Piece, mesh_piece
from runtime.types import SH_C0, Label

GAUSSIANS_PER_AREA = 6500
"""Of sleeves and capes [1/m2] at the default count, as dense as a skirt."""
OVERLAP = 1.15
"""Enlargement over `sample_mesh`'s size, so that cloth stretched by a tenth shows nothing through it."""
LOCKS = 9
"""Strips that hair falling freely round the head is divided in."""


@dataclass(frozen=True)
class Draped:
    """A garment before the avatar is put together: rows of its Gaussians count from the piece's first."""

    piece: Piece
    garment: Garment


def sleeve_pieces(config: PersonConfig, body: Body, skin: SkinnedMesh) -> list[Draped]:
    """Both wide sleeves, in the top's cloth; none for a fitted top."""
    if config.sleeve_flare <= 0:
        return []
    out = []
    for number, side in enumerate(("left", "right")):
        made = make_sleeve(body, side=side, start=config.sleeve_start, end=config.sleeve_end, flare=config.sleeve_flare)

        def color(uv: np.ndarray, made: Sheet = made) -> np.ndarray:
            rgb = fabric(uv[:, ::-1] if config.top_pattern == "stripes" else uv, pattern=config.top_pattern,
                         first=config.top_color, second=config.top_second, length=0.55, seed=config.seed + 7,
                         period=_whole(made.girth, config.top_period))
            cuff = smoothstep(made.length - 0.030, made.length - 0.022, uv[:, 1])
            return mix(rgb, np.array(config.top_second), cuff)

        out.append(_drape(config, made, skin, name=f"{side} sleeve", color=color, seed=60 + number, meets_arms=True))
    return out


def cape_pieces(config: PersonConfig, body: Body, skin: SkinnedMesh, over: np.ndarray) -> list[Draped]:
    """A cape over the back; `over` are points of the clothes under it. None where its length is 0."""
    if config.cape_length <= 0:
        return []
    made = make_cape(body, over, length=config.cape_length, flare=config.cape_flare)

    def color(uv: np.ndarray) -> np.ndarray:
        rgb = fabric(uv, pattern=config.cape_pattern, first=config.cape_color, second=config.cape_second,
                     period=config.cape_period, length=made.length, seed=config.seed + 9)
        edge = np.maximum(smoothstep(0.025, 0.020, uv[:, 1]), smoothstep(made.length - 0.016, made.length - 0.010,
                                                                        uv[:, 1]))
        return mix(rgb, 0.6 * np.array(config.cape_color), 0.8 * edge)

    return [_drape(config, made, skin, name="cape", color=color, seed=62, meets_arms=True)]


def _whole(girth: float, period: float) -> float:
    """The period nearest to `period` that meets itself around."""
    return girth / max(1, round(girth / period))


def _drape(config: PersonConfig, made: Sheet, skin: SkinnedMesh, *, name: str,
           color: Callable[[np.ndarray], np.ndarray], seed: int, meets_arms: bool) -> Draped:
    """A sheet bound to the body, with Gaussians on it; `color` takes uv [S 2]."""
    joints, weights = bind(made.vertices, skin, method=config.binding, loose=np.ones(len(made.vertices), bool),
                           edges=mesh_edges(made.faces), influences=INFLUENCES)
    mesh = SkinnedMesh(vertices=made.vertices, faces=made.faces, skin_joints=joints, skin_weights=weights)
    corners = made.vertices[made.faces].astype(np.float64)
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    surface = sample_mesh(mesh, count=max(60, round(GAUSSIANS_PER_AREA * area * config.gaussians / 28000)),
                          seed=1000 * config.seed + seed,
                          color_at=lambda f, b: color(interpolate(made.face_uv, f, b)))
    surface = replace(surface, log_scales=surface.log_scales + np.log([OVERLAP, OVERLAP, 1.0]).astype(np.float32))
    piece = mesh_piece(surface, 0.5 + SH_C0 * surface.sh0, mesh, label=Label.GARMENT, contrast=0.42)
    garment = Garment(name=name, mesh=mesh, pinned=made.pinned, gaussian_indices=np.arange(len(surface.means)),
                      gaussian_faces=surface.faces, gaussian_barycentrics=surface.barycentrics, meets_arms=meets_arms)
    return Draped(piece=piece, garment=garment)


def hair_garment(means: np.ndarray, *, falling: np.ndarray, tied: bool, centre: np.ndarray,
                 weights_of: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Garment | None:
    """Strips that carry the hair whose Gaussians [G 3] are `falling` [G]; None where none is long enough.

    Tied hair hangs in one strip a side, other hair in `LOCKS` around the head. `weights_of` gives joints and weights
    of points of the hair.
    """
    chosen = np.flatnonzero(falling)
    away = means[chosen] - centre
    around = np.arctan2(away[:, 0], -away[:, 2])  # 0 behind
    if tied:
        two = (np.abs(away[:, 0]) < 0.03).mean() < 0.2
        lock = (away[:, 0] > 0).astype(int) if two else np.zeros(len(chosen), int)
    else:
        edges = np.quantile(around, np.linspace(0, 1, LOCKS + 1)[1:-1]) if len(chosen) else np.zeros(0)
        lock = np.searchsorted(edges, around)
    sheets, rows, faces, barycentrics = [], [], [], []
    first_vertex = 0
    for k in np.unique(lock):
        mine = chosen[lock == k]
        strip = make_lock(means[mine].astype(np.float64), centre=centre)
        if strip is None:
            continue
        joints, weights = weights_of(strip.vertices.astype(np.float64))
        mesh = SkinnedMesh(strip.vertices, strip.faces, joints.astype(np.int32), weights.astype(np.float32))
        face, bary, _, _ = closest_points(means[mine], mesh)
        faces.append(face + sum(len(s.faces) for s, _ in sheets)), barycentrics.append(bary), rows.append(mine)
        sheets.append((strip, SkinnedMesh(mesh.vertices, mesh.faces + np.int32(first_vertex), mesh.skin_joints,
                                          mesh.skin_weights)))
        first_vertex += len(strip.vertices)
    if not sheets:
        return None
    joined = {name: np.concatenate([getattr(mesh, name) for _, mesh in sheets])
              for name in ("vertices", "faces", "skin_joints", "skin_weights")}
    return Garment(name="hair", mesh=SkinnedMesh(**joined), pinned=np.concatenate([s.pinned for s, _ in sheets]),
                   gaussian_indices=np.concatenate(rows), gaussian_faces=np.concatenate(faces).astype(np.int32),
                   gaussian_barycentrics=np.concatenate(barycentrics).astype(np.float32), meets_arms=True)
