"""Which files of a bill belong together: by the manifest where there is one, else by the time they were seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from costops.transforms.billing.bill import NEVER, Delivery, Input, Options, by_time
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.text import Damaged, document, instant

_PERIOD = re.compile(r"billing_period=(\d{4}-\d{2})", re.IGNORECASE)
_FOLDER = re.compile(r"/\d{8}-\d{8}/(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})/")
_RUN = re.compile(r"/(\d{4}-?\d{2}-?\d{2}T\d{2}[:-]?\d{2}[:-]?\d{2}(?:\.\d+)?Z?)[-/]")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says: its files (as written there), period, time, and the kind of export."""

    item: Input
    files: tuple[str, ...]
    sizes: tuple[int | None, ...]
    period: str | None
    at: datetime | None
    export: str
    dataset: str | None


def plan_by_time(inputs: Sequence[Input], options: Options) -> tuple[list[Delivery], pl.DataFrame]:
    """One delivery for each time that files were seen at."""
    return by_time(inputs), findings([], source=options.source)


def plan_by_manifest(inputs: Sequence[Input], options: Options) -> tuple[list[Delivery], pl.DataFrame]:
    """One delivery for each manifest, oldest first; files that no manifest lists are not read.

    Without any manifest the files are taken by the time they were seen at. A manifest that lists a file that is not
    there, or that has another size, makes an incomplete delivery.
    """
    manifests = [item for item in inputs if item.uri.lower().endswith("manifest.json")]
    files = [item for item in inputs if item not in manifests]
    if not manifests:
        return by_time([_run_of(item) for item in files]), findings([], source=options.source)
    found: list[Finding] = []
    read: list[Manifest] = []
    for item in sorted(manifests, key=lambda i: i.uri):
        try:
            read.append(_manifest(item))
        except (Damaged, KeyError, TypeError, AttributeError) as why:
            found.append(Finding("damaged_manifest", "error", item.uri, actual=str(why)[:200],
                                 expected="a list of data files", mend="export again; nothing was taken from it"))
    read = _of_dataset(read, options, found)
    deliveries: dict[tuple[object, ...], Delivery] = {}
    listed: set[str] = set()
    for manifest in read:
        inputs_, missing = _files(manifest, files)
        listed |= {item.uri for item in inputs_}
        when = manifest.at or manifest.item.seen_at
        periods = (manifest.period,) if manifest.period else ()
        key = (when, periods, manifest.export, tuple(item.uri for item in inputs_), missing)
        deliveries[key] = Delivery(when, tuple(replace(item, as_of=item.as_of or when) for item in inputs_),
                                   periods, missing, manifest.export)
        found += [Finding("incomplete_delivery", "error", manifest.item.uri, expected=name, actual="not there whole",
                          mend="wait for the export or fetch it again; the last complete snapshot stays in force")
                  for name in missing]
    stray = [item for item in files if item.uri not in listed]
    if stray:
        found.append(Finding("not_in_manifest", "info", stray[0].uri, records=len(stray),
                             expected="files that a manifest lists", actual=f"{len(stray)} files that none lists"))
    order = sorted(deliveries.values(), key=lambda d: (d.as_of or NEVER, d.periods, d.label))
    return order, findings(found, source=options.source)


def _run_of(item: Input) -> Input:
    """The input as seen at the time that its run folder tells: two runs of one export are two deliveries."""
    found = _FOLDER.search(item.uri)
    if item.seen_at is not None or not found:
        return item
    return replace(item, as_of=instant(f"{found[1]}-{found[2]}-{found[3]}T{found[4]}:{found[5]}:00"))


def _manifest(item: Input) -> Manifest:
    told = document(item.path)
    if "blobs" in told:
        run, export = told.get("runInfo", {}), told.get("exportConfig", {})
        start = str(run.get("startDate") or "")
        return Manifest(
            item, tuple(str(blob["blobName"]) for blob in told["blobs"]),
            tuple(int(blob["byteCount"]) if str(blob.get("byteCount") or "").isdigit() else None
                  for blob in told["blobs"]),
            start[:7] or None, instant(str(run.get("submittedTime") or "")), str(export.get("exportName") or ""),
            export.get("type"),
        )
    names = told.get("dataFiles") or told["reportKeys"]
    where = _PERIOD.search(item.uri) or _PERIOD.search(str(names[0]) if names else "")
    period = where[1] if where else str(told.get("billingPeriod", {}).get("start", ""))[:6] \
        if isinstance(told.get("billingPeriod"), dict) else None
    if period and re.fullmatch(r"\d{6}", period):
        period = f"{period[:4]}-{period[4:]}"
    run_at = _RUN.search(item.uri)
    return Manifest(item, tuple(str(name) for name in names), (None,) * len(names), period or None,
                    instant(run_at[1]) if run_at else None, str(told.get("exportName") or ""), None)


def _of_dataset(read: list[Manifest], options: Options, found: list[Finding]) -> list[Manifest]:
    """Only one kind of export counts where several lie side by side: they tell the same money."""
    kinds = {manifest.dataset for manifest in read if manifest.dataset}
    if not kinds:
        return read
    order = (options.dataset, "ActualCost", "FocusCost", "Usage")
    wanted = next((kind for kind in order if kind in kinds), None)
    found.extend(Finding("other_dataset", "info", manifest.item.uri, expected=wanted or "ActualCost, FocusCost",
                         actual=manifest.dataset, mend="set `dataset` for the source to choose another")
                 for manifest in read if manifest.dataset != wanted)
    return [manifest for manifest in read if manifest.dataset == wanted]


def _files(manifest: Manifest, files: Sequence[Input]) -> tuple[list[Input], tuple[str, ...]]:
    taken: list[Input] = []
    missing: list[str] = []
    for name, size in zip(manifest.files, manifest.sizes, strict=True):
        item = _match(name, manifest, files)
        if item is None or (size is not None and item.path.stat().st_size != size):
            missing.append(name)
        else:
            taken.append(item)
    return taken, tuple(missing)


def _match(name: str, manifest: Manifest, files: Sequence[Input]) -> Input | None:
    """The input that a manifest's address means: most trailing path parts in common, then nearest to the manifest."""
    wanted = name.split("?", maxsplit=1)[0].rstrip("/").split("/")
    best: tuple[tuple[int, int], Input] | None = None
    for item in files:
        parts = item.uri.split("/")
        tail = _common(wanted[::-1], parts[::-1])
        beside = parts[:-1] == manifest.item.uri.split("/")[:-1]
        if tail < min(2, len(wanted)) and not (tail and beside):
            continue
        score = (tail, _common(manifest.item.uri.split("/"), parts))
        if best is None or score > best[0]:
            best = (score, item)
    if best is None:
        return None
    stands = _PERIOD.search(best[1].uri)
    return None if stands and manifest.period and stands[1] != manifest.period else best[1]


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
