"""What the issuers bill for the same requests: pages, exports and invoices, one of them in two snapshots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from making.bill_clouds import azure_export, cur, gcp_export
from making.call import DAYS, FIRST_DAY, Call, day_of, start_us
from making.prices import billed, billed_price, parts
from making.text import csv_text, dumps, number, plain

AS_OF_EARLY, AS_OF = date(2026, 10, 2), date(2026, 10, 31)
WRONG_DAY = date(2026, 9, 24)                 # half of it was not yet in the early snapshot
MONTHS = ("2026-09", "2026-10")
KIND = {"uncached": "input", "read": "cache_read", "output": "output"}
OPENAI_KIND = {"uncached": "input", "read": "cached input", "output": "output"}
ANTHROPIC_KIND = {"uncached": "uncached_input_tokens", "read": "cache_read_input_tokens", "output": "output_tokens",
                  "write_5m": "cache_creation.ephemeral_5m_input_tokens",
                  "write_1h": "cache_creation.ephemeral_1h_input_tokens"}
DATA_TEAMS = ("data-platform", "research")
PROVIDER_OF_INVOICE = {"openai-costs": "openai", "anthropic-costs": "anthropic", "bedrock-cur": "aws",
                       "vertex-billing": "google", "gemini-billing": "google", "azure-costs": "azure",
                       "litellm-bill": "mistral", "otel-bill": "groq", "grok-bill": "xai"}


@dataclass
class Bills:
    """The files of all bills, and their sums as (source, as of, month, final, USD, wrong day)."""

    files: dict[str, bytes] = field(default_factory=dict)
    sums: list[tuple[str, date, str, bool, Decimal, date | None]] = field(default_factory=list)


def bills(usage: dict[str, list[Call]]) -> Bills:
    """Every bill of the usage per log source."""
    made = Bills()
    openai = usage["openai"] + usage["openai-batch"]
    anthropic = usage["anthropic"] + usage["anthropic-batch"] + usage["claude-code"]
    _add(made, "openai-costs", AS_OF, openai, "openai/costs/as_of={as_of}", _openai_costs(openai))
    _add(made, None, AS_OF, openai, "openai/usage", _openai_usage(openai))
    _add(made, "anthropic-costs", AS_OF, anthropic, "anthropic/cost_report/as_of={as_of}", _cost_report(anthropic))
    _add(made, None, AS_OF, anthropic, "anthropic/usage_report", _usage_report(anthropic))
    for as_of in (AS_OF_EARLY, AS_OF):
        seen = [call for call in usage["bedrock"] if _was_seen(call, as_of)]
        _add(made, "bedrock-cur", as_of, seen, "bedrock/cur2/as_of={as_of}", cur(seen, as_of))
    for source in ("vertex", "gemini"):
        _add(made, f"{source}-billing", AS_OF, usage[source], source + "/billing/as_of={as_of}",
             gcp_export(source, usage[source]), month_of=pacific_month)
    _add(made, "azure-costs", AS_OF, usage["azure"], "azure/cost_export/as_of={as_of}",
         azure_export(usage["azure"], AS_OF))
    for bill, folder, calls in (("litellm-bill", "litellm", usage["litellm"]), ("otel-bill", "otel", usage["otel"]),
                                ("grok-bill", "generic", usage["grok-csv"] + usage["grok-jsonl"])):
        _add(made, bill, AS_OF, calls, folder + "/invoice/as_of={as_of}", _lines(calls))
    made.files["invoices/summary.csv"] = _summary(made).encode()
    return made


def _was_seen(call: Call, as_of: date) -> bool:
    """What a snapshot holds: the early one ends with September and misses the second half of one day."""
    if as_of == AS_OF:
        return True
    return call.day < date(2026, 10, 1) and not (call.day == WRONG_DAY and call.hour >= 12)


def pacific_month(call: Call) -> str:
    """Google's invoice month: Pacific time, seven hours behind UTC in this season."""
    return _month(call.at_us - 7 * 3_600_000_000)


def _month(at_us: int) -> str:
    return f"{day_of(at_us):%Y-%m}"


def _add(made: Bills, source: str | None, as_of: date, calls: list[Call], folder: str, files: dict[str, str | bytes], *,
         month_of: Callable[[Call], str] = lambda call: f"{call.day:%Y-%m}") -> None:
    for name, content in files.items():
        path = f"{folder.format(as_of=as_of)}/{name}"
        made.files[path] = content.encode() if isinstance(content, str) else content
    if source is None:
        return
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for call in calls:
        sums[month_of(call)] += billed(call)
    early = as_of == AS_OF_EARLY
    for month, usd in sorted(sums.items()):
        made.sums.append((source, as_of, month, not early and month < "2026-10", usd, WRONG_DAY if early else None))


def _summary(made: Bills) -> str:
    """Invoices of September: the sum of the final bill, rounded once to cents."""
    due: dict[str, Decimal] = defaultdict(Decimal)
    for source, as_of, month, _, usd, _ in made.sums:
        if month == "2026-09" and as_of == AS_OF:
            due[PROVIDER_OF_INVOICE[source]] += usd
    return csv_text(("as_of", "provider", "month", "amount_due_usd"), (
        (date(2026, 10, 5), provider, "2026-09", usd.quantize(Decimal("0.01"), ROUND_HALF_UP))
        for provider, usd in due.items()))


def project(team: str | None) -> str:
    """The OpenAI project of a team."""
    return "proj_data" if team in DATA_TEAMS else "proj_apps"


def _openai_item(call: Call, kind: str) -> str:
    tier = f"{call.tier} | " if call.tier in {"flex", "priority"} else ""
    return f"{tier}{call.model}, {OPENAI_KIND[kind]}"


def _openai_costs(calls: list[Call]) -> dict[str, str | bytes]:
    sums: dict[date, dict[tuple[str, str], list[Decimal]]] = defaultdict(lambda: defaultdict(lambda: [Decimal(0)] * 2))
    for call in calls:
        for kind, (tokens, _, usd) in parts(call, billed_price(call)).items():
            had = sums[call.day][project(call.team), _openai_item(call, kind)]
            sums[call.day][project(call.team), _openai_item(call, kind)] = [had[0] + tokens, had[1] + usd]
    return _pages("costs_page", 30, _unix_bucket, {day: [{
        "object": "organization.costs.result", "amount": {"value": number(usd), "currency": "usd"}, "line_item": item,
        "project_id": name, "organization_id": "org-example", "quantity": number(tokens), "quantity_unit": "tokens",
    } for (name, item), (tokens, usd) in sorted(rows.items())] for day, rows in sums.items()}, {"object": "page"})


def _openai_usage(calls: list[Call]) -> dict[str, str | bytes]:
    groups: dict[date, dict[tuple[str, str, bool, str], list[Call]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        tier = call.tier if call.tier in {"flex", "priority"} else "default"
        groups[call.day][project(call.team), call.model, call.tier == "batch", tier].append(call)
    return _pages("completions_page", 30, _unix_bucket, {day: [{
        "object": "organization.usage.completions.result", "input_tokens": sum(call.total for call in some),
        "input_cached_tokens": sum(call.read for call in some),
        "input_uncached_tokens": sum(call.uncached for call in some),
        "output_tokens": sum(call.output for call in some), "input_audio_tokens": 0, "output_audio_tokens": 0,
        "num_model_requests": len(some), "project_id": name, "user_id": None, "api_key_id": None, "model": model,
        "batch": batch, "service_tier": tier,
    } for (name, model, batch, tier), some in sorted(rows.items())] for day, rows in groups.items()},
        {"object": "page"})


def _workspace(call: Call) -> str:
    return f"wrkspc_{call.team or 'claude-code'}"


def _window(call: Call) -> str:
    return "200k-1M" if call.total > 200_000 else "0-200k"


def _cost_report(calls: list[Call]) -> dict[str, str | bytes]:
    sums: dict[date, dict[tuple[str, ...], Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for call in calls:
        for kind, (_, _, usd) in parts(call, billed_price(call)).items():
            sums[call.day][_workspace(call), call.model, call.tier, _window(call), ANTHROPIC_KIND[kind]] += usd
    return _pages("cost_page", 30, _iso_bucket, {day: [{
        "amount": plain(usd * 100), "currency": "USD", "description": f"{model} Usage - {kind}", "cost_type": "tokens",
        "model": model, "service_tier": tier, "token_type": kind, "context_window": window,
        "inference_geo": "not_available", "workspace_id": workspace,
    } for (workspace, model, tier, window, kind), usd in sorted(rows.items())] for day, rows in sums.items()}, {})


def _usage_report(calls: list[Call]) -> dict[str, str | bytes]:
    groups: dict[date, dict[tuple[str, ...], list[Call]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        groups[call.day][_workspace(call), call.model, call.tier, _window(call)].append(call)
    return _pages("messages_page", 30, _iso_bucket, {day: [{
        "uncached_input_tokens": sum(call.uncached for call in some),
        "cache_creation": {"ephemeral_1h_input_tokens": sum(call.write_1h for call in some),
                           "ephemeral_5m_input_tokens": sum(call.write_5m for call in some)},
        "cache_read_input_tokens": sum(call.read for call in some), "output_tokens": sum(call.output for call in some),
        "server_tool_use": {"web_search_requests": 0}, "api_key_id": None, "workspace_id": workspace, "model": model,
        "service_tier": tier, "context_window": window, "inference_geo": "not_available",
    } for (workspace, model, tier, window), some in sorted(rows.items())] for day, rows in groups.items()}, {})


def _unix_bucket(day: date) -> dict[str, Any]:
    start = start_us(day) // 1_000_000
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400}


def _iso_bucket(day: date) -> dict[str, Any]:
    return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z"}


def _pages(name: str, size: int, bucket: Callable[[date], dict[str, Any]], rows: dict[date, list[dict[str, Any]]],
           head: dict[str, Any]) -> dict[str, str | bytes]:
    """Pages of so many daily buckets, quiet days included, each naming the next."""
    made: dict[str, str | bytes] = {}
    starts = list(range(0, DAYS, size))
    for page, start in enumerate(starts, 1):
        more = start != starts[-1]
        data = [{**bucket(day), "results": rows.get(day, [])} for day in _days(start, min(start + size, DAYS))]
        made[f"{name}_{page:03d}.json"] = dumps({**head, "data": data, "has_more": more,
                                                 "next_page": f"page_{page + 1:03d}" if more else None}) + "\n"
    return made


def _days(first: int, end: int) -> Iterable[date]:
    return (FIRST_DAY + timedelta(days=at) for at in range(first, end))


def _lines(calls: list[Call]) -> dict[str, str | bytes]:
    """The invoice lines of a small issuer: month, model, meter, tokens, amount."""
    sums: dict[str, dict[tuple[str, str], list[Decimal]]] = defaultdict(lambda: defaultdict(lambda: [Decimal(0)] * 2))
    for call in calls:
        for kind, (tokens, _, usd) in parts(call, billed_price(call)).items():
            had = sums[f"{call.day:%Y-%m}"][call.model, KIND[kind]]
            sums[f"{call.day:%Y-%m}"][call.model, KIND[kind]] = [had[0] + tokens, had[1] + usd]
    return {f"invoice_lines_{month}.csv": csv_text(("month", "model", "meter", "tokens", "amount_usd"), (
        (month, model, kind, plain(tokens), plain(usd)) for (model, kind), (tokens, usd) in sorted(rows.items())))
        for month, rows in sums.items()}
