"""Usage rows in, charges out: what the price tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from costops.transforms.charge import charge_sql, keys_sql, price_cells
from costops.transforms.prices.book import book
from costops.transforms.tables import CORE_USAGE

Charge = Callable[..., list[dict[str, Any]]]
_ZERO = ("uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
         "output_tokens", "reasoning_tokens")
_INPUT = ("uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
          "cache_write_12h_tokens")


def usage_frame(rows: list[Mapping[str, Any]]) -> pl.DataFrame:
    """`core_usage` rows with sensible defaults; `input_tokens` is the sum of the input columns."""
    made = []
    for number, row in enumerate(rows):
        full: dict[str, Any] = dict.fromkeys(CORE_USAGE.columns)
        full |= dict.fromkeys(_ZERO, 0)
        full |= {"source": "test", "record_id": f"r{number:06}", "granularity": "request", "requests": 1,
                 "service_tier": "standard", "status": "ok", "provider": "openai", "model_id": "gpt-4o",
                 "used_at": datetime(2026, 11, 16, 12)}
        full |= row
        if isinstance(full["used_at"], str):
            full["used_at"] = datetime.fromisoformat(full["used_at"]).astimezone(UTC).replace(tzinfo=None)
        if "input_tokens" not in row:
            full["input_tokens"] = sum(full[name] or 0 for name in _INPUT)
        full["day"] = full["used_at"].date()
        made.append(full)
    return pl.DataFrame(made, schema=CORE_USAGE.schema)


def charge_frame(usage: pl.DataFrame, priced_by: pl.DataFrame | None = None, **options: Any) -> pl.DataFrame:
    """The rows of `usage` with their costs, in its order."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.register("usage", usage.to_arrow())
        keys = pl.from_arrow(connection.sql(keys_sql("usage")).to_arrow_table())
        assert isinstance(keys, pl.DataFrame)
        cells = price_cells(keys, book() if priced_by is None else priced_by, **options)
        connection.register("cells", cells.to_arrow())
        done = pl.from_arrow(connection.sql(charge_sql("usage", "cells")).to_arrow_table())
        assert isinstance(done, pl.DataFrame)
        return usage.select("record_id").join(done, on="record_id", how="left", maintain_order="left")


def charges(rows: list[Mapping[str, Any]], priced_by: pl.DataFrame | None = None,
            **options: Any) -> list[dict[str, Any]]:
    """One dict per usage row."""
    return charge_frame(usage_frame(rows), priced_by, **options).to_dicts()


def cost(row: Mapping[str, Any], priced_by: pl.DataFrame | None = None, **options: Any) -> Decimal | None:
    """The list cost of one row."""
    found: Decimal | None = charges([row], priced_by, **options)[0]["list_cost_usd"]
    return found


def shared(*parts: str) -> Path:
    """A file of the shared test data; the test is skipped where there is none."""
    root = Path(os.environ.get("COSTOPS_SHARED") or Path(__file__).parents[3].parent / "shared")
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not here: set COSTOPS_SHARED")
    return path


class Pricing:
    """The functions above, for tests: `pricing.charges([...])`."""

    usage_frame = staticmethod(usage_frame)
    charge_frame = staticmethod(charge_frame)
    charges = staticmethod(charges)
    cost = staticmethod(cost)
    shared = staticmethod(shared)


@pytest.fixture(scope="session")
def pricing() -> Any:
    """What the price tests share."""
    return Pricing
