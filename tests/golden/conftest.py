"""Golden rows as usage."""

from __future__ import annotations

import csv
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import shared_data

_REGIONS = ("inference_geo", "vertex_location", "data_residency", "region")
_EXTRAS = {"input_audio_tokens": "audio_input_tokens", "output_audio_tokens": "audio_output_tokens",
           "input_image_tokens": "image_input_tokens", "output_image_tokens": "image_output_tokens",
           "web_searches": "web_searches", "audio_seconds": "audio_seconds", "characters": "characters",
           "cache_write_12h_tokens": "cache_write_12h_tokens", "citation_tokens": "citation_tokens",
           "pages": "pages", "images": "images"}


def golden_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a golden file."""
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def as_usage(row: dict[str, str]) -> dict[str, Any]:
    """A golden row as a `core_usage` row: disjoint input leaves, extras from the head of its note."""
    extras = dict(part.strip().split("=", 1) for part in _extra_text(row["note"]))
    reads, short, long = (int(row[name] or 0) for name in (
        "cached_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"))
    longest = int(extras.get("cache_write_12h_tokens", 0))
    total = int(row["input_tokens"])
    usage: dict[str, Any] = {
        "provider": "gcp.vertex_ai" if "vertex_location" in extras else row["provider"], "model_id": row["model"],
        "used_at": datetime.fromisoformat(row["timestamp"]).astimezone(UTC).replace(tzinfo=None),
        "service_tier": row["service_tier"], "cache_read_tokens": reads, "cache_write_5m_tokens": short,
        "cache_write_1h_tokens": long, "output_tokens": int(row["output_tokens"]),
        "reasoning_tokens": int(row["reasoning_tokens"] or 0), "input_tokens": total,
        "uncached_input_tokens": total - reads - short - long - longest,
        "region": next((extras[name] for name in _REGIONS if name in extras), None),
    }
    if extras.get("thinking", "").lower() in {"1", "true", "on", "enabled"} and not usage["reasoning_tokens"]:
        usage["reasoning_tokens"] = 1
    return usage | {_EXTRAS[name]: int(value) for name, value in extras.items() if name in _EXTRAS}


def _extra_text(note: str) -> list[str]:
    parts, _, rest = note.partition("extra:")
    found = []
    if not parts.strip():
        for part in rest.split(";"):
            if "=" not in part or " " in part.strip().split("=")[0]:
                break
            found.append(part)
    return found


@pytest.fixture(scope="session")
def golden() -> list[tuple[dict[str, str], dict[str, Any]]]:
    """(row as published, row as usage)."""
    return [(row, as_usage(row)) for row in golden_rows(Path(__file__).with_name("published_costs.csv"))]


@pytest.fixture(scope="session")
def handed() -> list[tuple[dict[str, str], dict[str, Any]]]:
    """The same of the shared golden costs."""
    return [(row, as_usage(row)) for row in golden_rows(shared_data() / "golden" / "golden_costs.csv")]


@pytest.fixture(scope="session")
def pricing() -> Any:
    """What the price tests of `tests/unit/prices` share."""
    where = Path(__file__).parents[1] / "unit" / "prices" / "conftest.py"
    spec = importlib.util.spec_from_file_location("price_tests", where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Pricing
