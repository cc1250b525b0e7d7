"""`[[contracts]]` of the configuration."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


def iso_day(value: str | None) -> str | None:
    """A day as it was written; refused if it is none."""
    try:
        if value is not None:
            date.fromisoformat(value[:10])
    except ValueError:
        raise ValueError(f"{value!r}: a day is written YYYY-MM-DD, for example 2026-10-01") from None
    return value


class Contract(BaseModel):
    """A negotiated price: a discount, a commitment, a prepaid credit or provisioned throughput.

    It holds from `start` until before `end`. `amount_usd` is what is committed, granted or paid per `period`;
    `drawn_usd` what was drawn of its first period before the lake begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    provider: str
    kind: Literal["discount", "commitment", "credit", "provisioned"] = "discount"
    start: str
    end: str | None = None
    discount_pct: Decimal = Field(default=Decimal(0), ge=0, le=100)
    model_id: str | None = None
    unit: str | None = None
    account_id: str | None = None
    amount_usd: Decimal = Field(default=Decimal(0), ge=0)
    period: Literal["month", "year", "once"] | None = None
    drawn_usd: Decimal = Field(default=Decimal(0), ge=0)

    @field_validator("start", "end")
    @classmethod
    def _days(cls, value: str | None) -> str | None:
        return iso_day(value)

    @model_validator(mode="after")
    def _whole(self) -> Contract:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"contract {self.name!r} ends on {self.end}, before it starts on {self.start}: `end` is "
                             "the first day on which it no longer holds")
        if self.kind == "discount" and not self.discount_pct:
            raise ValueError(f"contract {self.name!r} needs a `discount_pct`")
        if self.kind != "discount" and not self.amount_usd:
            raise ValueError(f"contract {self.name!r} needs an `amount_usd`: a {self.kind} without an amount says nothing")
        return self

    @property
    def every(self) -> str:
        """The period of the amount: a credit is granted once, all else is by the month, where nothing is said."""
        return self.period or ("once" if self.kind == "credit" else "month")
