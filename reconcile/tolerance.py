"""How far two sums may differ: FOCUS 1.4 for invoices, and our gate for what is left unexplained."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

from costops.reconcile.currency import minor_unit

SHARE = Decimal("0.0005")
PER_LINE = Decimal("0.005")
"""Our gate: 0.05 % of what is billed, or half a cent for each line of the bill, whichever is more."""


def invoice_tolerance(rows: int, currency: str = "USD") -> Decimal:
    """How far an invoice and its `rows` bill rows may differ: max(100 subunits, half a subunit x sqrt(rows)).

    FOCUS 1.4, InvoiceDetail. The subunit is the currency's minor unit: 0.01 USD, 1 JPY, 0.001 KWD.
    """
    unit = minor_unit(currency)
    with localcontext() as context:
        context.prec = 40
        return max(100 * unit, unit / 2 * Decimal(rows).sqrt())


def agrees(difference: Decimal, rows: int, currency: str = "USD") -> bool:
    """True where a difference between an invoice and its rows is within FOCUS's tolerance."""
    return abs(difference) <= invoice_tolerance(rows, currency)


@dataclass(frozen=True)
class Gate:
    """Whether a month's unexplained money is small enough, and by what figures."""

    billed_usd: Decimal
    lines: int
    unexplained_usd: Decimal
    unpriced_low_usd: Decimal
    unpriced_high_usd: Decimal | None
    allowed_usd: Decimal
    passed: bool
    reason: str


def plain(amount: Decimal) -> str:
    """An amount without the zeros behind it."""
    return f"{amount.normalize():f}" if amount else "0"


def gate(billed_usd: Decimal, lines: int, unexplained_usd: Decimal, *, unpriced_low_usd: Decimal = Decimal(0),
         unpriced_high_usd: Decimal | None = Decimal(0), share: Decimal = SHARE) -> Gate:
    """The gate of a month. `unexplained_usd` is the sum of absolute amounts, so that two errors do not cancel.

    Unpriced usage that no bill prices enters as a range: where its width alone is more than what is allowed, or where
    it has no upper end, the gate fails.
    """
    allowed = max(share * abs(billed_usd), PER_LINE * lines)
    width = None if unpriced_high_usd is None else unpriced_high_usd - unpriced_low_usd
    if width is None:
        passed, reason = False, "usage without a price has no upper bound: add its price"
    elif unexplained_usd > allowed:
        passed, reason = False, f"{plain(unexplained_usd)} USD is unexplained, {plain(allowed)} is allowed"
    elif unexplained_usd + width > allowed:
        dearest = plain(unpriced_low_usd + width)
        passed, reason = False, (f"usage without a price may cost {plain(unpriced_low_usd)} to {dearest} USD, "
                                 f"{plain(allowed)} is allowed")
    else:
        passed, reason = True, f"{plain(unexplained_usd)} USD is unexplained, {plain(allowed)} is allowed"
    return Gate(billed_usd, lines, unexplained_usd, unpriced_low_usd, unpriced_high_usd, allowed, passed, reason)
