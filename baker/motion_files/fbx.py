"""FBX through Blender, which must be installed: a closed format that only other programs' code reads."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import InputError

SCRIPT = """
import bpy, sys
source, target = sys.argv[sys.argv.index('--') + 1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.fbx(filepath=source)
bpy.ops.export_scene.gltf(filepath=target, export_format='GLB', export_animations=True)
"""
SECONDS = 300


@contextmanager
def as_glb(path: Path) -> Iterator[Path]:
    """A temporary .glb with what an FBX file holds. Raises `InputError` without Blender or when it cannot read it."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    blender = shutil.which("blender")
    if blender is None:
        raise InputError(f"{path}: FBX is read through Blender, which is not installed; install it, or export the "
                         "file as .glb or .bvh")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{path.stem}.glb"
        command = [blender, "--background", "--factory-startup", "--python-exit-code", "1", "--python-expr", SCRIPT,
                   "--", str(path.resolve()), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            raise InputError(f"{path}: Blender did not finish reading it in {SECONDS} s") from None
        if done.returncode or not target.is_file():
            raise InputError(f"{path}: Blender could not read it; export it as .glb or .bvh")
        yield target
