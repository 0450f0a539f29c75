"""Stages of a bake on disk (DESIGN §8): numbered folders, fingerprints, atomic completion, resumption.

A stage works in `NAME.part` and is renamed to `NAME` when done, so a folder without `.part` is always whole.
A stage runs again only when its fingerprint (own config plus the fingerprints of the stages it reads) changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import filelock

from runtime.errors import InputError

STAGES = ("000_sources", "010_avatar", "020_coarse", "030_restore", "040_optimise", "050_distil", "060_bundle",
          "070_report")
"""The folders of a bake, in order."""

FORMAT = 1
"""Raised when what stages write changes, so that folders of an older program are made anew."""

Report = Callable[[int, int, str], None]
"""Progress: done, total, what is being done."""


@dataclass(frozen=True)
class StageResult:
    """A finished stage."""

    path: Path
    """Its folder."""
    fingerprint: str
    """What it was made from."""
    reused: bool
    """True when nothing had to be done."""
    seconds: float
    """Wall time over all the runs that made it [s]."""
    metrics: Mapping[str, Any]
    """What the stage measured."""


def fingerprint_of(config: Any, inputs: Sequence[str]) -> str:
    """SHA-256 over a JSON-able config (or dataclass) and the fingerprints of the inputs."""
    plain = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    text = json.dumps({"format": FORMAT, "config": plain, "inputs": list(inputs)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text_atomic(path: Path, text: str) -> None:
    """Write beside and rename: a reader sees the old or the new file, never half of one."""
    partial = path.with_name(path.name + ".tmp")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def open_bake(path: Path) -> filelock.FileLock:
    """Create a bake folder and lock it for this process.

    Raises `InputError` when it cannot be written or another process bakes in it.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, the output must be a folder; choose another -o")
    made = not path.exists()
    lock = filelock.FileLock(path / ".lock")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(f"{path}: another bake is running in this folder; wait for it or choose another -o") from None
    except OSError as error:
        if made and path.is_dir():
            path.rmdir()
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another -o") from None
    return lock


def run_stage(bake: Path, name: str, *, config: Any, inputs: Sequence[StageResult | str],
              work: Callable[[Path], Mapping[str, Any]], device: str = "cpu") -> StageResult:
    """Run `work(part_folder) -> metrics` unless the stage is already there with the same fingerprint.

    `work` finds what an interrupted run with the same fingerprint left in the part folder, and goes on from it.
    """
    fingerprint = fingerprint_of(config, [i if isinstance(i, str) else i.fingerprint for i in inputs])
    final, part = bake / name, bake / f"{name}.part"
    record = read_record(final)
    if record is not None and record["fingerprint"] == fingerprint:
        return StageResult(final, fingerprint, True, record["seconds"], record["metrics"])

    # 1. A part folder of the same fingerprint is completed, or continued; any other is dropped.
    marker = part / "fingerprint"
    record = read_record(part)
    if record is not None and record["fingerprint"] == fingerprint:
        _complete(part, final)
        return StageResult(final, fingerprint, False, record["seconds"], record["metrics"])
    if part.exists() and (not marker.exists() or marker.read_text() != fingerprint):
        shutil.rmtree(part)
    part.mkdir(exist_ok=True)
    write_text_atomic(marker, fingerprint)
    clock = part / "seconds"
    before = float(clock.read_text()) if clock.exists() else 0.0

    # 2. Work; the time of interrupted runs counts too.
    start = time.monotonic()
    try:
        metrics = dict(work(part))
    finally:
        seconds = before + time.monotonic() - start
        write_text_atomic(clock, f"{seconds:.3f}")

    # 3. Complete: the record first, then one rename.
    write_text_atomic(part / "stage.json", json.dumps({
        "stage": name, "fingerprint": fingerprint, "seconds": round(seconds, 3), "device": device,
        "peak_memory_mib": peak_memory_mib(), "metrics": metrics}, indent=1, sort_keys=True))
    _complete(part, final)
    return StageResult(final, fingerprint, False, seconds, metrics)


def _complete(part: Path, final: Path) -> None:
    """Put a part folder that has its record in the place of the finished one; may be repeated after a kill."""
    for leftover in ("fingerprint", "seconds"):
        (part / leftover).unlink(missing_ok=True)
    if final.exists():
        # Without its record first: a folder that is half gone must not look whole to a run with its old settings.
        (final / "stage.json").unlink(missing_ok=True)
        shutil.rmtree(final)
    os.replace(part, final)


def read_record(stage: Path) -> dict[str, Any] | None:
    """The `stage.json` of a finished stage, or None."""
    try:
        record = json.loads((stage / "stage.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"fingerprint", "seconds", "metrics"} <= record.keys() else None


def peak_memory_mib() -> float | None:
    """Largest resident size of this process so far [MiB]; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def status(bake_dir: Path) -> list[dict[str, Any]]:
    """One row per stage: `stage`, `state` (done, interrupted, absent), `seconds`."""
    if not bake_dir.is_dir():
        raise InputError(f"{bake_dir}: no such bake folder")
    rows = []
    for name in STAGES:
        record = read_record(bake_dir / name)
        state = "done" if record else "interrupted" if (bake_dir / f"{name}.part").exists() else "absent"
        rows.append({"stage": name, "state": state, "seconds": record["seconds"] if record else None})
    return rows
