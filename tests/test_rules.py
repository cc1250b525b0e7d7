"""The repository's own rules: what review would have to look for in every change."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import io
import pkgutil
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import costops
from costops.flows.runtime.settings import Settings, known_kinds, load
from costops.transforms.finding import MEND
from costops.transforms.providers import FORMATS

ROOT = Path(__file__).resolve().parents[1]
CODE = ("flows", "transforms", "models", "reconcile")


@lru_cache(maxsize=1)
def tracked() -> tuple[Path, ...]:
    """Files of the repository, new ones included."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    return tuple(path for name in listed.stdout.decode().splitlines() if (path := ROOT / name).is_file())


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders or CODE for path in sorted((ROOT / folder).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_of(path: Path) -> str:
    """The code without comments and text."""
    kept = [token.string for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
            if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER)]
    return " ".join(kept)


def found(pattern: str, paths: list[Path]) -> dict[str, int]:
    """File -> how often a pattern stands in its code."""
    counts = {name(path): len(re.findall(pattern, code_of(path))) for path in paths}
    return {file: count for file, count in counts.items() if count}


# -- no row by row ------------------------------------------------------------------------------------------------

ROW_BY_ROW = {
    "flows/commands/": "what is printed",
    "flows/tasks/": "frames of one row per source, day, input, finding or budget",
    "transforms/prices/": "one row per price or price-deciding combination, never per request",
    "transforms/billing/": "one row per finding, snapshot, period or distinct text of a line",
    "transforms/buckets/": "one row per finding",
    "transforms/reports/": "what is drawn or written as a table",
    "flows/runtime/lake.py": "one row per partition",
    "models/": "one row per series or event",
    "reconcile/": "one row per bill line or cause",
    "transforms/tokens.py": "one row per series",
    "transforms/allocate.py": "one row per month and team",
    "transforms/recommend.py": "one row per model or hour",
    "transforms/focus_daily.py": "one row per SKU and day",
}
"""Where a loop over rows is allowed, and what the rows are. Nowhere else, and never over requests."""


def test_loops_over_rows_stand_only_where_rows_are_few() -> None:
    loops = found(r"\. (iter_rows|rows|map_elements|map_rows|iterrows|itertuples|to_pandas) \(", modules())
    assert [file for file in loops if not file.startswith(tuple(ROW_BY_ROW))] == []


def test_no_frame_is_mapped_in_python_or_turned_into_pandas() -> None:
    slow = found(r"\. (map_elements|map_rows|map_batches|iterrows|itertuples|applymap) \(", modules())
    assert set(slow) <= {"models/additive.py",
                         "transforms/reports/export.py",        # cells of an export are defused
                         "transforms/focus_daily.py"}           # ids of rows per SKU and day
    assert set(found(r"\. to_pandas \(", modules())) <= {
        "models/additive.py", "models/statistical.py", "models/forecast.py", "models/boosted.py"}


# -- money --------------------------------------------------------------------------------------------------------

def test_money_modules_know_no_float() -> None:
    money = [path for path in modules("transforms") if name(path) in {
        "transforms/money.py", "transforms/charge.py", "transforms/merge.py", "transforms/units.py"}
        or name(path).startswith("transforms/prices/feeds/")]
    assert found(r"\b(float|Float64|Float32) \(?", money) == {}


# -- what is dangerous --------------------------------------------------------------------------------------------

def test_nothing_is_unpickled_or_evaluated() -> None:
    loads = found(r"\b(pickle|joblib|cloudpickle|dill|shelve|marshal)\b|(?<!\. )\b(eval|exec) \(|"
                  r"\byaml \. (load|unsafe_load) \(", modules())
    assert loads.keys() <= {"transforms/prices/reviewed.py"}          # a safe loader that keeps numbers as text
    assert "class _Loader(yaml.SafeLoader)" in (ROOT / "transforms/prices/reviewed.py").read_text()


def test_no_failure_is_swallowed() -> None:
    bare = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                bare.append(f"{name(path)}:{node.lineno}")
            if isinstance(node, ast.ExceptHandler) and len(node.body) == 1 and isinstance(node.body[0], ast.Pass) and (
                    isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}):
                bare.append(f"{name(path)}:{node.lineno}")
    assert bare == []


def test_only_commands_print() -> None:
    prints = found(r"(?<!\. )\bprint \(", modules())
    assert [file for file in prints if not file.startswith("flows/command")] == []


PROMPT_FIELDS = frozenset({
    "content", "text", "prompt", "messages", "instructions", "arguments", "thinking", "reasoning_content", "refusal",
    "inputBodyJson", "outputBodyJson", "RequestMessages", "ResponseMessages", "choices", "candidates", "parts",
})


def leaves_of(fields: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, kind in fields.items():
        if isinstance(kind, dict):
            yield from leaves_of(kind, f"{path}{key}.")
        else:
            yield f"{path}{key}", kind


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.kind)
def test_no_parser_selects_text_of_people(form: Any) -> None:
    told = [path for path, _ in leaves_of(form.fields)]
    assert told
    assert [path for path in told if path.rsplit(".", 1)[-1] in PROMPT_FIELDS] == []


# -- size and imports ---------------------------------------------------------------------------------------------

TOO_LONG: frozenset[str] = frozenset()
"""Modules over 400 lines that are known; to be cut, never to be added to."""


def test_no_module_is_longer_than_400_lines() -> None:
    long = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {file: lines for file, lines in long.items() if lines > 400 and file not in TOO_LONG} == {}
    assert all(long.get(file, 0) > 400 for file in TOO_LONG), "shrunk: take it off the list"


def test_importing_does_nothing() -> None:
    """Pure modules connect to nothing, open no socket and start no thread when they are imported."""
    pure = [f"costops.{name(path).removesuffix('.py').replace('/', '.').removesuffix('.__init__')}"
            for path in modules("transforms", "reconcile")]
    code = ("import importlib, socket, sys, threading\nimport duckdb\n"
            "def refuse(*_, **__):\n    raise RuntimeError('at import time')\n"
            "duckdb.connect = duckdb.sql = duckdb.execute = duckdb.query = refuse\n"
            "socket.socket.connect = refuse\nbefore = threading.active_count()\n"
            f"for module in {pure!r}:\n    importlib.import_module(module)\n"
            "assert threading.active_count() == before\n"
            "assert not [m for m in sys.modules if m.split('.')[0] in {'prefect', 'boto3', 'obstore'}]\n")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()


def test_files_that_are_loaded_by_path_shadow_nothing() -> None:
    installed = {module for distribution in importlib.metadata.packages_distributions() for module in [distribution]}
    taken = set(sys.stdlib_module_names) | (installed - {"costops"})
    for folder in ("flows", "transforms", "models", "reconcile", "notebooks"):
        names = {path.stem if path.suffix == ".py" else path.name for path in (ROOT / folder).iterdir()
                 if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
        if folder == "flows":
            assert names & taken == set()
        assert names & set(sys.stdlib_module_names) == set()


def test_every_module_is_reached_by_its_name() -> None:
    named = {module.name for module in pkgutil.walk_packages(costops.__path__, "costops.")}
    for path in modules():
        if path.name != "__init__.py":
            assert f"costops.{name(path).removesuffix('.py').replace('/', '.')}" in named


# -- registration -------------------------------------------------------------------------------------------------

def test_every_parser_is_registered() -> None:
    from costops.transforms import providers

    told = {form.kind for form in FORMATS}
    for path in modules("transforms/parse"):
        module = importlib.import_module(f"costops.transforms.parse.{path.stem}")
        for form in getattr(module, "FORMATS", ()):
            assert form.kind in told, f"{name(path)}: {form.kind} is missing in transforms/providers.py"
    assert len(told) == len(FORMATS)
    assert set(providers.FORMAT) == told


CONTRACT_KINDS = frozenset("""
openai.requests openai.batch_output openai.usage anthropic.messages anthropic.batch_results anthropic.usage_report
claude_code.sessions bedrock.invocation_logs gemini.responses vertex.request_logs azure.apim_llm_logs
litellm.spend_logs otel.traces langfuse.observations helicone.requests openrouter.activity generic.usage openai.costs
anthropic.cost_report anthropic.console_cost aws.cur2 aws.cost_explorer gcp.billing_export azure.cost_export
azure.cost_management focus generic.bill invoices fx_rates business_metrics""".split())  # noqa: SIM905


def test_every_kind_of_the_contract_is_known_and_in_the_example() -> None:
    assert set(known_kinds()) >= CONTRACT_KINDS
    example = (ROOT / "data/reference/workspace/costops.toml").read_text()
    assert [kind for kind in sorted(CONTRACT_KINDS) if not re.search(rf"\b{re.escape(kind)}\b", example)] == []


def reasons_in_code() -> dict[str, str]:
    """Reason code -> a place that reports it."""
    told: dict[str, str] = {}
    for path in modules("flows", "transforms"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if isinstance(node, ast.Call) and called in {"Finding", "Trouble"} and node.args and isinstance(
                    node.args[0], ast.Constant):
                told[str(node.args[0].value)] = f"{name(path)}:{node.lineno}"
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(one, ast.Name) and one.id in {"MENDS", "_MENDS"} for one in targets):
                    told |= {str(key.value): f"{name(path)}:{node.lineno}" for key in node.value.keys
                             if isinstance(key, ast.Constant)}
    for form in FORMATS:
        told |= {reason.split(":")[0]: form.kind for reason in form.checks}
    return told


def test_every_reason_of_a_finding_is_explained() -> None:
    told = reasons_in_code()
    assert len(told) > 20
    assert {reason: place for reason, place in told.items() if reason not in MEND} == {}


# -- configuration ------------------------------------------------------------------------------------------------

def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Section and key of everything that a configuration may say."""
    for key, field in model.model_fields.items():
        inner = [one for one in (field.annotation, *getattr(field.annotation, "__args__", ()))
                 if isinstance(one, type) and issubclass(one, BaseModel)]
        if inner:
            yield from keys_of(inner[0], key)
        elif key != "home":
            yield prefix, key


def sections(text: str) -> dict[str, set[str]]:
    """Section -> keys, of a commented configuration."""
    told: dict[str, set[str]] = {}
    here = ""
    for raw in text.splitlines():
        line = raw.removeprefix("# ").removeprefix("#").strip()
        if match := re.match(r"\[+([a-z_.]+)\]+", line):
            here = match[1].split(".")[-1]
        elif match := re.match(r"([a-z_0-9]+)\s*=", line):
            told.setdefault(here, set()).add(match[1])
    return told


def test_every_key_stands_in_the_commented_configuration() -> None:
    shown = sections((ROOT / "data/reference/workspace/costops.toml").read_text())
    missing = [f"{section}.{key}" for section, key in keys_of(Settings) if key not in shown.get(section, set())]
    assert missing == []


def test_the_commented_configuration_shows_no_key_that_is_not_there() -> None:
    known: dict[str, set[str]] = {}
    for section, key in keys_of(Settings):
        known.setdefault(section, set()).add(key)
    shown = sections((ROOT / "data/reference/workspace/costops.toml").read_text())
    free = {"columns", "only", "options", "shares"}
    extra = {section: keys - known.get(section, set()) for section, keys in shown.items() if section not in free}
    assert {section: keys for section, keys in extra.items() if keys} == {}


def test_the_commented_configuration_is_valid_with_every_comment_taken_away(tmp_path: Path) -> None:
    text = (ROOT / "data/reference/workspace/costops.toml").read_text()
    path = tmp_path / "costops.toml"
    path.write_text(re.sub(r"^# (?=\[|[a-z_0-9]+ = )", "", text, flags=re.M))
    settings = load(str(path))
    assert len(settings.sources) >= 4
    assert settings.budgets
    assert settings.contracts


NOT_APPLIED = frozenset({
    "workspace.reporting_timezone",
    "allocations.name", "allocations.source_team", "allocations.method", "allocations.shares",
})
"""Keys that are checked and not applied yet. `docs/how-to/configure.md` says so; to be emptied."""


def test_every_key_is_read_somewhere_or_said_to_be_idle() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in modules() if path.name != "settings.py")
    idle = {f"{section}.{key}" for section, key in keys_of(Settings)
            if not re.search(rf"\.{key}\b|\"{key}\"", code)}
    assert idle <= NOT_APPLIED, "a key that nothing reads"
    guide = (ROOT / "docs/how-to/configure.md").read_text()
    assert [key for key in NOT_APPLIED if key.split(".")[0] not in guide.split("## Not applied yet")[-1]] == []


# -- tracked files ------------------------------------------------------------------------------------------------

PLACES = re.compile(r"(?<![\w./-])(/work/|/root/|/home/[a-z]|/Users/|/tmp/[a-z])|pypi\.[a-z]+\.internal|"
                    r"(?:index-url|extra-index|artifactory|nexus\.)|https?://(?!127\.0\.0\.1|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.)\d+\.\d+\.\d+\.\d+")


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    told = []
    for path in tracked():
        if path.suffix in {".gz", ".zst", ".parquet", ".png"} or name(path) in {"tests/test_rules.py"}:
            continue
        if name(path).startswith("data/samples/logs/"):
            continue                        # provider-native files, which name the invented company's machines
        text = path.read_text(encoding="utf-8", errors="replace")
        told += [f"{name(path)}: {match[0]}" for match in PLACES.finditer(text)]
    assert told == []


def test_the_lock_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.M)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 100
    assert [entry.split("\n")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert [entry for entry in entries if not re.match(r"[\w.\-\[\]]+==[^ ]+", entry)] == []


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    locked = {line.split("==")[0].split("[")[0].lower().replace("_", "-")
              for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    names = {re.split(r"[<>=\[; ]", one)[0].lower().replace("_", "-") for one in wanted}
    assert names - locked == set()


def test_deployments_name_flows_that_exist() -> None:
    path = ROOT / "prefect.yaml"
    if not path.exists():
        pytest.skip("no deployments")
    from prefect.flows import Flow

    listed = yaml.safe_load(path.read_text())["deployments"]
    assert {one["name"] for one in listed} == {
        "nightly", "backfill", "monthly-reconciliation", "refresh-prices", "refit-models"}
    for one in listed:
        file, function = one["entrypoint"].split(":")
        assert (ROOT / file).is_file()
        module = importlib.import_module(f"costops.{file.removesuffix('.py').replace('/', '.')}")
        flow = getattr(module, function)
        assert isinstance(flow, Flow)
        assert flow.name == one["name"]
        assert set(one.get("parameters", {})) <= set(flow.parameters.properties)


def test_flow_files_are_one_page_and_define_no_class() -> None:
    for path in sorted((ROOT / "flows").glob("*.py")):
        if path.name in {"command.py", "__init__.py"}:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)], path.name
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 130, path.name


def test_sql_stands_in_files_or_in_transforms() -> None:
    """Flow files and models hold no SQL: what an analyst would rerun is a file in `transforms/sql`."""
    for path in [*sorted((ROOT / "flows").glob("*.py")), *modules("models")]:
        if path.name == "command.py":
            continue
        assert not re.search(r"\bSELECT\b.+\bFROM\b", path.read_text(encoding="utf-8")), name(path)
