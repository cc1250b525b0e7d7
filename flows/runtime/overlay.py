"""A store over another one that keeps every change to itself: what a dry run writes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from costops.flows.runtime.objects import Folder, Listed, Store


class Overlay:
    """Reads from `base`, writes to a local folder; `changed` and `removed` say what would differ."""

    def __init__(self, base: Store, folder: Path) -> None:
        self.base = base
        self.own = Folder(folder)
        self.uri = base.uri
        self.changed: set[str] = set()
        self.removed: set[str] = set()

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """Objects of both, the overlay's own first."""
        own = {item.key: item for item in self.own.list(prefix)}
        below = {item.key: item for item in self.base.list(prefix) if item.key not in self.removed}
        for key in sorted({**below, **own}):
            yield own.get(key) or below[key]

    def read(self, key: str) -> bytes | None:
        """The bytes as they would be."""
        if key in self.changed:
            return self.own.read(key)
        return None if key in self.removed else self.base.read(key)

    def fetch(self, key: str, scratch: Path) -> Path | None:
        """A local file as it would be."""
        if key in self.changed:
            return self.own.fetch(key, scratch)
        return None if key in self.removed else self.base.fetch(key, scratch)

    def put(self, key: str, data: bytes | Path) -> bool:
        """Keep the bytes here; False where they stand in the store already."""
        body = data.read_bytes() if isinstance(data, Path) else data
        if self.read(key) == body:
            return False
        if key not in self.removed and self.base.read(key) == body:     # changed and changed back
            self.changed.discard(key)
            self.own.delete(key)
            return True
        self.own.put(key, body)
        self.changed.add(key)
        self.removed.discard(key)
        return True

    def create(self, key: str, data: bytes) -> bool:
        """Put where there is none."""
        return self.read(key) is None and self.put(key, data)

    def delete(self, key: str) -> None:
        """Hide the object."""
        self.own.delete(key)
        self.changed.discard(key)
        if self.base.read(key) is not None:
            self.removed.add(key)
