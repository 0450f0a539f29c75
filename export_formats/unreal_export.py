"""The Unreal plugin `Ani3D` and a bundle to drop into a project's content.

Unreal reads shader includes from the plugin's own folder only: the maths both engines share comes from the Unity
package, under Unreal's suffix.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from export_formats import ExportOptions, Report
from export_formats.output import new_folder, size_of
from export_formats.player_bundle import FILE, write_player_bundle
from runtime.types import Bundle

SOURCES = Path(__file__).parent / "unreal"
PLUGIN = "Ani3D"
SHARED_SHADERS = ("Ani3DDecode.hlsl", "Ani3DKernels.hlsl", "Ani3DSplat.hlsl")
"""Files of the Unity package's Resources that the plugin's shaders include."""

_OWNED = r"Ani3D|avatar\.ani3d|README\.md|pictures"


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """Write the plugin's folder and the bundle. `options.lod` and `options.residual` choose what the bundle holds."""
    with new_folder(path, owned=_OWNED) as folder:
        write_player_bundle(bundle, folder, options)
        copy_plugin(folder / PLUGIN)
        shutil.copyfile(SOURCES / "README.md", folder / "README.md")
        shutil.copytree(SOURCES / "pictures", folder / "pictures")
    return Report(path=path, size_bytes=size_of(path), frames=sum(clip.motion.frames for clip in bundle.clips),
                  opens_with=f"Unreal 5.4 or newer: copy {PLUGIN} into a C++ project's Plugins, then drag {FILE} into "
                  "the Content Browser (see README.md)")


def copy_plugin(folder: Path) -> None:
    """The complete plugin as the new folder `folder`."""
    shutil.copytree(SOURCES / PLUGIN, folder)
    shaders = SOURCES.parent / "unity" / "Runtime" / "Resources"
    for name in SHARED_SHADERS:
        text = (shaders / name).read_text(encoding="utf-8")
        for other in SHARED_SHADERS:
            text = text.replace(f'"{other}"', f'"/Plugin/{PLUGIN}/Private/{Path(other).stem}.ush"')
        (folder / "Shaders" / "Private" / f"{Path(name).stem}.ush").write_text(text, encoding="utf-8")
