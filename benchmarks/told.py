"""How the benchmarks tell what they measured."""

from __future__ import annotations

import json
from collections.abc import Sequence

Row = tuple[str, str, str, str]
"""Row of the goals, what was measured, goal, figure."""

_NAMES = ("row", "what", "goal", "measured")


def show(found: Sequence[Row], *, as_json: bool) -> None:
    """A table for people, or JSON for `benchmarks/run.py`."""
    if as_json:
        print(json.dumps([dict(zip(_NAMES, line, strict=True)) for line in found], indent=1))
        return
    print(f"| {' | '.join(_NAMES)} |\n|---|---|---|---|")
    for line in found:
        print(f"| {' | '.join(line)} |")
