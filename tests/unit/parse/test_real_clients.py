"""Sessions and logs of real clients, as their users published them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.unit.parse.conftest import Parse, jsonl, unpacked

from costops.transforms.parse import generic


def test_claude_code_sessions_hold_586_messages(parsed: Parse, shared: Path, tmp_path: Path) -> None:
    packed = shared / "data" / "traces" / "sessions_spotter.jsonl.gz"
    told = parsed("claude_code.sessions", unpacked(packed, tmp_path / "spotter.jsonl"))
    assert (told.verdicts, told.kept().height) == ({"ok": 1208}, 586)
    largest: dict[str, int] = {}
    for line in jsonl(packed):
        made = line["message"]["usage"]["output_tokens"]
        largest[line["message"]["id"]] = max(made, largest.get(line["message"]["id"], 0))
    assert told.kept()["output_tokens"].sum() == sum(largest.values())


def test_pi_sessions_keep_the_cost_that_they_booked(parsed: Parse, shared: Path, tmp_path: Path) -> None:
    packed = shared / "data" / "traces" / "sessions_pi-mono.jsonl.gz"
    form = generic.build({"input": "disjoint", "only": {"message.role": "assistant"}, "columns": {
        "used_at": "timestamp", "model_id": "message.model", "provider": "message.provider",
        "input_tokens": "message.usage.input", "output_tokens": "message.usage.output",
        "cache_read_tokens": "message.usage.cacheRead", "cache_write_5m_tokens": "message.usage.cacheWrite",
        "reported_cost_usd": "message.usage.cost.total"}})
    told = parsed(form, unpacked(packed, tmp_path / "pi.jsonl"))
    booked = sum(Decimal(str(line["message"]["usage"]["cost"]["total"])).quantize(Decimal("1e-12"))
                 for line in jsonl(packed))
    assert (told.verdicts, told.kept().height) == ({"ok": 453}, 453)
    assert told.rows["reported_cost_usd"].sum() == booked


def test_the_aider_log_counts_its_sent_messages(parsed: Parse, shared: Path, tmp_path: Path) -> None:
    form = generic.build({"only": {"event": "message_send"}, "time": "s", "columns": {
        "used_at": "time", "model_id": "properties.main_model", "input_tokens": "properties.prompt_tokens",
        "output_tokens": "properties.completion_tokens", "reported_cost_usd": "properties.cost",
        "user_id": "user_id", "application": "=aider"}})
    told = parsed(form, unpacked(shared / "data" / "traces" / "aider_analytics_to_2025-03.jsonl.gz",
                                 tmp_path / "aider.jsonl"))
    assert told.verdicts == {"ok": 4446, "skip:other_event": 23781}
    assert (told.kept().height, told.rows["input_tokens"].sum(), told.rows["output_tokens"].sum()) == (
        4446, 54031976, 2145280)
