"""The book that a run prices with: the lake's own, append only, kept up to date with what ships and is configured."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import Contract, OwnPrice, Settings
from costops.flows.tasks.run import Run
from costops.transforms.errors import Usage
from costops.transforms.tables import CORE_PRICE
from costops.transforms.units import UNIT

STATE_KEY = "_state/book.json"
NEVER = datetime(9999, 1, 1)  # noqa: DTZ001  instants of the lake carry no zone: all are UTC


def fingerprint(settings: Settings) -> str:
    """What the shipped book and the configured prices are made from, without making them."""
    made = hashlib.sha256()
    made.update(f"{version('llm-costops')} {version('genai-prices')} ".encode())
    for item in sorted((files("costops.data") / "prices").iterdir(), key=lambda one: one.name):
        if item.is_file():
            made.update(item.name.encode() + item.read_bytes())
    for own in settings.prices:
        made.update(own.model_dump_json().encode())
    return made.hexdigest()


def working_book(run: Run) -> pl.DataFrame:
    """The lake's book. Where what it was made from has changed, the new prices are recorded in it first."""
    lake, print_now = run.lake, fingerprint(run.settings)
    body = lake.store.read(STATE_KEY)
    known = json.loads(body).get("fingerprint") if body else None
    held = lake.read(CORE_PRICE)
    if known == print_now and not held.is_empty():
        return held
    made = _recorded(held, _shipped(run.settings, run.now), run.now)
    for part in lake.write(CORE_PRICE, made):
        run.partition("price", CORE_PRICE, part)
    lake.store.put(STATE_KEY, json.dumps({"fingerprint": print_now}).encode())
    if not held.is_empty():
        LOGGER.warning("the price book has changed; `cost-ops reprice` shows what that means for days already priced")
    return made


def take_feed(run: Run, held: pl.DataFrame, path: Path, *, force: bool) -> tuple[pl.DataFrame, list[str]]:
    """The book after a feed's file: litellm's price map (.json) or prices in our own form (.yaml).

    Also the reasons for which it should not be taken in; with any, and without `force`, nothing is written.
    """
    from costops.transforms.prices.compare import record, refusals

    new = _with_feed(run.settings, path, run.now)
    why = refusals(held, new)
    if why and not force:
        return held, why
    made = record(held, new, run.now.replace(tzinfo=None))
    for part in run.lake.write(CORE_PRICE, made):
        run.partition("price", CORE_PRICE, part)
    return made, why


def _with_feed(settings: Settings, path: Path, now: datetime) -> pl.DataFrame:
    import yaml

    from costops.transforms.prices import reviewed
    from costops.transforms.prices.book import assemble, build, with_overrides
    from costops.transforms.prices.feeds import litellm

    recorded = now.replace(tzinfo=None)
    try:
        body = path.read_bytes()
        if path.suffix == ".json":
            told = list(litellm.read(body, version=f"file {path.name}"))
            return build(assemble(told), recorded_at=recorded)
        return with_overrides(_shipped(settings, now), list(reviewed.read(yaml.safe_load(body))), recorded_at=recorded)
    except OSError as error:
        raise Usage(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise Usage(f"{path}: not a price feed ({type(error).__name__}: {str(error)[:160]}); expected litellm's "
                    "price map as .json, or prices as in data/reference/prices as .yaml.") from None


def lake_book(lake: Lake, settings: Settings) -> pl.DataFrame:
    """The book to look things up in without writing: the lake's, or the shipped one where the lake has none."""
    held = lake.read(CORE_PRICE)
    return held if not held.is_empty() else _shipped(settings, None)


def _recorded(held: pl.DataFrame, new: pl.DataFrame, now: datetime) -> pl.DataFrame:
    from costops.transforms.prices.compare import record

    return new if held.is_empty() else record(held, new, now.replace(tzinfo=None))


def _shipped(settings: Settings, now: datetime | None) -> pl.DataFrame:
    from costops.transforms.prices.book import RECORDED_AT, book, with_overrides
    from costops.transforms.prices.entry import Price

    own: list[Price] = [price for one in settings.prices for price in _own(one, Price)]
    if not own:
        return book()
    return with_overrides(book(), own, recorded_at=now.replace(tzinfo=None) if now else RECORDED_AT)


def _own(one: OwnPrice, price: type) -> list:  # type: ignore[type-arg]
    """The configured prices of one model, per million tokens or per unit as `per` says."""
    made = []
    for unit, figure in one.usd.items():
        if unit not in UNIT:
            raise Usage(f"prices.{one.model_id}.usd: {unit!r} is no unit; known are {', '.join(UNIT)}.")
        try:
            amount = Decimal(figure)
        except InvalidOperation:
            raise Usage(f"prices.{one.model_id}.usd.{unit}: {figure!r} is no decimal number.") from None
        window = {"valid_from": _instant(one.valid_from)} if one.valid_from else {}
        made.append(price(provider=one.provider, model_id=one.model_id, unit=unit, price_usd=amount,
                          per=one.per or UNIT[unit].per, source="configuration", service_tier=one.service_tier,
                          date_basis="stated", **window))
    return made


def contracts_frame(contracts: tuple[Contract, ...]) -> pl.DataFrame | None:
    """Dated discounts as the multiplier of the effective cost."""
    rows = [{"provider": one.provider, "model_id": one.model_id, "account_id": None,
             "valid_from": _instant(one.start), "valid_to": _instant(one.end) if one.end else NEVER,
             "multiplier": (Decimal(100) - one.discount_pct) / 100, "name": one.name}
            for one in contracts if one.kind == "discount"]
    schema = {"provider": pl.String(), "model_id": pl.String(), "account_id": pl.String(),
              "valid_from": pl.Datetime("us"), "valid_to": pl.Datetime("us"), "multiplier": pl.Decimal(18, 6),
              "name": pl.String()}
    return pl.DataFrame(rows, schema=schema) if rows else None


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"{text!r}: a date is written YYYY-MM-DD, an instant as ISO 8601.") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


