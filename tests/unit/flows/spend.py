"""A lake that holds given daily spend, without logs: for what looks at spend."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.settings import load
from costops.flows.tasks.run import Run, open_run
from costops.transforms.check import conform
from costops.transforms.tables import OUT_SPEND_DAILY

LAST = date(2026, 10, 25)       # a Sunday
DAYS = 90
MODELS = {"openai": ("gpt-4o-2024-08-06", "gpt-5-mini-2025-08-07"), "anthropic": ("claude-sonnet-4-5-20250929",)}
PRICES = {"gpt-4o-2024-08-06": (2.5, 1.25, 10.0), "gpt-5-mini-2025-08-07": (0.25, 0.025, 2.0),
          "claude-sonnet-4-5-20250929": (3.0, 0.3, 15.0)}
PLAIN, READ, MADE = 900_000, 100_000, 50_000


def noise(step: int, salt: int) -> float:
    """A little, always the same, with a calmer weekend."""
    day = LAST - timedelta(days=step)
    return (1.0 + 0.04 * ((step * 7919 + salt * 104_729) % 11 - 5) / 5) * (0.6 if day.weekday() >= 5 else 1.0)


def row(day: date, provider: str, model: str, factor: float = 1.0, **more: Any) -> dict[str, Any]:
    """One row of daily spend at list prices."""
    plain, read, made = PRICES[model]
    tokens = {"uncached_input_tokens": PLAIN * factor, "cache_read_tokens": READ * factor, "output_tokens": MADE * factor}
    whole = {name: round(value) for name, value in tokens.items()}
    costs = {"uncached_input_cost_usd": whole["uncached_input_tokens"] * plain / 1e6,
             "cache_read_cost_usd": whole["cache_read_tokens"] * read / 1e6,
             "output_cost_usd": whole["output_tokens"] * made / 1e6}
    return {"month": f"{day:%Y-%m}", "day": day, "source": provider, "provider": provider, "model_id": model,
            "service_tier": "standard", "team": "search" if provider == "openai" else "support", "api_key_id": "k1",
            "requests": max(round(100 * factor), 1),
            "input_tokens": whole["uncached_input_tokens"] + whole["cache_read_tokens"],
            **whole, **{name: Decimal(str(round(value, 9))) for name, value in costs.items()},
            "list_cost_usd": Decimal(str(round(sum(costs.values()), 9))), **more}


def usual(steps: range = range(DAYS), *, calm: bool = False) -> list[dict[str, Any]]:
    return [row(LAST - timedelta(days=step), provider, model, 1.0 if calm else noise(step, salt))
            for step in steps for provider, models in MODELS.items() for salt, model in enumerate(models)]


class Place:
    """A workspace whose lake holds given daily spend."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home, self.patch = home, patch
        (home / "costops.toml").write_text(
            f'[workspace]\nlake = "{home / "lake"}"\npublish = ["reports"]\n[forecast]\nhorizon_days = 14\n'
            '[[budgets]]\nname = "all"\namount_usd = "100"\n'
            '[[budgets]]\nname = "app"\napplication = "x"\namount_usd = "5"\n')
        self.night(LAST + timedelta(days=1))

    def night(self, day: date) -> None:
        self.today = day

    def fill(self, rows: list[dict[str, Any]]) -> None:
        with self.run() as run:
            run.lake.write(OUT_SPEND_DAILY, conform(pl.DataFrame(rows, infer_schema_length=None), OUT_SPEND_DAILY))

    def run(self) -> Any:
        self.patch.setenv("COSTOPS_NOW", f"{self.today}T06:00:00+00:00")
        return open_run(load(str(self.home / "costops.toml")), stages=("detect", "forecast", "budget"))

    def do(self, *steps: Any, **notes: Any) -> Run:
        with self.run() as run:
            run.notes.update(notes)
            for step in steps:
                step(run)
            return run  # type: ignore[no-any-return]

    def read(self, table: Any) -> pl.DataFrame:
        with self.run() as run:
            return run.lake.read(table)  # type: ignore[no-any-return]

    def told(self, *words: str) -> int:
        return main(["forecast", "--config", str(self.home / "costops.toml"), *words])
