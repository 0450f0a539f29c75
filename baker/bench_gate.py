"""Whether measurements are still as good as those in `bench_baseline.json`.

Only ratios of one run and memory are held: milliseconds differ between machines and with what runs beside.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

BASELINE = Path(__file__).with_name("bench_baseline.json")
"""What was measured, by the name of the benchmark; with the date and the machine."""


@dataclass(frozen=True)
class Gate:
    """A bound on one figure."""

    figure: str
    """Its key."""
    higher_is_better: bool
    """Direction."""
    slack: float
    """Times worse than the baseline that is still noise: two threads of a shared machine may get one core."""
    limit: float | None = None
    """What it must hold whatever the baseline says."""

    def bound(self, baseline: float) -> float:
        """The worst value that passes."""
        if self.higher_is_better:
            return max(baseline / self.slack, self.limit or 0.0)
        return min(baseline * self.slack, self.limit or float("inf"))


GATES = {
    "raster": (Gate("ratio_to_reference_forward_backward", True, 2.5, limit=35.0),
               Gate("ratio_to_reference", True, 2.5),
               Gate("ratio_160k_to_40k", False, 1.5, limit=3.5),
               Gate("memory_peak_mib", False, 1.3)),
    "field": (Gate("ratio_to_reference", True, 2.0, limit=2.5), Gate("moving_ratio_to_reference", True, 2.5, limit=2.5),
              Gate("memory_peak_mib", False, 1.3)),
    "step": (Gate("ratio_to_plain_torch", True, 2.0, limit=1.5), Gate("memory_peak_mib", False, 1.3)),
}
"""What is held of each benchmark."""


def failures(what: str, figures: dict[str, float | int | str]) -> list[str]:
    """One line for each figure of the benchmark `what` that is worse than it may be."""
    baseline = json.loads(BASELINE.read_text())[what]
    lines = []
    for gate in GATES[what]:
        value, bound = float(figures[gate.figure]), gate.bound(float(baseline[gate.figure]))
        if (value < bound) if gate.higher_is_better else (value > bound):
            side = "under" if gate.higher_is_better else "over"
            lines.append(f"{what}: {gate.figure} is {value}, {side} {bound:.4g} (baseline {baseline[gate.figure]})")
    return lines
