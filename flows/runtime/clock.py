"""The one clock. Everything below flows gets the time as a value."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime

from costops.transforms.errors import Usage


def now() -> datetime:
    """This instant in UTC; `COSTOPS_NOW` (ISO 8601) sets it, so that a run can be repeated exactly."""
    fixed = os.environ.get("COSTOPS_NOW")
    if fixed:
        try:
            moment = datetime.fromisoformat(fixed)
        except ValueError:
            raise Usage(f"COSTOPS_NOW {fixed!r}: a time is written as in 2026-10-31T06:00:00+00:00.") from None
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.now(UTC)


def today() -> date:
    """Today's UTC day."""
    return now().date()
