"""One billed request, before any file format."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
FIRST_DAY = date(2026, 9, 1)
DAYS = 60
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)


@dataclass(frozen=True)
class Call:
    """What one request used, in token classes that do not overlap; reasoning is a part of the output."""

    source: str
    key: str
    at_us: int
    provider: str
    model: str
    tier: str
    team: str | None
    uncached: int
    read: int
    write_5m: int
    write_1h: int
    output: int
    reasoning: int

    @property
    def total(self) -> int:
        """All input: uncached, cache reads and cache writes."""
        return self.uncached + self.read + self.write_5m + self.write_1h

    @property
    def day(self) -> date:
        """The UTC day of use."""
        return day_of(self.at_us)

    @property
    def hour(self) -> int:
        """The UTC hour of use."""
        return self.at_us % DAY_US // 3_600_000_000

    @property
    def second(self) -> int:
        """Unix seconds."""
        return self.at_us // 1_000_000


def day_of(at_us: int) -> date:
    """The UTC day of an instant."""
    return (EPOCH + timedelta(microseconds=at_us)).date()


def start_us(day: date) -> int:
    """Midnight UTC of a day."""
    return (day - EPOCH.date()).days * DAY_US


def hexed(*parts: object) -> str:
    """32 hexadecimal digits that belong to these parts alone."""
    return sha256("/".join(str(part) for part in parts).encode()).hexdigest()[:32]


def stamp(at_us: int, offset_minutes: int = 0, digits: int = 6) -> str:
    """ISO 8601: with Z in UTC, else with the offset."""
    local = EPOCH + timedelta(microseconds=at_us, minutes=offset_minutes)
    micros = f"{local.microsecond:06d}0"[:digits]
    text = f"{local:%Y-%m-%dT%H:%M:%S}" + (f".{micros}" if digits else "")
    if not offset_minutes:
        return text + "Z"
    hours, minutes = divmod(abs(offset_minutes), 60)
    return f"{text}{'-' if offset_minutes < 0 else '+'}{hours:02d}:{minutes:02d}"
