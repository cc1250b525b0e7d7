"""The documentation cannot lie: what it shows is run, what it names exists, what is generated is up to date."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from costops.flows.command import main, parser
from costops.flows.commands.dictionary import documents
from costops.flows.runtime.settings import load
from costops.transforms.tables import TABLE

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
MINE = [page for page in PAGES if page.relative_to(ROOT).as_posix() in {
    "README.md", "docs/architecture.md", "docs/how-to/start.md", "docs/how-to/query-the-lake.md",
    "docs/how-to/configure.md"} or page.parent.name in {"decisions", "reference"}]


def label(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def shown(language: str, pages: list[Path] | None = None) -> list[Any]:
    return [pytest.param(block, id=f"{label(page)}-{number}") for page in pages or PAGES
            for number, block in enumerate(blocks(page, language))]


# -- a small lake of the samples ----------------------------------------------------------------------------------

SOURCES = ("openai", "openai-batch", "anthropic")


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of three of the sample sources, as `cost-ops run` makes it."""
    home = tmp_path_factory.mktemp("docs")
    samples = ROOT / "data" / "samples"
    for folder in ("openai", "anthropic"):
        shutil.copytree(samples / "logs" / folder, home / "logs" / folder)
    shutil.copyfile(samples / "costops.toml", home / "costops.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSTOPS_NOW", "2026-10-31T06:00:00+00:00")
        words = [word for name in SOURCES for word in ("--source", name)]
        stages = [word for name in ("ingest", "price", "spend") for word in ("--stage", name)]
        assert main(["run", "--config", str(home / "costops.toml"), "-q", *words, *stages]) in (0, 1)
    return home / "lake"


@lru_cache(maxsize=1)
def truth() -> dict[str, Any]:
    made: dict[str, Any] = json.loads((ROOT / "data/samples/truth.json").read_text())
    return made


def of_source(name: str) -> dict[str, Any]:
    return next(one for one in truth()["by_source"] if one["source"] == name)


def test_the_samples_come_out_as_their_truth_says(lake: Path) -> None:
    with duckdb.connect() as con:
        rows = con.execute(f"""SELECT source, sum(requests), sum(input_tokens), sum(output_tokens),
            coalesce(sum(list_cost_usd), 0), sum(CASE WHEN price_status = 'unpriced' THEN requests ELSE 0 END)
            FROM read_parquet('{lake}/core_charge/**/*.parquet', hive_partitioning = true)
            WHERE counted GROUP BY source ORDER BY source""").fetchall()
    assert [row[0] for row in rows] == sorted(SOURCES)
    for source, requests, taken, made, cost, unpriced in rows:
        told = of_source(source)
        assert (requests, taken, made, unpriced) == (
            told["requests"], told["input_tokens"], told["output_tokens"], told["unpriced_requests"]), source
        assert cost == Decimal(told["cost_usd"]), source


# -- what is generated --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("file", ["docs/data-dictionary.md", "docs/reference/findings.md",
                                  "docs/reference/commands.md"])
def test_a_generated_page_is_what_the_generator_makes_now(file: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == documents()[file], "run `make docs` and commit the result"


def test_every_table_column_and_unit_is_described() -> None:
    text = documents()["docs/data-dictionary.md"]
    for table in TABLE.values():
        section = text.split(f"## {table.name}\n")[1].split("\n## ")[0]
        assert [name for name in table.columns if f"| `{name}` |" not in section] == []


# -- what is linked -----------------------------------------------------------------------------------------------

def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        todo += [(page.parent / target.split("#")[0]).resolve()
                 for target in re.findall(r"\]\(([^)\s:]+)\)", page.read_text(encoding="utf-8"))]
    assert [label(page) for page in PAGES if page not in seen] == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_file_and_test_that_is_named_exists(page: Path) -> None:
    """`data/series` and the like below the shared folder are not part of the repository."""
    missing = []
    for file, test in re.findall(r"`((?:tests|flows|transforms|models|reconcile|data|notebooks|benchmarks|docs|deploy)"
                                 r"/[\w./-]*\w)(?:::(\w+))?`", page.read_text(encoding="utf-8")):
        path = ROOT / file
        if file in {"data/series", "data/golden", "data/provider_logs", "data/traces", "data/billing"}:
            continue
        if not path.exists() or (test and test not in functions(path)):
            missing.append(f"{file}::{test}" if test else file)
    assert missing == []


@lru_cache(maxsize=64)
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


# -- what is shown ------------------------------------------------------------------------------------------------

def commands(block: str) -> list[list[str]]:
    lines = block.replace("\\\n", " ").splitlines()
    told = [shlex.split(line, comments=True) for line in lines if re.match(r"^(\.venv/bin/)?cost-ops ", line)]
    return [words[1:] for words in told]


@pytest.mark.parametrize("block", shown("sh"))
def test_every_command_that_is_shown_parses(block: str) -> None:
    for words in commands(block):
        assert parser().parse_args(words).command == words[0]
    for target in re.findall(r"^make ([a-z-]+)", block, re.M):
        assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_command_in_a_sentence_exists(page: Path) -> None:
    for words in re.findall(r"`cost-ops ([a-z]+)", page.read_text(encoding="utf-8")):
        assert words in commands_of_parser(), words


@lru_cache(maxsize=1)
def commands_of_parser() -> frozenset[str]:
    from costops.flows.command import COMMANDS

    return frozenset(command.name for command in COMMANDS)


@pytest.mark.parametrize("block", shown("toml", MINE))
def test_every_configuration_that_is_shown_is_valid(block: str, tmp_path: Path) -> None:
    path = tmp_path / "costops.toml"
    path.write_text(block)
    assert tomllib.loads(block)
    load(str(path))


@pytest.mark.parametrize("block", shown("sql", MINE))
def test_every_query_that_is_shown_runs_on_the_sample_lake(block: str, lake: Path) -> None:
    con = duckdb.connect()
    for name in ("core_finding", "core_charge"):
        con.execute(f"CREATE VIEW {name} AS FROM read_parquet('{lake}/{name}/**/*.parquet', hive_partitioning = true)")
    rows = con.execute(block.replace("demo/lake", str(lake)).replace("LAKE", str(lake))).fetchall()
    assert rows


@pytest.mark.parametrize("page", MINE, ids=label)
def test_every_dataset_that_is_named_exists(page: Path) -> None:
    words = set(re.findall(r"\b((?:core|out)_[a-z_]*[a-z])\b", page.read_text(encoding="utf-8")))
    columns = {name for table in TABLE.values() for name in table.columns}
    families = {"out_spend"}
    assert {word for word in words if word not in {*TABLE, *families, *columns}
            and not any(table.startswith(word) for table in TABLE)} == set()


def test_the_first_configuration_has_ten_lines_or_so() -> None:
    assert len(blocks(ROOT / "README.md", "toml")[0].split("\n\n")) <= 3
    assert len([line for line in blocks(ROOT / "README.md", "toml")[0].splitlines() if line]) <= 12


def test_the_readmes_table_is_that_of_the_samples() -> None:
    table = [line.split() for line in (ROOT / "README.md").read_text().splitlines()
             if re.match(r"^ [a-z_.]+ +[\d,]+ +[\d,]+ +[\d,]+ +[\d.]+ +\d+ +[\d.]+$", line)]
    assert len(table) == 9
    total = truth()["total"]
    number = [[Decimal(cell.replace(",", "")) for cell in row[1:]] for row in table]
    sums = [sum(column) for column in zip(*number, strict=True)]
    assert sums[:3] == [total["requests"], total["input_tokens"], total["output_tokens"]]
    assert abs(sums[3] - Decimal(total["cost_usd"])) < Decimal("0.0005")
    assert sums[4] == total["unpriced_requests"]
    assert abs(sums[5] - 100) <= Decimal("0.5")


# -- notebooks ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.name)
def test_a_notebook_runs_on_the_lake(notebook: Path, lake: Path, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, str(notebook)], cwd=tmp_path, check=False, capture_output=True,
                           env={**os.environ, "COSTOPS_LAKE": str(lake)})
    assert ended.returncode == 0, ended.stderr.decode()


def test_the_notebook_asks_five_questions_and_answers_them(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    path = ROOT / "notebooks" / "01-five-questions.py"
    assert len(re.findall(r"## [1-5]\. .+\?", path.read_text())) == 5
    spec = importlib.util.spec_from_file_location("five_questions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("COSTOPS_LAKE", str(lake))
    _, told = module.app.run()
    for name in ("by_day", "teams", "caching", "requests", "outside"):
        frame = told[name]
        assert isinstance(frame, pl.DataFrame)
        assert frame.height, name
    total = sum((Decimal(of_source(name)["cost_usd"]) for name in SOURCES), Decimal(0))
    assert told["by_day"]["list_cost_usd"].sum() == total
    assert told["teams"]["list_cost_usd"].sum() == total


def test_init_gives_the_same_notebooks(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "new")]) == 0
    for notebook in (ROOT / "notebooks").glob("*.py"):
        assert (tmp_path / "new" / "notebooks" / notebook.name).read_bytes() == notebook.read_bytes()
