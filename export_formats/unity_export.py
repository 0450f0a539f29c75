"""The Unity package `com.ani3d.player` and a bundle to drop into a project's Assets.

Unity ignores files without a `.meta` in packages it cannot write to. They are made here, each with an identifier
derived from the file's path, so that scenes keep their references when the package is exported again.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from export_formats import ExportOptions, Report
from export_formats.output import new_folder, size_of
from export_formats.player_bundle import FILE, write_player_bundle
from runtime.types import Bundle

SOURCES = Path(__file__).parent / "unity"
PACKAGE = "com.ani3d.player"

_OWNED = r"com\.ani3d\.player|avatar\.ani3d|README\.md"
_IMPORTERS = {".cs": "MonoImporter", ".asmdef": "AssemblyDefinitionImporter", ".compute": "ComputeShaderImporter",
              ".shader": "ShaderImporter", ".hlsl": "ShaderIncludeImporter", ".json": "PackageManifestImporter",
              ".md": "TextScriptImporter"}


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """Write the package's folder and the bundle. `options.lod` and `options.residual` choose what the bundle holds."""
    with new_folder(path, owned=_OWNED) as folder:
        write_player_bundle(bundle, folder, options)
        package = folder / PACKAGE
        shutil.copytree(SOURCES, package)
        # The same page beside the package, where it is looked for first.
        page = (SOURCES / "README.md").read_text(encoding="utf-8")
        (folder / "README.md").write_text(page.replace("](Documentation~/", f"]({PACKAGE}/Documentation~/"),
                                          encoding="utf-8", newline="\n")
        for file in sorted(package.rglob("*")):
            # Unity does not look into folders whose name ends in ~.
            if not any(part.endswith("~") for part in file.relative_to(package).parts):
                file.with_name(f"{file.name}.meta").write_text(meta(file, package), encoding="utf-8", newline="\n")
    return Report(path=path, size_bytes=size_of(path), frames=sum(clip.motion.frames for clip in bundle.clips),
                  opens_with=f"Unity 2022.3 or newer: Package Manager, Add package from disk, {PACKAGE}/package.json; "
                  f"then drag {FILE} into Assets (see README.md)")


def meta(file: Path, package: Path) -> str:
    """The `.meta` text of one of the package's files or folders."""
    guid = hashlib.md5(f"{PACKAGE}/{file.relative_to(package).as_posix()}".encode(), usedforsecurity=False).hexdigest()
    folder = "folderAsset: yes\n" if file.is_dir() else ""
    importer = "DefaultImporter" if file.is_dir() else _IMPORTERS[file.suffix]
    return f"fileFormatVersion: 2\nguid: {guid}\n{folder}{importer}:\n  externalObjects: {{}}\n"
