"""Feeds that a workspace took in: price catalogues of the clouds, a newer map of litellm's, files of own prices.

    LAKE/raw/_prices/<kind>/...          pages and files as received, by content hash
    LAKE/_state/price-feeds.json         which of them count, in the order in which they were accepted

The book is always made from what ships, what was accepted, and what is configured, in this order: so a change of one
never loses another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import PriceFeed
from costops.flows.sources.api import credentials
from costops.flows.sources.api.client import Api
from costops.flows.sources.api.landing import pull
from costops.flows.sources.api.price_lists import CATALOGUE, CATALOGUES
from costops.flows.tasks.pull import Landing
from costops.flows.tasks.run import Run
from costops.transforms.errors import Usage
from costops.transforms.prices.adopt import Adopted, adopt
from costops.transforms.prices.entry import Price
from costops.transforms.prices.feeds import litellm
from costops.transforms.prices.feeds.listing import Listing

STATE_KEY = "_state/price-feeds.json"
LITELLM, OWN = "litellm", "own"
ROOT = "_prices"


@dataclass(frozen=True)
class Telling:
    """One accepted telling of a feed: its kind and the names of its pages; `over` is what it stood above then."""

    kind: str
    names: tuple[str, ...]
    over: str = ""

    @property
    def digest(self) -> str:
        """What it says, by content: the hashes in the names of its pages, in any order."""
        return sha256(" ".join(sorted(name.rsplit("_", 1)[-1] for name in self.names)).encode()).hexdigest()[:16]


def accepted(lake: Lake) -> list[Telling]:
    """The tellings that count, older ones first."""
    body = lake.store.read(STATE_KEY)
    return [Telling(one["kind"], tuple(one["names"]), one.get("over", "")) for one in json.loads(body)] if body else []


def accept(lake: Lake, telling: Telling) -> None:
    """Let a telling count from now on. Of a map or a file the last one counts, of a catalogue its history."""
    kept = [one for one in accepted(lake) if one.kind in CATALOGUE or one.kind != telling.kind]
    rows = [{"kind": one.kind, "names": list(one.names), "over": one.over} for one in (*kept, telling)]
    lake.store.put(STATE_KEY, json.dumps(rows, indent=1).encode())


def fingerprint(lake: Lake) -> str:
    """What the accepted feeds say, without reading them."""
    return " ".join(f"{one.kind}:{one.digest}" for one in accepted(lake))


def pages(lake: Lake, telling: Telling) -> list[bytes]:
    """The bytes of a telling."""
    landing = Landing(lake, f"{ROOT}/{telling.kind}")
    return [landing.read(name) for name in telling.names]


def listing_of(lake: Lake, telling: Telling) -> Listing:
    """What a telling of a catalogue says."""
    return CATALOGUE[telling.kind].read(pages(lake, telling))


def listings(lake: Lake, told: Sequence[Telling]) -> list[Listing]:
    """What the catalogues among some tellings say, each catalogue's older tellings first."""
    return [listing_of(lake, one) for one in told if one.kind in CATALOGUE]


def map_of(lake: Lake, told: Sequence[Telling]) -> list[Price] | None:
    """The prices of the litellm map taken in, unless another one ships since."""
    mine = [one for one in told if one.kind == LITELLM]
    if not mine:
        return None
    if mine[-1].over != shipped_map():
        LOGGER.info("prices: the litellm map that was taken in is older than the one that ships now, which counts")
        return None
    return list(litellm.read(pages(lake, mine[-1])[0], version="taken in"))


def shipped_map() -> str:
    """Name of the litellm map that ships."""
    return litellm.prices()[0].source


def own_of(lake: Lake, told: Sequence[Telling]) -> list[Price]:
    """Prices of the last YAML file that was taken in."""
    from costops.transforms.prices import reviewed

    mine = [one for one in told if one.kind == OWN]
    return list(reviewed.read(reviewed.parsed(pages(lake, mine[-1])[0]))) if mine else []


def with_catalogues(base: pl.DataFrame, found: Sequence[Listing], recorded_at: Any) -> Adopted:
    """The book with catalogues in it."""
    return adopt(base, found, recorded_at=recorded_at)


def land_file(lake: Lake, kind: str, body: bytes) -> Telling:
    """A file as received, landed."""
    name = f"file/1_{sha256(body).hexdigest()[:16]}{'.json' if kind != OWN else '.yaml'}"
    Landing(lake, f"{ROOT}/{kind}").land(name, body)
    return Telling(kind, (name,), shipped_map() if kind == LITELLM else "")


def kind_of(path: Path, body: bytes) -> str:
    """What a file is: a saved page of a catalogue, litellm's map, or prices in our own form."""
    if path.suffix in (".yaml", ".yml"):
        return OWN
    try:
        told = json.loads(body)
    except ValueError as error:
        raise Usage(f"{path}: not a price feed ({type(error).__name__}: {str(error)[:120]}); expected a page of a price "
                    "catalogue or litellm's price map as .json, or prices as in data/reference/prices as .yaml.") from None
    return next((one.kind for one in CATALOGUES if isinstance(told, dict) and one.holds in told), LITELLM)


def pulled(run: Run, feed: PriceFeed) -> Telling:
    """A catalogue asked for now. Raises `Unreachable` where it does not answer; what had landed is not asked again."""
    catalogue = CATALOGUE[feed.kind]
    api = _client(feed)
    try:
        made = pull(catalogue.chains(api, feed.services), Landing(run.lake, f"{ROOT}/{feed.kind}"),
                    run.now.replace(tzinfo=None, microsecond=0))
    finally:
        api.close()
    return Telling(feed.kind, made.names)


def _client(feed: PriceFeed) -> Api:
    catalogue, key, token = CATALOGUE[feed.kind], None, None
    if feed.api_key_env:
        key = os.environ.get(feed.api_key_env)
        if not key:
            raise Usage(f"price_feeds.{feed.kind}: the environment variable {feed.api_key_env} is not set; set it and "
                        "run again.")
    elif catalogue.needs_key:
        token = credentials.google_token(credentials.CATALOGUE_SCOPE)
    return catalogue.connect(key, token=token, base_url=feed.base_url,
                             key_from=f"${feed.api_key_env}" if feed.api_key_env else "the Google sign-in")
