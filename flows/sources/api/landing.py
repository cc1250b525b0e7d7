"""Where pulled pages land: as received, named by their content, so that a pull can go on where it stopped.

    <feed>/as_of=<time>/<query>/00001_<sha256>.json ...     pages in order
    <feed>/as_of=<time>/<query>/complete                    written last: the chain of pages has its end

A chain without `complete` was interrupted. The next pull of the same query takes it up under its own `as_of`, asks
for the page after the last one that landed, and no complete page again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from costops.flows.sources.api.client import Answer, Rejected
from costops.transforms.errors import Unreachable

LARGEST_CHAIN = 100_000


class Store(Protocol):
    """A place for pages: names are paths of a source's landing zone."""

    def names(self, prefix: str) -> list[str]:
        """Names that start with the prefix, in order."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of a page."""
        ...

    def land(self, name: str, body: bytes) -> None:
        """Write a page whole or not at all."""
        ...


@dataclass(frozen=True)
class Chain:
    """One query and its pages.

    `first` asks for the first page, `after(page, n)` for the one after page number n: None at the end. `key` names
    the query: the same key is the same question, whenever it is asked. `cursor(page)` is what must never come twice.
    """

    feed: str
    key: str
    first: Callable[[], Answer]
    after: Callable[[Any, int], Callable[[], Answer] | None]
    cursor: Callable[[Any], str | None]

    @property
    def digest(self) -> str:
        """12 hex digits of the key."""
        return sha256(self.key.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Pulled:
    """What a pull came to: names of all pages of its chains, how many were asked for, how many were there before."""

    names: tuple[str, ...]
    asked: int
    kept: int


def pull_chain(chain: Chain, store: Store, as_of: datetime) -> Pulled:
    """All pages of a chain, in the store; an interrupted chain of the same query is finished first."""
    place = _unfinished(chain, store) or f"{chain.feed}/as_of={as_of:%Y-%m-%dT%H%M%SZ}/{chain.digest}"
    if f"{place}/complete" in store.names(place):
        return Pulled(tuple(_pages(place, store)), 0, len(_pages(place, store)))
    names = _pages(place, store)
    kept = len(names)
    seen: set[str] = set()
    ask: Callable[[], Answer] | None = chain.first
    if names:
        for name in names:
            told = json.loads(store.read(name))
            seen.add(chain.cursor(told) or "")
        ask = chain.after(told, kept)
    resumed = kept > 0
    while ask is not None:
        try:
            answer = ask()
        except Rejected:
            if not resumed:
                raise
            # the cursor of an old chain has expired: the question is asked anew, under the present time
            store.land(f"{place}/complete", b'{"abandoned": true}')
            return pull_chain(chain, store, as_of)
        resumed = False
        names.append(f"{place}/{len(names) + 1:05d}_{sha256(answer.body).hexdigest()[:16]}.json")
        cursor = chain.cursor(answer.told)
        if cursor and cursor in seen:
            raise Unreachable(f"{chain.feed}: the provider gives the same next page again and again; "
                              f"{len(names) - 1} pages are kept. Run again later, or ask for a shorter window.")
        store.land(names[-1], answer.body)
        if len(names) > LARGEST_CHAIN:
            raise Unreachable(f"{chain.feed}: more than {LARGEST_CHAIN} pages; ask for a shorter window.")
        seen.add(cursor or "")
        ask = chain.after(answer.told, len(names))
    store.land(f"{place}/complete", json.dumps({"pages": len(names)}).encode())
    return Pulled(tuple(names), len(names) - kept, kept)


def pull(chains: Iterator[Chain] | list[Chain], store: Store, as_of: datetime) -> Pulled:
    """All chains, one after the other."""
    names: list[str] = []
    asked = kept = 0
    for chain in chains:
        made = pull_chain(chain, store, as_of)
        names += made.names
        asked, kept = asked + made.asked, kept + made.kept
    return Pulled(tuple(names), asked, kept)


def _pages(place: str, store: Store) -> list[str]:
    return sorted(name for name in store.names(place + "/") if name.endswith(".json"))


def _unfinished(chain: Chain, store: Store) -> str | None:
    """The newest place where this query was begun and not finished."""
    names = store.names(f"{chain.feed}/")
    places = {name.rsplit("/", 1)[0] for name in names if f"/{chain.digest}/" in name}
    done = {name.rsplit("/", 1)[0] for name in names if name.endswith("/complete")}
    return max(places - done, default=None)
