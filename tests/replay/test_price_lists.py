"""`cost-ops prices update` against the clouds' price catalogues: taken in with their units, or refused with a reason."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.flows.sources.api.client import Api
from costops.flows.sources.api.price_lists import CATALOGUE
from costops.transforms.errors import Usage
from costops.transforms.prices.book import book, overlaps
from costops.transforms.prices.explain import explain
from costops.transforms.tables import CORE_PRICE
from tests.replay.catalogues import azure_page, google_page
from tests.replay.server import KEY, Provider, serving

CONFIG = """
[[price_feeds]]
kind = "azure.retail_prices"
base_url = "{url}"
[[price_feeds]]
kind = "gcp.catalog"
base_url = "{url}"
api_key_env = "TEST_GOOGLE_KEY"
[[price_feeds]]
kind = "aws.price_list"
base_url = "{url}"
"""
AT = datetime(2026, 11, 16, 12)


class Workspace:
    """A workspace whose price feeds are on the replay server."""

    def __init__(self, home: Path, text: str) -> None:
        self.home = home
        self._book: pl.DataFrame | None = None
        (home / "costops.toml").write_text(text)

    def prices(self, *words: str) -> int:
        self._book = None
        return main(["prices", *words, "--config", str(self.home / "costops.toml")])

    def book(self) -> pl.DataFrame:
        if self._book is None:
            self._book = Lake(open_store(str(self.home / "lake")), self.home / "scratch").read(CORE_PRICE)
        return self._book

    def price(self, model: str, unit: str, *, at: datetime = AT, **asked: Any) -> Decimal | None:
        rows = explain(self.book(), model, at, **asked).filter(pl.col("unit") == unit).sort("min_input")
        return rows["price_usd"][0].normalize() if rows.height else None


class Clouds(Provider):
    """The replay server and its address."""

    url: str = ""


@contextmanager
def _clouds() -> Iterator[Clouds]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_GOOGLE_KEY", KEY)
        patch.setenv("COSTOPS_NOW", "2026-11-16T12:00:00+00:00")
        patch.setattr(Api, "_pause", lambda *_: None)
        provider = Clouds(faults=0.1)
        with serving(provider) as provider.url:
            yield provider


@pytest.fixture
def clouds() -> Iterator[Clouds]:
    with _clouds() as provider:
        yield provider


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace that has taken in the three catalogues, and what that said."""
    said = io.StringIO()
    with _clouds() as provider, redirect_stderr(said):
        place = Workspace(tmp_path_factory.mktemp("catalogues"), CONFIG.format(url=provider.url))
        assert place.prices("update") == 0
    return place, said.getvalue()


@pytest.fixture
def taken(first: tuple[Workspace, str], clouds: Clouds, tmp_path: Path) -> Workspace:
    """A copy of it, to go on with."""
    shutil.copytree(first[0].home, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path, CONFIG.format(url=clouds.url))


def test_catalogues_are_taken_in_with_their_units_and_what_is_left_out_is_counted(
        first: tuple[Workspace, str]) -> None:
    place, told = first
    assert "azure.retail_prices: 9 prices of 3 models from 15 SKUs; left out: 2 priced by the hour, 1 a reserv" in told
    assert "1 a deployment that usage does not tell apart, 1 text not understood" in told
    assert "Wonder 9 Inp glbl Tokens" in told
    assert "gcp.catalog: 5 prices of 2 models from 10 SKUs" in told
    assert "1 a preview beside the released model" in told
    assert "aws.price_list: 8 prices of 5 models from 11 SKUs" in told
    azure: Any = {"provider": "azure.ai.openai"}
    assert place.price("gpt-4o-2024-11-20", "cache_read", **azure) == Decimal("1.25")     # 0.00125 per 1K
    assert place.price("gpt-5", "output", **azure) == 10                                  # per 1M
    assert place.price("gpt-5.4", "uncached_input", region="eu", **azure) == 3            # stated for the Data Zone
    assert place.price("gpt-5.4", "output", region="eu", **azure) == Decimal("16.5")      # as before: 1.1 of 15
    assert place.price("gpt-5.4", "uncached_input", service_tier="priority", **azure) == Decimal("4.75")
    assert place.price("gemini-2.5-flash", "uncached_input", provider="gcp.vertex_ai") == Decimal("0.3")
    assert place.price("gemini-2.5-flash", "uncached_input", provider="gcp.vertex_ai", service_tier="batch"
                       ) == Decimal("0.15")
    bedrock: Any = {"provider": "aws.bedrock", "region": "us-east-1"}
    assert place.price("amazon.nova-lite-v1:0", "uncached_input", **bedrock) == Decimal("0.06")
    assert place.price("amazon.nova-lite-v1:0", "uncached_input", provider="aws.bedrock", region="eu-west-1"
                       ) == Decimal("0.078")
    assert place.price("global.anthropic.claude-haiku-4-5-20251001-v1:0", "output", **bedrock) == 5
    assert place.price("us.anthropic.claude-haiku-4-5-20251001-v1:0", "output", **bedrock) == Decimal("5.5")
    rows = place.book()
    mine = rows.filter(pl.col("price_source").is_in(list(CATALOGUE)))
    assert mine["source_hash"].null_count() == 0
    assert mine["date_basis"].unique().to_list() == ["stated"]
    assert overlaps(rows).is_empty()


def test_what_a_catalogue_does_not_say_keeps_its_price(first: tuple[Workspace, str]) -> None:
    place = first[0]
    azure = explain(place.book(), "gpt-5.4", AT, provider="azure.ai.openai").filter(pl.col("unit") == "uncached_input")
    assert azure.sort("min_input").select("min_input", "price_usd").rows() == [(0, Decimal("2.5")), (272_001, 5)]
    for model, provider in (("gpt-4o-mini", "azure.ai.openai"), ("gpt-5", "openai"), ("gemini-2.5-pro", "gcp.gemini")):
        before, after = (explain(one, model, AT, provider=provider).sort("unit", "min_input")["price_usd"].to_list()
                         for one in (book(), place.book()))
        assert before == after
    pro = explain(place.book(), "gemini-2.5-pro", AT, provider="gcp.vertex_ai").filter(pl.col("unit") == "output")
    assert pro["price_usd"].to_list() == [10, 15]
    assert place.price("gpt-5", "output", at=datetime(2025, 8, 20), provider="azure.ai.openai") == 10


def test_an_update_without_news_changes_nothing_and_other_changes_lose_no_feed(taken: Workspace, clouds: Clouds) -> None:
    before = taken.book()
    assert taken.prices("update", "-q") == 0
    assert taken.book().equals(before)
    own = '\n[[prices]]\nprovider = "openai"\nmodel_id = "gpt-own"\nusd = { output = "1" }\n'
    changed = Workspace(taken.home, CONFIG.format(url=clouds.url) + own)
    assert changed.prices("update", "-q") == 0
    assert changed.price("gpt-own", "output", provider="openai") == 1
    assert changed.price("gpt-4o-2024-11-20", "cache_read", provider="azure.ai.openai") == Decimal("1.25")
    assert changed.book().filter(pl.col("retracted_at").is_not_null()).is_empty()


@pytest.mark.parametrize(("wrong", "says"), [
    ({"price_factor": 1000.0}, "goes from"), ({"lost_skus": 2}, "it lacks 4 of"),
    ({"published": "2026-10-01T10:00:00Z"}, "before the one in use"),
])
def test_a_catalogue_that_jumps_shrinks_or_is_older_is_refused_until_it_is_forced(
        wrong: dict[str, Any], says: str, clouds: Clouds, taken: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    before = taken.book()
    for name, value in wrong.items():
        setattr(clouds, name, value)
    with pytest.MonkeyPatch.context() as later:
        later.setenv("COSTOPS_NOW", "2026-11-17T12:00:00+00:00")
        assert taken.prices("update") == 4
        assert says in capsys.readouterr().err
        assert taken.book().equals(before)
        assert taken.prices("update", "--force", "-q") == 0


def test_a_slip_of_units_is_refused_at_once(clouds: Clouds, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clouds.price_factor = 1000.0
    assert Workspace(tmp_path, CONFIG.format(url=clouds.url)).prices("update") == 4
    assert "openai/gpt-5.4 azure standard uncached_input would go from 2.5 to 2500 dollars" in capsys.readouterr().err


def test_saved_pages_are_taken_in_without_the_network(tmp_path: Path) -> None:
    place = Workspace(tmp_path, "")
    (tmp_path / "azure.json").write_text(json.dumps(azure_page()))
    assert place.prices("update", "--from", str(tmp_path / "azure.json"), "-q") == 0
    assert place.price("gpt-4o-2024-11-20", "uncached_input", provider="azure.ai.openai") == Decimal("2.5")
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "1.json").write_text(json.dumps(google_page()))
    assert place.prices("update", "--from", str(folder), "-q") == 0
    assert place.price("gemini-2.5-flash", "output", provider="gcp.vertex_ai") == Decimal("2.5")
    assert place.price("gpt-4o-2024-11-20", "uncached_input", provider="azure.ai.openai") == Decimal("2.5")


def test_a_catalogue_that_does_not_answer_stops_no_other(
        clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TEST_GOOGLE_KEY", "wrong-canary-0123456789")
    place = Workspace(tmp_path, CONFIG.format(url=clouds.url))
    assert place.prices("update") == 3
    told = capsys.readouterr().err
    assert "gcp.catalog" in told
    assert "$TEST_GOOGLE_KEY" in told
    assert "canary" not in told
    assert place.price("amazon.nova-lite-v1:0", "uncached_input", provider="aws.bedrock", region="eu-west-1"
                       ) == Decimal("0.078")


def test_another_currency_and_another_file_are_refused_by_name() -> None:
    page = azure_page()
    page["Items"][0]["currencyCode"] = "EUR"
    with pytest.raises(Usage, match="prices are in EUR; ask for USD"):
        CATALOGUE["azure.retail_prices"].read([json.dumps(page).encode()])
    with pytest.raises(Usage, match="a page lacks skus"):
        CATALOGUE["gcp.catalog"].read([b"{}"])
    with pytest.raises(Usage, match="none of its 0 SKUs is the price of a model"):
        CATALOGUE["gcp.catalog"].read([b'{"skus": []}'])


def test_the_usual_port_in_a_next_link_is_the_same_host() -> None:
    api = Api("azure", "https://prices.azure.com")
    assert api.place("https://prices.azure.com:443/api/retail/prices?$skip=100").startswith("https://prices.azure.com:443")
