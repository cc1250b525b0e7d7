"""The list prices that the truth is worked out with: written by hand, in USD per million tokens.

Source of every figure: the providers' public price pages as collected in genai-prices 0.2.3 (MIT), read once and typed
here so that the truth does not rest on the code under test. `tests/unit/test_samples.py` compares the two. The dates of
the batch, flex and priority rows are the first days for which that collection states them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from making.call import Call

MILLION = Decimal(1_000_000)
ALWAYS = date(2026, 1, 1)
TIERS_KNOWN = date(2026, 10, 12)      # flex and priority
BATCH_KNOWN = date(2026, 10, 14)


@dataclass(frozen=True)
class Price:
    """A price from a day on, for requests of more than `above` input tokens; None where the class is not sold."""

    provider: str
    model: str
    tier: str
    start: date
    uncached: Decimal
    read: Decimal | None
    output: Decimal
    write_5m: Decimal | None = None
    write_1h: Decimal | None = None
    above: int = 0

    def rates(self) -> dict[str, Decimal | None]:
        """The price of each token class."""
        return {"uncached": self.uncached, "read": self.read, "write_5m": self.write_5m, "write_1h": self.write_1h,
                "output": self.output}


def _row(place: str, start: date, figures: str, above: int = 0) -> Price:
    """A row from 'provider model tier' and 'uncached read output [write 5m, write 1h]', '-' for none."""
    provider, model, tier = place.split()
    given = [None if figure == "-" else Decimal(figure) for figure in figures.split()]
    uncached, read, output, write_5m, write_1h = (*given, None, None)[:5]
    if uncached is None or output is None:
        raise ValueError(f"{place}: a price needs uncached input and output")
    return Price(provider, model, tier, start, uncached, read, output, write_5m, write_1h, above)


PRICES: tuple[Price, ...] = (
    _row("openai gpt-4o-2024-08-06 standard", ALWAYS, "2.5 1.25 10"),
    _row("openai gpt-4o-mini-2024-07-18 standard", ALWAYS, "0.15 0.075 0.6"),
    _row("openai gpt-4o-mini-2024-07-18 batch", BATCH_KNOWN, "0.075 - 0.3"),     # no cached batch rate is published
    _row("openai gpt-5-mini-2025-08-07 standard", ALWAYS, "0.25 0.025 2"),
    _row("openai gpt-5-mini-2025-08-07 flex", TIERS_KNOWN, "0.125 0.0125 1"),
    _row("openai gpt-5-mini-2025-08-07 batch", BATCH_KNOWN, "0.125 0.0125 1"),
    _row("openai gpt-5.2-2025-12-11 standard", ALWAYS, "1.75 0.175 14"),
    _row("openai gpt-5.2-2025-12-11 priority", TIERS_KNOWN, "3.5 0.35 28"),
    _row("openai gpt-5.2-2025-12-11 batch", BATCH_KNOWN, "0.875 0.0875 7"),
    _row("anthropic claude-opus-4-5-20251101 standard", ALWAYS, "5 0.5 25 6.25 10"),
    _row("anthropic claude-opus-4-5-20251101 batch", BATCH_KNOWN, "2.5 0.25 12.5 3.125 5"),
    _row("anthropic claude-sonnet-4-5-20250929 standard", ALWAYS, "3 0.3 15 3.75 6"),
    _row("anthropic claude-sonnet-4-5-20250929 standard", ALWAYS, "6 0.6 22.5 7.5 12", above=200_000),
    _row("anthropic claude-haiku-4-5-20251001 standard", ALWAYS, "1 0.1 5 1.25 2"),
    _row("anthropic claude-haiku-4-5-20251001 batch", BATCH_KNOWN, "0.5 0.05 2.5 0.625 1"),
    _row("aws.bedrock global.anthropic.claude-haiku-4-5-20251001-v1:0 standard", ALWAYS, "1 0.1 5 1.25 2"),
    _row("aws.bedrock amazon.nova-lite-v1:0 standard", ALWAYS, "0.06 0.015 0.24"),
    _row("gcp.gemini gemini-2.5-pro standard", ALWAYS, "1.25 0.125 10"),
    _row("gcp.gemini gemini-2.5-pro standard", ALWAYS, "2.5 0.25 15", above=200_000),
    _row("gcp.gemini gemini-2.5-flash standard", ALWAYS, "0.3 0.03 2.5"),
    _row("gcp.vertex_ai gemini-2.5-flash standard", ALWAYS, "0.3 0.03 2.5"),
    _row("gcp.vertex_ai gemini-2.5-flash-lite standard", ALWAYS, "0.1 0.01 0.4"),
    _row("azure.ai.openai gpt-4o-2024-11-20 standard", ALWAYS, "2.5 1.25 10"),
    _row("azure.ai.openai gpt-4o-mini-2024-07-18 standard", ALWAYS, "0.15 0.075 0.6"),
    _row("mistral_ai mistral-large-4 standard", ALWAYS, "0.68 0.07 2.09"),
    _row("mistral_ai mistral-large-4 standard", date(2026, 10, 20), "1.36 0.14 4.18"),
    _row("mistral_ai mistral-large-4 standard", date(2026, 10, 29), "0.7 0.07 2.1"),
    _row("mistral_ai mistral-large-2512 standard", ALWAYS, "0.5 0.05 1.5"),
    _row("groq openai/gpt-oss-120b standard", ALWAYS, "0.15 0.075 0.6"),
    _row("groq llama-3.3-70b-versatile standard", ALWAYS, "0.59 - 0.79"),
    _row("x_ai grok-3 standard", ALWAYS, "3 0.75 15"),
    _row("x_ai grok-code-fast-1 standard", ALWAYS, "0.2 0.02 1.5"),
)

UNPRICED_MODEL = "orion-preview-2026-09"
BILLED_ONLY = _row(f"openai {UNPRICED_MODEL} standard", ALWAYS, "2 0.2 8")   # its maker bills it, no list knows it


def price_of(call: Call) -> Price | None:
    """The price in force for a call: newest start not after its day, highest context step that its input exceeds."""
    fits = [price for price in PRICES
            if (price.provider, price.model, price.tier) == (call.provider, call.model, call.tier)
            and price.start <= call.day and call.total > price.above]
    return max(fits, key=lambda price: (price.start, price.above), default=None)


def billed_price(call: Call) -> Price:
    """The price that the issuer bills, also where no list has one."""
    price = price_of(call) or (BILLED_ONLY if call.model == UNPRICED_MODEL else None)
    if price is None:
        raise LookupError(f"no price for {call.provider} {call.model} {call.tier} on {call.day}")
    return price


def parts(call: Call, price: Price) -> dict[str, tuple[int, Decimal, Decimal]]:
    """Tokens, USD per million and USD of every class that was used."""
    used = {"uncached": call.uncached, "read": call.read, "write_5m": call.write_5m, "write_1h": call.write_1h,
            "output": call.output}
    made: dict[str, tuple[int, Decimal, Decimal]] = {}
    for name, rate in price.rates().items():
        if not used[name]:
            continue
        if rate is None:
            raise LookupError(f"{call.model} {call.tier} has no price for {name}, and a call used it")
        made[name] = (used[name], rate, used[name] * rate / MILLION)
    return made


def cost(call: Call) -> Decimal | None:
    """What a call costs at list price, exactly; None where no list knows the model."""
    price = price_of(call)
    return None if price is None else sum((usd for _, _, usd in parts(call, price).values()), Decimal(0))


def billed(call: Call) -> Decimal:
    """What the issuer bills for a call, exactly."""
    return sum((usd for _, _, usd in parts(call, billed_price(call)).values()), Decimal(0))
