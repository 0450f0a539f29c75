"""Labels of a scan's Gaussians: skin, face, hands, hair, shoes, garments, by place on the body and by colour.

Letters: N Gaussians, J joints. Lengths in metres, in the body's rest pose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from baker.avatar import SkinnedMesh
from baker.binding import closest_points, neighbour_edges
from baker.meshes import dense_weights, interpolate, vertex_normals
from runtime.types import GaussianSet, Label

LOOSE_DISTANCE = 0.035
"""Cloth this far [m] from the body hangs."""
SKIRT_SHARE = 0.15
"""A skirt: at least this share of the cloth between waist and knees hangs."""
SKIN_TOLERANCE = 3.5
"""Colours within this many spreads of the face's colour are skin."""
HAND_WORDS = ("wrist", "hand", "index", "middle", "pinky", "ring", "thumb")


def label_regions(gaussians: GaussianSet, body: SkinnedMesh, joint_names: Sequence[str],
                  joints: Float[np.ndarray, "J 3"]) -> UInt8[np.ndarray, " N"]:
    """A `Label` for each Gaussian near a body in its rest pose, facing +Z."""
    place = {name: i for i, name in enumerate(joint_names)}
    faces, barycentrics, _, distances = closest_points(gaussians.means, body)
    normals = interpolate(vertex_normals(body.vertices, body.faces)[body.faces], faces, barycentrics)
    dense = interpolate(dense_weights(body.skin_joints, body.skin_weights, joints=len(joint_names))[body.faces], faces,
                        barycentrics)
    share = {
        "head": dense[:, [i for n, i in place.items() if n in ("head", "jaw") or "eye" in n]].sum(1),
        "hand": dense[:, [i for n, i in place.items() if any(w in n for w in HAND_WORDS)]].sum(1),
        "foot": dense[:, [i for n, i in place.items() if n.endswith(("ankle", "foot"))]].sum(1)}
    color = gaussians.colors.astype(np.float64)
    above_neck = gaussians.means[:, 1] > joints[place["neck"], 1]
    head = ((share["head"] > 0.5) | (above_neck & (share["head"] > 0.1))) & (share["hand"] < 0.2)
    skin = _skin(color, normals, gaussians.means, head, share["hand"] > 0.8, joints[place["head"]])
    labels = np.full(gaussians.count, int(Label.TIGHT), np.uint8)
    labels[skin & (distances < LOOSE_DISTANCE)] = Label.SKIN
    labels[head] = np.where(skin[head] & (distances[head] < 0.02), Label.FACE, Label.HAIR)
    # Eyes, brows and lips have no skin's colour: the front of the face is face.
    front = head & (normals[:, 2] > 0.3) & (distances < 0.02) & (np.abs(gaussians.means[:, 0] - joints[
        place["head"], 0]) < 0.07) & (gaussians.means[:, 1] < joints[place["head"], 1] + 0.11)
    labels[front] = Label.FACE
    labels[share["hand"] > 0.5] = Label.HAND
    labels[(share["foot"] > 0.5) & (distances < 0.06)] = Label.SHOE
    labels[(share["foot"] > 0.5) & skin & (distances < 0.02)] = Label.SKIN
    labels[_hanging(gaussians.means, labels, distances, joints, place, share)] = Label.GARMENT
    return _smoothed(labels, gaussians.means)


def _skin(color: np.ndarray, normals: np.ndarray, means: np.ndarray, head: np.ndarray, hands: np.ndarray,
          head_joint: np.ndarray) -> np.ndarray:
    """Boolean [N]: coloured like the hands where a good part of the face is too (no gloves), else like the middle of
    the face (a fringe may hang there). Chromaticity counts fully, brightness a third: shadows."""
    middle = head & (normals[:, 2] > 0.5) & (np.abs(means[:, 0] - head_joint[0]) < 0.05) & (
        np.abs(means[:, 1] - head_joint[1] - 0.03) < 0.06)
    features = _features(color)
    face = middle if middle.sum() >= 20 else head if head.any() else np.ones(len(color), bool)
    if hands.sum() >= 20:
        like_hands = _near(features, features[hands])
        if like_hands[face].mean() > 0.2:
            return like_hands
    return _near(features, features[face])


def _near(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Boolean [N]: within `SKIN_TOLERANCE` spreads of the reference's median; spreads are kept to what skin has."""
    centre = np.median(reference, axis=0)
    spread = np.clip(1.4826 * np.median(np.abs(reference - centre), axis=0), [0.02, 0.012, 0.012], [0.04, 0.02, 0.02])
    return np.sqrt((((features - centre) / spread) ** 2).sum(1)) < SKIN_TOLERANCE


def _features(color: np.ndarray) -> np.ndarray:
    """(brightness / 3, red and green chromaticity) of sRGB [N 3]."""
    total = np.maximum(color.sum(1, keepdims=True), 0.05)
    return np.concatenate([total / 9, color[:, :2] / total], axis=1)


def _hanging(means: np.ndarray, labels: np.ndarray, distances: np.ndarray, joints: np.ndarray,
             place: dict[str, int], share: dict[str, np.ndarray]) -> np.ndarray:
    """Boolean [N]: loose cloth. A skirt as a whole, from the waist to its hem; elsewhere what hangs off the body."""
    cloth = (labels == Label.TIGHT) & (share["hand"] < 0.2)
    loose = cloth & (distances > LOOSE_DISTANCE)
    waist = joints[place["pelvis"], 1] + 0.02
    knees = 0.5 * (joints[place["left_knee"], 1] + joints[place["right_knee"], 1])
    lower = cloth & (means[:, 1] < waist) & (means[:, 1] > knees)
    # Cloth that bridges the legs is a skirt too: trousers leave the middle free.
    middle = np.abs(means[:, 0] - joints[place["pelvis"], 0]) < 0.025
    below_crotch = means[:, 1] < joints[place["left_hip"], 1] - 0.12
    bridge = (lower & middle & below_crotch).sum() > 0.03 * max(int((lower & below_crotch).sum()), 1)
    hangs = lower.sum() > 50 and (loose & lower).sum() > SKIRT_SHARE * lower.sum()
    if hangs or (bridge and lower.sum() > 50):
        # Down to its hem, but not socks: what hangs together with cloth over the knees.
        skirt = np.flatnonzero(lower | (cloth & (means[:, 1] < waist) & (share["foot"] < 0.3)))
        island = _islands(means[skirt], reach=0.04)
        loose[skirt[np.isin(island, np.unique(island[lower[skirt]]))]] = True
    return loose


def _islands(means: np.ndarray, *, reach: float) -> np.ndarray:
    """A number for each group of points that neighbours at most `reach` [m] apart connect."""
    edges = neighbour_edges(means)
    edges = edges[np.linalg.norm(means[edges[:, 0]] - means[edges[:, 1]], axis=1) < reach]
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(means),) * 2)
    return connected_components(graph, directed=False)[1]


def _smoothed(labels: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Each Gaussian takes the label most of its neighbours have; small islands of loose cloth are fitted cloth."""
    count = len(labels)
    if count < 16:
        return labels
    near = cKDTree(means).query(means, k=min(12, count))[1]
    votes = np.stack([(labels[near] == label).sum(1) for label in range(len(Label))], axis=1)
    keep = np.take_along_axis(votes, labels[:, None].astype(int), 1)[:, 0] >= 5
    result = np.where(keep, labels, votes.argmax(1)).astype(np.uint8)
    loose = np.flatnonzero(result == Label.GARMENT)
    if len(loose) > 1:
        island = _islands(means[loose], reach=0.05)
        small = np.bincount(island)[island] < max(0.01 * count, 20)
        result[loose[small]] = Label.TIGHT
    return result
