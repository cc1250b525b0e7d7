"""Providers that fall silent in the middle, and pages that change while they are asked for."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.flows.sources.api import anthropic_api, openai_api
from costops.flows.sources.api.client import Api
from costops.flows.sources.api.kinds import Access, pull_source
from costops.flows.sources.api.landing import Chain, Pulled, pull
from costops.flows.sources.api.turns import Turns
from costops.transforms.billing.bill import Options
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import read_bill
from costops.transforms.buckets.feed import read_usage
from costops.transforms.buckets.kinds import USAGE_FORMAT
from costops.transforms.errors import Unreachable
from costops.transforms.tables import CORE_BILLING
from tests.replay.server import KEY, Provider, serving
from tests.replay.test_pull import FIRST, LONG, SECOND, SHORT, Folder

SILENCES = ("nothing", "half", "trickle")


def _pull(provider: Provider, store: Folder, *, attempts: int = 8, timeout: float = 0.3) -> Pulled:
    with serving(provider) as address:
        api = anthropic_api.connect(KEY, base_url=address, sleep=lambda _: None, attempts=attempts, timeout=timeout,
                                    longest_answer=0.6)
        return pull(anthropic_api.cost_report(api, SHORT), store, FIRST)


@pytest.mark.parametrize("how", SILENCES)
def test_an_answer_that_never_ends_is_asked_for_again(how: str, tmp_path: Path) -> None:
    calm, rough = Folder(tmp_path / "calm"), Folder(tmp_path / "rough")
    _pull(Provider(), calm, timeout=30)
    provider = Provider(silent={how: 1})
    _pull(provider, rough)
    assert set(provider.asked.values()) == {2}
    assert rough.everything() == calm.everything()


@pytest.mark.parametrize("how", SILENCES)
def test_silence_to_the_last_attempt_is_one_sentence_and_nothing_lands(how: str, tmp_path: Path) -> None:
    store = Folder(tmp_path)
    began = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        _pull(Provider(silent={how: 9}), store, attempts=2)
    assert time.monotonic() - began < 5
    said = "the answer was not whole after 0.6 s" if how == "trickle" else "nothing came for 0.3 s"
    assert f"did not answer after 2 attempts (last: {said})" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.everything() == {}


def test_cost_explorer_that_says_nothing_is_one_sentence_in_bounded_time(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    provider = Provider(silent={"nothing": 9})
    with serving(provider) as address:
        access = Access(KEY, KEY, address, options={"timeout": 0.2})
        with pytest.raises(Unreachable, match="Cost Explorer could not be reached"):
            pull_source("aws.cost_explorer", access, Folder(tmp_path), SHORT, today=SHORT.end, as_of=FIRST)
    assert set(provider.asked.values()) == {7}                  # once, and six times more


def test_a_run_names_the_silent_source_takes_the_others_and_the_next_one_goes_on(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-05T06:00:00+00:00")
    monkeypatch.setattr(Api, "_pause", lambda *_: None)
    quiet, lively = Provider(silent={"nothing": 99}), Provider()
    with serving(quiet) as first, serving(lively) as second:
        (tmp_path / "costops.toml").write_text("".join(
            f'[[sources]]\nname = "{name}"\nkind = "anthropic.cost_report"\nbase_url = "{url}"\n'
            f'api_key_env = "TEST_KEY"\nstart = "2026-10-01"\noptions = {{ timeout = 0.1 }}\n'
            for name, url in (("quiet", first), ("lively", second))))
        words = ["run", "-q", "--stage", "ingest", "--config", str(tmp_path / "costops.toml")]
        assert main(words) == 3
        told = capsys.readouterr().err
        assert "did not answer after 8 attempts (last: nothing came for 0.1 s)" in told
        lake = Lake(open_store(str(tmp_path / "lake")), tmp_path / "scratch")
        assert set(lake.read(CORE_BILLING)["source"]) == {"lively"}
        quiet.silent.clear()
        assert main(words) == 0
        assert set(lake.read(CORE_BILLING)["source"]) == {"lively", "quiet"}


def test_a_time_out_that_is_no_time_is_wrong_configuration(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    (tmp_path / "costops.toml").write_text(
        '[[sources]]\nname = "a"\nkind = "openai.costs"\napi_key_env = "TEST_KEY"\noptions = { timeout = 0 }\n')
    assert main(["run", "-q", "--stage", "ingest", "--config", str(tmp_path / "costops.toml")]) == 2
    assert "options.timeout is 0; write seconds above 0" in capsys.readouterr().err


# -- pages that change ----------------------------------------------------------------------------------------------

def _chains(address: str) -> list[Chain]:
    api = openai_api.connect(KEY, base_url=f"{address}/v1", sleep=lambda _: None)
    return [*openai_api.usage(api, LONG, endpoints=("completions",)), *openai_api.costs(api, LONG)]


def _one_of_each(store: Folder) -> None:
    """Each page of each chain landed once, and each chain has its end."""
    pages = [name.rsplit("_", 1)[0] for name in store.names("") if name.endswith(".json")]
    assert len(pages) == len(set(pages)) == 2 * 13
    assert len([name for name in store.names("") if name.endswith("/complete")]) == 2


def _reads_as_landed(store: Folder) -> None:
    """What is read is what landed: nothing twice, nothing of an answer that did not land."""
    bills = read_bill(BILL_FORMAT["openai.costs"], store.inputs("costs"), Options("s"))
    landed = [row for one in store.inputs("costs") for bucket in json.loads(one.path.read_bytes(), parse_float=Decimal)
              ["data"] for row in bucket["results"]]
    assert bills.findings.height == 0
    assert bills.billing.height == len(landed)
    assert bills.billing["BilledCost"].sum() == sum((Decimal(str(row["amount"]["value"])) for row in landed), Decimal(0))
    usage = read_usage(USAGE_FORMAT["openai.usage"], store.inputs("usage"), Options("s"))
    assert usage.findings.height == 0
    assert usage.rows["record_id"].is_unique().all()


def test_a_page_that_was_cut_and_changed_meanwhile_lands_once_as_it_came_whole(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "rest", lambda *_: None)
    store, provider = Folder(tmp_path), Provider(changing=True, faults=0.4, seed=5)
    with serving(provider) as address:
        pull(_chains(address), store, FIRST)
    assert max(provider.asked.values()) > 1
    _one_of_each(store)
    _reads_as_landed(store)


def test_a_page_that_changed_between_a_kill_and_the_next_run_lands_once(tmp_path: Path) -> None:
    store, provider = Folder(tmp_path, die_after=6), Provider(changing=True)
    with serving(provider) as address:
        with pytest.raises(KeyboardInterrupt):
            pull(_chains(address), store, FIRST)
        store.left = None
        before = store.everything()
        made = pull(_chains(address), store, SECOND)
    assert made.kept == 6
    assert max(provider.asked.values()) == 2                   # the page that was asked for and did not land
    assert before.items() <= store.everything().items()
    _one_of_each(store)
    _reads_as_landed(store)
