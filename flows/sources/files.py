"""Files as delivered: found by pattern, hashed, unpacked within limits, and read by line number for findings."""

from __future__ import annotations

import csv
import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import zstandard

from costops.flows.runtime.bucket import Bucket
from costops.flows.runtime.objects import Folder, Listed, Store, open_store
from costops.transforms.errors import Unreachable

LARGEST_LINE = 16 << 20
"""A record longer than this is set aside: no provider writes one without its prompt."""

MOST_UNPACKED = 64 << 30
MOST_RATIO = 400
_RATIO_FREE = 256 << 20
"""An archive may unpack to this much whatever its ratio; beyond it, to `MOST_RATIO` times its own size."""

_PIECE = 1 << 20
_LOCAL_SCHEMES = re.compile(r"^[a-z][a-z0-9+]*://")


@dataclass(frozen=True)
class Found:
    """An input that a pattern matched: where it is, and its name relative to the configuration."""

    store: Store
    listed: Listed
    uri: str


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a file as a whole: `records` lines were lost by it, at `line`."""

    reason: str
    detail: str
    records: int = 0
    line: int | None = None


@dataclass
class Prepared:
    """A plain local file ready to be read, with the hash of the bytes as delivered."""

    found: Found
    path: Path
    sha256: str
    troubles: list[Trouble] = field(default_factory=list)


def find(uri: str, home: Path) -> list[Found]:
    """Every file that a path, folder, pattern or `s3://` prefix names, in name order.

    Hidden files and folders are passed over. A pattern may match nothing; a place that is named must be there.
    """
    bucket = bool(_LOCAL_SCHEMES.match(uri))
    root, pattern = _split(uri if bucket else str(home / Path(uri).expanduser()), bucket=bucket)
    store = open_store(root)
    if isinstance(store, Folder):
        target = store.root / pattern if pattern else store.root
        if not _has_glob(pattern):
            if not target.exists():
                raise Unreachable(f"{uri}: no such file or folder (looked in {home}); mend the source's `uri`.")
            if target.is_dir():
                store, pattern = Folder(target), "**"
    if pattern == "":
        pattern = "**"
    matcher = re.compile(_regex(pattern))
    prefix = "" if isinstance(store, Folder) else _prefix(pattern)
    listed = list(store.list(prefix))
    if not listed and prefix == pattern:            # it names one object, which no listing of folders finds
        listed = [item for item in store.list(prefix[: prefix.rfind("/") + 1]) if item.key == pattern]
    return [Found(store, item, _name(store, item, home)) for item in listed
            if matcher.fullmatch(item.key) and not _hidden(item.key.removeprefix(prefix))]


def _hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def prepare(found: Found, scratch: Path) -> Prepared:
    """Fetch, hash and unpack one input. A damaged archive gives its whole lines and a `Trouble`."""
    name = hashlib.sha256(found.uri.encode()).hexdigest()[:24]
    local = found.store.fetch(found.listed.key, scratch / "fetched")
    if local is None:
        raise Unreachable(f"{found.uri}: listed, but gone when read; run again.")
    try:
        if _packed(found.uri):
            return _unpack(found, local, scratch / f"{name}.plain")
        digest = _hash(local)
    except PermissionError:
        raise Unreachable(f"{found.uri}: no right to read it; mend the rights, then run again.") from None
    return Prepared(found, local, digest)


def short_lines(prepared: Prepared, scratch: Path) -> Prepared:
    """The same input with each overlong line replaced by an empty object's worth of nothing, and reported.

    Only for files on which the reader gave up: it copies the file once, in pieces, with flat memory. Lines of CSV get
    one kind of end: the reader takes no file that mixes them.
    """
    one_end = is_csv(prepared.found.uri)
    target = scratch / f"{hashlib.sha256(prepared.found.uri.encode()).hexdigest()[:24]}.short"
    troubles = list(prepared.troubles)
    with prepared.path.open("rb") as source, target.open("wb") as out:
        number, length, dropped = 1, 0, False
        while piece := source.readline(_PIECE):
            length += len(piece)
            if length > LARGEST_LINE and not dropped:
                dropped = True
                troubles.append(Trouble("line_too_long", f"a line of more than {LARGEST_LINE >> 20} MiB", 0, number))
            if not dropped:
                out.write(piece.replace(b"\r\n", b"\n").replace(b"\r", b" ") if one_end else piece)
            if piece.endswith(b"\n"):
                if dropped:
                    out.write(b"?\n")
                number, length, dropped = number + 1, 0, False
        if dropped:
            out.write(b"?\n")
    return Prepared(prepared.found, target, prepared.sha256, troubles)


def lines(path: Path, wanted: set[int]) -> dict[int, tuple[int, str]]:
    """Raw text of some records: record number -> (line number in the file, first 4,000 characters)."""
    found: dict[int, tuple[int, str]] = {}
    last = max(wanted, default=0)
    record = 0
    with path.open("rb") as handle:
        for number, text in _short_lines(handle):
            if not text.strip():
                continue
            record += 1
            if record in wanted:
                found[record] = (number, text[:4000].decode("utf-8", "replace"))
            if record >= last:
                break
    return found


def count_lines(path: Path) -> int:
    """Non-empty lines of a file."""
    with path.open("rb") as handle:
        return sum(1 for _, text in _short_lines(handle) if text.strip())


def file_day(uri: str) -> date | None:
    """The day that an input's name tells, the last one in it: 2026-10-01, 20261001T..., y=2026/m=10/d=01."""
    patterns = (r"(20\d\d)-(\d\d)-(\d\d)", r"(?<!\d)(20\d\d)(\d\d)(\d\d)(?!\d)", r"/(20\d\d)/(\d\d)/(\d\d)(?=/)",
                r"y=(20\d\d)/m=(\d\d)/d=(\d\d)")
    for pattern in patterns:
        for match in reversed(list(re.finditer(pattern, uri))):
            try:
                return date(int(match[1]), int(match[2]), int(match[3]))
            except ValueError:
                continue
    return None


def file_hour(uri: str) -> datetime | None:
    """The hour that an input's folders tell: /2026/10/01/05/, y=2026/m=10/d=01/h=05; None where they tell only a day."""
    for pattern in (r"/(20\d\d)/(\d\d)/(\d\d)/(\d\d)(?=/)", r"y=(20\d\d)/m=(\d\d)/d=(\d\d)/h=(\d\d)"):
        if match := re.search(pattern, uri):
            with suppress(ValueError):
                year, month, day, hour = (int(part) for part in match.groups())
                return datetime.combine(date(year, month, day), time(hour))
    return None


def is_csv(uri: str) -> bool:
    """True where a file's name says that it holds comma-separated values."""
    return uri.removesuffix(".gz").removesuffix(".zst").endswith(".csv")


def csv_header(path: Path) -> tuple[str, ...]:
    """The names in a CSV file's first record; a column without a name is called by its number."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        names = next(csv.reader(handle), [])
    return tuple(name or f"column_{number}" for number, name in enumerate(names, 1))


def lines_at(path: Path, places: Sequence[int]) -> list[int]:
    """The numbers of the lines that begin at these places in bytes, given in order."""
    numbers, line, done = [], 1, 0
    with path.open("rb") as handle:
        for place in places:
            while done < place:
                piece = handle.read(min(place - done, _PIECE))
                line, done = line + piece.count(b"\n"), done + len(piece) or place
            numbers.append(line)
    return numbers


def _short_lines(handle: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, each cut to one piece."""
    number, start = 1, b""
    while piece := handle.readline(_PIECE):
        start = start or piece
        if piece.endswith(b"\n"):
            yield number, start
            number, start = number + 1, b""
    if start:
        yield number, start


def _packed(uri: str) -> bool:
    return uri.endswith((".gz", ".zst"))


def _unpack(found: Found, packed: Path, target: Path) -> Prepared:
    """Unpack gzip or zstd in pieces; keep whole lines only, stop at the limits."""
    target.parent.mkdir(parents=True, exist_ok=True)
    troubles: list[Trouble] = []
    limit = min(MOST_UNPACKED, max(_RATIO_FREE, MOST_RATIO * found.listed.size))
    written, tail = 0, b""
    with packed.open("rb") as source, target.open("wb") as out:
        try:
            for piece in _zstd_pieces(source) if found.uri.endswith(".zst") else _gzip_pieces(source):
                written += len(piece)
                if written > limit:
                    troubles.append(Trouble("archive_bomb", f"unpacks to more than {limit >> 20} MiB from "
                                            f"{found.listed.size} bytes"))
                    out.truncate(0)
                    tail = b""
                    break
                cut = piece.rfind(b"\n") + 1
                if cut:
                    out.write(tail)
                    out.write(piece[:cut])
                    tail = piece[cut:]
                elif len(tail) <= LARGEST_LINE:
                    tail += piece
            out.write(tail)
        except (zlib.error, zstandard.ZstdError, EOFError) as error:
            troubles.append(Trouble("cut_archive", f"the archive ends too early or is damaged ({error})",
                                    1 if tail.strip() else 0))
    return Prepared(found, target, _hash(packed), troubles)


def _gzip_pieces(source: BinaryIO) -> Iterator[bytes]:
    """Plain bytes of one or more gzip members, at most a piece at a time."""
    engine = zlib.decompressobj(wbits=31)
    fresh = True
    while packed := source.read(_PIECE):
        while packed:
            fresh = False
            piece = engine.decompress(packed, _PIECE)
            if piece:
                yield piece
            if engine.eof:
                packed = engine.unused_data.lstrip(b"\0")
                engine, fresh = zlib.decompressobj(wbits=31), True
            else:
                packed = engine.unconsumed_tail
    if not fresh:
        raise EOFError("no end of stream")


def _zstd_pieces(source: BinaryIO) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(source, read_across_frames=True)
    while piece := reader.read(_PIECE):
        yield piece


def _hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _has_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _split(uri: str, *, bucket: bool) -> tuple[str, str]:
    """A store's root and the pattern below it: the folders before the first one with a wildcard."""
    if bucket:
        scheme, rest = uri.split("://", 1)
        name, _, pattern = rest.partition("/")
        return f"{scheme}://{name}", pattern
    parts = PurePosixPath(uri).parts
    first = next((place for place, part in enumerate(parts) if _has_glob(part)), len(parts) - 1)
    return str(PurePosixPath(*parts[:first])), "/".join(parts[first:])


def _prefix(pattern: str) -> str:
    """The part of a bucket pattern that a listing can use: whole folders before the first wildcard."""
    if not _has_glob(pattern):
        return pattern
    plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return plain[: plain.rfind("/") + 1]


def _regex(pattern: str) -> str:
    """`*` within a folder, `**` over folders, `?` one character; a pattern that ends in a folder takes all in it."""
    made, place = "", 0
    while place < len(pattern):
        if pattern.startswith("**/", place):
            made, place = made + "(?:[^/]+/)*", place + 3
        elif pattern.startswith("**", place):
            made, place = made + ".*", place + 2
        elif pattern[place] == "*":
            made, place = made + "[^/]*", place + 1
        elif pattern[place] == "?":
            made, place = made + "[^/]", place + 1
        else:
            made, place = made + re.escape(pattern[place]), place + 1
    return made + "(?:/.*)?"


def _name(store: Store, item: Listed, home: Path) -> str:
    """The input's name, the same wherever the workspace lies: relative to the configuration where it can be."""
    if isinstance(store, Bucket):
        return f"{store.uri}/{item.key}"
    path = Path(store.uri) / item.key
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.as_posix()
