"""Draco-compressed primitives of a glTF (KHR_draco_mesh_compression), through DracoPy where it is installed.

The primitive's accessors say count and type; what Draco held becomes their values.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from baker.gltf_file import COLUMNS, COMPRESSED, DTYPES, Gltf
from runtime.errors import InputError

EXTENSION = "KHR_draco_mesh_compression"


def can_read_draco() -> bool:
    """Whether DracoPy is installed."""
    return find_spec("DracoPy") is not None


def unreadable(gltf: Gltf, extension: str) -> InputError:
    """The error for a compression that is not read here, with what to do."""
    package = "install DracoPy (pip install DracoPy), or " if extension == EXTENSION else ""
    return gltf.fail(f"is compressed with {COMPRESSED[extension]} ({extension}), which is not read; {package}export it "
                     "without compression, or: npx @gltf-transform/cli copy IN.glb OUT.glb")


def decode_primitive(gltf: Gltf, primitive: dict[str, Any]) -> None:
    """Put what a primitive's Draco buffer holds behind its accessors. Raises `InputError` for what is damaged."""
    extension = primitive["extensions"][EXTENSION]
    attributes, listed = primitive.get("attributes"), extension.get("attributes") if isinstance(extension, dict) else 0
    if not isinstance(attributes, dict) or not isinstance(listed, dict):
        raise gltf.fail("a Draco primitive has no attributes; export it again")
    import DracoPy

    data = gltf.view(extension.get("bufferView"))[0]
    try:
        mesh = DracoPy.decode(data)
        found = {int(a["unique_id"]): np.asarray(a["data"]) for a in mesh.attributes}
        faces = np.asarray(mesh.faces).reshape(-1, 1)
    except Exception as error:  # DracoPy's own exceptions have no common base
        raise gltf.fail(f"its Draco data cannot be decoded ({type(error).__name__}); export it again") from None
    for name, number in listed.items():
        if name in attributes and number in found:
            _store(gltf, attributes[name], found[number], name)
    if "indices" in primitive:
        _store(gltf, primitive["indices"], faces, "indices")


def _store(gltf: Gltf, index: object, values: np.ndarray, name: str) -> None:
    """Values behind an accessor that says what they are; the numbers are Draco's, the type the accessor's."""
    accessor = gltf.item("accessors", index)
    assert isinstance(index, int)
    count, width = gltf.whole(accessor, "count"), COLUMNS.get(str(accessor.get("type")), 0)
    dtype = DTYPES.get(accessor.get("componentType", 0))
    values = values.reshape(len(values), -1)
    if dtype is None or values.shape != (count, width):
        raise gltf.fail(f"its Draco data has {values.shape[0]} rows of {values.shape[1]} for {name}, the file says "
                        f"{count} of {width}; export it again")
    gltf.decoded[index] = values.astype(dtype)
