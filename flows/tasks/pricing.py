"""The book that a run prices with: the lake's own, append only, kept up to date with what ships and is configured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import polars as pl

from costops.flows.runtime.contract import Contract
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import OwnPrice, Settings
from costops.flows.sources.api.price_lists import CATALOGUE
from costops.flows.tasks import price_feeds
from costops.flows.tasks.price_feeds import Telling
from costops.flows.tasks.run import Run
from costops.transforms.errors import Unreachable, Usage
from costops.transforms.prices.adopt import Adopted, listing_refusals
from costops.transforms.prices.book import RECORDED_AT, assemble, book, build, with_overrides
from costops.transforms.prices.compare import record, refusals
from costops.transforms.prices.entry import Price
from costops.transforms.prices.feeds.listing import REASONS
from costops.transforms.tables import CORE_PRICE
from costops.transforms.units import UNIT

STATE_KEY = "_state/book.json"
NEVER = datetime(9999, 1, 1)  # noqa: DTZ001  instants of the lake carry no zone: all are UTC


def fingerprint(settings: Settings, taken: str = "") -> str:
    """What the book is made from, without making it: what ships, the feeds taken in, the configured prices."""
    made = hashlib.sha256()
    made.update(f"{version('llm-costops')} {version('genai-prices')} {taken}".encode())
    for item in sorted((files("costops.data") / "prices").iterdir(), key=lambda one: one.name):
        if item.is_file():
            made.update(item.name.encode() + item.read_bytes())
    for own in settings.prices:
        made.update(own.model_dump_json().encode())
    return made.hexdigest()


def working_book(run: Run) -> pl.DataFrame:
    """The lake's book. Where what it was made from has changed, the new prices are recorded in it first."""
    print_now = fingerprint(run.settings, price_feeds.fingerprint(run.lake))
    body = run.lake.store.read(STATE_KEY)
    known = json.loads(body).get("fingerprint") if body else None
    held = run.lake.read(CORE_PRICE)
    if known == print_now and not held.is_empty():
        return held
    book = _made(run.lake, run.settings, run.now, price_feeds.accepted(run.lake)).book
    if not held.is_empty():
        LOGGER.warning("the price book has changed; `cost-ops reprice` shows what that means for days already priced")
    return _written(run, held, book)


def _written(run: Run, held: pl.DataFrame, book: pl.DataFrame) -> pl.DataFrame:
    """The book in the lake, with what it is made from."""
    made = _recorded(held, book, run.now)
    for part in run.lake.write(CORE_PRICE, made):
        run.partition("price", CORE_PRICE, part)
    now = fingerprint(run.settings, price_feeds.fingerprint(run.lake))
    run.lake.store.put(STATE_KEY, json.dumps({"fingerprint": now}).encode())
    return made


@dataclass(frozen=True)
class Update:
    """What became of a feed: one sentence on what it holds, the reasons against it, and the rows that it added."""

    feed: str
    says: str
    why: list[str]
    added: int = 0
    unmapped: tuple[str, ...] = ()


def take_file(run: Run, path: Path, *, force: bool) -> Update:
    """A file taken in: saved pages of a price catalogue (one file, or a folder of pages), litellm's price map, or
    prices in our own form. With a reason against it, and without `force`, nothing changes.
    """
    try:
        bodies = [one.read_bytes() for one in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    except OSError as error:
        raise Usage(f"{path}: cannot be read ({error.strerror}).") from None
    if not bodies:
        raise Usage(f"{path}: holds no *.json page of a price catalogue.")
    kind = price_feeds.kind_of(path, bodies[0])
    told = [price_feeds.land_file(run.lake, kind, body) for body in bodies]
    telling = replace(told[0], names=tuple(name for one in told for name in one.names))
    try:
        return _taken(run, telling, str(path), force=force)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Usage(f"{path}: not a price feed ({type(error).__name__}: {str(error)[:160]}); expected a page of a price "
                    "catalogue or litellm's price map as .json, or prices as in data/reference/prices as .yaml.") from None


def take_catalogues(run: Run, *, force: bool = False) -> list[Update]:
    """Each configured catalogue asked for and taken in, unless there are reasons against it.

    One that does not answer is named in the run, and the others go on.
    """
    done = []
    for feed in run.settings.price_feeds:
        try:
            done.append(_taken(run, price_feeds.pulled(run, feed), feed.kind, force=force))
        except Unreachable as error:
            run.missed(feed.kind, error)
    return done


def _taken(run: Run, telling: Telling, name: str, *, force: bool) -> Update:
    held, before = working_book(run), price_feeds.accepted(run.lake)
    says, why = name, list[str]()
    unmapped: tuple[str, ...] = ()
    former = [one for one in before if one.kind == telling.kind]
    if telling.kind in CATALOGUE:
        new = price_feeds.listing_of(run.lake, telling)
        says, unmapped = new.summary(), new.unmapped
        why += listing_refusals(price_feeds.listing_of(run.lake, former[-1]) if former else None, new)
    if former and former[-1].digest == telling.digest:
        return Update(name, f"{says}; unchanged", [], 0, unmapped)
    kept = before if telling.kind in CATALOGUE else [one for one in before if one.kind != telling.kind]
    made = _made(run.lake, run.settings, run.now, [*kept, telling])
    why += [*made.jumps, *(refusals(held, made.book) if telling.kind != price_feeds.OWN else [])]
    if made.left_out:
        says += "; not placed: " + ", ".join(f"{count:,} {REASONS[one]}" for one, count in sorted(made.left_out.items()))
    if why and not force:
        return Update(name, says, why, 0, unmapped)
    price_feeds.accept(run.lake, telling)
    after = _written(run, held, made.book)
    return Update(name, says, why, after.height - held.height, unmapped)


def lake_book(lake: Lake, settings: Settings) -> pl.DataFrame:
    """The book to look things up in without writing: the lake's, or the shipped one where the lake has none."""
    held = lake.read(CORE_PRICE)
    return held if not held.is_empty() else _made(lake, settings, None, []).book


def _recorded(held: pl.DataFrame, new: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return new if held.is_empty() else record(held, new, now.replace(tzinfo=None))


def _made(lake: Lake, settings: Settings, now: datetime | None, told: Sequence[Telling]) -> Adopted:
    """The book from what ships, the tellings of feeds, and the configured prices."""
    at = now.replace(tzinfo=None) if now else RECORDED_AT
    taken = price_feeds.map_of(lake, told)
    base = build(assemble(taken), recorded_at=at) if taken is not None else book()
    made = price_feeds.with_catalogues(base, price_feeds.listings(lake, told), at)
    for own in (price_feeds.own_of(lake, told), [price for one in settings.prices for price in _own(one, Price)]):
        if own:
            made = replace(made, book=with_overrides(made.book, own, recorded_at=at))
    return made


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
    """Dated discounts as the multiplier of the effective cost, and throughput that covers what it serves.

    A discount of one unit alone is no factor on a request: the reconciliation applies it. Throughput is taken to serve
    a model or an account as a whole; a contract that names neither says nothing about a request.
    """
    asked = [one for one in contracts if (one.kind == "discount" and one.unit is None)
             or (one.kind == "provisioned" and (one.model_id or one.account_id))]
    rows = [{"provider": one.provider, "model_id": one.model_id, "account_id": one.account_id,
             "valid_from": _instant(one.start), "valid_to": _instant(one.end) if one.end else NEVER,
             "multiplier": (Decimal(100) - one.discount_pct) / 100, "name": one.name,
             "covers": one.kind == "provisioned"} for one in asked]
    schema = {"provider": pl.String(), "model_id": pl.String(), "account_id": pl.String(),
              "valid_from": pl.Datetime("us"), "valid_to": pl.Datetime("us"), "multiplier": pl.Decimal(18, 6),
              "name": pl.String(), "covers": pl.Boolean()}
    return pl.DataFrame(rows, schema=schema) if rows else None


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"{text!r}: a date is written YYYY-MM-DD, an instant as ISO 8601.") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


