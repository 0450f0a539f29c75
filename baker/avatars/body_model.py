"""A body in SMPL's key layout (SMPL, SMPL-H, SMPL-X or any with the same keys): template, shape, joints, weights.

Read from .npz without pickle. Letters: V vertices, F faces, J joints, B shape coefficients.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from baker.avatar import SkinnedMesh
from baker.meshes import strongest
from baker.motion_files.amass import NAMES_BY_COUNT
from baker.motion_files.npz import check_headers
from baker.motion_files.text import read_json
from runtime.errors import InputError
from runtime.types import Rig

KEYS = ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f")
MAX_INFLUENCES = 16
MAX_BYTES = 4 << 30
MAX_VERTICES = 1_000_000


@dataclass(frozen=True)
class BodyModel:
    """A template with shape directions."""

    vertices: Float[np.ndarray, "V 3"]
    """Template [m], zero pose."""
    shape_directions: Float[np.ndarray, "V 3 B"]
    """Metres a unit of each shape coefficient."""
    regressor: Float[np.ndarray, "J V"]
    """Joints from vertices; rows sum to 1."""
    weights: Float[np.ndarray, "V J"]
    """Skinning weights; rows sum to 1."""
    parents: Int[np.ndarray, " J"]
    """Parent joint, -1 for the root."""
    faces: Int[np.ndarray, "F 3"]
    """Vertex indices."""
    joint_names: tuple[str, ...]
    """SMPL-X's names for the joints the model has."""
    licence: str
    """What the file says of it."""

    def shaped(self, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices [V 3] and joints [J 3] of a subject: v = template + directions betas, j = regressor v."""
        count = min(len(betas), self.shape_directions.shape[2])
        vertices = self.vertices + self.shape_directions[:, :, :count] @ betas[:count]
        return vertices, self.regressor @ vertices

    def mesh(self, vertices: np.ndarray) -> SkinnedMesh:
        """The surface at `vertices`, with every weight the model has (up to `MAX_INFLUENCES` a vertex)."""
        influences = int(min((self.weights > 0).sum(1).max(), MAX_INFLUENCES))
        joints, weights = strongest(self.weights, influences=influences)
        return SkinnedMesh(vertices=vertices.astype(np.float32), faces=self.faces.astype(np.int32),
                           skin_joints=joints, skin_weights=weights)

    def rig(self, joints: np.ndarray) -> Rig:
        """The skeleton at `joints` [J 3], binding nothing yet."""
        rest = np.tile(np.eye(4), (len(joints), 1, 1))
        rest[:, :3, 3] = joints
        return Rig(joint_names=self.joint_names, parents=self.parents.astype(np.int32), T_world_joint_rest=rest,
                   skin_joints=np.zeros((0, 1), np.int32), skin_weights=np.zeros((0, 1), np.float32))


def read_body_model(path: Path) -> BodyModel:
    """The model of an npz. Raises `InputError` naming file and array; .pkl files are refused: they run code."""
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise InputError(f"{path}: is a pickle, which can run any code, so it is not read; give the model's .npz "
                         "(SMPL-X is released as .npz too)")
    arrays = _read(path)
    for key in KEYS:
        if key not in arrays:
            raise InputError(f"{path}: has no array '{key}' that can be read; a SMPL, SMPL-H or SMPL-X model file "
                             f"has {', '.join(KEYS)} as plain arrays")
    v, s, r, w, k, f = (arrays[key] for key in KEYS)
    count, joints = (len(v) if v.ndim == 2 else 0), (w.shape[1] if w.ndim == 2 else 0)
    shapes = {"v_template": (v, (count, 3)), "shapedirs": (s, (count, 3, s.shape[-1] if s.ndim else 0)),
              "J_regressor": (r, (joints, count)), "weights": (w, (count, joints)), "kintree_table": (k, (2, joints))}
    for key, (array, shape) in shapes.items():
        if array.shape != shape or array.dtype.kind not in "fiu" or not 0 < count <= MAX_VERTICES:
            raise InputError(f"{path}: '{key}' is {array.dtype} {array.shape}, expected numbers {shape}")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: '{key}' holds NaN or infinity; repair the file")
    if joints not in NAMES_BY_COUNT:
        raise InputError(f"{path}: has {joints} joints; SMPL has 24, SMPL-H 52, SMPL-X 55")
    if f.ndim != 2 or f.shape[1] != 3 or f.dtype.kind not in "iu" or not len(f) or f.max() >= count or f.min() < 0:
        raise InputError(f"{path}: 'f' is {f.dtype} {f.shape}; expected rows of three vertices below {count}")
    parents = k[0].astype(np.int64)
    parents[0] = -1  # released files hold 2^32 - 1
    if any(not 0 <= parent < i for i, parent in enumerate(parents) if i):
        raise InputError(f"{path}: 'kintree_table' must have parents before children")
    sums = w.sum(1)
    if (w < -1e-6).any() or np.abs(sums - 1).max() > 1e-3:
        row = int(np.argmax(np.abs(sums - 1)))
        raise InputError(f"{path}: 'weights' row {row} sums to {sums[row]:.4f}, not 1; normalise them")
    return BodyModel(vertices=v.astype(np.float64), shape_directions=s.astype(np.float64),
                     regressor=r.astype(np.float64), weights=w.astype(np.float64), parents=parents,
                     faces=f.astype(np.int64), joint_names=NAMES_BY_COUNT[joints],
                     licence=str(arrays["license"]) if "license" in arrays else "")


def read_betas(path: Path | None) -> np.ndarray:
    """Shape coefficients from .json (also one of LHM's frames), .npz or .npy with `betas`; none is zeros."""
    if path is None:
        return np.zeros(0)
    if path.suffix.lower() == ".json":
        value = read_json(path, what="betas", limit=4 << 20)
        value = value.get("betas") if isinstance(value, dict) else value
    else:
        arrays = _read(path)
        value = arrays.get("betas", arrays.get("shape", arrays.get("")))
    try:
        betas = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        betas = np.full(1, np.nan)
    if not 0 < len(betas) <= 1000 or not np.isfinite(betas).all() or np.abs(betas).max() > 100:
        raise InputError(f"{path}: holds no 'betas' (up to some hundred numbers of usual size)")
    return betas


def is_body_model(path: Path) -> bool:
    """Whether an npz says it is one: names only, nothing is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"v_template.npy", "J_regressor.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _read(path: Path) -> dict[str, np.ndarray]:
    """The plain arrays of an .npz, or of an .npy under ''; object arrays (chumpy's, sparse ones) are left out."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix.lower() == ".npy":
            return {"": np.load(path, allow_pickle=False)}
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise InputError(f"{path}: unpacks to more than {MAX_BYTES >> 30} GiB")
            check_headers(archive)
        found = {}
        with np.load(path, allow_pickle=False) as data:
            for key in data.files:
                if key in (*KEYS, "betas", "shape", "license"):
                    try:
                        found[key] = data[key]
                    except ValueError as error:
                        if "allow_pickle" not in str(error):
                            raise
        return {key: value for key, value in found.items() if isinstance(value, np.ndarray)}
    except InputError:
        raise
    except Exception as error:  # numpy's header parser raises nearly anything (tokenize, SyntaxError, MemoryError …)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); copy the file again") from None
