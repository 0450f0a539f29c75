"""Numba kernels of the cloth simulation (`baker/cloth.py`). Sequential, so results are bit-equal on one machine.

Letters: V cloth vertices, B body samples, C constraints, K core capsules. Metres, seconds, kilograms.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np

from runtime._raster_template import compiled


class Constraints(NamedTuple):
    """C distance constraints, in the order they are solved."""

    first: np.ndarray
    """int32 [C]."""
    second: np.ndarray
    """int32 [C]."""
    rest: np.ndarray
    """Rest lengths [C] [m]."""
    compliance: np.ndarray
    """[C] [m/N]; 0 is inextensible."""
    anchors: np.ndarray
    """int32 [V]: the pinned vertex each vertex is tethered to; -1 for none."""
    reaches: np.ndarray
    """Longest distance to that vertex [V] [m]."""


class Sheet(NamedTuple):
    """The moving state of a garment; arrays are updated in place."""

    positions: np.ndarray
    """[V 3] [m]."""
    velocities: np.ndarray
    """[V 3] [m/s]."""
    previous: np.ndarray
    """Scratch [V 3]: positions at the start of the substep."""
    normals: np.ndarray
    """Unit vertex normals [V 3], for the air drag."""
    inverse_masses: np.ndarray
    """[V] [1/kg]; 0 where pinned."""


class Body(NamedTuple):
    """The collider at the start (0) and the end (1) of a pose interval."""

    points0: np.ndarray
    """Surface samples [B 3] [m]."""
    points1: np.ndarray
    normals0: np.ndarray
    """Outward unit normals [B 3]."""
    normals1: np.ndarray
    cores0: np.ndarray
    """Ends of the capsules inside the limbs [K 2 3] [m]."""
    cores1: np.ndarray
    radii: np.ndarray
    """[K 2] [m]."""
    core_is_arm: np.ndarray
    """Boolean [K]."""
    meets_arms: np.ndarray
    """Boolean [V]: vertices that collide with arms."""
    contacts: np.ndarray
    """int32 [V]: nearest surface sample of each cloth vertex, -1 if none is near."""
    clearances: np.ndarray
    """Distance each cloth vertex keeps from the surface [V] [m]."""
    pins0: np.ndarray
    """Where pinned vertices are [V 3] [m]; other rows are not read."""
    pins1: np.ndarray


class Physics(NamedTuple):
    """Numbers of one run."""

    step: float
    """Substep [s]."""
    gravity: float
    """[m/s2], along -y."""
    drag: float
    """Quadratic drag along the normal [1/m]."""
    keep: float
    """Fraction of the velocity kept each substep."""
    friction: float
    """Coulomb coefficient."""
    max_speed: float
    """[m/s]."""
    max_pull: float
    """Most of its rest length by which a stretched constraint pulls in one substep."""
    max_push: float
    """Depth resolved as motion in one substep [m]; the rest is resolved without adding velocity."""


@compiled()
@no_type_check
def advance(sheet, constraints, body, physics, substeps):
    """XPBD over one pose interval in `substeps` small steps, one sweep each (Macklin et al. 2019)."""
    for s in range(substeps):
        before, after = s / substeps, (s + 1) / substeps
        _predict(sheet, body, physics, after)
        _solve(sheet, constraints, physics)
        _tether(sheet, constraints)
        _collide_cores(sheet, body, physics, before, after)
        _collide_surface(sheet, body, physics, before, after)
        _update_velocities(sheet, physics)


@compiled()
@no_type_check
def _predict(sheet, body, physics, after):
    """Gravity, drag, damping; free vertices move by their velocity, pinned ones to the body."""
    x, v, n, h = sheet.positions, sheet.velocities, sheet.normals, physics.step
    for i in range(len(x)):
        for k in range(3):
            sheet.previous[i, k] = x[i, k]
        if sheet.inverse_masses[i] == 0.0:
            for k in range(3):
                x[i, k] = body.pins0[i, k] + after * (body.pins1[i, k] - body.pins0[i, k])
            continue
        v[i, 1] -= h * physics.gravity
        vn = v[i, 0] * n[i, 0] + v[i, 1] * n[i, 1] + v[i, 2] * n[i, 2]
        # Implicit in the speed, so that strong drag cannot reverse it.
        lost = vn - vn / (1.0 + physics.drag * abs(vn) * h)
        for k in range(3):
            v[i, k] = (v[i, k] - lost * n[i, k]) * physics.keep
            x[i, k] += h * v[i, k]


@compiled()
@no_type_check
def _solve(sheet, constraints, physics):
    """One Gauss-Seidel sweep over the distance constraints, in the same order every substep.

    Running every second sweep backwards makes the sheet unstable: at rest, rounding errors grew to 18 mm in
    100 substeps, where the fixed order stays under 1e-8 m.
    """
    x, w, step = sheet.positions, sheet.inverse_masses, physics.step
    for e in range(len(constraints.first)):
        a, b = constraints.first[e], constraints.second[e]
        wa, wb = w[a], w[b]
        dx, dy, dz = x[a, 0] - x[b, 0], x[a, 1] - x[b, 1], x[a, 2] - x[b, 2]
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        if length < 1e-9:
            continue
        # XPBD (Macklin et al. 2016, eq. 18) with lambda = 0 at the start of each substep.
        pull = max(constraints.rest[e] - length, -physics.max_pull * constraints.rest[e])
        scale = pull / (wa + wb + constraints.compliance[e] / (step * step)) / length
        x[a, 0] += wa * scale * dx
        x[a, 1] += wa * scale * dy
        x[a, 2] += wa * scale * dz
        x[b, 0] -= wb * scale * dx
        x[b, 1] -= wb * scale * dy
        x[b, 2] -= wb * scale * dz


@compiled()
@no_type_check
def _tether(sheet, constraints):
    """Long-range attachments (Kim et al. 2012): no vertex is farther from its pin than along the cloth."""
    x = sheet.positions
    for i in range(len(x)):
        a = constraints.anchors[i]
        if a < 0:
            continue
        dx, dy, dz = x[i, 0] - x[a, 0], x[i, 1] - x[a, 1], x[i, 2] - x[a, 2]
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        if length > constraints.reaches[i]:
            scale = constraints.reaches[i] / length
            x[i, 0] = x[a, 0] + scale * dx
            x[i, 1] = x[a, 1] + scale * dy
            x[i, 2] = x[a, 2] + scale * dz


@compiled()
@no_type_check
def _collide_cores(sheet, body, physics, before, after):
    """Out of the tapered capsules inside the limbs: they keep cloth from passing through a fast limb."""
    x = sheet.positions
    ends = body.cores0 + after * (body.cores1 - body.cores0)
    for c in range(len(body.radii)):
        ax, ay, az = ends[c, 0, 0], ends[c, 0, 1], ends[c, 0, 2]
        bx, by, bz = ends[c, 1, 0] - ax, ends[c, 1, 1] - ay, ends[c, 1, 2] - az
        squared = bx * bx + by * by + bz * bz + 1e-12
        ra, rb = body.radii[c, 0], body.radii[c, 1]
        for i in range(len(x)):
            if sheet.inverse_masses[i] == 0.0 or (body.core_is_arm[c] and not body.meets_arms[i]):
                continue
            t = ((x[i, 0] - ax) * bx + (x[i, 1] - ay) * by + (x[i, 2] - az) * bz) / squared
            t = min(1.0, max(0.0, t))
            nx, ny, nz = x[i, 0] - ax - t * bx, x[i, 1] - ay - t * by, x[i, 2] - az - t * bz
            radius = ra + t * (rb - ra)
            distance = nx * nx + ny * ny + nz * nz
            if distance >= radius * radius or distance < 1e-18:
                continue
            distance = np.sqrt(distance)
            mx, my, mz = 0.0, 0.0, 0.0
            step = after - before
            for e in range(2):
                share = t if e == 1 else 1.0 - t
                mx += share * step * (body.cores1[c, e, 0] - body.cores0[c, e, 0])
                my += share * step * (body.cores1[c, e, 1] - body.cores0[c, e, 1])
                mz += share * step * (body.cores1[c, e, 2] - body.cores0[c, e, 2])
            _contact(sheet, physics, i, radius - distance, (nx / distance, ny / distance, nz / distance), (mx, my, mz))


@compiled()
@no_type_check
def _collide_surface(sheet, body, physics, before, after):
    """Out of the tangent plane of the nearest sample of the body's surface."""
    x = sheet.positions
    for i in range(len(x)):
        j = body.contacts[i]
        if j < 0 or sheet.inverse_masses[i] == 0.0:
            continue
        nx = body.normals0[j, 0] + after * (body.normals1[j, 0] - body.normals0[j, 0])
        ny = body.normals0[j, 1] + after * (body.normals1[j, 1] - body.normals0[j, 1])
        nz = body.normals0[j, 2] + after * (body.normals1[j, 2] - body.normals0[j, 2])
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length < 1e-6:
            continue
        nx, ny, nz = nx / length, ny / length, nz / length
        mx = body.points1[j, 0] - body.points0[j, 0]
        my = body.points1[j, 1] - body.points0[j, 1]
        mz = body.points1[j, 2] - body.points0[j, 2]
        distance = ((x[i, 0] - body.points0[j, 0] - after * mx) * nx
                    + (x[i, 1] - body.points0[j, 1] - after * my) * ny
                    + (x[i, 2] - body.points0[j, 2] - after * mz) * nz)
        depth = body.clearances[i] - distance
        if depth > 0.0:
            step = after - before
            _contact(sheet, physics, i, depth, (nx, ny, nz), (step * mx, step * my, step * mz))


@compiled()
@no_type_check
def _contact(sheet, physics, i, depth, normal, moved):
    """Push vertex i out by `depth` along `normal`, with Coulomb friction against a surface that moved by `moved`."""
    (nx, ny, nz), (mx, my, mz) = normal, moved
    x, p = sheet.positions, sheet.previous
    silent = max(0.0, depth - physics.max_push)
    x[i, 0] += depth * nx
    x[i, 1] += depth * ny
    x[i, 2] += depth * nz
    p[i, 0] += silent * nx
    p[i, 1] += silent * ny
    p[i, 2] += silent * nz
    rx, ry, rz = x[i, 0] - p[i, 0] - mx, x[i, 1] - p[i, 1] - my, x[i, 2] - p[i, 2] - mz
    along = rx * nx + ry * ny + rz * nz
    rx, ry, rz = rx - along * nx, ry - along * ny, rz - along * nz
    slide = np.sqrt(rx * rx + ry * ry + rz * rz)
    if slide > 1e-12:
        held = min(1.0, physics.friction * (depth - silent) / slide)
        x[i, 0] -= held * rx
        x[i, 1] -= held * ry
        x[i, 2] -= held * rz


@compiled()
@no_type_check
def _update_velocities(sheet, physics):
    """v = displacement over the substep, capped."""
    x, v, p = sheet.positions, sheet.velocities, sheet.previous
    for i in range(len(x)):
        if sheet.inverse_masses[i] == 0.0:
            continue
        squared = 0.0
        for k in range(3):
            v[i, k] = (x[i, k] - p[i, k]) / physics.step
            squared += v[i, k] * v[i, k]
        if squared > physics.max_speed * physics.max_speed:
            scale = physics.max_speed / np.sqrt(squared)
            for k in range(3):
                v[i, k] *= scale
