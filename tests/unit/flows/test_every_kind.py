"""Every source kind end to end by `cost-ops run`: records in, rows kept, findings, and the sum in is the sum out.

    pytest tests/unit/flows/test_every_kind.py -s        prints the table

The sums on the left are worked out here, from the wire, by a few lines for each kind: tokens of requests and buckets,
money of bills and invoices.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.transforms.tables import (
    CORE_BILLING,
    CORE_BUSINESS_METRIC,
    CORE_CHARGE,
    CORE_FX_RATE,
    CORE_INPUT,
    CORE_INVOICE,
    RUN_LEDGER,
)
from tests.conftest import ROOT
from tests.replay.server import KEY, Provider, serving
from tests.test_rules import CONTRACT_KINDS

LOGS = ROOT / "data" / "samples" / "logs"
Count = Callable[[Any], tuple[str, int] | None]


@dataclass(frozen=True)
class Fed:
    """One kind: its files (or the address below the replay server), its sum on the wire, and further options."""

    kind: str
    pattern: str
    sum: Callable[[list[Path]], Decimal]
    more: str = ""
    key: bool = False


def _lines(paths: Iterable[Path]) -> Iterator[Any]:
    for path in paths:
        body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in body.splitlines():
            try:
                yield json.loads(line, parse_float=Decimal)
            except ValueError:
                continue  # a planted line that is no JSON


def _tokens(count: Count) -> Callable[[list[Path]], Decimal]:
    """Tokens of each record id once: the largest state of it."""
    def total(paths: list[Path]) -> Decimal:
        best: dict[str, int] = {}
        for record in _lines(paths):
            found = count(record)
            if found:
                best[found[0]] = max(best.get(found[0], 0), found[1])
        return Decimal(sum(best.values()))
    return total


def _claude(usage: Any) -> int:
    return sum(usage.get(name) or 0 for name in ("input_tokens", "cache_creation_input_tokens",
                                                 "cache_read_input_tokens", "output_tokens"))


def _openai(body: Any) -> tuple[str, int]:
    return body["id"], body["usage"]["prompt_tokens"] + body["usage"].get("completion_tokens", 0)


def _gemini(body: Any) -> int:
    return sum(body["usageMetadata"].get(name) or 0 for name in (
        "promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"))


def _vertex(record: Any) -> tuple[str, int] | None:
    answer = record["full_response"]
    if answer is None:
        return record["request_id"], _claude(json.loads(record["response_payload"][0])["usage"])
    return record["request_id"], _gemini(answer[-1] if isinstance(answer, list) else answer)


def _bedrock(record: Any) -> tuple[str, int] | None:
    given, made = record["input"], record.get("output") or {}
    if record.get("errorCode"):
        return None
    return record["requestId"], sum(given.get(name) or 0 for name in (
        "inputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount")) + (made.get("outputTokenCount") or 0)


def _spans(record: Any) -> tuple[str, int] | None:
    total = 0
    name = ""
    for resource in record["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                told = {one["key"]: one["value"] for one in span["attributes"]}
                name = span["traceId"] + span["spanId"]
                total += sum(int(told[key]["intValue"]) for key in told if key in (
                    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.prompt_tokens",
                    "gen_ai.usage.completion_tokens"))
    return (name, total) if total else None


def _gateway(record: Any) -> tuple[str, int] | None:
    if record["cache_hit"] == "True" or not record["total_tokens"]:
        return None
    return record["request_id"], record["prompt_tokens"] + record["completion_tokens"]


def _csv(paths: list[Path], name: str) -> Decimal:
    found = Decimal(0)
    for path in paths:
        body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found += sum((Decimal(row[name] or "0") for row in csv.DictReader(body.decode().splitlines())), Decimal(0))
    return found


def _generic(paths: list[Path]) -> Decimal:
    """Tokens of each event once."""
    rows = {row["event_id"]: row for path in paths for row in csv.DictReader(path.read_text().splitlines())}
    return Decimal(sum(int(row[name]) for row in rows.values() for name in (
        "input_uncached_tokens", "input_cache_read_tokens", "input_cache_write_5m_tokens",
        "input_cache_write_1h_tokens", "output_tokens")))


def _pages(paths: list[Path], field: Callable[[Any], Decimal]) -> Decimal:
    return sum((field(row) for path in paths for bucket in json.loads(path.read_bytes(), parse_float=Decimal)["data"]
                for row in bucket["results"]), Decimal(0))


def _report(row: Any) -> Decimal:
    written = row["cache_creation"]
    return Decimal(row["uncached_input_tokens"] + row["cache_read_input_tokens"] + row["output_tokens"]
                   + written["ephemeral_5m_input_tokens"] + written["ephemeral_1h_input_tokens"])


def _google(paths: list[Path]) -> Decimal:
    return sum((Decimal(str(row["cost"])) + sum((Decimal(str(one["amount"])) for one in row.get("credits") or []),
                                                Decimal(0)) for row in _lines(paths)), Decimal(0))


def _told(amount: str) -> Callable[[list[Path]], Decimal]:
    return lambda _: Decimal(amount)


FED: tuple[Fed, ...] = (
    Fed("openai.requests", "openai/requests/2026-09-0[2-4].jsonl", _tokens(_openai)),
    Fed("openai.batch_output", "openai/batch/*_2026-10-14_output.jsonl", _tokens(
        lambda r: _openai(r["response"]["body"]) if r.get("response") and not r.get("error") else None)),
    Fed("openai.usage", "openai/usage/*.json", lambda paths: _pages(paths, lambda row: Decimal(
        row["input_tokens"] + row["output_tokens"]))),
    Fed("anthropic.messages", "anthropic/messages/2026-09-0[2-4].jsonl", _tokens(
        lambda r: (r["response"]["id"], _claude(r["response"]["usage"])))),
    Fed("anthropic.batch_results", "anthropic/batches/*2026-10-14/*_results.jsonl", _tokens(
        lambda r: (r["result"]["message"]["id"], _claude(r["result"]["message"]["usage"]))
        if r["result"]["type"] == "succeeded" else None)),
    Fed("anthropic.usage_report", "anthropic/usage_report/*.json", lambda paths: _pages(paths, _report)),
    Fed("claude_code.sessions", "claude_code/projects/-home-dev-infra/*.jsonl", _tokens(
        lambda r: (r["message"]["id"], _claude(r["message"]["usage"]))
        if (r.get("message") or {}).get("usage") and r["message"]["model"] != "<synthetic>" else None)),
    Fed("bedrock.invocation_logs", "bedrock/AWSLogs/**/2026/09/0[1-3]/**/*.json.gz", _tokens(_bedrock)),
    Fed("gemini.responses", "gemini/responses/2026-09-0[2-4].jsonl", _tokens(
        lambda r: (r["responseId"], _gemini(r)))),
    Fed("vertex.request_logs", "vertex/request_response_log/2026-09-0[2-4].jsonl", _tokens(_vertex)),
    Fed("azure.apim_llm_logs", "azure/am-apimanagementgatewayllmlog/y=2026/m=09/d=0[1-3]/**/*.json", _tokens(
        lambda r: (r["CorrelationId"], r["PromptTokens"] + r["CompletionTokens"]) if not r["SequenceNumber"] else None)),
    Fed("litellm.spend_logs", "litellm/spend_logs/2026-09-0[2-4].jsonl", _tokens(_gateway)),
    Fed("otel.traces", "otel/traces-2026-09-0[2-4].jsonl", _tokens(_spans)),
    Fed("generic.usage", "generic/usage_2026-W37.csv", _generic),
    Fed("langfuse.observations", "", _told("18"), 'secret_env = "TEST_KEY"\nstart = "2026-10-31"\n', key=True),
    Fed("helicone.requests", "", _told("12000"), 'start = "2026-10-31"\n', key=True),
    Fed("openrouter.activity", "", _told("14"), 'start = "2026-10-31"\n', key=True),
    Fed("openai.costs", "openai/costs/as_of=2026-10-31/*.json", lambda paths: _pages(
        paths, lambda row: Decimal(str(row["amount"]["value"])))),
    Fed("anthropic.cost_report", "anthropic/cost_report/as_of=2026-10-31/*.json", lambda paths: _pages(
        paths, lambda row: Decimal(row["amount"]) / 100)),
    Fed("anthropic.console_cost", "console.csv", lambda paths: _csv(paths, "cost_usd")),
    Fed("aws.cur2", "bedrock/cur2/as_of=2026-10-31/**/*", lambda paths: _csv(
        [one for one in paths if ".csv" in one.name], "line_item_unblended_cost")),
    Fed("aws.cost_explorer", "", _told("0.0003"), 'secret_env = "TEST_KEY"\nstart = "2026-10-31"\n', key=True),
    Fed("gcp.billing_export", "vertex/billing/as_of=2026-10-31/*.jsonl", _google),
    Fed("azure.cost_export", "azure/cost_export/as_of=2026-10-31/**/*", lambda paths: _csv(
        [one for one in paths if one.suffix == ".csv"], "Cost")),
    Fed("azure.cost_management", "", _told("2.5"),
        'start = "2026-10-30"\noptions = { scope = "/subscriptions/s" }\n', key=True),
    Fed("focus", "focus.csv", lambda paths: _csv(paths, "BilledCost")),
    Fed("generic.bill", "litellm/invoice/as_of=2026-10-31/*.csv", lambda paths: _csv(paths, "amount_usd"),
        'issuer = "mistral_ai"\n'),
    Fed("invoices", "invoices/summary.csv", lambda paths: _csv(paths, "amount_due_usd")),
    Fed("fx_rates", "fx.csv", lambda paths: _csv(paths, "rate")),
    Fed("business_metrics", "metrics.csv", lambda paths: _csv(paths, "value")),
)
OWN = {
    "console.csv": "usage_date_utc,model,workspace,api_key,usage_type,token_type,cost_usd\n"
                   "2026-09-14,Claude Opus 5,,key-1,message,input_no_cache,0.16\n"
                   "2026-09-14,Claude Opus 5,,key-1,message,output,0.05\n",
    "focus.csv": "BilledCost,BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,"
                 "ChargeDescription,ChargePeriodStart,ChargePeriodEnd,InvoiceIssuerName,ServiceName\n"
                 "1.25,a,USD,2026-09-01T00:00:00Z,2026-10-01T00:00:00Z,Usage,tokens,2026-09-14T00:00:00Z,"
                 "2026-09-15T00:00:00Z,Acme,Acme AI\n"
                 "-0.25,a,USD,2026-09-01T00:00:00Z,2026-10-01T00:00:00Z,Credit,credit,2026-09-14T00:00:00Z,"
                 "2026-09-15T00:00:00Z,Acme,Acme AI\n",
    "fx.csv": "rate_date,base,quote,rate,source,kind\n2026-09-01,USD,EUR,0.92,ecb,monthly\n"
              "2026-10-01,USD,EUR,0.93,ecb,monthly\n",
    "metrics.csv": "day,keys,metric,value\n2026-09-14,{},orders,120\n2026-09-15,{},orders,80\n",
}
REQUESTS = {one.kind for one in FED[:14]}


def _paths(fed: Fed, home: Path) -> list[Path]:
    if fed.key or fed.pattern in OWN:
        return [home / fed.pattern] if fed.pattern else []
    return sorted(path for path in LOGS.glob(fed.pattern) if path.is_file())


def _sources(home: Path, url: str) -> str:
    text = ""
    for fed in FED:
        text += f'[[sources]]\nname = "{fed.kind.replace(".", "-")}"\nkind = "{fed.kind}"\n{fed.more}'
        if fed.key:
            text += f'base_url = "{url}"\napi_key_env = "TEST_KEY"\n'
        else:
            base = "" if fed.pattern in OWN else f"{LOGS}/"
            text += f'uri = "{_link(home, fed) if base else fed.pattern}"\n'
    return text + '[gates]\nunpriced_share = "1"\nquarantine_share = "1"\n'


def _link(home: Path, fed: Fed) -> str:
    """A folder with links to the kind's files, below their own names: a pattern of ours need not be one of glob's."""
    folder = home / "in" / fed.kind
    for path in _paths(fed, home):
        place = folder / path.relative_to(LOGS)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
        for beside in path.parent.parent.glob("*.json") if fed.kind == "anthropic.batch_results" else ():
            if not (target := folder / beside.relative_to(LOGS)).exists():
                target.symlink_to(beside)
    last = "*_results.jsonl" if fed.kind == "anthropic.batch_results" else "*"
    return f"in/{fed.kind}/**/{last}"


def _out(lake: Lake, fed: Fed) -> tuple[int, Decimal]:
    """Rows and sum in the lake."""
    source = fed.kind.replace(".", "-")
    if fed.kind == "fx_rates":
        rows, column = lake.read(CORE_FX_RATE), pl.col("rate")
    elif fed.kind == "business_metrics":
        rows, column = lake.read(CORE_BUSINESS_METRIC), pl.col("value")
    elif fed.kind == "invoices":
        rows, column = lake.read(CORE_INVOICE).filter(pl.col("source") == source), pl.col("BilledCost")
    elif (rows := lake.read(CORE_BILLING).filter(pl.col("source") == source)).height:
        column = pl.col("BilledCost")
    else:
        rows, column = lake.read(CORE_CHARGE).filter(pl.col("source") == source), pl.col("input_tokens") + pl.col(
            "output_tokens")
    return rows.height, Decimal(str(rows.select(column.sum()).item() or 0))


def test_every_kind_of_the_contract_runs_and_its_sum_comes_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.kind for one in FED} == CONTRACT_KINDS
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("COSTOPS_NOW", "2026-11-01T06:00:00+00:00")
    for name, body in OWN.items():
        (tmp_path / name).write_text(body)
    with serving(Provider()) as url:
        (tmp_path / "costops.toml").write_text(_sources(tmp_path, url))
        assert main(["run", "--config", str(tmp_path / "costops.toml"), "-q", "--stage", "ingest"]) == 0
    lake = Lake(open_store(str(tmp_path / "lake")), tmp_path / "scratch")
    counts = {row["source"]: row for row in lake.read(CORE_INPUT).group_by("source").agg(
        pl.col("lines_read", "rows_kept", "duplicates", "findings", "non_billable").sum()).iter_rows(named=True)}
    ledger = {row["source"]: row for row in lake.read(RUN_LEDGER).filter(pl.col("entry") == "source").iter_rows(
        named=True)}
    say = sys.stdout.write
    say("\n| kind | records in | rows kept | findings | not billed, duplicates | sum in | sum out |\n"
        "|---|---|---|---|---|---|---|\n")
    wrong = []
    for fed in FED:
        source = fed.kind.replace(".", "-")
        told, want = counts.get(source) or ledger[source], fed.sum(_paths(fed, tmp_path))
        rows, out = _out(lake, fed)
        left = (told["non_billable"] or 0) + (told.get("duplicates") or 0)
        say(f"| {fed.kind} | {told['lines_read']:,} | {rows:,} | {told['findings'] or 0} | {left} | "
            f"{want.normalize():,f} | {out.normalize():,f} |\n")
        if want != out or not rows or (source in counts and told["lines_read"] != rows + left + told["findings"]):
            wrong.append((fed.kind, want, out, dict(told)))
    assert wrong == []
