"""Type-check of the plugin's sources against `unreal_stubs.h`, without Unreal."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

STUBS = Path(__file__).parent / "unreal_stubs.h"


def check(plugin: Path, folder: Path, *, minor: int) -> str:
    """What g++ says of every source as Unreal 5.`minor`; empty where all is well. `folder` takes made headers."""
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
    done = subprocess.run(
        ["g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wshadow", "-Werror", "-Wno-unused", "-fno-exceptions",
         "-DENGINE_MAJOR_VERSION=5", f"-DENGINE_MINOR_VERSION={minor}", "-include", str(STUBS), *includes, str(unit)],
        capture_output=True, text=True)
    return done.stderr
