"""What a bill line is about: model, unit, tier, region; and how FOCUS says it.

Each provider's grammar turns the text of a line into a `Meaning`. Lines repeat, so a grammar sees each distinct
text once, and the answers are joined back as columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from csv import DictReader
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

import polars as pl

from costops.transforms.units import UNIT, Cache, Direction

MAPPED, UNMAPPED = "mapped", "unmapped"
NOT_USAGE = "not_usage"
OTHER_SERVICE = "other_service"


@dataclass(frozen=True)
class Meaning:
    """What one line is about; None where it does not tell."""

    status: str
    model_id: str | None = None
    unit: str | None = None
    tier: str | None = None
    region: str | None = None
    context: str | None = None
    provider: str | None = None
    block: int | None = None


def unmapped(provider: str | None = None, *, tier: str | None = None, region: str | None = None) -> Meaning:
    """Usage of a model service that was not understood: its money stays."""
    return Meaning(UNMAPPED, tier=tier, region=region, provider=provider)


_COLUMNS: Mapping[str, pl.DataType] = {
    "provider": pl.String(), "x_ModelId": pl.String(), "x_UnitName": pl.String(), "x_ServiceTier": pl.String(),
    "x_Region": pl.String(), "x_ContextTier": pl.String(), "x_MappingStatus": pl.String(),
    "_block": pl.Int64(), "_counted": pl.String(), "SkuPriceDetails": pl.String(), "_slug": pl.String(),
}

COUNTED: Mapping[str, str] = {
    "request": "Requests", "web_search": "Searches", "image": "Images", "audio_second": "Seconds",
    "character": "Characters", "page": "Pages", "code_session": "Sessions",
}
"""ConsumedUnit of a unit that is not tokens."""


def counted_in(unit: str) -> str:
    """The FOCUS word for single units of this kind."""
    return COUNTED.get(unit, "Tokens")


def understand(rows: pl.DataFrame, keys: list[str], read: Callable[..., Meaning]) -> pl.DataFrame:
    """`rows` with the columns that `read` finds in each distinct combination of the text columns `keys`."""
    distinct = rows.select(keys).unique(maintain_order=True)
    told = [_cells(read(*row)) for row in distinct.iter_rows()]
    known = distinct.hstack(pl.DataFrame(told, schema=_COLUMNS, orient="row"))
    return rows.join(known, on=keys, how="left", nulls_equal=True, maintain_order="left")


def _cells(meaning: Meaning) -> tuple[object, ...]:
    unit = meaning.unit
    return (
        meaning.provider, meaning.model_id, unit, meaning.tier, meaning.region, meaning.context, meaning.status,
        meaning.block, counted_in(unit) if unit else None, price_details(meaning), slug(meaning),
    )


def price_details(meaning: Meaning) -> str | None:
    """SkuPriceDetails as JSON: FOCUS 1.5's draft keys under `x_`, ours beside them."""
    if meaning.unit is None:
        return None
    unit = UNIT[meaning.unit]
    details: dict[str, str | None] = {
        "x_ModelId": meaning.model_id,
        "x_TokenDirection": {Direction.INPUT: "Input", Direction.OUTPUT: "Output"}.get(unit.direction),
        "x_TokenCacheAction": {Cache.UNCACHED: "Uncached", Cache.READ: "Read", Cache.WRITE_5M: "Write",
                               Cache.WRITE_1H: "Write", Cache.WRITE_12H: "Write"}.get(unit.cache),
        "x_CacheTtl": {Cache.WRITE_5M: "5m", Cache.WRITE_1H: "1h", Cache.WRITE_12H: "12h"}.get(unit.cache),
        "x_Modality": unit.modality, "x_ServiceTier": meaning.tier, "x_ContextTier": meaning.context,
        "x_InferenceScope": meaning.region,
    }
    return json.dumps({key: value for key, value in details.items() if value is not None}, sort_keys=True)


def slug(meaning: Meaning) -> str | None:
    """A stable SKU id of model and unit, for providers that have none."""
    if meaning.unit is None:
        return None
    text = f"{meaning.provider or ''} {meaning.model_id or 'any'} {meaning.unit}".lower()
    return re.sub(r"[^a-z0-9.:]+", "-", text).strip("-")


_BLOCK = re.compile(r"^\s*([0-9][0-9,.]*)?\s*([KMB])?\b", re.IGNORECASE)
_SIZE = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}


def block_size(measure: str | None) -> int | None:
    """How many single units one unit of measure holds: 1000 for `1K tokens`, 1000000 for `1M` or `1000000 count`.

    1 where the text names none, None where there is no text.
    """
    if not measure or not measure.strip():
        return None
    found = _BLOCK.match(measure)
    if not found:
        return 1
    size = Decimal(found[1].replace(",", "")) if found[1] else Decimal(1)
    size *= _SIZE.get((found[2] or "").upper(), 1)
    return int(size) if size == int(size) and size > 0 else 1


@cache
def reviewed(name: str) -> tuple[Mapping[str, str], ...]:
    """A reviewed table of names: `data/reference/billing/<name>.csv`."""
    text = (files("costops.data") / "billing" / f"{name}.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(DictReader(lines))
