"""The one door to DuckDB: connections with bounded memory, our macros, and results as Polars frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from costops.transforms.errors import Usage

Connection = duckdb.DuckDBPyConnection
Relation = duckdb.DuckDBPyRelation
Error = duckdb.Error
_FILE_TROUBLE = (duckdb.IOException, duckdb.InvalidInputException, duckdb.InternalException)

MACROS = (
    # a whole count, or NULL where it is none; a fraction is refused elsewhere, never rounded in silence
    "CREATE OR REPLACE MACRO n(x) AS try_cast(x AS BIGINT)",
    # an instant in UTC. A trailing Z needs no time zone arithmetic; text without a zone is UTC
    """CREATE OR REPLACE MACRO utc(x) AS CASE WHEN suffix(x, 'Z') THEN try_cast(x AS TIMESTAMP)
       ELSE try_cast(try_cast(x AS TIMESTAMPTZ) AS TIMESTAMP) END""",
    # seconds since 1970, whole or with a fraction; NULL beyond the year 9999, as where milliseconds are written
    """CREATE OR REPLACE MACRO epoch(x) AS CASE WHEN contains(x, '.') OR contains(x, 'e')
       THEN make_timestamp(try_cast(try_cast(x AS DECIMAL(20,6)) * 1000000 AS BIGINT))
       WHEN try_cast(x AS BIGINT) BETWEEN -62135596800 AND 253402300799
       THEN make_timestamp(try_cast(x AS BIGINT) * 1000000) END""",
    # nanoseconds since 1970 as text, as OpenTelemetry writes them
    "CREATE OR REPLACE MACRO nanos(x) AS make_timestamp(try_cast(x AS BIGINT) // 1000)",
    # an exact amount of dollars, at most 12 digits after the point; NULL where it is no number
    "CREATE OR REPLACE MACRO usd(x) AS try_cast(x AS DECIMAL(18,12))",
)


def connect(*, memory: str = "400MB", threads: int = 2, scratch: Path | None = None) -> Connection:
    """An in-memory connection that spills to `scratch`, thinks in UTC and keeps the order of its input."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET memory_limit = $memory", {"memory": memory})
    connection.execute("SET threads = $threads", {"threads": threads})
    connection.execute("SET preserve_insertion_order = true")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    if scratch is not None:
        connection.execute("SET temp_directory = $scratch", {"scratch": str(scratch)})
    for macro in MACROS:
        connection.execute(macro)
    return connection


def frame(connection: Connection, sql: str, params: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """The rows of a query."""
    made = pl.from_arrow(connection.sql(sql, params=dict(params or {})).to_arrow_table())
    assert isinstance(made, pl.DataFrame)  # noqa: S101  a table never becomes a series
    return made


class Moved(Usage):
    """A file did not read as it was planned.

    The engine opens a file twice, to plan and to scan; where the file was replaced in between it fails, and asking
    again succeeds. A damaged file fails each time.
    """


@contextmanager
def told_plainly() -> Iterator[None]:
    """What the engine says as one sentence: `Moved` where a file is the trouble, else `Usage`."""
    try:
        yield
    except Error as error:
        refused = Moved if type(error) is Error or isinstance(error, _FILE_TROUBLE) else Usage
        raise refused(f"the query was refused: {str(error).strip().splitlines()[0]}") from None


def ask(connection: Connection, sql: str) -> pl.DataFrame:
    """The rows of a person's query: one SELECT, which changes nothing; anything else is refused with a sentence."""
    try:
        with told_plainly():
            told = connection.extract_statements(sql)
            if [one.type.name for one in told] != ["SELECT"]:
                raise Usage("the query was refused: it must be one SELECT (or FROM, VALUES, DESCRIBE, SUMMARIZE).")
            return frame(connection, sql)
    except pl.exceptions.PolarsError as error:
        raise Usage(f"the query's result cannot be shown ({str(error).splitlines()[0]}): give each column a name of "
                    "its own, and cast what is no plain value, for example CAST(x AS VARCHAR).") from None


def run(connection: Connection, sql: str, params: Mapping[str, Any] | None = None) -> None:
    """Execute a statement, drop its result."""
    if params:
        connection.execute(sql, dict(params))
    else:
        connection.execute(sql)


def scalar(connection: Connection, sql: str, params: Mapping[str, Any] | None = None) -> Any:
    """The first column of the first row, or None."""
    rows = (connection.execute(sql, dict(params)) if params else connection.execute(sql)).fetchall()
    return rows[0][0] if rows else None


def day(one: date) -> str:
    """A day as a literal."""
    return f"DATE '{one}'"


def statement(name: str) -> str:
    """The SQL file of a dataset: one SELECT over views named as datasets."""
    return (files("costops.transforms") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
