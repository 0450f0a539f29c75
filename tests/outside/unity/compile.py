"""The package's assemblies compiled as Unity does, each with what its .asmdef names, against signatures by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

_HERE = Path(__file__).parent
_UNITY = {"UnityEngine": ("UnityEngine.cs", ()), "Unity.Timeline": ("UnityTimeline.cs", ("UnityEngine",)),
          "Gsplat": ("Gsplat.cs", ("UnityEngine",))}


def check(package: Path, folder: Path, *, installed: tuple[str, ...] = ("Unity.Timeline", "Gsplat")) -> dict[str, str]:
    """What the compiler says of each assembly, in the order of their references; empty where all is well.

    Assemblies that refer to a package that is not `installed` are left out, as their version defines have it.
    """
    for name in ("UnityEngine", *installed):
        source, references = _UNITY[name]
        _compile(folder, name, [_HERE / source], references)
    waiting = {path: json.loads(path.read_text()) for path in sorted(package.rglob("*.asmdef"))}
    made, said = {"UnityEngine", *installed}, {}
    while ready := [path for path, about in waiting.items() if set(about["references"]) <= made]:
        about = waiting.pop(ready[0])
        engine = () if about.get("noEngineReferences") else ("UnityEngine",)
        sources = [path for path in sorted(ready[0].parent.rglob("*.cs"))]
        said[about["name"]] = _compile(folder, about["name"], sources, (*engine, *about["references"]))
        made.add(about["name"])
    assert not installed or not waiting, sorted(about["name"] for about in waiting.values())
    # Scripts outside every assembly's folder, such as a sample's, are compiled with all that are not for the editor.
    owned = [path.parent for path in package.rglob("*.asmdef")]
    free = [path for path in sorted(package.rglob("*.cs")) if not any(own in path.parents for own in owned)]
    said["Assembly-CSharp"] = _compile(folder, "Assembly-CSharp", free, ("UnityEngine", "Ani3D.Core", "Ani3D.Player"))
    return said


def _compile(folder: Path, name: str, sources: list[Path], references: tuple[str, ...]) -> str:
    """mcs's warnings and errors."""
    done = subprocess.run(
        ["mcs", "-langversion:7.2", "-warn:4", "-target:library", f"-out:{folder / name}.dll",
         # Fields that Unity's serialiser fills or reads.
         "-nowarn:0649,0414", *(f"-r:{folder / reference}.dll" for reference in references), *map(str, sources)],
        capture_output=True, text=True)
    return done.stdout + done.stderr
