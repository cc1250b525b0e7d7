"""Any other usage record, CSV or JSON Lines: our own header, or columns named in the configuration.

    columns = { used_at = "time", model_id = "properties.main_model", input_tokens = "properties.prompt_tokens" }
    only = { event = "message_send" }
    options = { time = "s", input = "inclusive" }

A column is a `core_usage` column, its value the path of a field, or `=word` for a constant. `input_tokens` is all
input, cached parts included, unless `input = "disjoint"` says that it excludes them. `time` tells the unit of
numbers (`s`, `ms`, `us`, `ns`) or `iso`; without it text is ISO 8601 and a number seconds. A record without an id
gets a hash of what is read of it, with the count of equal ones before it in its input: a repeated row is kept, an
input that comes twice is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from costops.transforms.errors import Usage, nearest
from costops.transforms.parse import vendor
from costops.transforms.parse.format import COUNT, NUMBER, TEXT, Fields, Format, leaves
from costops.transforms.tables import CORE_USAGE
from costops.transforms.units import UNITS

OWN_HEADER: dict[str, str] = {
    "record_id": "event_id", "used_at": "occurred_at", "provider": "provider", "model_id": "model",
    "operation": "operation", "service_tier": "service_tier", "is_batch": "is_batch", "region": "region",
    "status": "status", "uncached_input_tokens": "input_uncached_tokens",
    "cache_read_tokens": "input_cache_read_tokens", "cache_write_5m_tokens": "input_cache_write_5m_tokens",
    "cache_write_1h_tokens": "input_cache_write_1h_tokens", "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning_tokens", "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens", "web_searches": "web_searches", "team": "team",
    "application": "feature", "user_id": "user_id", "api_key_id": "api_key_ref",
    "reported_cost_usd": "reported_cost", "reported_currency": "reported_currency",
}
"""`core_usage` column -> column of our own header; event ids are unique within a provider."""

_COUNTS = {*(unit.column for unit in UNITS), "input_tokens"}
_PLAIN = ("request_model", "operation", "account_id", "project_id", "api_key_id", "user_id", "team", "application")
_NOT_TOLD = {"source", "input_id", "granularity", "day", "tags", "response_id"}
_EXTRA = ("input_tokens", "is_batch", "reported_currency")
COLUMNS = tuple(dict.fromkeys([*(name for name in CORE_USAGE.columns if name not in _NOT_TOLD), *_EXTRA]))

_WRITES = ("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens")
_TIMES = {
    "s": "epoch({0})", "ns": "nanos({0})", "iso": "utc({0})",
    "ms": "make_timestamp(try_cast(try_cast({0} AS DECIMAL(20,3)) * 1000 AS BIGINT))",
    "us": "make_timestamp(try_cast(try_cast({0} AS DECIMAL(20,0)) AS BIGINT))",
    "": "CASE WHEN contains({0}, '-') THEN utc({0}) ELSE epoch({0}) END",
}
_PART = re.compile(r"[^\"'.\\{}\x00-\x1f]+")


def build(options: Mapping[str, Any]) -> Format:
    """The format for a source's options: `columns`, `only`, `time`, `input`; without `columns` our own header.

    Raises `Usage` for a column, path or choice that does not exist.
    """
    given = {**(options.get("columns") or {})}
    only = {**(options.get("only") or {})}
    unit, style = str(options.get("time") or ""), str(options.get("input") or "inclusive")
    _one_of("columns", given, COLUMNS)
    _one_of("time", [unit] if unit else [], tuple(filter(None, _TIMES)))
    _one_of("input", [style], ("inclusive", "disjoint"))
    paths = given or OWN_HEADER
    fields: dict[str, Any] = {}
    told = {name: _expression(fields, str(path), _kind(name)) for name, path in paths.items()}
    for path in only:
        _expression(fields, str(path), TEXT)
    missing = [name for name in ("used_at", "model_id") if name not in told]
    if missing or not _COUNTS & set(told):
        raise Usage(f"columns: {' and '.join(missing) or 'at least one count'} must be named, for example "
                    'used_at = "time"')
    columns = _columns(told, unit=unit, disjoint=style == "disjoint", own=not given)
    counts = " AND ".join(f"{told[name]} IS NULL" for name in told if name in _COUNTS)
    return Format(
        kind="generic.usage",
        provider="",
        fields=fields,
        columns=columns,
        rows=None if "record_id" in told else _numbered(fields),
        skip=_skip(told, only),
        checks={"missing_field:usage": counts},
    )


def _columns(told: Mapping[str, str], *, unit: str, disjoint: bool, own: bool) -> dict[str, str]:
    count = {name: f"n({told[name]})" for name in _COUNTS if name in told}
    columns = {name: told[name] for name in _PLAIN if name in told}
    columns |= {name: expression for name, expression in count.items() if name != "input_tokens"}
    if "requests" in count:
        columns["requests"] = f"coalesce({count['requests']}, 1)"
    if "input_tokens" in count and "uncached_input_tokens" not in count:
        parts = "".join(f" - coalesce({count[name]}, 0)" for name in ("cache_read_tokens", *_WRITES) if name in count)
        columns["uncached_input_tokens"] = f"coalesce({count['input_tokens']}, 0){'' if disjoint else parts}"
    provider = "$opt_provider"
    if "provider" in told:
        provider = f"coalesce({vendor.provider(told['provider'])}, $opt_provider)"
    columns |= {
        "used_at": _TIMES[unit].format(told["used_at"]),
        "provider": f"coalesce({provider}, {vendor.by_model(told['model_id'])}, 'unknown')",
        "model_id": f"CASE WHEN {provider} IS NULL THEN {vendor.plain_model(told['model_id'])} "
                    f"ELSE {told['model_id']} END",
        "region": f"coalesce({told.get('region', 'NULL')}, $opt_region)",
        "account_id": f"coalesce({told.get('account_id', 'NULL')}, $opt_account_id)",
        "service_tier": _tier(told),
        "status": f"CASE WHEN {_failed(told)} THEN {told['status']} ELSE 'ok' END" if "status" in told else "'ok'",
        "record_id": told.get("record_id", "concat(_content, '-', _occurrence)"),
    }
    if own:
        columns["record_id"] = f"concat({columns['provider']}, ':', {told['record_id']})"
        columns["response_id"] = told["record_id"]
    if "reported_cost_usd" in told:
        cost = f"usd({told['reported_cost_usd']})"
        columns["reported_cost_usd"] = cost if "reported_currency" not in told else (
            f"CASE WHEN coalesce({told['reported_currency']}, 'USD') = 'USD' THEN {cost} END")
    return columns


def _tier(told: Mapping[str, str]) -> str:
    tier = told.get("service_tier", "NULL::VARCHAR")
    batch = f"WHEN lower({told['is_batch']}) IN ('true', '1') THEN 'batch'" if "is_batch" in told else ""
    return f"""CASE {batch} WHEN lower({tier}) IN ('default', 'auto', 'standard_only', 'on_demand', 'on-demand', '')
        THEN 'standard' WHEN lower({tier}) = 'scale' THEN 'provisioned' ELSE lower({tier}) END"""


def _failed(told: Mapping[str, str]) -> str:
    return f"lower({told['status']}) NOT IN ('ok', 'success', 'succeeded', 'completed', '200', '')"


def _skip(told: Mapping[str, str], only: Mapping[str, Any]) -> str:
    whens = [f"WHEN {_path(str(path))} IS DISTINCT FROM {_literal(str(value))} THEN 'other_event'"
             for path, value in only.items()]
    if "status" in told:
        used = " + ".join(f"coalesce(n({told[name]}), 0)" for name in told if name in _COUNTS and name != "requests")
        whens.append(f"WHEN {_failed(told)} AND {used or '0'} = 0 THEN 'failed'")
    return f"CASE {' '.join(whens)} END" if whens else "NULL"


def _numbered(fields: Fields) -> str:
    """Rows with a hash of what is read of them, and how many with that hash come before in their input."""
    content = ", ".join(f"coalesce({path}, chr(1))" for path in leaves(fields, ""))
    return f"""SELECT *, row_number() OVER (PARTITION BY file_no, _content ORDER BY line_no) AS _occurrence
        FROM (SELECT *, md5(concat_ws(chr(31), {content})) AS _content FROM marked)"""


def _kind(name: str) -> str:
    return COUNT if name in _COUNTS else NUMBER if name == "reported_cost_usd" else TEXT


def _expression(fields: dict[str, Any], path: str, kind: str) -> str:
    """The expression of a path or constant; the path's leaf is put into `fields`."""
    if path.startswith("="):
        return _literal(path[1:])
    place = fields
    *folders, leaf = _parts(path)
    for part in folders:
        place = place.setdefault(part, {})
        if isinstance(place, str):
            raise Usage(f"columns: {path!r} goes below a field that another column reads as a value.")
    if isinstance(place.get(leaf), dict):
        raise Usage(f"columns: {path!r} is an object of which another column reads a part.")
    if place.setdefault(leaf, kind) != kind:
        place[leaf] = TEXT
    return _path(path)


def _path(path: str) -> str:
    return "records." + ".".join(f'"{part}"' for part in _parts(path))


def _parts(path: str) -> list[str]:
    parts = path.split(".")
    if "$opt_" in path or not all(_PART.fullmatch(part) for part in parts):
        raise Usage(f"columns: {path!r} is no field path, for example properties.prompt_tokens")
    return parts


def _literal(text: str) -> str:
    if "$opt_" in text:
        raise Usage(f"columns: {text!r} may not contain $opt_")
    return "'" + text.replace("'", "''") + "'"


def _one_of(what: str, names: Any, known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise Usage(f"{what}: {name!r} is unknown; {nearest(str(name), known)}")


USAGE = build({})
FORMATS = (USAGE,)
