"""Progress bars with the time left, on a terminal; nothing elsewhere but one line per stage."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

T = TypeVar("T")


class Progress:
    """A bar for the running stage. Use as a context manager."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                          TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
        self._task: int | None = None
        self._text = ""

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def stage(self, name: str) -> None:
        """A new stage begins."""
        self._drop()
        print(name, file=sys.stderr, flush=True)

    def report(self, done: int, total: int, text: str) -> None:
        """`done` of `total` steps of `text`."""
        if text != self._text:
            self._drop()
            self._task, self._text = self._bars.add_task(text, total=total), text
        self._bars.update(self._task, completed=done, total=total)

    def track(self, items: Iterable[T], text: str) -> Iterator[T]:
        """Pass items on; the bar of an inner `report` replaces this one while it runs."""
        items = list(items)
        for index, item in enumerate(items):
            self.report(index, len(items), text)
            yield item
        self._drop()

    def _drop(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task, self._text = None, ""
