"""Every column of the lake, described once: type, unit, meaning.

Polars, Arrow and DuckDB types, the checks at each write and `docs/data-dictionary.md` derive from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import polars as pl

from costops.transforms.units import UNITS


class Type(Enum):
    """A column's logical type: its Polars type and its DuckDB spelling."""

    TEXT = (pl.String(), "VARCHAR")
    FLAG = (pl.Boolean(), "BOOLEAN")
    COUNT = (pl.Int64(), "BIGINT")
    NUMBER = (pl.Float64(), "DOUBLE")
    DAY = (pl.Date(), "DATE")
    INSTANT = (pl.Datetime("us"), "TIMESTAMP")
    USD_ROW = (pl.Decimal(18, 12), "DECIMAL(18,12)")
    USD_SUM = (pl.Decimal(38, 12), "DECIMAL(38,12)")
    USD_BILL = (pl.Decimal(38, 18), "DECIMAL(38,18)")
    TEXTS = (pl.List(pl.String()), "VARCHAR[]")
    DAYS = (pl.List(pl.Date()), "DATE[]")
    COUNTS = (pl.List(pl.Int64()), "BIGINT[]")

    @property
    def polars(self) -> pl.DataType:
        """The Polars type."""
        made: pl.DataType = self.value[0]
        return made

    @property
    def duckdb(self) -> str:
        """The DuckDB type, as written in SQL."""
        return str(self.value[1])


@dataclass(frozen=True)
class Field:
    """One column: its name says the unit, `doc` the rest."""

    name: str
    type: Type
    doc: str


_TEXT, _COUNT, _FLAG, _DAY, _INSTANT = Type.TEXT, Type.COUNT, Type.FLAG, Type.DAY, Type.INSTANT

_IDENTITY = (
    Field("source", _TEXT, "name of the source in `costops.toml`"),
    Field("record_id", _TEXT, "the source's own id of the record; unique within a source"),
    Field("response_id", _TEXT, "the provider's id of the answer where it differs from `record_id`; "
          "joins a gateway's record to the provider's"),
    Field("input_id", _TEXT, "the input file that told it: first 12 hex digits of SHA-256 over its uri; "
          "joins `core_input`"),
    Field("granularity", _TEXT, "`request`, or the width of an aggregated bucket: `1m`, `1h`, `1d`"),
    Field("used_at", _INSTANT, "when the request was made (UTC)"),
    Field("day", _DAY, "the UTC day of `used_at`"),
)

_DIMENSIONS = (
    Field("provider", _TEXT, "who served and bills it: an OpenTelemetry `gen_ai.provider.name` value"),
    Field("model_id", _TEXT, "the model as billed, from the response"),
    Field("request_model", _TEXT, "the model as asked for, where it differs"),
    Field("operation", _TEXT, "`chat`, `embeddings`, `generate_content`, `batch` ..."),
    Field("service_tier", _TEXT, "the tier that served it: `standard`, `batch`, `flex`, `priority`, `fast`; "
          "`provisioned` for throughput paid by the hour"),
    Field("region", _TEXT, "region or inference geography, as the source writes it"),
    Field("account_id", _TEXT, "billing account, organisation or subscription"),
    Field("project_id", _TEXT, "project, workspace, resource or deployment"),
    Field("api_key_id", _TEXT, "key id or hash, never the key"),
    Field("user_id", _TEXT, "end user or caller, as the source writes it"),
    Field("team", _TEXT, "team, by the source's default or the configured rule"),
    Field("application", _TEXT, "application, by the source's default or the configured rule"),
    Field("tags", _TEXT, "further labels as a JSON object, or NULL"),
)

_COUNTS = (
    Field("requests", _COUNT, "requests on this row: 1, or more on a bucket, or 0 on a late correction"),
    *(Field(u.column, _COUNT, u.doc + (f"; a part of `{u.part_of}_tokens`" if u.part_of else ""))
      for u in UNITS if u.column != "requests"),
    Field("input_tokens", _COUNT, "all input: uncached + cache reads + cache writes"),
    Field("status", _TEXT, "`ok`, or the source's word for a request that was billed although it failed"),
    Field("reported_cost_usd", Type.USD_ROW, "the cost that the source itself booked, an opinion to compare with"),
)

_COSTS = (
    Field("list_cost_usd", Type.USD_ROW, "cost at list price; NULL where no price is known"),
    Field("effective_cost_usd", Type.USD_ROW, "cost after contracts; NULL where no price is known"),
    *(Field(u.cost_column, Type.USD_ROW, f"list cost of `{u.column}`; NULL where there is none") for u in UNITS),
    Field("price_status", _TEXT, "`priced`, `unpriced`, `provider_reported`, `covered` (subscription or "
          "provisioned throughput), `free`"),
    Field("price_id", _TEXT, "joins `core_price`: the price list entry that was applied"),
    Field("price_source", _TEXT, "the feed that the price came from"),
    Field("unpriced_low_usd", Type.USD_ROW, "an unpriced row's cost at the cheapest known sibling"),
    Field("unpriced_high_usd", Type.USD_ROW, "an unpriced row's cost at the dearest known sibling"),
    Field("counted", _FLAG, "false where another source is primary for the same request"),
)

_INPUTS = (
    Field("uri", _TEXT, "the input, relative to the configuration"),
    Field("kind", _TEXT, "source kind"),
    Field("content_sha256", _TEXT, "SHA-256 of the input's bytes as delivered"),
    Field("lines_read", _COUNT, "records read: lines, CSV rows, spans; "
          "always rows_kept + duplicates + findings + non_billable"),
    Field("rows_kept", _COUNT, "rows in the lake that came from it"),
    Field("duplicates", _COUNT, "records that the source has told already, or told again later"),
    Field("findings", _COUNT, "records set aside with a reason, see `core_finding`"),
    Field("non_billable", _COUNT, "records that carry no billable usage: failed requests, message chunks, "
          "other events"),
    Field("late_records", _COUNT, "rows kept that lie before the day, or the hour, in the input's name"),
    Field("days", Type.DAYS, "days that it touches"),
    Field("kept_by_day", Type.COUNTS, "rows kept on each of `days`"),
)

_FINDINGS = (
    Field("finding_id", _TEXT, "hash of place and reason: the same finding has the same id in every run"),
    Field("reason", _TEXT, "reason code, one of `docs/reference/findings.md`"),
    Field("severity", _TEXT, "`error` (a record was set aside), `warning` (kept, but look), `info`"),
    Field("dataset", _TEXT, "the dataset that it concerns"),
    Field("line", _COUNT, "record number within the input, from 1"),
    Field("field", _TEXT, "the field at fault"),
    Field("expected", _TEXT, "what would have been right"),
    Field("actual", _TEXT, "what was there"),
    Field("excerpt", _TEXT, "the first 400 characters of the raw record, prompt text left out where known"),
    Field("mend", _TEXT, "what to do about it"),
    Field("records", _COUNT, "how many records it stands for"),
    Field("amount_usd", Type.USD_SUM, "money at stake, where known"),
)

_SUMS = (
    Field("hour", _INSTANT, "start of the hour (UTC)"),
    Field("month", _TEXT, "YYYY-MM"),
    Field("unpriced_requests", _COUNT, "requests without a price: not in the cost"),
    Field("quantity", Type.USD_BILL, "how many units"),
    Field("run_id", _TEXT, "the run that wrote the row"),
)

FIELDS: dict[str, Field] = {
    field.name: field for field in (*_IDENTITY, *_DIMENSIONS, *_COUNTS, *_COSTS, *_INPUTS, *_FINDINGS, *_SUMS)
}
"""Columns that more than one table uses, by name. A table may add its own."""
