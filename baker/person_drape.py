"""Shapes of the built-in person's loose cloth besides the skirt: wide sleeves, capes, locks of hair, in the T-pose.

Each is a grid of R rows, from where it is held down to its free edge, and C columns. Lengths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from baker.body import Body, joint

HELD_ROWS = 2
"""Rows that follow the body."""
SPACING = 0.028
"""Between rows [m]: about the skirt's."""
SLEEVE_COLUMNS = 24
SLEEVE_CLEARANCE = 0.010
"""Of a sleeve over the arm [m], above the fitted top."""
CAPE_COLUMNS = 33
CAPE_CLEARANCE = 0.018
"""Of a cape over the back [m]: over the top's sheet, and grids of 3 cm cut the back's curve."""
LOCK_COLUMNS = 3


@dataclass(frozen=True)
class Sheet:
    """One grid of cloth at rest."""

    vertices: Float[np.ndarray, "V 3"]
    """Row by row [m]."""
    faces: Int[np.ndarray, "F 3"]
    """Counter-clockwise from outside."""
    face_uv: Float[np.ndarray, "F 3 2"]
    """Of each face's corners: distance across at mid length, and along the columns, down from the held edge [m]."""
    pinned: Bool[np.ndarray, " V"]
    length: float
    """Of the longest column [m]."""
    girth: float
    """Of the middle row [m]."""


def sheet(grid: Float[np.ndarray, "R C 3"], *, closed: bool, outward: np.ndarray) -> Sheet:
    """A grid as a sheet; `closed` joins its last column to its first. Faces look along `outward` [R C 3] on the
    whole."""
    rows, columns, _ = grid.shape
    steps = np.diff(grid[rows // 2], axis=0, append=grid[rows // 2][:1])
    across = np.concatenate([[0], np.cumsum(np.linalg.norm(steps, axis=1))])
    down = np.zeros((rows, columns + 1))
    down[1:, :columns] = np.cumsum(np.linalg.norm(np.diff(grid, axis=0), axis=2), axis=0)
    down[:, columns] = down[:, 0]
    faces, corners = [], []
    for row in range(rows - 1):
        for column in range(columns if closed else columns - 1):
            a, b, c, d = (row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)
            # Diagonals alternate, so that the cloth shears alike both ways.
            corners += [(a, d, c), (a, c, b)] if (row + column) % 2 else [(a, d, b), (b, d, c)]
    for triangle in corners:
        faces.append([r * columns + c % columns for r, c in triangle])
    uv = np.array([[(across[c], down[r, c]) for r, c in triangle] for triangle in corners])
    index = np.array(faces, np.int32)
    points = grid.reshape(-1, 3)
    edges = points[index]
    normal = np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0])
    if (normal * outward.reshape(-1, 3)[index].mean(1)).sum() < 0:
        index, uv = index[:, [0, 2, 1]], uv[:, [0, 2, 1]]
    return Sheet(vertices=points.astype(np.float32), faces=np.ascontiguousarray(index), face_uv=uv.astype(np.float32),
                 pinned=np.arange(rows * columns) < HELD_ROWS * columns, length=float(down[-1].max()),
                 girth=float(across[columns if closed else columns - 1]))


def make_sleeve(body: Body, *, side: str, start: float, end: float, flare: float) -> Sheet:
    """A wide sleeve around an arm, from `start` to `end` (0 the shoulder, 1 the wrist), whose radius grows by `flare`
    a metre. It hangs lower than it stands above the arm."""
    shoulder, wrist = (joint(body, f"{side}_{name}").astype(np.float64) for name in ("shoulder", "wrist"))
    sign = np.sign(shoulder[0])
    reach = abs(wrist[0] - shoulder[0])
    rows = max(6, round((end - start) * reach / SPACING) + 1)
    skin = body.vertices[np.unique(np.concatenate([body.faces_of["body"], body.faces_of["tights"]]))]
    angles = np.arange(SLEEVE_COLUMNS) * 2 * np.pi / SLEEVE_COLUMNS
    along = abs(shoulder[0]) + np.linspace(start, end, rows) * reach
    centres, radii = np.zeros((rows, 3)), np.zeros(rows)
    for row, x in enumerate(along):
        near = skin[np.abs(sign * skin[:, 0] - x) < 0.018]
        centres[row] = [sign * x, *(0.5 * (near.min(0) + near.max(0))[1:])]
        radii[row] = np.linalg.norm(near[:, 1:] - centres[row, 1:], axis=1).max()
    wider = flare * np.maximum(along - along[0] - 0.02, 0.0)
    # A little tighter than the widest part above it where the arm tapers, as cloth falls straight from there.
    radii = np.maximum.accumulate(np.maximum(radii, radii[0] - 0.15 * (along - along[0]))) + SLEEVE_CLEARANCE + wider
    centres[:, 1] -= 0.75 * wider
    ring = np.stack([np.zeros_like(angles), np.cos(angles), np.sin(angles)], 1)
    out = np.broadcast_to(ring, (rows, SLEEVE_COLUMNS, 3))
    return sheet(centres[:, None] + radii[:, None, None] * out, closed=True, outward=out)


def make_cape(body: Body, over: Float[np.ndarray, "P 3"], *, length: float, flare: float) -> Sheet:
    """A cape held along the back of the shoulders; `length` 1 ends at the ankles, and it widens by `flare` a metre.
    `over` are points of other clothes that it must lie behind."""
    shoulder, ankle = joint(body, "left_shoulder").astype(np.float64), joint(body, "left_ankle").astype(np.float64)
    torso = body.vertices[np.unique(np.concatenate([body.faces_of["body"], body.faces_of["tights"]]))]
    torso = torso[(np.abs(torso[:, 0]) < shoulder[0] + 0.06) & (torso[:, 1] < joint(body, "neck")[1])]
    torso = torso.astype(np.float64)
    half = 0.95 * shoulder[0]
    across = np.linspace(-1, 1, CAPE_COLUMNS)
    # 1. The held edge: a little behind the ridge of the shoulders, at the neck's foot between them.
    ridge = np.array([_ridge(torso, max(abs(x) * half, 0.075)) for x in across])
    top, behind = ridge[:, 0] - 0.012, ridge[:, 1] - 0.030
    fall = length * (top.min() - (ankle[1] + 0.05))
    rows = max(12, round(fall / 0.032))
    down = np.linspace(0, fall, rows)
    # 2. Down the back: as far behind as anything it has met on its way down.
    points = np.concatenate([torso, over.astype(np.float64)])
    grid = np.zeros((rows, CAPE_COLUMNS, 3))
    back = behind + 0.5 * CAPE_CLEARANCE
    for row in range(rows):
        x, y = across * (half + flare * down[row]), top - down[row]
        back = np.minimum(back, _back(points, x, y, back)) if row else _back(points, x, y, back)
        grid[row] = np.stack([x, y, back], 1)
    for _ in range(3):
        smooth = grid[..., 2].copy()
        smooth[:, 1:-1] = (grid[:, :-2, 2] + 2 * grid[:, 1:-1, 2] + grid[:, 2:, 2]) / 4
        grid[..., 2] = np.minimum(grid[..., 2], smooth)
    part = (down / down[-1])[:, None]
    grid[..., 2] -= CAPE_CLEARANCE + 0.06 * fall * part + 0.04 * part * (0.5 - 0.5 * np.cos(across * 4 * np.pi))
    return sheet(grid, closed=False, outward=np.broadcast_to(np.array([0.0, 0.0, -1.0]), grid.shape))


def _ridge(torso: np.ndarray, x: float) -> np.ndarray:
    """Height and depth [2] of the top of the shoulders at |x|."""
    near = torso[np.abs(np.abs(torso[:, 0]) - x) < 0.02]
    return near[near[:, 1].argmax(), 1:]


def _back(points: np.ndarray, x: np.ndarray, y: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """How far back [C] points reach near each (x, y), or `behind` where there are none."""
    near = points[np.abs(points[:, 1] - y.mean()) < 0.12]
    close = (np.abs(near[None, :, 0] - x[:, None]) < 0.035) & (np.abs(near[None, :, 1] - y[:, None]) < 0.03)
    return np.where(close, near[None, :, 2], behind[:, None]).min(1)


def make_lock(points: Float[np.ndarray, "P 3"], *, centre: Float[np.ndarray, " 3"]) -> Sheet | None:
    """A strip through the middle of a lock's points, which hangs; None where they are too few or too short.
    `centre` is the head's, away from which the strip looks."""
    high, low = np.quantile(points[:, 1], [0.995, 0.02])
    rows = round((high - low) / SPACING) + 1
    if rows < 4 or len(points) < 6 * rows:
        return None
    heights = np.linspace(high, low, rows)
    band = np.abs(points[None, :, 1] - heights[:, None]) < 0.75 * SPACING
    middles = np.stack([points[inside].mean(0) if inside.sum() > 2 else [np.nan] * 3 for inside in band])
    known = np.isfinite(middles[:, 0])
    if known.sum() < 4:
        return None
    middles = np.stack([np.interp(heights, heights[known][::-1], middles[known][::-1, k]) for k in range(3)], 1)
    middles[:, 1] = heights
    for _ in range(2):
        middles[1:-1] = (middles[:-2] + 2 * middles[1:-1] + middles[2:]) / 4
    away = (middles - centre) * [1, 0, 1]
    away = away.mean(0) / max(float(np.linalg.norm(away.mean(0))), 1e-9)
    sideways = np.cross([0.0, 1.0, 0.0], away)
    offsets = (points - middles[np.abs(points[:, 1, None] - heights).argmin(1)]) @ sideways
    half = float(np.clip(1.3 * offsets.std(), 0.012, 0.035))
    grid = middles[:, None] + np.linspace(-half, half, LOCK_COLUMNS)[:, None] * sideways
    return sheet(grid, closed=False, outward=np.broadcast_to(away, grid.shape))
