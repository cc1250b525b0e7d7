"""Pulling from servers that fail: the same bytes as without faults, nothing asked twice, no secret anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import httpx
import polars as pl
import pytest

from costops.flows.sources.api import anthropic_api, cloud_costs, gateway_api, openai_api
from costops.flows.sources.api.client import Api, told_wait
from costops.flows.sources.api.kinds import PULLER, Access, pull_source
from costops.flows.sources.api.landing import Chain, Pulled, pull
from costops.transforms.billing.bill import Input, Options
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import read_bill
from costops.transforms.buckets.feed import read_usage
from costops.transforms.buckets.kinds import USAGE_FORMAT
from costops.transforms.errors import Unreachable, Usage
from costops.transforms.window import Window
from tests.replay.server import KEY, Provider, serving

LONG = Window(date(2025, 9, 25), date(2026, 10, 30))
SHORT = Window(date(2026, 9, 1), date(2026, 9, 5))
FIRST, SECOND = datetime(2026, 11, 1, 6), datetime(2026, 11, 2, 6)


class Folder:
    """A landing zone on disk; `die_after` stops the world after so many pages."""

    def __init__(self, root: Path, die_after: int | None = None) -> None:
        self.root, self.left = root, die_after

    def names(self, prefix: str) -> list[str]:
        return sorted(name for path in self.root.rglob("*") if path.is_file()
                      and (name := path.relative_to(self.root).as_posix()).startswith(prefix))

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def land(self, name: str, body: bytes) -> None:
        if self.left is not None:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def everything(self) -> dict[str, bytes]:
        return {name: self.read(name) for name in self.names("")}

    def inputs(self, feed: str) -> list[Input]:
        return [Input(name, self.root / name) for name in self.names(feed) if name.endswith(".json")]


def _openai(address: str, window: Window) -> list[Chain]:
    api = openai_api.connect(KEY, base_url=f"{address}/v1", sleep=lambda _: None)
    return [*openai_api.usage(api, window, endpoints=("completions",)), *openai_api.costs(api, window)]


def _anthropic(address: str, window: Window) -> list[Chain]:
    api = anthropic_api.connect(KEY, base_url=address, sleep=lambda _: None)
    return [*anthropic_api.usage_report(api, window), *anthropic_api.cost_report(api, window)]


Ask = Callable[[str, Window], list[Chain]]


def _pull(provider: Provider, ask: Ask, store: Folder, window: Window = LONG, at: datetime = FIRST) -> Pulled:
    with serving(provider) as address:
        return pull(ask(address, window), store, at)


@pytest.mark.parametrize("ask", [_openai, _anthropic], ids=["openai", "anthropic"])
def test_four_hundred_days_with_faults_give_the_same_bytes_as_without(ask: Ask, tmp_path: Path) -> None:
    calm, rough = Folder(tmp_path / "calm"), Folder(tmp_path / "rough")
    _pull(Provider(), ask, calm)
    provider = Provider(faults=0.05, seed=3)
    made = _pull(provider, ask, rough)
    assert sum(provider.asked.values()) > made.asked
    assert rough.everything() == calm.everything()
    assert len(made.names) == 2 * 13


@pytest.mark.parametrize("ask", [_openai, _anthropic], ids=["openai", "anthropic"])
def test_a_pull_that_was_killed_goes_on_and_asks_for_no_complete_page_again(ask: Ask, tmp_path: Path) -> None:
    whole, broken = Folder(tmp_path / "whole"), Folder(tmp_path / "broken", die_after=6)
    _pull(Provider(), ask, whole)
    provider = Provider()
    with pytest.raises(KeyboardInterrupt):
        _pull(provider, ask, broken)
    broken.left = None
    before = len(provider.served)
    made = _pull(provider, ask, broken, at=SECOND)
    assert before == 7
    assert made.kept == 6
    pages = {name.split("/", 2)[-1].split("/", 1)[-1]: body for name, body in whole.everything().items()}
    again = {name.split("/", 2)[-1].split("/", 1)[-1]: body for name, body in broken.everything().items()}
    assert {name for name in pages if name.endswith(".json")} == {name for name in again if name.endswith(".json")}
    assert max(provider.asked.values()) <= 2  # only the page that was asked for and did not land


def test_a_restated_day_supersedes_and_the_first_telling_stays_readable(tmp_path: Path) -> None:
    store, provider = Folder(tmp_path), Provider()
    _pull(provider, _openai, store, SHORT)
    provider.restated[date(2026, 9, 3)] = 1
    _pull(provider, _openai, store, SHORT, SECOND)
    form, options = BILL_FORMAT["openai.costs"], Options("openai-costs")
    both = read_bill(form, store.inputs("costs"), options)
    first = read_bill(form, [one for one in store.inputs("costs") if "2026-11-01" in one.uri], options)
    assert both.history["BilledCost"].sum() == first.billing["BilledCost"].sum()
    other = pl.col("x_Day") != date(2026, 9, 3)
    assert both.billing.filter(other)["BilledCost"].sum() == first.billing.filter(other)["BilledCost"].sum()
    assert sorted(both.snapshots["status"]) == ["current", "superseded"]
    usage = read_usage(USAGE_FORMAT["openai.usage"], store.inputs("usage"), options)
    assert usage.findings.height == 0
    assert usage.rows["record_id"].is_unique().all()


def test_a_complete_pull_is_not_asked_for_again_at_the_same_time(tmp_path: Path) -> None:
    store, provider = Folder(tmp_path), Provider()
    _pull(provider, _openai, store, SHORT)
    made = _pull(provider, _openai, store, SHORT)
    assert (made.asked, made.kept) == (0, 2)


def test_a_page_that_repeats_is_told_and_ends_the_pull(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    with pytest.raises(Unreachable, match="same next page again and again"):
        _pull(Provider(stuck=True), _openai, store)
    assert len([name for name in store.names("") if name.endswith(".json")]) == 1


def test_a_cursor_that_expired_between_runs_begins_the_question_anew(tmp_path: Path) -> None:
    store, provider = Folder(tmp_path, die_after=3), Provider()
    with pytest.raises(KeyboardInterrupt):
        _pull(provider, _openai, store)
    store.left = None
    old = len(store.names(""))
    provider.expired_cursors = True
    with pytest.raises(Unreachable):
        _pull(provider, _openai, store, at=SECOND)
    provider.expired_cursors = False
    made = _pull(provider, _openai, store, at=SECOND)
    assert old == 3
    assert len(made.names) == 2 * 13


def test_a_refused_key_is_one_sentence_without_the_key(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    with pytest.raises(Unreachable) as caught:
        _pull(Provider(keys=frozenset()), _openai, store)
    text = str(caught.value)
    assert "OPENAI_ADMIN_KEY" in text
    assert "401" in text
    assert "planted" not in text
    assert "\n" not in text


def test_a_key_that_expires_in_the_middle_keeps_what_was_pulled(tmp_path: Path) -> None:
    store, provider = Folder(tmp_path), Provider(fail_after=4)
    with pytest.raises(Unreachable):
        _pull(provider, _openai, store)
    assert len([name for name in store.names("") if name.endswith(".json")]) == 4
    provider.fail_after = None
    assert _pull(provider, _openai, store, at=SECOND).kept == 4


def test_no_secret_lands_on_disk_or_stands_in_the_client(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    _pull(Provider(faults=0.3), _anthropic, store, SHORT)
    assert not [name for name, body in store.everything().items() if b"planted" in body or "planted" in name]
    assert "planted" not in repr(anthropic_api.connect(KEY))
    api = openai_api.connect(KEY)
    assert api.clean(f"bad key {KEY} or Bearer abcdef or sk-live-123456789") == "bad key *** or *** or ***"


def test_a_next_link_to_another_host_is_refused(tmp_path: Path) -> None:
    with serving(Provider(foreign=True)) as address:
        api = cloud_costs.connect_azure(KEY, base_url=address, sleep=lambda _: None)
        with pytest.raises(Unreachable, match="another host"):
            pull(cloud_costs.cost_management(api, "/subscriptions/s", SHORT), Folder(tmp_path), FIRST)


def test_the_longest_wait_of_all_headers_counts() -> None:
    assert told_wait({"Retry-After": "12", "x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after": "46"}) == 46
    assert told_wait({"retry-after-ms": "1500"}) == 1.5
    assert told_wait({"x-request-id": "7"}) is None


def test_a_wait_beyond_patience_ends_the_run_at_once() -> None:
    slept: list[float] = []
    api = Api("openai", "http://127.0.0.1:1", sleep=slept.append, longest_wait=100)
    with pytest.raises(Unreachable, match="asks to wait 600 s"):
        api._pause(600.0, 1, "http://127.0.0.1:1/x")
    assert slept == []


def test_an_address_that_nobody_answers_is_unreachable_after_its_attempts() -> None:
    slept: list[float] = []
    api = Api("openai", "http://127.0.0.1:9", attempts=3, timeout=0.2, sleep=slept.append, jitter=lambda: 1.0)
    with pytest.raises(Unreachable, match="after 3 attempts"):
        api.ask("GET", "x")
    assert slept == [0.5, 1.0]


def _others() -> Iterator[tuple[str, Callable[[str], list[Chain]]]]:
    quiet = {"sleep": lambda _: None}
    yield "langfuse.observations", lambda at: gateway_api.observations(
        gateway_api.connect_langfuse("pk", KEY, base_url=at, **quiet), SHORT)
    yield "helicone.requests", lambda at: gateway_api.requests(
        gateway_api.connect_helicone(KEY, base_url=at, **quiet), Window(date(2026, 9, 14), date(2026, 9, 15)))
    yield "openrouter.activity", lambda at: gateway_api.activity(
        gateway_api.connect_openrouter(KEY, base_url=at, **quiet), SHORT)
    yield "claude_code.analytics", lambda at: anthropic_api.claude_code(
        anthropic_api.connect(KEY, base_url=at, **quiet), SHORT)
    yield "azure.cost_management", lambda at: cloud_costs.cost_management(
        cloud_costs.connect_azure(KEY, base_url=at, **quiet), "/subscriptions/s", SHORT)
    yield "gcp.billing_export", lambda at: cloud_costs.billing_export(
        cloud_costs.connect_bigquery(KEY, base_url=f"{at}/bigquery/v2", **quiet), "p", "p.d.t", date(2026, 9, 1),
        date(2026, 10, 1), location="EU")
    yield "aws.cost_explorer", lambda at: cloud_costs.cost_explorer(_boto(at), SHORT)


def _boto(address: str) -> object:
    import boto3

    return boto3.client("ce", region_name="us-east-1", endpoint_url=address, aws_access_key_id="AKIAEXAMPLE",
                        aws_secret_access_key="planted-secret")


WANT = {"langfuse.observations": 6, "helicone.requests": 1500, "openrouter.activity": 4, "claude_code.analytics": 4,
        "azure.cost_management": 2, "gcp.billing_export": 2, "aws.cost_explorer": 2}


@pytest.mark.parametrize(("kind", "ask"), list(_others()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_other_puller_lands_pages_that_its_reader_reads(
        kind: str, ask: Callable[[str], list[Chain]], tmp_path: Path) -> None:
    store = Folder(tmp_path)
    with serving(Provider(faults=0.2)) as address:
        pull(ask(address), store, FIRST)
    inputs = store.inputs("")
    if kind in USAGE_FORMAT:
        made = read_usage(USAGE_FORMAT[kind], inputs, Options("s"))
        rows, tallies = made.rows, made.tallies
    else:
        bills = read_bill(BILL_FORMAT[kind], inputs, Options("s"))
        rows, tallies = bills.billing, bills.tallies
    assert rows.height == WANT[kind]
    assert not any(tally.damaged or tally.findings for tally in tallies)


def test_headers_of_the_client_do_not_show_in_its_requests_address() -> None:
    api = openai_api.connect(KEY)
    assert KEY not in str(httpx.URL(api.place("organization/costs")))
    assert json.dumps(api.place("organization/costs")) == '"https://api.openai.com/v1/organization/costs"'


def test_every_puller_of_the_registry_pulls_full_days_only(tmp_path: Path) -> None:
    today = date(2026, 9, 3)
    for kind in PULLER:
        options = {"scope": "/subscriptions/s", "table": "p.d.t", "location": "EU"}
        with serving(Provider()) as address:
            base = {"openai.usage": "/v1", "openai.costs": "/v1", "gcp.billing_export": "/bigquery/v2"}.get(kind, "")
            access = Access(KEY, KEY, address + base, options=options,
                            client={} if kind == "aws.cost_explorer" else {"sleep": lambda _: None})
            made = pull_source(kind, access, Folder(tmp_path / kind), SHORT, today=today, as_of=FIRST)
            none = pull_source(kind, access, Folder(tmp_path / kind), Window(today, date(2026, 9, 9)), today=today,
                               as_of=FIRST)
        assert made.names
        assert not none.names
        assert kind in BILL_FORMAT or kind in USAGE_FORMAT
    assert "planted" not in repr(Access(KEY, KEY))


def test_a_source_without_its_key_is_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"\$OPENAI_ADMIN_KEY is empty or not set"):
        pull_source("openai.costs", Access(key_from="$OPENAI_ADMIN_KEY"), Folder(tmp_path), SHORT,
                    today=date(2026, 11, 1), as_of=FIRST)
