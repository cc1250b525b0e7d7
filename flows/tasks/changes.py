"""The changes of a what-if: sentences of the command line and of a flow's parameter, or blocks of a file."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from costops.transforms.errors import Usage

TOKENS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


class Change(BaseModel):
    """One change of a scenario: a `[[change]]` block, or a sentence after `--what-if`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["move", "cache", "batch", "growth", "price"]
    model: str | None = None
    to: str | None = None
    percent: float | None = Field(default=None, allow_inf_nan=False)
    unit: str | None = None
    price_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    start: date | None = None


_OF, _START = r"(?:\s+(?:of|for)\s+(?P<model>\S+))?", r"(?:\s+from\s+(?P<start>\d{4}-\d{2}-\d{2}))?"
_PERCENT = r"(?P<percent>[+-]?\d+(?:\.\d+)?)\s*(?:%|percent)"
_SENTENCES: dict[str, re.Pattern[str]] = {kind: re.compile(text + _START, re.IGNORECASE) for kind, text in {
    "move": rf"move\s+(?P<model>\S+)\s+to\s+(?P<to>\S+)\s+{_PERCENT}", "cache": rf"cache\s+{_PERCENT}{_OF}",
    "batch": rf"batch\s+{_PERCENT}{_OF}", "growth": rf"growth\s+{_PERCENT}{_OF}",
    "price": rf"price\s+(?P<model>\S+)\s+(?:{_PERCENT}|(?P<unit>\w+)\s+(?P<price_usd>\d+(?:\.\d+)?))"}.items()}
EXAMPLES = ("move gpt-4o-2024-08-06 to gpt-5-mini-2025-08-07 30%", "cache 60% of claude-sonnet-4-5-20250929",
            "batch 40%", "growth +20% from 2026-12-01", "price grok-3 -20% from 2026-12-01",
            "price grok-3 output 12.50")


def sentence(text: str) -> Change:
    """The change that a sentence tells."""
    for kind, pattern in _SENTENCES.items():
        if found := pattern.fullmatch(text.strip()):
            told = {name: value for name, value in found.groupdict().items() if value is not None}
            return _change({"kind": kind, **told}, f"--what-if {text!r}")
    raise Usage(f"--what-if {text!r}: not understood; write for example {'; '.join(map(repr, EXAMPLES))}.")


def scenario_file(name: str) -> list[Change]:
    """The `[[change]]` blocks of a file, in their order."""
    try:
        told = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Usage(f"{name}: no such file.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Usage(f"{name}: cannot be read ({error}).") from None
    blocks = told.get("change")
    if set(told) != {"change"} or not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks):
        raise Usage(f"{name}: expected only [[change]] blocks.")
    return [_change(one, f"{name}: change {number}") for number, one in enumerate(blocks, 1)]


def _change(told: dict[str, Any], place: str) -> Change:
    try:
        one = Change.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        raise Usage(f"{place}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    needed = {"move": ("model", "to", "percent"), "cache": ("percent",), "batch": ("percent",), "growth": ("percent",),
              "price": ("model",)}[one.kind]
    lacking = [name for name in needed if getattr(one, name) is None]
    allowed = {"kind", "start", *needed, *({"model"} if one.kind != "price" else {"percent", "unit", "price_usd"})}
    extra = [name for name in one.model_fields_set if name not in allowed and getattr(one, name) is not None]
    if lacking or extra:
        raise Usage(f"{place}: {one.kind} {'needs ' + lacking[0] if lacking else 'knows no ' + sorted(extra)[0]}.")
    if one.kind == "price" and ((one.percent is None) == (one.price_usd is None) or
                                (one.price_usd is not None and one.unit not in TOKENS)):
        raise Usage(f"{place}: give a percent, or a unit ({', '.join(TOKENS)}) with its price_usd for a million.")
    if one.kind in {"move", "cache", "batch"} and not 0 <= (one.percent or 0.0) <= 100:
        raise Usage(f"{place}: percent is {one.percent:g}; expected 0 to 100.")
    if one.percent is not None and one.percent < -100:
        raise Usage(f"{place}: percent is {one.percent:g}; less than nothing is left.")
    return one
