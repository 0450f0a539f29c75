"""baker/avatars/splats.py, body_model.py, regions.py, baker/fit.py: LHM's splats, body models, scans of people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baker.avatar import Avatar
from baker.avatars import load_avatar
from baker.avatars.body_model import read_body_model
from baker.avatars.options import AvatarOptions
from baker.avatars.splats import load_scan, mirrored
from baker.body import JOINT_NAMES, PARENTS, make_body
from baker.fit import _scan_points, fit_body
from baker.motion_files.lhm import write_lhm
from baker.motions import load_motion
from export_formats import ExportOptions
from export_formats.ply import encode
from runtime import rotations, skinning
from runtime.errors import InputError
from runtime.types import SH_C0, GaussianSet, Label, Motion

F01 = Path(__file__).resolve().parents[2] / "shared" / "data" / "cc0_human" / "cc0_character_f01.npz"
needs_f01 = pytest.mark.skipif(not F01.is_file(), reason=f"needs {F01}")
LHM_COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1",
               "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
PELVIS = np.array([0.01, 0.3, -0.02])
"""SMPL-X's pelvis is not the origin."""


def synthetic_model() -> dict[str, np.ndarray]:
    """A body in SMPL-X's key layout: the built-in one's points, with shape and expression directions."""
    body = make_body({})
    mesh = body.part("body")
    rng = np.random.Generator(np.random.Philox(3))
    picked = np.arange(len(mesh.vertices))
    vertices = mesh.vertices[picked].astype(np.float64) + PELVIS
    weights = np.zeros((len(vertices), 55))
    np.add.at(weights, (np.arange(len(vertices))[:, None], mesh.skin_joints[picked]), mesh.skin_weights[picked])
    weights /= weights.sum(1, keepdims=True)
    # Joints as means of the vertices nearest to them, as a regressor gives them.
    regressor = np.zeros((55, len(vertices)))
    for j, place in enumerate(body.joints + PELVIS):
        near = np.argsort(((vertices - place) ** 2).sum(1))[:40]
        regressor[j, near] = 1 / 40
    kintree = np.stack([np.array(PARENTS), np.arange(55)]).astype(np.int64)
    kintree[0, 0] = 2**32 - 1
    directions = np.zeros((len(vertices), 3, 20))
    directions[:, :, 0] = 0.03 * (vertices - vertices.mean(0))
    directions[:, :, 1:10] = 0.002 * rng.standard_normal((1, 3, 9)) * vertices[:, :, None]
    return {"v_template": vertices.astype(np.float32), "shapedirs": directions.astype(np.float32),
            "J_regressor": regressor, "weights": weights, "kintree_table": kintree, "f": mesh.faces.astype(np.uint32),
            "posedirs": np.zeros((len(vertices), 3, 9), np.float32), "joint2num": np.array({"a": 1}, dtype=object)}


def write_lhm_ply(path: Path, columns: dict[str, np.ndarray], count: int) -> Path:
    """LHM's `save_ply`: float32, its column order, no f_rest."""
    rows = np.zeros((count, len(LHM_COLUMNS)), "<f4")
    for i, name in enumerate(LHM_COLUMNS):
        rows[:, i] = columns.get(name, 0)
    header = "\n".join(["ply", "format binary_little_endian 1.0", f"element vertex {count}",
                        *(f"property float {name}" for name in LHM_COLUMNS), "end_header"]) + "\n"
    path.write_bytes(header.encode() + rows.tobytes())
    return path


@pytest.fixture(scope="module")
def lhm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Files as LHM leaves them: avatar, model, betas, sample points, motion; and what they were made of."""
    folder = tmp_path_factory.mktemp("lhm")
    model = synthetic_model()
    np.savez(folder / "SMPLX_NEUTRAL.npz", **model, allow_pickle=True)
    rng = np.random.Generator(np.random.Philox(5))
    betas = rng.standard_normal(10)
    (folder / "betas.json").write_text(json.dumps({"betas": betas.tolist()}))
    template = model["v_template"].astype(np.float64)
    shaped = template + model["shapedirs"][:, :, :10].astype(np.float64) @ betas
    count = 2000
    nearest = rng.integers(0, len(template), count)
    sample = template[nearest] + 1e-4 * rng.standard_normal((count, 3))
    means = (shaped[nearest] + 0.01 * rng.standard_normal((count, 3))).astype(np.float32)
    quats = rotations.normalize(rng.standard_normal((count, 4)))
    columns = {"x": means[:, 0], "y": means[:, 1], "z": means[:, 2], "opacity": rng.standard_normal(count),
               **{f"f_dc_{c}": (rng.random(count) - 0.5) / SH_C0 for c in range(3)},
               **{f"scale_{c}": np.full(count, -5.0) for c in range(3)}, **{f"rot_{c}": quats[:, c] for c in range(4)}}
    points = np.array([tuple(p) for p in sample], dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    (folder / "1_2000.ply").write_bytes(
        f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\nproperty float x\nproperty float y\n"
        "property float z\nend_header\n".encode() + points.tobytes())
    poses = 0.3 * rng.standard_normal((3, 55, 3))
    trans = rng.standard_normal((3, 3)) * [0.3, 0.1, 0.3]
    write_lhm(folder / "motion", poses, trans)
    return {"folder": folder, "ply": write_lhm_ply(folder / "person.ply", columns, count), "means": means,
            "model": model, "betas": betas, "nearest": nearest, "poses": poses, "trans": trans, "shaped": shaped}


def options(lhm: dict[str, object], **changes: object) -> AvatarOptions:
    folder = lhm["folder"]
    assert isinstance(folder, Path)
    return replace(AvatarOptions(body_model=folder / "SMPLX_NEUTRAL.npz", betas=folder / "betas.json",
                                 sample_points=folder / "1_2000.ply"), **changes)


def independent_lbs(points: np.ndarray, weights: np.ndarray, joints: np.ndarray, pose: np.ndarray,
                    trans: np.ndarray) -> np.ndarray:
    """Linear blend skinning as SMPL's paper has it, written apart from ours: 4x4 matrices, Rodrigues by series."""
    def rodrigues(v: np.ndarray) -> np.ndarray:
        angle = np.linalg.norm(v)
        k = v / max(angle, 1e-12)
        cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
        return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    world = np.zeros((55, 4, 4))
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = rodrigues(pose[j])
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world[j] = local if parent < 0 else world[parent] @ local
    for j in range(55):
        world[j, :3, 3] -= world[j, :3, :3] @ joints[j]
    blended = np.einsum("nj,jab->nab", weights, world)
    return np.einsum("nab,nb->na", blended[:, :3, :3], points) + blended[:, :3, 3] + trans


def test_lhm_files_move_as_an_independent_lbs(lhm: dict[str, object]) -> None:
    """PLY + model + betas + sample points + frames, all in LHM's layouts: positions equal to 1e-5 m, but for where on
    the floor the clip is put."""
    avatar = load_avatar(str(lhm["ply"]), options=options(lhm))
    model, nearest, means = lhm["model"], lhm["nearest"], lhm["means"]
    assert isinstance(model, dict) and isinstance(nearest, np.ndarray) and isinstance(means, np.ndarray)
    np.testing.assert_array_equal(avatar.gaussians.means, means)
    joints = model["J_regressor"] @ lhm["shaped"]
    np.testing.assert_allclose(avatar.rig.T_world_joint_rest[:, :3, 3], joints, atol=1e-6)
    from baker.motion_files import read_motion
    from baker.motions import MotionOptions, on_rig

    motion, _ = on_rig(read_motion(str(lhm["folder"]) + "/motion"), avatar.rig, source="m",
                       options=MotionOptions(plant_feet=False))
    poses, trans = lhm["poses"], lhm["trans"]
    assert isinstance(poses, np.ndarray) and isinstance(trans, np.ndarray)
    start, offsets = trans[0] * [1, 0, 1], []
    for t in range(3):
        posed = skinning.pose_gaussians(avatar.gaussians, avatar.rig, motion, t)
        expected = independent_lbs(means.astype(np.float64), model["weights"][nearest], joints, poses[t],
                                   trans[t] - start)
        offset = posed.means[0] - expected[0]
        assert np.abs(posed.means - expected - offset).max() < 1e-5
        offsets.append(offset)
    # The same in all frames: where the clip was put.
    assert np.ptp(offsets, axis=0).max() < 2e-5


def test_binding_without_sample_points_is_to_the_surface(lhm: dict[str, object]) -> None:
    avatar = load_avatar(str(lhm["ply"]), options=options(lhm, sample_points=None))
    avatar.rig.check("lhm", gaussians=avatar.gaussians.count)
    with_points = load_avatar(str(lhm["ply"]), options=options(lhm))
    same = avatar.rig.skin_joints[:, 0] == with_points.rig.skin_joints[:, 0]
    assert same.mean() > 0.8


@pytest.mark.parametrize(("make", "message"), [
    (lambda f, o: replace(o, betas=f / "none.json"), r"none\.json: no such file"),
    (lambda f, o: replace(o, body_model=f / "none.npz"), r"none\.npz: no such file"),
    (lambda f, o: replace(o, body_model=f / "model.pkl"), "pickle"),
    (lambda f, o: replace(o, sample_points=_points(f, 7)), r"7 points, person\.ply has 2000"),
    (lambda f, o: replace(o, betas=_text(f / "b.json", '{"betas": "x"}')), "holds no 'betas'"),
    (lambda f, o: replace(o, betas=_text(f / "b.json", f'{{"betas": [{10**400}]}}')), "holds no 'betas'"),
    (lambda f, o: replace(o, betas=_text(f / "b.json", "{")), "is not JSON"),
    (lambda f, o: replace(o, body_model=_model(f, weights=np.zeros((3, 3)))), "'J_regressor'|'weights'"),
    (lambda f, o: replace(o, body_model=_model(f, drop="shapedirs")), "no array 'shapedirs'"),
    (lambda f, o: replace(o, betas=_text(f / "b.json", json.dumps({"betas": [60.0]}))), "does not lie on"),
])
def test_wrong_companions_are_one_line(lhm: dict[str, object], tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_avatar(str(lhm["ply"]), options=make(tmp_path, options(lhm)))  # type: ignore[operator]
    assert "\n" not in str(error.value)


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _points(folder: Path, count: int) -> Path:
    rows = np.zeros((count, 3), "<f4")
    path = folder / "points.ply"
    path.write_bytes(f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\nproperty float x\nproperty float y"
                     "\nproperty float z\nend_header\n".encode() + rows.tobytes())
    return path


def _model(folder: Path, drop: str = "", **changes: np.ndarray) -> Path:
    arrays = {k: v for k, v in (synthetic_model() | changes).items() if k not in (drop, "joint2num")}
    np.savez(folder / "model.npz", **arrays)
    return folder / "model.npz"


@needs_f01
def test_the_cc0_body_model_is_a_person() -> None:
    path = F01.parent / "CC0_SMPLX_LAYOUT.npz"
    avatar = load_avatar(str(path), count=2000)
    avatar.rig.check("model", gaussians=2000)
    assert avatar.rig.joint_names == JOINT_NAMES and avatar.licence.startswith("CC0")
    tall = read_body_model(path)
    betas = np.zeros(10)
    betas[0] = 1
    assert np.ptp(tall.shaped(betas)[0][:, 1]) != np.ptp(tall.vertices[:, 1])


# -- scans --------------------------------------------------------------------------------------------------------


def scan_of(person: Avatar, seed: int, arm: float) -> tuple[GaussianSet, np.ndarray, np.ndarray, float]:
    """A person in a relaxed pose at a random place, rotation and size: the splat, joints, rotation, scale."""
    rng = np.random.default_rng(seed)
    turns = np.zeros((1, 55, 3))
    at = JOINT_NAMES.index
    for side, sign in (("left", -1), ("right", 1)):
        turns[0, at(f"{side}_collar"), 2] = sign * 0.1 * arm
        turns[0, at(f"{side}_shoulder"), 2] = sign * 0.9 * arm + 0.05 * rng.standard_normal()
        turns[0, at(f"{side}_shoulder"), 1] = 0.1 * rng.standard_normal()
        turns[0, at(f"{side}_elbow"), 1] = sign * 0.2
        turns[0, at(f"{side}_hip")] = [-abs(0.05 * rng.standard_normal()), 0, -sign * 0.08]
        turns[0, at(f"{side}_knee"), 0] = abs(0.06 * rng.standard_normal())
    turns[0, at("head"), 1] = 0.15 * rng.standard_normal()
    motion = Motion(fps=30.0, root_translations=np.zeros((1, 3)), quats_wxyz=rotations.from_rotvec(turns))
    posed = skinning.pose_gaussians(person.gaussians, person.rig, motion, 0)
    joints = skinning.joint_transforms(person.rig, motion, 0)[:, :3, 3]
    quat = rotations.normalize(rng.standard_normal(4))
    turn, scale, shift = rotations.to_matrix(quat), float(np.exp(rng.uniform(-2, 2))), 3 * rng.standard_normal(3)
    moved = replace(
        posed, means=(scale * posed.means @ turn.T + shift).astype(np.float32),
        log_scales=(posed.log_scales + np.log(scale)).astype(np.float32), labels=np.zeros(posed.count, np.uint8),
        quats_wxyz=rotations.multiply(np.broadcast_to(quat, posed.quats_wxyz.shape),
                                      posed.quats_wxyz).astype(np.float32))
    return moved, scale * joints @ turn.T + shift, turn, scale


def write_scan(path: Path, gaussians: GaussianSet) -> Path:
    path.write_bytes(encode(gaussians, ExportOptions(axes="RUB")))
    return path


@pytest.fixture(scope="module")
def f01() -> Avatar:
    return load_avatar(str(F01), count=8000)


@needs_f01
@pytest.mark.parametrize(("seed", "arm"), [(1, 0.8), (2, 1.2), (3, 1.3)])
def test_a_person_is_found_in_a_scan_without_hints(f01: Avatar, tmp_path: Path, seed: int, arm: float) -> None:
    """Three relaxed poses at random rotations, places and sizes: mean joint error at most 3 cm (measured 1.7 to 2.1),
    facing right; the zero pose posed again is the scan; and it walks."""
    gaussians, joints, turn, scale = scan_of(f01, seed, arm)
    scan = load_scan(write_scan(tmp_path / "scan.ply", gaussians), options=AvatarOptions())
    fit = scan.fit
    metres = np.linalg.norm(scan.posed.means[0] - scan.posed.means[1]) / np.linalg.norm(
        gaussians.means[0] - gaussians.means[1])
    expected = metres * joints @ fit.turn.T
    expected += (scan.posed.means[0] - metres * gaussians.means[0] @ fit.turn.T)
    error = np.linalg.norm(scan.posed_joints[:22] - expected[:22], axis=1) / (metres * scale)
    assert error.mean() < 0.03, error
    assert (fit.turn @ turn)[2, 2] > 0.95 and (fit.turn @ turn)[1, 1] > 0.95
    assert fit.confidence > 0.8 and fit.facing_margin > 0.05
    # Labels: the skirt may move, the hands are hands.
    truth = f01.gaussians.labels
    assert (scan.avatar.gaussians.labels[truth == Label.GARMENT] == Label.GARMENT).mean() > 0.6
    assert (scan.avatar.gaussians.labels[truth == Label.HAND] == Label.HAND).mean() > 0.8
    assert not (scan.avatar.gaussians.labels[truth == Label.HAND] == Label.GARMENT).any()
    motion = Motion(fps=30.0, root_translations=np.zeros((1, 3)), quats_wxyz=rotations.from_rotvec(fit.rotvecs[None]))
    again = skinning.pose_gaussians(scan.avatar.gaussians, scan.avatar.rig, motion, 0)
    assert np.abs(again.means - scan.posed.means).max() < 1e-4
    walk = load_motion("walk", scan.avatar)
    lowest = [skinning.joint_transforms(scan.avatar.rig, walk, t)[:, 1, 3].min() for t in range(0, walk.frames, 10)]
    assert min(lowest) > -0.05 and max(lowest) < 0.12


@needs_f01
def test_hints_are_obeyed(f01: Avatar) -> None:
    gaussians, *_ = scan_of(f01, 4, 1.0)
    level = scan_of(f01, 4, 1.0)[2]
    upright = replace(gaussians, means=(gaussians.means @ level).astype(np.float32))
    fit = fit_body(upright, options=AvatarOptions(up="y", facing="z"), source="scan")
    assert fit.turn[1, 1] > 0.98 and fit.turn[2, 2] > 0.98
    backwards = fit_body(upright, options=AvatarOptions(up="y", facing="-z"), source="scan")
    assert backwards.turn[2, 2] < -0.9 and backwards.residual > fit.residual
    with pytest.raises(InputError, match="two different axes"):
        AvatarOptions(up="y", facing="-y").check()


def test_a_room_is_no_person() -> None:
    rng = np.random.default_rng(0)
    walls = rng.uniform(-1, 1, (6000, 3)) * [3, 1.3, 4]
    side = rng.integers(0, 3, 6000)
    walls[np.arange(6000), side] = np.sign(walls[np.arange(6000), side]) * np.array([3, 1.3, 4])[side]
    count = len(walls)
    room = GaussianSet(means=walls.astype(np.float32), quats_wxyz=np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
                       log_scales=np.full((count, 3), -3, np.float32), opacity_logits=np.full(count, 3, np.float32),
                       sh0=np.zeros((count, 3), np.float32), labels=np.zeros(count, np.uint8))
    with pytest.raises(InputError, match="does not look like one standing person"):
        fit_body(room, options=AvatarOptions(), source="room.ply")
    with pytest.raises(InputError, match="too few to find a person"):
        fit_body(room.take(np.arange(30)), options=AvatarOptions(), source="few.ply")
    with pytest.raises(InputError, match="are in 1 places"):
        fit_body(room.take(np.zeros(800, int)), options=AvatarOptions(), source="point.ply")


def test_a_scan_with_copies_and_a_heap_in_one_place_is_the_scan_without() -> None:
    """Trackers and merges leave copies; the usual distance to a neighbour is then zero."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(1500, 3)).astype(np.float32)
    count = len(points)
    scan = GaussianSet(means=points, quats_wxyz=np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
                       log_scales=np.full((count, 3), -3, np.float32), opacity_logits=np.full(count, 3, np.float32),
                       sh0=np.zeros((count, 3), np.float32), labels=np.zeros(count, np.uint8))
    plain, copies, heap = (_scan_points(scan.take(rows), "scan.ply", 0) for rows in (
        np.arange(count), np.repeat(np.arange(count), 10), np.concatenate([np.zeros(4000, int), np.arange(count)])))
    for other in (copies, heap):
        assert abs(len(other.points) - len(plain.points)) < 0.05 * len(plain.points)
        assert abs(other.size - plain.size) < 0.05 * plain.size


def test_a_mirrored_scan_is_turned_back() -> None:
    """Positions and covariances are the mirror image, twice is once, and the fit takes what the option gives."""
    rng = np.random.default_rng(8)
    quats = rotations.normalize(rng.normal(size=(50, 4))).astype(np.float32)
    scan = GaussianSet(means=rng.normal(size=(50, 3)).astype(np.float32), quats_wxyz=quats,
                       log_scales=rng.normal(size=(50, 3)).astype(np.float32), sh0=np.zeros((50, 3), np.float32),
                       opacity_logits=np.zeros(50, np.float32), labels=np.zeros(50, np.uint8))
    other = mirrored(scan)
    flip = np.diag([-1.0, 1.0, 1.0])

    def covariances(gaussians: GaussianSet) -> np.ndarray:
        axes = rotations.to_matrix(gaussians.quats_wxyz.astype(np.float64))
        return np.einsum("nij,nj,nkj->nik", axes, np.exp(2.0 * gaussians.log_scales), axes)
    np.testing.assert_allclose(covariances(other), flip @ covariances(scan) @ flip, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(other.means, scan.means @ flip.astype(np.float32))
    np.testing.assert_array_equal(mirrored(other).quats_wxyz, scan.quats_wxyz)
