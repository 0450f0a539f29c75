"""baker/gltf_file.py, baker/avatars/gltf.py, baker/motion_files/gltf.py: skinned meshes and their animations."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sample_gltf import COUNT, box_person, write_glb
from scipy.interpolate import CubicHermiteSpline

from baker.avatar import Avatar, SkinnedMesh
from baker.avatars import load_avatar
from baker.avatars.gltf import _geometry
from baker.avatars.gltf_materials import Textures, material_color
from baker.avatars.loose_parts import cloth_mesh
from baker.avatars.options import AvatarOptions
from baker.body import JOINT_NAMES, make_body
from baker.cloth import ClothConfig, rigid_vertices, simulate
from baker.gltf_file import Gltf, open_gltf, read_nodes, world_matrices
from baker.inspect_file import _one_sided
from baker.motion_files import read_motion
from baker.motion_files.gltf import _sample
from baker.motions import MotionOptions, load_motion, load_motion_with_report
from runtime import rotations, skinning
from runtime.errors import InputError
from runtime.types import Label

MAGE = Path(__file__).resolve().parents[2] / "shared" / "data" / "gltf_rigged" / "kaykit_Mage.glb"
needs_mage = pytest.mark.skipif(not MAGE.is_file(), reason=f"needs {MAGE}")
DAB = MAGE.parents[1] / "motion" / "amass_layout_npz" / "fair1_dab.npz"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Avatar]:
    path = write_glb(tmp_path_factory.mktemp("gltf") / "boxes.glb")
    return path, load_avatar(str(path), count=3000)


def test_boxes_arrive_where_they_are_with_their_skin_and_colours(boxes: tuple[Path, Avatar]) -> None:
    _, avatar = boxes
    avatar.gaussians.check("boxes")
    avatar.rig.check("boxes", gaussians=3000)
    # Joints that carry nothing and lead nowhere (feet, wrists) are left out.
    assert avatar.rig.joint_names == tuple(n for n in JOINT_NAMES[:COUNT] if not n.endswith(("foot", "wrist")))
    vertices, _, owner = box_person()
    root = make_body({}).joints[0]
    low, high = vertices.min(0) - root, vertices.max(0) - root
    assert (avatar.gaussians.means >= low - 1e-4).all() and (avatar.gaussians.means <= high + 1e-4).all()
    assert avatar.licence == "CC0" and (avatar.rig.skin_weights[:, 0] > 0.999).all()
    # The texture is blue above v = 0.5 (glTF's v runs down) and red below; y = 0 is v = 0.5.
    up = avatar.gaussians.means[:, 1] + root[1] > 0.1
    colors = avatar.gaussians.colors
    assert (colors[up, 2] > colors[up, 0]).mean() > 0.97 and (colors[~up, 0] > colors[~up, 2]).mean() > 0.8
    assert {Label(v) for v in np.unique(avatar.gaussians.labels)} >= {Label.SKIN, Label.FACE}
    assert len(owner) == len(vertices)


def test_own_animation_equals_the_files_matrices(boxes: tuple[Path, Avatar]) -> None:
    """Skinned by our rig and motion, against G_j(t) IBM_j of the file computed apart, to 1e-5 m."""
    path, avatar = boxes
    motion, report = load_motion_with_report(f"{path}#wave", avatar)
    assert report is None and motion.fps == 30.0 and motion.frames == 31
    joints = make_body({}).joints[:COUNT].astype(np.float64)
    nodes = read_nodes(open_gltf(path))
    shoulder, floors = JOINT_NAMES.index("left_shoulder"), []
    for frame in (0, 7, 15, 30):
        time = frame / 30
        local = np.tile(np.eye(4), (len(nodes.names), 1, 1))
        local[:, :3, 3] = nodes.translations
        place = {name: i for i, name in enumerate(nodes.names)}
        local[place["pelvis"], :3, 3] = [0, 0.9, time]
        angle = -np.pi / 2 * (1 - abs(2 * time - 1))
        local[place["left_shoulder"], :3, :3] = rotations.to_matrix(rotations.from_rotvec(np.array([0, 0, angle])))
        world = world_matrices(nodes.parents, local)
        points = joints[shoulder] + np.array([[0.2, 0.02, 0.01]])
        expected = world[place["left_shoulder"]] @ np.append(points[0] - joints[shoulder], 1)
        matrices = skinning.skinning_matrices(avatar.rig, motion, frame)
        ours = matrices[avatar.rig.joint_names.index("left_shoulder")] @ np.append(points[0] - joints[0], 1)
        np.testing.assert_allclose(ours[[0, 2]], expected[[0, 2]], atol=1e-5)
        floors.append(ours[1] - expected[1])
    assert np.ptp(floors) < 1e-5  # only the floor's height is ours


def test_z_up_centimetres_and_a_turned_figure_stand_up_in_metres(tmp_path: Path) -> None:
    def lay_down(document: dict[str, Any]) -> None:
        """As from Blender without its +Y-up option, in centimetres: a root turns and scales."""
        for node in document["nodes"][:1]:
            node["translation"] = [100 * v for v in node["translation"]]
        document["nodes"].append({"name": "armature", "children": [0, COUNT], "scale": [100, 100, 100],
                                  "rotation": [0.5, 0.5, 0.5, 0.5]})
        document["scenes"][0]["nodes"] = [len(document["nodes"]) - 1]

    avatar = load_avatar(str(write_glb(tmp_path / "cm.glb", change=lay_down)), count=2000)
    plain = load_avatar(str(write_glb(tmp_path / "m.glb")), count=2000)
    np.testing.assert_allclose(avatar.rig.T_world_joint_rest[:, :3, 3], plain.rig.T_world_joint_rest[:, :3, 3],
                               atol=1e-4)
    assert abs(np.ptp(avatar.gaussians.means[:, 1]) - np.ptp(plain.gaussians.means[:, 1])) < 0.02


def test_height_and_labels_follow_the_options(tmp_path: Path) -> None:
    path = write_glb(tmp_path / "boxes.glb")
    avatar = load_avatar(str(path), count=1000, options=AvatarOptions(height=1.2, labels=(("body", Label.GARMENT),)))
    assert abs(np.ptp(avatar.body.vertices[:, 1]) - 1.2) < 1e-4
    assert (avatar.gaussians.labels == Label.GARMENT).all() and not avatar.garments  # no body is left below it


def _drop(*path: object) -> Any:
    def change(document: dict[str, Any]) -> None:
        item: Any = document
        for key in path[:-1]:
            item = item[key]
        del item[path[-1]]
    return change


def _put(value: object, *path: object) -> Any:
    def change(document: dict[str, Any]) -> None:
        item: Any = document
        for key in path[:-1]:
            item = item[key]
        item[path[-1]] = value
    return change


PRIMITIVE = ("meshes", 0, "primitives", 0)


def _faces_again_and_again(document: dict[str, Any]) -> None:
    """A few hundred bytes that unpack to gigabytes of faces."""
    primitive = document["meshes"][0]["primitives"][0]
    document["accessors"].append({"componentType": 5125, "count": 6_000_000, "type": "SCALAR"})
    document["meshes"][0]["primitives"] = 1000 * [primitive | {"indices": len(document["accessors"]) - 1}]


DEFECTS = {
    "no skin": (_drop("skins"), "has no skin"),
    "no weights": (_drop(*PRIMITIVE, "attributes", "WEIGHTS_0"), "has a skin but no weights"),
    "no positions": (_drop(*PRIMITIVE, "attributes", "POSITION"), "no positions"),
    "draco in the mesh": (_put({"KHR_draco_mesh_compression": {}}, *PRIMITIVE, "extensions"), "no attributes"),
    "draco of nothing": (_put({"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}},
                              *PRIMITIVE, "extensions"), "Draco data cannot be decoded"),
    "meshopt": (_put(["EXT_meshopt_compression"], "extensionsRequired"), "compressed with meshopt"),
    "ktx2": (_put({"extensions": {"KHR_texture_basisu": {"source": 0}}}, "textures", 0), "KTX2"),
    "unknown extension": (_put(["ACME_mesh"], "extensionsRequired"), "ACME_mesh"),
    "version": (_put("1.0", "asset", "version"), "glTF 1.0"),
    "zero joint": (_put([[0, 0, 0]], "nodes", 3, "scale"), "scale of node 3"),
    "loop": (_put([0], "nodes", 4, "children"), "two parents|loop"),
    "missing node": (_put([99], "nodes", 4, "children"), r"nodes\[99\]"),
    "face out of range": (lambda d: d["accessors"][4].update(componentType=5121, count=3600), "beyond|vertex"),
    "truncated view": (lambda d: d["bufferViews"][0].update(byteLength=1 << 30), "beyond its buffer"),
    "huge accessor": (lambda d: d["accessors"][0].update(count=1 << 38), "limit"),
    "nan translation": (_put([float("nan"), 0, 0], "nodes", 2, "translation"), "translation of node 2"),
    "zero rotation": (_put([0, 0, 0, 0], "nodes", 2, "rotation"), "rotation of node 2"),
    "text for a number": (_put("x", "accessors", 0, "count"), "'count'"),
    "list for an object": (_put([1, 2], "meshes"), "'meshes'"),
    "list for a texture's set": (_put([0], "materials", 0, "pbrMetallicRoughness", "baseColorTexture", "texCoord"),
                                 "'texCoord'"),
    "list for a sparse type": (_put({"count": 1, "indices": {"bufferView": 0, "componentType": []},
                                     "values": {"bufferView": 0}}, "accessors", 0, "sparse"), "sparse accessor"),
    "fractions for sparse places": (_put({"count": 1, "indices": {"bufferView": 0, "componentType": 5126},
                                          "values": {"bufferView": 0}}, "accessors", 0, "sparse"), "sparse accessor"),
    "number for a material's extensions": (_put(5, "materials", 0, "extensions"), "'extensions'"),
    "number beyond floats": (_put(10**400, "materials", 0, "alphaCutoff"), "alphaCutoff"),
    "angle beyond floats": (_put({"KHR_texture_transform": {"rotation": 10**400}}, "materials", 0,
                                 "pbrMetallicRoughness", "baseColorTexture", "extensions"), "rotation"),
    "one face list in many parts": (_faces_again_and_again, "faces"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_one_line_that_says_what_to_do(tmp_path: Path, defect: str) -> None:
    change, message = DEFECTS[defect]
    path = write_glb(tmp_path / "bad.glb", change=change)
    with pytest.raises(InputError, match=message) as error:
        load_avatar(str(path), count=500)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_textures_outside_are_found_or_named(tmp_path: Path) -> None:
    for uri, message in (("skin.png", "texture 'skin.png' is missing"),
                         ("../../etc/passwd", "not a file in its folder"),
                         ("https://example.org/a.png", "not a file in its folder"),
                         ("data:image/png;base64,@@", "base64"), ("data:image/png;base64,AAAA", "cannot be decoded")):
        path = write_glb(tmp_path / "bad.glb", external_texture=uri)
        with pytest.raises(InputError, match=message):
            load_avatar(str(path), count=500)
    no_texture = write_glb(tmp_path / "plain.glb", change=_drop("materials", 0, "pbrMetallicRoughness"))
    assert load_avatar(str(no_texture), count=500).gaussians.count == 500


def test_two_skins_and_negative_scale_are_read(tmp_path: Path) -> None:
    def second_skin(document: dict[str, Any]) -> None:
        document["skins"].append(dict(document["skins"][0]))
        document["nodes"].append({"name": "copy", "mesh": 0, "skin": 1})
        document["nodes"].append({"name": "mirror", "mesh": 0, "scale": [-0.5, 0.5, 0.5]})
        document["nodes"][15]["children"] = [*document["nodes"][15].get("children", []), COUNT + 2]
        document["scenes"][0]["nodes"] += [COUNT + 1]

    avatar = load_avatar(str(write_glb(tmp_path / "two.glb", change=second_skin)), count=2000)
    normals = rotations.to_matrix(avatar.gaussians.quats_wxyz)[:, :, 2]
    head = avatar.rig.T_world_joint_rest[avatar.rig.joint_names.index("head"), :3, 3]
    mirrored = (avatar.rig.skin_joints[:, 0] == avatar.rig.joint_names.index("head")) & (
        np.abs(avatar.gaussians.means[:, 0] - head[0]) > 0.12)
    # Boxes' sides face outward, mirrored or not: the outermost in x has its normal along x.
    far = mirrored & (np.abs(avatar.gaussians.means[:, 0]) > np.abs(avatar.gaussians.means[mirrored, 0]).max() - 1e-3)
    assert far.any()
    assert (np.sign(normals[far, 0]) == np.sign(avatar.gaussians.means[far, 0])).all()


@pytest.mark.parametrize("scale", [(-1, 1, 1), (-1, -1, -1), (0.01, 0.01, -0.01), (1, 2, 0.5)])
def test_a_mirrored_figure_turns_as_its_mirror_image(tmp_path: Path, scale: tuple[float, float, float]) -> None:
    def mirror(document: dict[str, Any]) -> None:
        document["nodes"].append({"name": "mirror", "scale": scale, "children": [0]})
        document["scenes"][0]["nodes"][0] = len(document["nodes"]) - 1

    plain = read_motion(str(write_glb(tmp_path / "plain.glb")))
    seen = read_motion(str(write_glb(tmp_path / "mirrored.glb", change=mirror)))
    turns = rotations.to_matrix(plain.turns_wxyz[:, plain.joint_names.index("left_shoulder")])
    side = np.diag(np.sign(scale))
    np.testing.assert_allclose(rotations.to_matrix(seen.turns_wxyz[:, seen.joint_names.index("left_shoulder")]),
                               side @ turns @ side, atol=1e-5)


def test_keys_that_a_file_only_claims_are_refused_before_they_are_made(tmp_path: Path) -> None:
    def claim(document: dict[str, Any]) -> None:
        document["accessors"] += [{"componentType": 5126, "count": 15_000_000, "type": kind}
                                  for kind in ("SCALAR", "VEC4")]
        count, animation = len(document["accessors"]), document["animations"][0]
        animation["samplers"] = [{"input": count - 2, "output": count - 1}]
        animation["channels"] = [{"sampler": 0, "target": {"node": k, "path": "rotation"}} for k in range(COUNT)]

    with pytest.raises(InputError, match="over 40000000 keys; cut it"):
        read_motion(str(write_glb(tmp_path / "claims.glb", change=claim)))


def test_quaternion_flips_in_a_file_do_not_spin_the_joint(tmp_path: Path) -> None:
    plain = read_motion(str(write_glb(tmp_path / "a.glb")) + "#wave")
    data = (tmp_path / "a.glb").read_bytes()
    document = json.loads(data[20:20 + int.from_bytes(data[12:16], "little")])
    output = document["accessors"][document["animations"][0]["samplers"][0]["output"]]
    view = document["bufferViews"][output["bufferView"]]
    start = 20 + int.from_bytes(data[12:16], "little") + 8 + view["byteOffset"]
    flipped = -np.frombuffer(data[start + 16:start + 32], np.float32)
    (tmp_path / "b.glb").write_bytes(data[:start + 16] + flipped.tobytes() + data[start + 32:])
    np.testing.assert_allclose(np.abs((read_motion(str(tmp_path / "b.glb")).turns_wxyz * plain.turns_wxyz).sum(-1)), 1,
                               atol=1e-6)


def test_keys_are_held_or_follow_a_hermite_spline() -> None:
    keys, rng = np.array([0.0, 0.5, 2.0]), np.random.default_rng(2)
    values = rng.normal(size=(9, 3))  # in-tangent, value, out-tangent of each key
    times = np.array([-1.0, 0.0, 0.2, 0.5, 1.7, 2.0, 5.0])
    made = _sample(keys, values, "CUBICSPLINE", times, rotation=False)
    for t, row in zip(times, made, strict=True):
        at, k = float(np.clip(t, 0, 2)), 0 if t < 0.5 else 1
        segment = CubicHermiteSpline(keys[k:k + 2], values[[3 * k + 1, 3 * k + 4]], values[[3 * k + 2, 3 * k + 3]])
        np.testing.assert_allclose(row, segment(at), atol=1e-12)
    held = _sample(keys, values[1::3], "STEP", times, rotation=False)
    np.testing.assert_array_equal(held, values[1::3][[0, 0, 0, 1, 1, 2, 2]])
    np.testing.assert_array_equal(_sample(keys[:1], values[1:2], "LINEAR", times, rotation=False),
                                  np.repeat(values[1:2], len(times), 0))


@pytest.mark.parametrize(("mode", "faces"), [
    (4, [(0, 1, 2), (1, 3, 2)]), (5, [(0, 1, 2), (2, 1, 3), (2, 3, 4)]), (6, [(0, 1, 2), (0, 2, 3), (0, 3, 4)])])
def test_strips_and_fans_keep_their_winding(mode: int, faces: list[tuple[int, int, int]]) -> None:
    index = np.array([0, 1, 2, 1, 3, 2] if mode == 4 else range(5), np.uint16)
    data = np.zeros((5, 3), np.float32).tobytes() + index.tobytes()
    gltf = Gltf(Path("a.glb"), {
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": [{"buffer": 0, "byteLength": 60}, {"buffer": 0, "byteOffset": 60, "byteLength": 2 * len(index)}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 5, "type": "VEC3"},
                      {"bufferView": 1, "componentType": 5123, "count": len(index), "type": "SCALAR"}]}, data)
    geometry = _geometry(gltf, {"mode": mode, "attributes": {"POSITION": 0}, "indices": 1}, None)
    assert geometry is not None
    # Equal up to where a triangle starts.
    turned = [min(f[k:] + f[:k] for k in range(3)) for f in map(tuple, geometry[1].tolist())]
    assert turned == [min(f[k:] + f[:k] for k in range(3)) for f in faces]


@pytest.mark.parametrize(("info", "wrap", "place"), [
    ({}, 10497, lambda u, v: (u % 1, v % 1)), ({}, 33071, lambda u, v: (min(max(u, 0), 1), min(max(v, 0), 1))),
    ({}, 33648, lambda u, v: (abs(u - 2 * round(u / 2)), abs(v - 2 * round(v / 2)))),
    ({"offset": [0.25, 0.5], "scale": [0.5, 2.0]}, 10497, lambda u, v: ((0.5 * u + 0.25) % 1, (2 * v + 0.5) % 1)),
    # A quarter turn as Khronos's own viewer and three.js make it: u' = cos u + sin v, v' = cos v - sin u.
    ({"rotation": np.pi / 2, "scale": [1.0, 0.5]}, 10497, lambda u, v: (0.5 * v % 1, -u % 1))])
def test_textures_wrap_and_are_transformed(info: dict[str, Any], wrap: int, place: Any) -> None:
    """The picture's red and green say where it was looked up."""
    size = 64
    ramp = (np.arange(size) * 4 + 2).astype(np.uint8)
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = ramp[None], ramp[:, None]
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    gltf = Gltf(Path("a.gltf"), {"images": [{"uri": uri}], "samplers": [{"wrapS": wrap, "wrapT": wrap}],
                                 "textures": [{"source": 0, "sampler": 0}]}, b"")
    uv = np.random.default_rng(1).uniform(-1.4, 2.4, (200, 2))
    wanted = np.array([place(*row) for row in uv])
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "extensions": {
        "KHR_texture_transform": info}}}}
    faces = np.arange(200)[:, None].repeat(3, 1)
    rgba = material_color(Textures(gltf), material, {0: uv}, None, faces)(np.arange(200), np.full((200, 3), 1 / 3))
    inside = ((wanted > 0.03) & (wanted < 0.97)).all(1) | (wrap == 33071)  # a seam mixes both ends
    np.testing.assert_allclose(rgba[inside, :2], np.clip(wanted[inside], 0.5 / size, 1 - 0.5 / size), atol=0.01)


def test_clips_are_chosen_by_name_and_listed(tmp_path: Path) -> None:
    path = write_glb(tmp_path / "a.glb", change=lambda d: d["animations"].append(dict(d["animations"][0], name="two")))
    with pytest.raises(InputError, match=r"has 2 animations; choose one as a\.glb#wave \(wave, two\)"):
        read_motion(str(path))
    with pytest.raises(InputError, match="has no animation 'three'; it has wave, two"):
        read_motion(f"{path}#three")
    assert read_motion(f"{path}#two").frames == read_motion(f"{path}#0").frames == 31
    with pytest.raises(InputError, match="has no animations"):
        read_motion(str(write_glb(tmp_path / "b.glb", change=_drop("animations"))))


@needs_mage
def test_the_mage_is_whole_and_plays_its_own_clips_and_a_dance() -> None:
    avatar = load_avatar(str(MAGE), count=6000)
    avatar.gaussians.check("mage")
    avatar.rig.check("mage", gaussians=6000)
    assert avatar.rig.joint_names[0] == "hips" and not any("IK" in name for name in avatar.rig.joint_names)
    assert (avatar.gaussians.labels == Label.GARMENT).sum() > 50
    heights = avatar.gaussians.means[:, 1]
    assert abs(np.ptp(heights) - 1.75) < 0.05
    for clip in ("Walking_A", "Cheer", "Jump_Full_Long"):
        motion, report = load_motion_with_report(f"{MAGE}#{clip}", avatar)
        assert report is None and motion.frames > 20
        lowest = min(skinning.joint_transforms(avatar.rig, motion, t)[:, 1, 3].min()
                     for t in range(0, motion.frames, 4))
        assert -0.05 < lowest < 0.25
    motion, report = load_motion_with_report(str(DAB), avatar)
    assert report is not None and report.limb_error_deg < 3.5 and report.slide_cm < 1 and motion.frames == 339
    with pytest.raises(InputError, match="has no part 'Hood'; it has Mage_ArmLeft"):
        load_avatar(str(MAGE), parts=("Hood",))


def test_a_joint_out_of_place_is_named(boxes: tuple[Path, Avatar]) -> None:
    _, avatar = boxes
    assert _one_sided(avatar) == {}
    rest = avatar.rig.T_world_joint_rest.copy()
    rest[avatar.rig.joint_names.index("right_elbow"), 1, 3] -= 0.3
    moved = replace(avatar, rig=replace(avatar.rig, T_world_joint_rest=rest))
    assert _one_sided(moved)["warnings"] == ["joints far from where their left partners are: right_elbow (30 cm)"]


def draco_glb(path: Path) -> Path:
    """The person of boxes with its mesh packed by Draco."""
    DracoPy = pytest.importorskip("DracoPy", reason="install the 'draco' extra")
    gltf = open_gltf(write_glb(path))
    document = json.loads(json.dumps(gltf.json))
    primitive = document["meshes"][0]["primitives"][0]
    attributes = primitive["attributes"]
    packed = DracoPy.encode(
        gltf.accessor(attributes["POSITION"], columns=(3,)), quantization_bits=20, preserve_order=True,
        faces=gltf.accessor(primitive["indices"], columns=(1,), kinds="i").reshape(-1, 3).astype(np.uint32),
        tex_coord=gltf.accessor(attributes["TEXCOORD_0"], columns=(2,)).astype(np.float64), generic_attributes={
            1: gltf.accessor(attributes["JOINTS_0"], columns=(4,), kinds="i").astype(np.uint16),
            2: gltf.accessor(attributes["WEIGHTS_0"], columns=(4,))})
    number = {a["attribute_type"]: a["unique_id"] for a in DracoPy.decode(packed).attributes}
    for index in (*attributes.values(), primitive["indices"]):
        del document["accessors"][index]["bufferView"]
    binary = gltf.binary + b"\0" * (-len(gltf.binary) % 4)
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(packed)})
    names = {"POSITION": number[0], "TEXCOORD_0": number[3], "JOINTS_0": 1, "WEIGHTS_0": 2}
    primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": len(document["bufferViews"]) - 1,
                                                              "attributes": names}}
    document["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    (path.parent / "draco.bin").write_bytes(binary + packed)
    document["buffers"] = [{"uri": "draco.bin", "byteLength": len(binary + packed)}]
    path.with_suffix(".gltf").write_text(json.dumps(document))
    return path.with_suffix(".gltf")


def test_draco_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draco_glb(tmp_path / "boxes.glb")
    packed, plain = load_avatar(str(path), count=1000), load_avatar(str(tmp_path / "boxes.glb"), count=1000)
    # 20 bits over 1.7 m.
    np.testing.assert_allclose(packed.body.vertices, plain.body.vertices, atol=1e-5)
    np.testing.assert_array_equal(packed.body.faces, plain.body.faces)
    np.testing.assert_array_equal(packed.body.skin_joints[:, 0], plain.body.skin_joints[:, 0])
    assert np.abs(packed.gaussians.colors.mean(0) - plain.gaussians.colors.mean(0)).max() < 0.02
    monkeypatch.setattr("baker.draco.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"compressed with Draco .* install DracoPy"):
        load_avatar(str(path), count=100)


@needs_mage
def test_the_mages_cape_is_cloth_that_can_be_simulated() -> None:
    avatar = load_avatar(str(MAGE), count=6000)
    (cape,) = avatar.garments
    assert cape.name == "Mage_Cape" and cape.meets_arms and 0.02 < cape.pinned.mean() < 0.3
    assert cape.mesh.vertices[cape.pinned, 1].min() > np.median(cape.mesh.vertices[:, 1])
    corners = cape.mesh.vertices[cape.mesh.faces[cape.gaussian_faces]]
    places = np.einsum("gc,gck->gk", cape.gaussian_barycentrics, corners)
    # Gaussians lie within the inset of 2 mm below their faces.
    assert np.linalg.norm(places - avatar.gaussians.means[cape.gaussian_indices], axis=1).max() < 0.0021
    assert (avatar.gaussians.labels[cape.gaussian_indices] == Label.GARMENT).all()
    motion = load_motion(f"{MAGE}#Running_A", avatar, options=MotionOptions(frames=(0, 5)))
    truth = simulate(avatar, motion, replace(ClothConfig().draft(), lead_in_seconds=0.3))
    away = truth.garment_vertices[0][-1] - rigid_vertices(avatar, cape, motion, 4)
    assert np.isfinite(away).all() and 0.01 < np.linalg.norm(away, axis=1).mean() < 0.3
    assert np.abs(away[cape.pinned]).max() < 1e-3


def test_cloth_is_welded_and_divided_and_points_stay_where_they_are() -> None:
    """Two squares that share an edge but no vertices, as at a texture seam."""
    square = np.array([[0, 0, 0], [0.2, 0, 0], [0.2, 0.3, 0], [0, 0.3, 0]])
    vertices = np.concatenate([square, square + np.array([0.2, 0, 0])]).astype(np.float32)
    mesh = SkinnedMesh(vertices=vertices, faces=np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32),
                       skin_joints=np.tile(np.array([[0, 1]], np.int32), (8, 1)),
                       skin_weights=np.stack([vertices[:, 0] / 0.4, 1 - vertices[:, 0] / 0.4], 1).astype(np.float32))
    rng = np.random.default_rng(3)
    faces, barycentrics = rng.integers(0, 4, 500), rng.dirichlet(np.ones(3), 500)
    cloth, new_faces, new_barycentrics = cloth_mesh(mesh, faces, barycentrics, joints=2)
    before = np.einsum("gc,gck->gk", barycentrics, mesh.vertices[mesh.faces[faces]])
    after = np.einsum("gc,gck->gk", new_barycentrics, cloth.vertices[cloth.faces[new_faces]])
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert new_barycentrics.min() > -1e-12 and np.abs(new_barycentrics.sum(1) - 1).max() < 1e-12
    edges = np.sort(cloth.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    counts = np.unique(edges, axis=0, return_counts=True)[1]
    rim = 2 * (0.4 + 0.3) / (counts == 1).sum()  # one sheet: the seam is no border
    assert counts.max() == 2 and rim < 0.05
    weight = np.take_along_axis(cloth.skin_weights, np.argsort(cloth.skin_joints, axis=1), 1)[:, 0]
    lone = (cloth.skin_weights > 0).sum(1) == 1
    np.testing.assert_allclose(weight[~lone], cloth.vertices[~lone, 0] / 0.4, atol=1e-5)
    normals = np.cross(cloth.vertices[cloth.faces[:, 1]] - cloth.vertices[cloth.faces[:, 0]],
                       cloth.vertices[cloth.faces[:, 2]] - cloth.vertices[cloth.faces[:, 0]])
    assert (normals[:, 2] > 0).all()  # none turned over


def test_morph_targets_apply_as_the_file_sets_them(tmp_path: Path) -> None:
    def taller(document: dict[str, Any], weights: dict[str, list[float]]) -> None:
        """The positions once more as a target: each weight adds them."""
        primitive = document["meshes"][0]["primitives"][0]
        primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}] * 2
        document["meshes"][0]["weights"] = weights["mesh"]
        next(n for n in document["nodes"] if "mesh" in n).update(weights["node"] and {"weights": weights["node"]})

    def height(**weights: list[float]) -> float:
        path = write_glb(tmp_path / "a.glb", change=lambda d: taller(d, weights))
        return float(np.ptp(load_avatar(str(path), count=200).body.vertices[:, 1]))
    plain = float(np.ptp(load_avatar(str(write_glb(tmp_path / "b.glb")), count=200).body.vertices[:, 1]))
    assert abs(height(mesh=[0.0, 0.0], node=[]) - plain) < 1e-5
    assert abs(height(mesh=[0.05, 0.05], node=[]) - 1.1 * plain) < 1e-4
    assert abs(height(mesh=[0.5, 0.0], node=[0.0, 0.02]) - 1.02 * plain) < 1e-4


@needs_mage
def test_the_mages_walk_on_the_built_in_person() -> None:
    avatar = load_avatar("builtin", count=2000)
    motion = load_motion(f"{MAGE}#Walking_A", avatar, options=MotionOptions(loop=0.1))
    head = [skinning.joint_transforms(avatar.rig, motion, t)[JOINT_NAMES.index("head"), 1, 3]
            for t in range(0, motion.frames, 5)]
    assert min(head) > 1.2 and max(head) < 1.8
