"""The built-in body and person. Letters: V vertices, F faces, G Gaussians."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from baker import body as body_module
from baker.avatar import Avatar
from baker.binding import closest_points
from baker.body import DIRECTION_NAMES, JOINT_NAMES, PARENTS, make_body
from baker.meshes import face_areas, ride, vertex_normals
from baker.person import PersonConfig, make_person, random_person
from baker.person_colors import value_noise
from baker.person_skirt import COLUMNS
from baker.trajectories import DISTANCE, FOV_Y
from runtime.cameras import orbit_camera
from runtime.raster import render
from runtime.types import Label

LAYOUT = Path(__file__).resolve().parents[2] / "shared" / "data" / "cc0_human" / "CC0_SMPLX_LAYOUT.npz"


@pytest.fixture(scope="module")
def person() -> Avatar:
    return make_person(PersonConfig())


def at(joints: np.ndarray, name: str) -> np.ndarray:
    return joints[JOINT_NAMES.index(name)]


# -- body ---------------------------------------------------------------------------------------------------------


def test_body_file_is_at_most_2_mb_and_says_cc0() -> None:
    assert body_module.ASSET.stat().st_size <= 2_000_000
    assert body_module.licence().startswith("CC0-1.0")


def test_body_file_names_joints_and_parents_as_the_code_does() -> None:
    with np.load(body_module.ASSET, allow_pickle=False) as file:
        assert tuple(file["joint_names"]) == JOINT_NAMES
        assert tuple(file["parents"]) == PARENTS
        assert tuple(file["direction_names"]) == DIRECTION_NAMES


@pytest.mark.skipif(not LAYOUT.exists(), reason=f"needs {LAYOUT}")
def test_joints_are_smplx_in_order() -> None:
    with np.load(LAYOUT, allow_pickle=False) as file:
        assert tuple(file["joint_names"]) == JOINT_NAMES
        np.testing.assert_array_equal(file["kintree_table"][0][1:], PARENTS[1:])


def test_rest_pose_is_a_t_pose_facing_z_with_the_pelvis_at_the_origin() -> None:
    body = make_body({})
    np.testing.assert_allclose(body.joints[0], 0, atol=1e-7)
    for side, x in (("left", 1.0), ("right", -1.0)):
        chain = np.stack([at(body.joints, f"{side}_{name}") for name in ("shoulder", "elbow", "wrist", "middle1")])
        step = np.diff(chain, axis=0)
        # Float32 storage and int16 quantised vertices do not touch joints: a micrometre is rounding.
        assert np.abs(step[:, 1:]).max() < 1e-5
        assert (x * step[:, 0] > 0.05).all()
        assert at(body.joints, f"{side}_foot")[2] > at(body.joints, f"{side}_ankle")[2] + 0.05
        assert at(body.joints, f"{side}_eye_smplhf")[2] > at(body.joints, "head")[2] + 0.05
    assert at(body.joints, "head")[1] > 0.5
    assert 1.5 < np.ptp(body.part("body").vertices[:, 1]) < 1.8


def test_skeleton_is_mirror_symmetric() -> None:
    joints = make_body({}).joints
    for name in JOINT_NAMES:
        if name.startswith("left_"):
            np.testing.assert_allclose(at(joints, name), at(joints, "right_" + name[5:]) * [-1, 1, 1], atol=2e-4)


def test_body_surface_is_closed_and_faces_outwards() -> None:
    mesh = make_body({}).part("body")
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all()
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    volume = float((a * np.cross(b, c)).sum() / 6)
    assert 0.04 < volume < 0.09  # litres of a slight person: 40 to 90


def test_sliders_move_surface_and_skeleton_together() -> None:
    plain, tall, heavy = make_body({}), make_body({"tall": 1.0}), make_body({"heavy": 1.0})

    def leg(body: body_module.Body) -> float:
        return float(np.linalg.norm(at(body.joints, "left_ankle") - at(body.joints, "left_hip")))

    assert np.ptp(tall.vertices[:, 1]) > np.ptp(plain.vertices[:, 1]) + 0.10
    assert leg(tall) > leg(plain) + 0.05
    assert face_areas(heavy.vertices, heavy.faces_of["body"]).sum() > 1.05 * face_areas(
        plain.vertices, plain.faces_of["body"]).sum()
    np.testing.assert_allclose(tall.joints[0], 0, atol=1e-6)


def test_unknown_blend_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="no blend direction wide"):
        make_body({"wide": 1.0})


def test_lips_are_between_nose_and_chin_in_front() -> None:
    body = make_body({})
    lips = body.vertices[body.masks["lips"] > 0.5]
    eyes, jaw = at(body.joints, "left_eye_smplhf"), at(body.joints, "head")
    assert len(lips) > 100
    assert lips[:, 1].max() < eyes[1] - 0.03 and lips[:, 1].min() > jaw[1] - 0.02
    assert np.abs(lips[:, 0]).max() < 0.04 and lips[:, 2].min() > jaw[2] + 0.05


# -- person -------------------------------------------------------------------------------------------------------


def test_person_has_enough_gaussians_of_every_label(person: Avatar) -> None:
    assert 24_000 <= person.gaussians.count <= 30_000
    for label in Label:
        assert (person.gaussians.labels == label).sum() > 100, label


def test_person_is_sound(person: Avatar) -> None:
    person.gaussians.check("person")
    person.rig.check("person", gaussians=person.gaussians.count)
    sums = person.rig.skin_weights.sum(1)
    np.testing.assert_allclose(sums, 1, atol=1e-6)
    for garment in person.garments:
        np.testing.assert_allclose(garment.mesh.skin_weights.sum(1), 1, atol=1e-6)
    colors = person.gaussians.colors
    assert colors.min() >= 0 and colors.max() <= 1
    assert person.licence.startswith("CC0-1.0")


def test_same_config_gives_the_same_bits(person: Avatar) -> None:
    again = make_person(PersonConfig())
    for f in fields(person.gaussians):
        np.testing.assert_array_equal(getattr(person.gaussians, f.name), getattr(again.gaussians, f.name))
    np.testing.assert_array_equal(person.rig.skin_weights, again.rig.skin_weights)
    np.testing.assert_array_equal(person.garments[0].mesh.vertices, again.garments[0].mesh.vertices)


def test_gaussians_are_centimetres_not_spikes(person: Avatar) -> None:
    sizes = np.exp(person.gaussians.log_scales)
    # The largest measured is 14 mm, across a shin: 3 sigma stay inside a hand's breadth.
    assert sizes.max() < 0.02
    assert sizes.min() > 1e-5


def test_skirt_is_a_regular_grid_open_at_waist_and_hem(person: Avatar) -> None:
    mesh = person.garments[0].mesh
    assert 1500 <= len(mesh.vertices) <= 2700
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert uses.max() == 2 and (uses == 1).sum() == 2 * COLUMNS
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    # Waist edges are 8 mm, hem edges and diagonals under 5 cm: no slivers for the solver.
    assert lengths.min() > 0.005 and lengths.max() < 0.06


def test_skirt_is_pinned_at_the_waist_only(person: Avatar) -> None:
    garment = person.garments[0]
    heights = garment.mesh.vertices[:, 1]
    assert garment.pinned.sum() == 2 * COLUMNS
    assert heights[garment.pinned].min() > heights[~garment.pinned].max()
    assert heights.max() > at(person.rig.T_world_joint_rest[:, :3, 3], "left_hip")[1]


@pytest.mark.parametrize("config", [
    PersonConfig(), random_person(2), random_person(10),
    PersonConfig(weight=0.9, skirt_flare=0.16, skirt_length=1.0, skirt_pleat_depth=0.0)])
def test_skirt_clears_the_body_at_rest(config: PersonConfig) -> None:
    avatar = make_person(replace(config, gaussians=4000))
    mesh = avatar.garments[0].mesh
    middles = mesh.vertices[mesh.faces].mean(1)
    points = np.concatenate([mesh.vertices, middles]).astype(np.float32)
    face, _, closest, distance = closest_points(points, avatar.body)
    corners = avatar.body.vertices[avatar.body.faces[face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outside = ((points - closest) * normal).sum(1) > 0
    # 12 mm of clearance over hulls of 4 cm slices; facets between columns cut at most a few millimetres.
    assert outside.all() and distance.min() > 0.004


def test_what_is_under_the_skirt_lies_under_the_skin(person: Avatar) -> None:
    hip = at(person.rig.T_world_joint_rest[:, :3, 3], "left_hip")[1]
    means = person.gaussians.means[(person.gaussians.labels == Label.TIGHT) & (person.gaussians.means[:, 1] < hip)]
    assert len(means) > 300
    face, _, closest, distance = closest_points(means, person.body)
    corners = person.body.vertices[person.body.faces[face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # In the crotch's crease two skins are nearer than twice the depth, and the nearest may be the other one.
    assert (((means - closest) * normal).sum(1) < 0).mean() > 0.98
    assert np.median(distance) > 0.003


def test_garment_gaussians_ride_on_their_faces(person: Avatar) -> None:
    garment = person.garments[0]
    means = person.gaussians.means[garment.gaussian_indices]
    on_face = np.einsum("gc,gck->gk", garment.gaussian_barycentrics,
                        garment.mesh.vertices[garment.mesh.faces[garment.gaussian_faces]])
    np.testing.assert_allclose(means, on_face, atol=1e-5)
    assert garment.gaussian_barycentrics.min() > -1e-5
    np.testing.assert_array_equal(np.flatnonzero(person.gaussians.labels == Label.GARMENT), garment.gaussian_indices)


def test_garment_gaussians_lie_flat_on_the_cloth(person: Avatar) -> None:
    from runtime import rotations
    garment = person.garments[0]
    axis = rotations.to_matrix(person.gaussians.quats_wxyz[garment.gaussian_indices])[:, :, 2]
    normals = vertex_normals(garment.mesh.vertices, garment.mesh.faces)[garment.mesh.faces[garment.gaussian_faces, 0]]
    # Smooth against corner normals over a pleat: 0.86 is the worst measured.
    assert (axis * normals).sum(1).min() > 0.7


def test_person_is_opaque_wherever_its_surface_is(person: Avatar) -> None:
    surface = person.gaussians.labels != Label.HAIR
    points = person.gaussians.means[surface][::37]
    for azimuth in (0.0, 2.1, 4.2):
        camera = orbit_camera(np.array([0.0, -0.05, 0.0]), azimuth=azimuth, elevation=0.15, distance=DISTANCE,
                              fov_y=FOV_Y, size=(480, 832))
        alpha = render(person.gaussians, camera).rgba[..., 3]
        seen = points @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
        x = (camera.fx * seen[:, 0] / seen[:, 2] + camera.cx).astype(int)
        y = (camera.fy * seen[:, 1] / seen[:, 2] + camera.cy).astype(int)
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        values = alpha[y[inside], x[inside]]
        # Points on the silhouette fade: 3 of 100 measured under 0.9.
        assert np.quantile(values, 0.06) > 0.9
        assert np.median(values) > 0.99


def test_face_has_dark_brows_red_lips_and_white_in_the_eyes(person: Avatar) -> None:
    colors, labels = person.gaussians.colors, person.gaussians.labels
    face = colors[labels == Label.FACE]
    light = face.sum(1)
    assert (light < 0.45 * np.median(light)).sum() > 20
    redness = face[:, 0] / np.maximum(face[:, 1], 1e-3)
    assert (redness > 1.25 * np.median(redness)).sum() > 30
    eyes = colors[labels == Label.EYE]
    assert (eyes.min(1) > 0.7).sum() > 50 and (eyes.max(1) < 0.25).sum() > 8


def test_binding_methods_differ_in_the_skirt_and_agree_on_the_skin(person: Avatar) -> None:
    other = make_person(PersonConfig(binding="nearest_vertex"))
    skirt = person.gaussians.labels == Label.GARMENT
    np.testing.assert_array_equal(person.rig.skin_weights[~skirt], other.rig.skin_weights[~skirt])
    assert np.abs(person.rig.skin_weights[skirt] - other.rig.skin_weights[skirt]).max() > 0.2
    other.rig.check("person", gaussians=other.gaussians.count)


def test_random_people_differ_and_repeat() -> None:
    people = [random_person(seed) for seed in range(40)]
    assert people == [random_person(seed) for seed in range(40)]
    assert len({p.skirt_pattern for p in people}) >= 6
    assert {p.hair_style for p in people} == {"short", "bob", "long", "ponytail", "pigtails"}
    dressed = [sum(p.dress for p in people), sum(p.sleeve_flare > 0 for p in people),
               sum(p.cape_length > 0 for p in people), sum(p.swinging_hair for p in people)]
    # A half, a third, a sixth and 0.4 of forty, within three standard deviations.
    assert all(abs(count - 40 * share) < 3 * (40 * share * (1 - share)) ** 0.5
               for count, share in zip(dressed, (0.5, 0.33, 0.17, 0.42), strict=True)), dressed
    assert max(p.skirt_length for p in people) - min(p.skirt_length for p in people) > 0.7
    assert max(p.skin for p in people) - min(p.skin for p in people) > 0.5


@pytest.fixture(scope="module")
def draped() -> Avatar:
    """A person in everything at once."""
    return make_person(PersonConfig(gaussians=6000, dress=True, skirt_waist=0.06, sleeve_flare=0.35, cape_length=0.7,
                                    hair_style="pigtails", hair_length=0.1, swinging_hair=True, seed=3))


def test_garments_are_ordered_from_the_inside_out(draped: Avatar) -> None:
    assert [g.name for g in draped.garments] == ["dress", "left sleeve", "right sleeve", "hair", "cape"]
    assert [g.meets_arms for g in draped.garments] == [False, True, True, True, True]
    indices = np.concatenate([g.gaussian_indices for g in draped.garments])
    assert len(np.unique(indices)) == len(indices)
    for garment in draped.garments:
        label = Label.HAIR if garment.name == "hair" else Label.GARMENT
        assert (draped.gaussians.labels[garment.gaussian_indices] == label).all()
        assert 0 < garment.pinned.sum() < 0.5 * len(garment.pinned)
    draped.rig.check("person", gaussians=draped.gaussians.count)


def test_gaussians_ride_on_what_swings_and_come_back_at_rest(draped: Avatar) -> None:
    for garment in draped.garments[1:]:
        means, _, log_scales = ride(draped.gaussians, garment, garment.mesh.vertices)
        np.testing.assert_allclose(means, draped.gaussians.means[garment.gaussian_indices], atol=1e-5)
        np.testing.assert_allclose(log_scales, draped.gaussians.log_scales[garment.gaussian_indices], atol=1e-4)


def test_sleeves_and_cape_clear_the_body_and_look_outwards(draped: Avatar) -> None:
    shoulder = at(draped.rig.T_world_joint_rest[:, :3, 3], "left_shoulder")
    for garment in draped.garments:
        if garment.name not in ("left sleeve", "right sleeve", "cape"):
            continue
        loose = garment.mesh.vertices[~garment.pinned]
        face, _, closest, distance = closest_points(loose, draped.body)
        corners = draped.body.vertices[draped.body.faces[face]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert (((loose - closest) * normal).sum(1) > 0).all() and distance.min() > 0.004, garment.name
        outward = vertex_normals(garment.mesh.vertices, garment.mesh.faces)[~garment.pinned]
        if garment.name == "cape":
            assert outward[:, 2].mean() < -0.5
        else:
            from_arm = loose - np.stack([loose[:, 0], *np.broadcast_to(shoulder[1:], (len(loose), 2)).T], 1)
            assert ((outward * from_arm).sum(1) > 0).mean() > 0.9


def test_a_cape_lies_behind_the_skirt(draped: Avatar) -> None:
    skirt, cape = draped.garments[0].mesh.vertices, draped.garments[-1].mesh.vertices
    tree_heights = skirt[:, 1]
    for x, y, z in cape[60::7]:
        near = skirt[(np.abs(skirt[:, 0] - x) < 0.02) & (np.abs(tree_heights - y) < 0.02)]
        assert not len(near) or z < near[:, 2].min()


def test_hair_that_swings_is_the_same_hair_at_rest() -> None:
    config = PersonConfig(gaussians=6000, hair_style="long")
    still, swinging = make_person(config), make_person(replace(config, swinging_hair=True))
    for f in fields(still.gaussians):
        np.testing.assert_array_equal(getattr(still.gaussians, f.name), getattr(swinging.gaussians, f.name))
    np.testing.assert_array_equal(still.rig.skin_weights, swinging.rig.skin_weights)
    assert [g.name for g in still.garments] == ["skirt"] and [g.name for g in swinging.garments] == ["skirt", "hair"]


def test_a_dress_has_one_cloth_above_and_below_its_seam() -> None:
    avatar = make_person(PersonConfig(gaussians=6000, dress=True, skirt_waist=0.06, top_color=(0.8, 0.2, 0.2),
                                      skirt_color=(0.8, 0.2, 0.2), skirt_pattern="plain", hair_style="short"))
    seam = avatar.garments[0].mesh.vertices[:, 1].max()
    means, colors, labels = avatar.gaussians.means, avatar.gaussians.colors, avatar.gaussians.labels
    near = np.abs(means[:, 1] - seam) < 0.05
    above, below = (colors[near & (labels == label)].mean(0) for label in (Label.TIGHT, Label.GARMENT))
    # Shading differs; a waistband would be 0.55 times as bright.
    assert np.abs(above / below - 1).max() < 0.25


@pytest.mark.parametrize("style", ["short", "bob", "ponytail", "pigtails"])
def test_every_hair_style_has_hair_and_no_loose_ends(style: str) -> None:
    avatar = make_person(replace(PersonConfig(), hair_style=style, gaussians=6000))
    hair = avatar.gaussians.means[avatar.gaussians.labels == Label.HAIR]
    assert len(hair) > 400
    head = at(avatar.rig.T_world_joint_rest[:, :3, 3], "head")
    # From the head joint, the tip of a pony tail is the farthest.
    assert np.linalg.norm(hair - head, axis=1).max() < 0.45


def test_noise_is_a_function_of_position_alone() -> None:
    points = np.random.Generator(np.random.Philox(3)).normal(size=(50, 3))
    np.testing.assert_array_equal(value_noise(points, wavelength=0.1, seed=5)[7:9],
                                  value_noise(points[7:9], wavelength=0.1, seed=5))
    assert np.abs(value_noise(points, wavelength=0.1, seed=5) - value_noise(points, wavelength=0.1, seed=6)).max() > 0.1
    assert np.abs(value_noise(points, wavelength=0.1, seed=5)).max() <= 1
