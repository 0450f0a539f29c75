"""No damaged file makes a reader of `baker` fail otherwise than by one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations import run


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    outcome = run(tmp_path, count=40, seed=1)
    for name, (good, bad) in outcome.items():
        assert good + bad == 40 and bad > 3, (name, good, bad)


@pytest.mark.slow
@pytest.mark.skipif("not config.getoption('-m')", reason="2 000 files take minutes; run with -m slow")
def test_two_thousand_damaged_files_and_bounded_memory(tmp_path: Path) -> None:
    outcome = run(tmp_path, count=190, seed=2, memory=True)
    assert sum(good + bad for good, bad in outcome.values()) >= 2000
