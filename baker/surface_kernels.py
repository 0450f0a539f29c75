"""Numba kernels of points and surfaces that the cloth simulation uses. Sequential, so results are bit-equal.

Letters: V points or vertices, F faces, B body samples, J joints, W influences. Metres.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from runtime._raster_template import compiled


@compiled()
@no_type_check
def skin(points, joints, weights, matrices, out):
    """Linear blend skinning: points [V 3] by matrices [J 4 4] with weights [V W] into out [V 3]."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        a, b, c = 0.0, 0.0, 0.0
        for k in range(joints.shape[1]):
            w = weights[i, k]
            if w == 0.0:
                continue
            m = matrices[joints[i, k]]
            a += w * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
            b += w * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
            c += w * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
        out[i, 0], out[i, 1], out[i, 2] = a, b, c


@compiled()
@no_type_check
def vertex_normals(points, faces, out):
    """Area-weighted unit normals of points [V 3] over faces [F 3] into out [V 3]."""
    out[:] = 0.0
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        wx, wy, wz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        for i in (a, b, c):
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for i in range(len(out)):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2)
        if length > 1e-20:
            for k in range(3):
                out[i, k] /= length


@compiled()
@no_type_check
def nearest_samples(points, is_arm_point, samples, is_arm_sample, radius, out):
    """Index of the nearest sample [B 3] within `radius` of each point [V 3], or -1, into out [V].

    Arm samples are seen only by arm points. A uniform grid of cells of side `radius` over the points, counting
    sort; samples outside it are out of reach.
    """
    low = np.empty(3)
    size = np.empty(3, np.int64)
    for k in range(3):
        low[k] = points[:, k].min() - radius
        size[k] = int((points[:, k].max() + radius - low[k]) / radius) + 1
    count = np.zeros(size[0] * size[1] * size[2] + 1, np.int32)
    cell = np.full(len(samples), -1, np.int64)
    for j in range(len(samples)):
        cx = int(np.floor((samples[j, 0] - low[0]) / radius))
        cy = int(np.floor((samples[j, 1] - low[1]) / radius))
        cz = int(np.floor((samples[j, 2] - low[2]) / radius))
        if 0 <= cx < size[0] and 0 <= cy < size[1] and 0 <= cz < size[2]:
            cell[j] = (cx * size[1] + cy) * size[2] + cz
            count[cell[j] + 1] += 1
    for c in range(len(count) - 1):
        count[c + 1] += count[c]
    fill = count[:-1].copy()
    order = np.empty(count[-1], np.int32)
    for j in range(len(samples)):
        if cell[j] >= 0:
            order[fill[cell[j]]] = j
            fill[cell[j]] += 1
    for i in range(len(points)):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        cx = int(np.floor((px - low[0]) / radius))
        cy = int(np.floor((py - low[1]) / radius))
        cz = int(np.floor((pz - low[2]) / radius))
        best, found = radius * radius, -1
        for gx in range(max(cx - 1, 0), min(cx + 2, size[0])):
            for gy in range(max(cy - 1, 0), min(cy + 2, size[1])):
                for gz in range(max(cz - 1, 0), min(cz + 2, size[2])):
                    c = (gx * size[1] + gy) * size[2] + gz
                    for s in range(count[c], count[c + 1]):
                        j = order[s]
                        if is_arm_sample[j] and not is_arm_point[i]:
                            continue
                        d = (samples[j, 0] - px) ** 2 + (samples[j, 1] - py) ** 2 + (samples[j, 2] - pz) ** 2
                        if d < best:
                            best, found = d, j
        out[i] = found


@compiled()
@no_type_check
def push_out(positions, free, samples, normals, contacts, clearances):
    """Move free points [V 3] outside the tangent planes of their contacts. In place."""
    for i in range(len(positions)):
        j = contacts[i]
        if j < 0 or not free[i]:
            continue
        distance = 0.0
        for k in range(3):
            distance += (positions[i, k] - samples[j, k]) * normals[j, k]
        if distance < clearances[i]:
            for k in range(3):
                positions[i, k] += (clearances[i] - distance) * normals[j, k]


@compiled()
@no_type_check
def penetration_depths(points, vertices, faces, out):
    """Exact and slow: distance to the surface of each point [V 3] inside a mesh, 0 outside, into out [V].

    Inside by the winding number (van Oosterom and Strackee 1983), distance by closest point on triangles.
    """
    for i in range(len(points)):
        winding = 0.0
        for f in range(len(faces)):
            ax, ay, az = _relative(vertices, faces[f, 0], points, i)
            bx, by, bz = _relative(vertices, faces[f, 1], points, i)
            cx, cy, cz = _relative(vertices, faces[f, 2], points, i)
            la = np.sqrt(ax * ax + ay * ay + az * az)
            lb = np.sqrt(bx * bx + by * by + bz * bz)
            lc = np.sqrt(cx * cx + cy * cy + cz * cz)
            det = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            winding += 2.0 * np.arctan2(det, la * lb * lc + (ax * bx + ay * by + az * bz) * lc
                                        + (bx * cx + by * cy + bz * cz) * la + (cx * ax + cy * ay + cz * az) * lb)
        out[i] = 0.0
        if winding > 2.0 * np.pi:
            best = np.inf
            for f in range(len(faces)):
                best = min(best, _origin_triangle_distance(
                    vertices[faces[f, 0]] - points[i], vertices[faces[f, 1]] - points[i],
                    vertices[faces[f, 2]] - points[i]))
            out[i] = best


@compiled()
@no_type_check
def _relative(vertices, vertex, points, i):
    """A vertex seen from point i."""
    return (vertices[vertex, 0] - points[i, 0], vertices[vertex, 1] - points[i, 1],
            vertices[vertex, 2] - points[i, 2])


@compiled()
@no_type_check
def _origin_triangle_distance(a, b, c):
    """Distance from the origin to a triangle (Ericson 2004, 5.1.5)."""
    ab, ac = b - a, c - a
    d1, d2 = -(ab * a).sum(), -(ac * a).sum()
    d3, d4 = -(ab * b).sum(), -(ac * b).sum()
    d5, d6 = -(ab * c).sum(), -(ac * c).sum()
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if d1 <= 0 and d2 <= 0:
        q = a
    elif d3 >= 0 and d4 <= d3:
        q = b
    elif d6 >= 0 and d5 <= d6:
        q = c
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        q = a + d1 / (d1 - d3) * ab
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        q = a + d2 / (d2 - d6) * ac
    elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        q = b + (d4 - d3) / ((d4 - d3) + (d5 - d6)) * (c - b)
    else:
        q = a + vb / (va + vb + vc) * ab + vc / (va + vb + vc) * ac
    return np.sqrt((q * q).sum())
