"""Triangle meshes to surface Gaussians, and Gaussians that ride on a deforming mesh.

Letters: V vertices, F faces, G Gaussians, S surface samples (several a Gaussian). Lengths in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree

from baker.avatar import Garment, SkinnedMesh
from runtime import rotations
from runtime.errors import InputError
from runtime.types import SH_C0, GaussianSet

ColorAt = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(faces [S], barycentrics [S 3]) to sRGB [S 3] or with straight alpha [S 4], in [0, 1]."""

SAMPLES_PER_GAUSSIAN = 10
LLOYD_ROUNDS = 4
SIZE_OF_SPACING = 0.66
"""Standard deviation over spacing. On a square grid the point farthest from all centres is then covered to
1 - (1 - exp(-0.5 (0.707 / 0.66)^2))^4 = 0.96; a larger value closes it further and blurs the texture."""
THICKNESS_OF_SPACING = 0.08
RASTER_BLUR = 0.0015
"""What the rasteriser's 0.3 px^2 adds to a Gaussian's standard deviation [m], in quadrature, where a person fills a
picture of 480x832 (3.2 m away: a pixel is 2.8 mm)."""
SMALLEST_SIZE = 0.9
"""Allowing for that blur shrinks no Gaussian below this fraction: near the camera it must still close the surface."""
MIN_ALPHA = 0.12
"""Samples of the texture below this alpha are not surface (hair and lash cards)."""
MAX_OPACITY = 0.98
Texture = UInt8[np.ndarray, "H X 4"] | Float[np.ndarray, "H X 4"]
"""sRGB with straight alpha: 0..255, as files are kept (a quarter of the memory), or in [0, 1]."""
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF")
"""What textures may be: formats that Pillow decodes itself (for EPS it would run another program)."""
MAX_PIXELS = 67_200_000
"""Of a texture: 8192 x 8192, 256 MiB."""
INSET = 0.5
MAX_INSET = 0.002


@dataclass(frozen=True)
class SurfaceGaussians:
    """G flat Gaussians on a mesh in its rest pose."""

    means: Float[np.ndarray, "G 3"]
    """Centres, on the surface [m]."""
    quats_wxyz: Float[np.ndarray, "G 4"]
    """Orientations; the third axis is the surface normal."""
    log_scales: Float[np.ndarray, "G 3"]
    """Natural log of the standard deviations [m]; the third is the thickness."""
    opacity_logits: Float[np.ndarray, " G"]
    """Logit of the opacity."""
    sh0: Float[np.ndarray, "G 3"]
    """Degree-0 coefficients."""
    faces: Int[np.ndarray, " G"]
    """The face each lies on."""
    barycentrics: Float[np.ndarray, "G 3"]
    """Where on that face."""


@dataclass(frozen=True)
class Sampling:
    """How Gaussians cover a surface."""

    size: float = SIZE_OF_SPACING
    """Standard deviation over spacing."""
    blur: float = 0.0
    """The rasteriser's blur that is allowed for [m] (`RASTER_BLUR`)."""
    color_pull: float = 0.0
    """How far cells follow the texture: a full step of colour counts as this many spacings, so that cells run along
    stripes rather than across them (as superpixels do: SLIC, Achanta et al., 2012)."""


class Invisible(InputError):
    """A mesh shows nothing: its texture is transparent wherever it was looked at."""


CLOSED = Sampling()
"""Every Gaussian overlaps its neighbours: nothing shows through, however near."""
FAITHFUL = Sampling(size=0.6, blur=RASTER_BLUR, color_pull=3.0)
"""As sharp as the mesh's picture allows: on f01 at 40 000 Gaussians 29.4 dB become 32.2 (8 views, 480x832), at 160 000
32.6. The size brings about 0.7, the colour pull 0.2, the blur 0.3, `inset_surface` the rest."""


def sample_mesh(mesh: SkinnedMesh, *, count: int, seed: int, color_at: ColorAt,
                density: Float[np.ndarray, " F"] | None = None, sampling: Sampling = CLOSED) -> SurfaceGaussians:
    """`count` evenly spaced Gaussians that close the surface of `mesh`.

    Each Gaussian is the cell of a centroidal Voronoi tessellation of many more surface samples (Lloyd's
    iteration): its size and axes come from the cell's second moments, its colour is the mean over the cell,
    which is the antialiasing. `density` [F] (relative) puts more Gaussians where it is larger.
    Raises `InputError` if the mesh has no area, `Invisible` if its texture is transparent everywhere.
    """
    # 1. Candidate samples that are visible, with their colours.
    faces, barycentrics, rgba, area_each = _visible_samples(mesh, count=count, seed=seed, color_at=color_at,
                                                            density=density)
    points = interpolate(mesh.vertices[mesh.faces], faces, barycentrics)
    normals = _normals_at(mesh, faces, barycentrics)
    # 2. Cells. Normals join the metric so that the two sides of a thin sheet do not share a cell.
    spacing = float(np.sqrt(area_each.sum() / count))
    features = np.concatenate([points, spacing * normals], axis=1)
    if sampling.color_pull:
        own = np.sqrt(area_each * len(points) / count)[:, None]
        features = np.concatenate([features, sampling.color_pull * own * _coherent_color(points, rgba)], axis=1)
    centre, cell = _voronoi_cells(features, count=count, weights=area_each)
    # 3. Moments of the cells: size, axes, colour.
    area = np.bincount(cell, area_each, count)
    alpha = _cell_mean(rgba[:, 3:], cell, area_each, count)[:, 0]
    rgb = _cell_mean(rgba[:, :3], cell, area_each * rgba[:, 3], count)
    quats, scales = _frames_and_sizes(points, normals[centre], cell, area, area_each, sampling)
    opacity = np.clip(alpha, MIN_ALPHA, 1.0) * MAX_OPACITY
    return SurfaceGaussians(
        means=points[centre].astype(np.float32), quats_wxyz=quats.astype(np.float32),
        log_scales=np.log(scales).astype(np.float32),
        opacity_logits=np.log(opacity / (1 - opacity)).astype(np.float32),
        sh0=((rgb - 0.5) / SH_C0).astype(np.float32), faces=faces[centre].astype(np.int32),
        barycentrics=barycentrics[centre].astype(np.float32))


def no_gaussians() -> SurfaceGaussians:
    """Of a mesh too small for one, or invisible."""
    f = np.float32
    return SurfaceGaussians(means=np.zeros((0, 3), f), quats_wxyz=np.zeros((0, 4), f), log_scales=np.zeros((0, 3), f),
                            opacity_logits=np.zeros(0, f), sh0=np.zeros((0, 3), f), faces=np.zeros(0, np.int32),
                            barycentrics=np.zeros((0, 3), f))


def inset_surface(surface: SurfaceGaussians) -> SurfaceGaussians:
    """The Gaussians moved under the surface by `INSET` of their size, `MAX_INSET` at most: they reach beyond an outline
    by about a standard deviation, and a figure should not be fatter than its mesh."""
    size = np.exp(surface.log_scales[:, :2].mean(1))
    normals = rotations.to_matrix(surface.quats_wxyz)[:, :, 2]
    depth = np.minimum(INSET * np.hypot(size, RASTER_BLUR), MAX_INSET)[:, None].astype(np.float32)
    return replace(surface, means=surface.means - depth * normals.astype(np.float32))


def _coherent_color(points: np.ndarray, rgba: np.ndarray) -> np.ndarray:
    """Colours [S 3] averaged over four samples: a pattern too fine for the Gaussians is gray, and pulls nothing."""
    near = cKDTree(points).query(points, k=min(4, len(points)))[1].reshape(len(points), -1)
    return rgba[near, :3].mean(1)


def ride(gaussians: GaussianSet, garment: Garment,
         vertices: Float[np.ndarray, "V 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means [G 3], quaternions [G 4] and log-scales [G 3] of a garment's Gaussians, on its mesh deformed from
    its rest pose to `vertices`. At rest the Gaussians come back as they are."""
    index = garment.gaussian_indices
    mesh = garment.mesh
    faces, barycentrics = garment.gaussian_faces, garment.gaussian_barycentrics
    means, quats = carry(gaussians.means[index], gaussians.quats_wxyz[index], faces, barycentrics,
                         rest=mesh, posed_vertices=vertices)
    F = deformation_gradients(mesh, vertices)[faces]
    # Log-scale change of each axis: how much the deformation lengthens it.
    axes = rotations.to_matrix(gaussians.quats_wxyz[index].astype(np.float64))
    stretch = np.linalg.norm(F @ axes, axis=1)
    log_scales = gaussians.log_scales[index] + np.log(np.maximum(stretch, 1e-3))
    return means, quats, log_scales.astype(np.float32)


def carry(means: Float[np.ndarray, "G 3"], quats_wxyz: Float[np.ndarray, "G 4"], faces: Int[np.ndarray, " G"],
          barycentrics: Float[np.ndarray, "G 3"], *, rest: SkinnedMesh,
          posed_vertices: Float[np.ndarray, "V 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Means [G 3] and quaternions [G 4] carried by a mesh from its rest pose to `posed_vertices` [V 3].

    The centre keeps its barycentric place and its offset in the frame of the surface; the orientation turns
    by the nearest rotation of the deformation gradient, smoothed over the faces around each vertex.
    """
    foot_rest = interpolate(rest.vertices[rest.faces], faces, barycentrics)
    foot_posed = interpolate(posed_vertices[rest.faces], faces, barycentrics)
    at_vertices = _faces_to_vertices(deformation_gradients(rest, posed_vertices), rest)
    F = np.einsum("gc,gcij->gij", barycentrics.astype(np.float64), at_vertices[rest.faces[faces]])
    turn = rotations.nearest_rotation(F)
    posed = foot_posed + np.einsum("gij,gj->gi", turn, means.astype(np.float64) - foot_rest)
    quats = rotations.multiply(rotations.from_matrix(turn), quats_wxyz.astype(np.float64))
    return posed.astype(np.float32), quats.astype(np.float32)


def deformation_gradients(rest: SkinnedMesh, posed_vertices: Float[np.ndarray, "V 3"]) -> np.ndarray:
    """Per face, the matrix [F 3 3] that takes rest edges to posed edges and unit normal to unit normal."""
    rest_frame, posed_frame = (_edge_frames(v[rest.faces]) for v in (rest.vertices, posed_vertices))
    return posed_frame @ np.linalg.pinv(rest_frame)


def interpolate(corners: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
    """Values [G C] at points on faces, from values at the corners of every face [F 3 C]; float64."""
    return np.einsum("gc,gck->gk", barycentrics.astype(np.float64), corners[faces].astype(np.float64))


def interpolate_weights(mesh: SkinnedMesh, faces: np.ndarray, barycentrics: np.ndarray, *, joints: int,
                        influences: int) -> tuple[np.ndarray, np.ndarray]:
    """Skinning weights of points on a mesh: (skin_joints [G W], skin_weights [G W]), W = `influences`."""
    dense = dense_weights(mesh.skin_joints, mesh.skin_weights, joints=joints)
    return strongest(interpolate(dense[mesh.faces], faces, barycentrics), influences=influences)


def dense_weights(skin_joints: np.ndarray, skin_weights: np.ndarray, *, joints: int) -> np.ndarray:
    """Weights [R J] of rows of joint indices and weights [R W]."""
    dense = np.zeros((len(skin_joints), joints))
    rows = np.broadcast_to(np.arange(len(skin_joints))[:, None], skin_joints.shape)
    np.add.at(dense, (rows, skin_joints), skin_weights)
    return dense


def strongest(dense: Float[np.ndarray, "R J"], *, influences: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest `influences` weights a row, normalised to sum to 1: (joints int32 [R W], weights [R W]).

    Equal weights are taken in joint order, so the result does not depend on the sorting algorithm.
    """
    influences = min(influences, dense.shape[1])
    joints = np.argsort(-dense, axis=1, kind="stable")[:, :influences]
    weights = np.take_along_axis(dense, joints, axis=1)
    weights = weights / weights.sum(1, keepdims=True)
    joints = np.where(weights > 0, joints, joints[:, :1])
    return joints.astype(np.int32), weights.astype(np.float32)


def vertex_normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> np.ndarray:
    """Area-weighted unit normals [V 3]; zero where no face meets."""
    corners = vertices[faces].astype(np.float64)
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    spread = np.repeat(face, 3, axis=0)
    normals = np.stack([np.bincount(faces.ravel(), column, len(vertices)) for column in spread.T], axis=1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


def face_areas(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> np.ndarray:
    """Areas [F] in square metres."""
    corners = vertices[faces].astype(np.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * np.linalg.norm(np.cross(first, second), axis=1)


def decode_image(file: Path | BytesIO) -> UInt8[np.ndarray, "H X 4"]:
    """An encoded picture as sRGB with straight alpha, 0..255.

    Raises `ValueError` saying what is wrong with it: another format than `IMAGE_FORMATS`, damage, over `MAX_PIXELS`.
    """
    from PIL import Image

    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"has {image.width} x {image.height} pixels; reduce it")
            return np.asarray(image.convert("RGBA"), np.uint8)
    except (OSError, Image.DecompressionBombError, SyntaxError, EOFError, MemoryError):
        raise ValueError(f"cannot be decoded as a picture ({', '.join(IMAGE_FORMATS)} are read)") from None


def load_texture(path: Path) -> UInt8[np.ndarray, "H X 4"]:
    """An image file as sRGB with straight alpha, 0..255; `InputError` if it cannot be read."""
    try:
        return decode_image(path)
    except ValueError as error:
        raise InputError(f"{path}: {error}; replace the file") from None


def sample_texture(texture: Texture, uv: Float[np.ndarray, "S 2"]) -> np.ndarray:
    """Bilinear RGBA [S 4] in [0, 1] at `uv`, v up as in OBJ (row 0 of the image is v = 1), repeated outside [0, 1)."""
    height, width = texture.shape[:2]
    x = uv[:, 0] * width - 0.5
    y = (1.0 - uv[:, 1]) * height - 0.5
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    left, right, top, bottom = x0 % width, (x0 + 1) % width, y0 % height, (y0 + 1) % height

    def texels(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        values = texture[rows, columns]
        return values.astype(np.float32) / 255.0 if values.dtype == np.uint8 else values

    upper = texels(top, left) * (1 - fx) + texels(top, right) * fx
    lower = texels(bottom, left) * (1 - fx) + texels(bottom, right) * fx
    return upper * (1 - fy) + lower * fy


def texture_color(texture: Texture, uvs: Float[np.ndarray, "U 2"],
                  uv_faces: Int[np.ndarray, "F 3"]) -> ColorAt:
    """A `color_at` that looks a texture up through a mesh's texture coordinates."""
    def color_at(faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        return sample_texture(texture, interpolate(uvs[uv_faces], faces, barycentrics))
    return color_at


def _visible_samples(mesh: SkinnedMesh, *, count: int, seed: int, color_at: ColorAt,
                     density: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Faces [S], barycentrics [S 3], RGBA [S 4], area [S] of samples where the texture is opaque enough."""
    areas = face_areas(mesh.vertices, mesh.faces)
    weight = areas if density is None else areas * density
    if not np.isfinite(weight).all() or weight.sum() <= 0:
        raise InputError("a mesh to be turned into Gaussians has no area; check its vertices and faces")
    wanted, total = SAMPLES_PER_GAUSSIAN * count, SAMPLES_PER_GAUSSIAN * count
    for _ in range(3):
        faces, barycentrics = _stratified(weight, total=total, seed=seed)
        colors = np.asarray(color_at(faces, barycentrics), np.float64)
        rgba = colors if colors.shape[1] == 4 else np.concatenate([colors, np.ones((len(colors), 1))], 1)
        visible = rgba[:, 3] >= MIN_ALPHA
        kept = int(visible.sum())
        if kept == 0:
            raise Invisible("a mesh to be turned into Gaussians is all transparent; check its texture")
        if kept >= 0.8 * wanted:
            break
        total = min(int(np.ceil(total * wanted / kept)), 20 * wanted)
    # A face's area is shared by its samples, whatever the density.
    per_sample = (areas / np.maximum(weight, 1e-30))[faces] * weight.sum() / total
    return faces[visible], barycentrics[visible], rgba[visible], per_sample[visible]


def _stratified(weight: np.ndarray, *, total: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`total` samples over faces in proportion to `weight` [F]: systematic over faces, the R2 low-discrepancy
    sequence (Roberts 2018) within them."""
    offset, u0, v0 = np.random.Generator(np.random.Philox(seed)).random(3)
    edges = np.cumsum(weight)
    faces = np.searchsorted(edges, (np.arange(total) + offset) / total * edges[-1], side="right")
    faces = np.minimum(faces, len(weight) - 1)
    # The index within a face restarts, shifted per face, so that small faces are well covered too.
    step = np.arange(total) - np.searchsorted(faces, faces, side="left")
    shift = faces * 0.6180339887498949
    u = (u0 + shift + step * 0.7548776662466927) % 1.0
    v = (v0 + 7.0 * shift + step * 0.5698402909980532) % 1.0
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    return faces, np.stack([1 - u - v, u, v], axis=1)


def _voronoi_cells(features: np.ndarray, *, count: int,
                   weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's iteration on samples [S D]: the sample at each of `count` centres, and each sample's cell."""
    if len(features) < count:
        raise InputError(f"{count} Gaussians asked of a mesh with {len(features)} visible samples; use fewer")
    place = features[(np.arange(count) * len(features)) // count]
    for _ in range(LLOYD_ROUNDS):
        _, cell = cKDTree(place).query(features)
        filled = np.bincount(cell, minlength=count) > 0
        place = np.where(filled[:, None], _cell_mean(features, cell, weights, count), place)
    # A centre is a sample, so that it is on the surface; no two share one.
    _, nearest = cKDTree(features).query(place)
    centre, first = np.unique(nearest, return_index=True)
    left = np.delete(np.arange(count), first)
    spare = np.setdiff1d(np.arange(len(features)), centre)
    for row in left:
        pick = int(np.argmin(((features[spare] - place[row]) ** 2).sum(1)))
        centre, spare = np.append(centre, spare[pick]), np.delete(spare, pick)
    _, cell = cKDTree(features[centre]).query(features)
    # Samples may coincide; each centre is in its own cell all the same.
    cell[centre] = np.arange(count)
    return centre, cell


def _cell_mean(values: np.ndarray, cell: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Weighted mean [count D] of values [S D] over the samples of each cell."""
    total = np.maximum(np.bincount(cell, weights, count), 1e-30)
    return np.stack([np.bincount(cell, weights * column, count) / total for column in values.T], axis=1)


def _frames_and_sizes(points: np.ndarray, normals: np.ndarray, cell: np.ndarray, area: np.ndarray,
                      weights: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Quaternions [G 4] and standard deviations [G 3] from each cell's in-plane covariance.

    The covariance of ten samples is noisy, so the squared size is the mean of the cell's own and of the round
    one of equal area; a square of side s has a variance of s^2 / 12 along each axis.
    """
    count = len(normals)
    mean = _cell_mean(points, cell, weights, count)
    delta = points - mean[cell]
    products = (delta[:, :, None] * delta[:, None, :]).reshape(-1, 9)
    covariance = _cell_mean(products, cell, weights, count).reshape(-1, 3, 3)
    tangent = _any_tangent(normals)
    plane = np.stack([tangent, np.cross(normals, tangent)], axis=2)
    spread = 12.0 * np.einsum("gia,gij,gjb->gab", plane, covariance, plane)
    values, vectors = np.linalg.eigh(0.5 * spread + 0.5 * area[:, None, None] * np.eye(2))
    first = np.einsum("gia,ga->gi", plane, vectors[:, :, 1])
    frame = np.stack([first, np.cross(normals, first), normals], axis=2)
    sizes = sampling.size * np.sqrt(np.maximum(values[:, ::-1], 1e-12))
    sizes = np.sqrt(np.maximum(sizes**2 - sampling.blur**2, (SMALLEST_SIZE * sizes) ** 2))
    thickness = THICKNESS_OF_SPACING * np.sqrt(np.maximum(area, 1e-12))
    return rotations.from_matrix(frame), np.concatenate([sizes, thickness[:, None]], axis=1)


def _normals_at(mesh: SkinnedMesh, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
    """Unit normals [S 3]: smooth, but the face's own where the smooth one leans over 70 degrees away."""
    corners = mesh.vertices[mesh.faces[faces]].astype(np.float64)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-20)
    smooth = interpolate(vertex_normals(mesh.vertices, mesh.faces)[mesh.faces], faces, barycentrics)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-20)
    agree = (smooth * flat).sum(1, keepdims=True) > 0.34
    return np.where(agree, smooth, flat)


def _any_tangent(normals: np.ndarray) -> np.ndarray:
    """A unit vector [S 3] perpendicular to each normal: the horizontal one, or +X under a vertical normal."""
    up = np.where(np.abs(normals[:, 1:2]) > 0.99, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    tangent = np.cross(up, normals)
    return tangent / np.linalg.norm(tangent, axis=1, keepdims=True)


def _edge_frames(corners: Float[np.ndarray, "F 3 3"]) -> np.ndarray:
    """Columns: two edges and the unit normal, [F 3 3]."""
    corners = corners.astype(np.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(first, second)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
    return np.stack([first, second, normal], axis=2)


def _faces_to_vertices(values: np.ndarray, mesh: SkinnedMesh) -> np.ndarray:
    """Area-weighted mean of face matrices [F 3 3] at vertices [V 3 3]; the identity where no face meets."""
    areas = np.repeat(face_areas(mesh.vertices, mesh.faces), 3)
    corner = mesh.faces.ravel()
    total = np.bincount(corner, areas, len(mesh.vertices))
    flat = np.repeat(values.reshape(-1, 9), 3, axis=0)
    mean = np.stack([np.bincount(corner, areas * column, len(mesh.vertices)) for column in flat.T], axis=1)
    mean /= np.maximum(total, 1e-30)[:, None]
    mean[total == 0] = np.eye(3).ravel()
    return mean.reshape(-1, 3, 3)
