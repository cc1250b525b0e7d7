"""What a cloud's price catalogue tells, in one shape whichever cloud it is: a line for each SKU that usage can name.

A catalogue is its owner's word on what it sells, and on nothing else: SKUs that no usage row counts, or whose text
is not understood, are counted by reason and never guessed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from costops.transforms.errors import Usage
from costops.transforms.prices.entry import EVER, NEVER

UNMAPPED = "unmapped"
REASONS: Mapping[str, str] = {
    UNMAPPED: "text not understood", "other_service": "no model service", "by_time": "priced by the hour",
    "commitment": "a reservation or commitment", "regional_deployment": "a deployment that usage does not tell apart",
    "other_mode": "latency-optimized or customized models", "tiered": "a price by volume",
    "no_price": "zero or no dollar price", "preview": "a preview beside the released model",
    "contradictory": "two prices of one thing", "long_without_bound": "a long context whose bound is not known",
}
"""Why a SKU is left out, in words."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: `price_usd` dollars for `per` units, under the names that a usage row would have.

    `region` is what a row tells (None: any); `context` is `long` above the model's bound.
    """

    sku: str
    provider: str
    model_id: str
    unit: str
    price_usd: Decimal
    per: int
    region: str | None = None
    service_tier: str = "standard"
    context: str = ""
    valid_from: datetime = EVER
    valid_to: datetime = NEVER
    text: str = ""


@dataclass(frozen=True)
class Listing:
    """One telling of a catalogue: its lines, when its newest part was published, and what was left out, by reason."""

    source: str
    published: datetime
    lines: tuple[Line, ...]
    skus: int
    left_out: Mapping[str, int]
    unmapped: tuple[str, ...] = ()

    def summary(self) -> str:
        """One sentence for a person."""
        models = len({(line.provider, line.model_id) for line in self.lines})
        out = ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in sorted(self.left_out.items()))
        return (f"{self.source}: {len(self.lines):,} prices of {models:,} models from {self.skus:,} SKUs"
                + (f"; left out: {out}" if out else ""))


@dataclass
class Reading:
    """A catalogue while it is read."""

    source: str
    lines: list[Line] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unmapped: set[str] = field(default_factory=set)
    published: datetime = EVER
    skus: int = 0

    def leave(self, reason: str, text: str = "") -> None:
        """Count a SKU that is not taken."""
        self.left_out[reason] += 1
        if reason == UNMAPPED and text:
            self.unmapped.add(text)

    def listing(self) -> Listing:
        """What was read. A catalogue of which nothing was understood is refused: it is something else."""
        if not self.lines:
            raise Usage(f"{self.source}: none of its {self.skus} SKUs is the price of a model; check the service or file.")
        return Listing(self.source, self.published, tuple(self.lines), self.skus, dict(self.left_out),
                       tuple(sorted(self.unmapped)))


def opened(page: bytes, source: str, *keys: str) -> Mapping[str, Any]:
    """A page as JSON with exact figures; refused where it lacks one of the keys."""
    try:
        told = json.loads(page, parse_float=Decimal)
    except ValueError as error:
        raise Usage(f"{source}: a page is no JSON: {error}.") from None
    if not isinstance(told, dict) or not all(key in told for key in keys):
        raise Usage(f"{source}: a page lacks {' and '.join(keys)}; it is no answer of this catalogue.")
    return told


def moment(text: str | None) -> datetime:
    """UTC without a zone of a catalogue's time stamp; `EVER` where there is none."""
    if not text:
        return EVER
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"price catalogue: {text!r} is no time stamp.") from None
    return (at.astimezone(UTC) if at.tzinfo else at).replace(tzinfo=None)


def in_dollars(currency: str | None, source: str) -> None:
    """Refuse figures in another currency: the clouds state them for reference only."""
    if currency != "USD":
        raise Usage(f"{source}: prices are in {currency}; ask for USD, the currency in which they are set.")
