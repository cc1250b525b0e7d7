"""`init`, `demo`, `config`, `doctor`: the workspace itself."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import polars as pl

from costops.flows.commands.show import emit
from costops.flows.runtime.logs import redact
from costops.flows.runtime.settings import config_path, load
from costops.transforms.errors import CostopsError, Usage


def init(args: argparse.Namespace) -> int:
    """A folder with a commented configuration and notebooks."""
    target = Path(args.dir)
    path = target / "costops.toml"
    if path.exists():
        raise Usage(f"{path} is there already; choose another folder.")
    shipped = files("costops.data") / "workspace"
    try:
        (target / "notebooks").mkdir(parents=True, exist_ok=True)
        for item in _notebooks():
            (target / "notebooks" / item.name).write_text(item.read_text(encoding="utf-8"), encoding="utf-8")
        path.write_text((shipped / "costops.toml").read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise Usage(f"{target}: cannot be written ({error.strerror}); choose another folder.") from None
    print(f"{path}: name your sources in it, then run: cost-ops run --config {path}")
    return 0


def _notebooks() -> list[Path]:
    """The notebooks: beside the code in an installed package, at the top of a checkout."""
    import costops

    package = Path(costops.__file__).resolve().parent
    for folder in (package / "data" / "notebooks", package.parents[1] / "notebooks"):
        if folder.is_dir():
            return sorted(folder.glob("*.py"))
    return []


def demo(args: argparse.Namespace) -> int:
    """The shipped samples through the whole job."""
    from costops.flows.commands.run import run

    samples = _samples()
    target = Path(args.dir)
    (target / "logs").mkdir(parents=True, exist_ok=True)
    shutil.copytree(samples / "logs", target / "logs", dirs_exist_ok=True)
    shutil.copyfile(samples / "costops.toml", target / "costops.toml")
    os.environ.setdefault("COSTOPS_NOW", SAMPLE_NOW)
    given: dict[str, object] = {"config": str(target / "costops.toml"), "start": None, "end": None,
                                "source": [], "stage": [], "format": "table"}
    code = run(argparse.Namespace(**given))
    if code not in (0, 1):
        return code
    return max(code, _sample_months(given))


SAMPLE_NOW = "2026-10-31T06:00:00+00:00"
"""The morning after the last day of the samples: the demo looks the same whenever it is run."""

OPEN_MONTH, CLOSED_MONTH = "2026-10", "2026-09"
"""The month of the samples that still runs, with a gap and its cause; and the one that agrees with its bills."""


def _sample_months(given: dict[str, object]) -> int:
    from costops.flows.commands.month import close, reconcile

    compared = reconcile(argparse.Namespace(**{**given, "month": OPEN_MONTH}))
    return max(compared, close(argparse.Namespace(**{**given, "month": CLOSED_MONTH, "reopen": False, "by": "demo"})))


def _samples() -> Path:
    """The samples of a checkout; an installed package has none."""
    import costops

    for base in (Path.cwd(), Path(costops.__file__).resolve().parents[2]):
        if (base / "data" / "samples" / "costops.toml").exists():
            return base / "data" / "samples"
    raise Usage("the samples come with the repository: run the demo in a checkout of it.")


def config(args: argparse.Namespace) -> int:
    """Check or show."""
    settings = load(args.config)
    if args.action == "validate" and args.format != "table":
        emit(pl.DataFrame({"config": [str(config_path(args.config))], "is_good": [True],
                           "sources": [len(settings.sources)], "budgets": [len(settings.budgets)]}), args.format)
        return 0
    if args.action == "validate":
        print(f"{config_path(args.config)}: good; {len(settings.sources)} sources, {len(settings.budgets)} budgets.")
        return 0
    rows = [{"key": key, "value": value} for key, value in _flat("", settings.model_dump(exclude={"home"}))]
    emit(pl.DataFrame(rows, schema={"key": pl.String(), "value": pl.String()}), args.format)
    return 0


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    """Dotted keys; the value of a variable that holds a secret is never read, only whether it is set."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix}.{key}" if prefix else key, inner)]
    if isinstance(value, (tuple, list)) and value and isinstance(value[0], dict):
        return [pair for number, inner in enumerate(value)
                for pair in _flat(f"{prefix}.{inner.get('name', number)}", inner)]
    if value in (None, (), [], {}):
        return []
    if prefix.endswith("_env"):
        return [(prefix, f"{value} ({'set, ***' if os.environ.get(str(value)) else 'not set'})")]
    return [(prefix, redact(", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)))]


def doctor(args: argparse.Namespace) -> int:
    """One row per thing looked at; exit code 0 where all is well, else 2 or 4."""
    from costops.flows.sources.files import find
    from costops.flows.tasks.run import open_lake

    rows: list[dict[str, str]] = []

    def look(what: str, good: str, problem: str | None = None) -> None:
        rows.append({"what": what, "state": "ok" if problem is None else "mend", "detail": problem or good})

    settings = load(args.config)
    look("configuration", f"{len(settings.sources)} sources")
    for name in sorted(settings.secret_names()):
        look(f"secret {name}", "set", None if os.environ.get(name) else "the variable is not set")
    for source in settings.sources:
        if not source.uri:
            continue
        try:
            count = len(find(source.uri, settings.home))
            look(f"source {source.name}", f"{count} inputs", None if count else f"{source.uri}: no input matches")
        except CostopsError as error:
            look(f"source {source.name}", "", str(error))
    try:
        with open_lake(settings, write=False) as lake:
            look("lake", f"{lake.store.uri}: {sum(1 for _ in lake.store.list('core_charge/'))} partitions of charges")
    except CostopsError as error:
        look("lake", "", str(error))
    free = shutil.disk_usage(settings.home).free
    look("disk", f"{free >> 30} GiB free", None if free > 2 << 30 else f"only {free >> 20} MiB free")
    emit(pl.DataFrame(rows), args.format)
    bad = [row for row in rows if row["state"] != "ok"]
    if bad:
        print(f"cost-ops: {len(bad)} things to mend.", file=sys.stderr)
    return 2 if bad else 0


