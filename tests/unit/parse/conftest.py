"""Runs a format over lines or files as the ingest does: the same query, in an in-memory DuckDB."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from costops.flows.sources.files import csv_header
from costops.flows.tasks.reading import create
from costops.transforms import ingest, query
from costops.transforms.parse.format import Format, leaves
from costops.transforms.parse.views import narrowed
from costops.transforms.providers import FORMAT

SHARED = Path(os.environ.get("COSTOPS_SHARED") or Path(__file__).resolve().parents[4] / "shared")
LARGEST = 16 << 20


@dataclass
class Parsed:
    """What became of the records of a source."""

    rows: pl.DataFrame
    verdicts: dict[str, int]
    odd: pl.DataFrame

    def only(self) -> dict[str, Any]:
        """The one good row, its empty columns left out."""
        assert self.rows.height == 1, (self.rows, self.verdicts)
        return {key: value for key, value in self.rows.row(0, named=True).items() if value is not None}

    def kept(self) -> pl.DataFrame:
        """One row per record id: the largest, then the latest state."""
        best = self.rows.sort("record_id", "output_tokens", "input_tokens", "used_at",
                              descending=[False, True, True, True], maintain_order=True)
        return best.unique("record_id", keep="first", maintain_order=True)


Parse = Callable[..., Parsed]


def parse(form: Format, files: Sequence[Path], options: Mapping[str, str], *, root: Path) -> Parsed:
    """Run the ingest query over files; times of inputs come from sidecars and names as the ingest finds them.

    A lean format must give the same: one that finds a half of the leaves usual, and one that finds none.
    """
    whole = parse_as(form, form, files, options, root=root)
    paths = sorted(path for name, raw in form.raw.items() for path in leaves(raw.spec, name))
    if paths and form.rows is None:
        for rare in (paths, paths[::2]):
            lean = parse_as(form, narrowed(form, rare), files, options, root=root)
            assert lean.verdicts == whole.verdicts
            assert_frame_equal(lean.rows, whole.rows)
            assert_frame_equal(lean.odd, whole.odd)
    return whole


def parse_as(form: Format, told: Format, files: Sequence[Path], options: Mapping[str, str], *, root: Path) -> Parsed:
    """The same read by one format."""
    con = query.connect()
    inputs = pl.DataFrame(
        [(number, str(path), f"{number:012d}", path.relative_to(root).as_posix(), _file_at(form, path, root))
         for number, path in enumerate(files)],
        schema={"file_no": pl.Int32(), "filename": pl.String(), "input_id": pl.String(), "uri": pl.String(),
                "file_at": pl.Datetime("us")}, orient="row")
    con.register("inputs", inputs.to_arrow())
    names = [str(path) for path in files]
    if names[0].endswith(".csv"):
        records = ingest.read_rows(names, csv_header(Path(names[0])), fields=form.fields, largest=LARGEST)
    else:
        records = ingest.read_records(form, names, largest=LARGEST)
    told = create(con, form, told, records, options)
    odd = [query.frame(con, ingest.odd_statement(raw) + " ORDER BY ALL") for raw in form.raw.values()]
    found = pl.concat(odd) if odd else pl.DataFrame({"reason": []}, schema={"reason": pl.String()})
    bad = found.filter(pl.col("reason") == "impossible_count")
    if bad.height:
        con.register("bad", bad.unique(["_file", "_n"]).to_arrow())
        con.execute("UPDATE parsed SET _verdict = concat('impossible_count:', b.path) FROM bad AS b "
                    "WHERE parsed._file = b._file AND parsed._n = b._n")
    rows = query.frame(con, ingest.usage_select(
        told, options, source="test", where="p._verdict = 'ok'") + " ORDER BY p._n, p.rowid").drop("_row")
    counted = query.frame(con, "SELECT _verdict, count(*) AS n FROM parsed GROUP BY ALL ORDER BY ALL")
    con.close()
    return Parsed(rows, dict(counted.iter_rows()), found)


def _file_at(form: Format, path: Path, root: Path) -> datetime | None:
    from costops.flows.sources.files import file_day

    uri = path.relative_to(root).as_posix()
    for place in form.sidecar(uri) if form.sidecar else ():
        if (root / place).is_file() and form.sidecar_at:
            moment = form.sidecar_at((root / place).read_bytes())
            if moment is not None:
                return moment.replace(tzinfo=None)
    day = file_day(uri)
    return datetime(day.year, day.month, day.day) if day else None


def unpacked(path: Path, target: Path) -> Path:
    """A plain copy of a .gz file, as much of it as can be read in whole lines."""
    target.parent.mkdir(parents=True, exist_ok=True)
    engine = zlib.decompressobj(wbits=31)
    plain = engine.decompress(path.read_bytes())
    target.write_bytes(plain if engine.eof else plain[: plain.rfind(b"\n") + 1])
    return target


def jsonl(path: Path) -> list[dict[str, Any]]:
    """Records of a plain or packed JSON Lines file."""
    plain = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in plain.splitlines() if line.strip()]


@pytest.fixture
def parsed(tmp_path: Path) -> Parse:
    """`parsed(kind or Format, lines or file or files, options)`; lines may be text or objects."""
    def run(kind: str | Format, what: Iterable[Any] | Path, options: Mapping[str, str] | None = None, *,
            root: Path | None = None, name: str = "input.jsonl") -> Parsed:
        form = FORMAT[kind] if isinstance(kind, str) else kind
        if isinstance(what, Path):
            return parse(form, [what], options or {}, root=root or what.parent)
        listed = list(what)
        if listed and all(isinstance(one, Path) for one in listed):
            return parse(form, listed, options or {}, root=root or Path("/"))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in listed),
                        encoding="utf-8")
        return parse(form, [path], options or {}, root=tmp_path)
    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared real data."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}; set COSTOPS_SHARED")
    return SHARED
