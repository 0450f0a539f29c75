"""Type-check of the plugin's sources against `unreal_stubs.h`, without Unreal."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

STUBS = Path(__file__).parent / "unreal_stubs.h"


def check(plugin: Path, folder: Path, *, minor: int) -> str:
    """What g++ says of every source as Unreal 5.`minor`; empty where all is well. `folder` takes made headers."""
    unit, options = _unit(plugin, folder, minor)
    return _compile([*options, "-fsyntax-only", str(unit)])


def build(plugin: Path, folder: Path, *, minor: int) -> Path:
    """The plugin's runtime sources, its core and `session.cpp` as a program; raises where that fails."""
    unit, options = _unit(plugin, folder, minor)
    core = plugin / "Source" / "Ani3D" / "Core"
    session = folder / "with_session.cpp"
    session.write_text(f'#include "{unit}"\n#include "{Path(__file__).parent / "session.cpp"}"\n')
    program = folder / "session"
    said = _compile([*options, "-O0", str(session), *map(str, sorted(core.glob("*.cpp"))), "-o", str(program)])
    assert not said, said
    return program


def _unit(plugin: Path, folder: Path, minor: int) -> tuple[Path, list[str]]:
    """One source that includes all that know Unreal, and the compiler's options for it."""
    # The core knows no Unreal type and is compiled for itself.
    sources = [path for path in sorted((plugin / "Source").rglob("*.cpp")) if path.parent.name != "Core"]
    texts = [path.read_text() for path in (*sources, *sorted((plugin / "Source").rglob("*.h")))]
    ours = {path.name for path in (plugin / "Source").rglob("*.h")}
    for header in sorted({name for text in texts for name in re.findall(r'#include "([^"]+)"', text)} - ours):
        made = folder / header
        made.parent.mkdir(parents=True, exist_ok=True)
        # What Unreal's header tool would write: only the name of the base class and the class object are used.
        body = ""
        if header.endswith(".generated.h"):
            owner = next(text for text in texts if f'"{header}"' in text)
            base = re.findall(r"UCLASS.*\n?class (?:\w+_API )?\w+ : public (\w+)", owner)[0]
            body = ("#undef GENERATED_BODY\n#define GENERATED_BODY() public: typedef " + base +
                    " Super; static UClass* StaticClass() { return nullptr; } private:\n")
        made.write_text(f"#pragma once\n{body}")
    includes = [f"-I{folder}", *(f"-I{path}" for path in sorted((plugin / "Source").rglob("*")) if path.is_dir())]
    # One unit: the standard headers are read once.
    unit = folder / "all.cpp"
    unit.write_text("".join(f'#include "{source}"\n' for source in sources))
    return unit, ["-std=c++20", "-Wall", "-Wshadow", "-Werror", "-Wno-unused", "-fno-exceptions",
                  "-DENGINE_MAJOR_VERSION=5", f"-DENGINE_MINOR_VERSION={minor}", "-include", str(STUBS), *includes]


def _compile(arguments: list[str]) -> str:
    return subprocess.run(["g++", *arguments], capture_output=True, text=True).stderr
