"""Published files on every target: a folder is replaced whole, `latest/` last, old reports go after a time.

On a disk a folder is built hidden and exchanged with the old one in one step, so a reader finds all of the old files
or all of the new. A bucket knows no such step: there `manifest.json`, which names the files with their hashes, is
replaced last, and files that others point to are never taken away before it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from costops.flows.runtime.bucket import Bucket
from costops.flows.runtime.faults import fault
from costops.flows.runtime.logs import LOGGER, redact
from costops.flows.runtime.objects import Folder, Store, open_store
from costops.flows.runtime.settings import Settings
from costops.flows.tasks.run import Run
from costops.transforms.errors import Refused, Unreachable

CONTENT_TYPE = {
    ".html": "text/html; charset=utf-8", ".json": "application/json", ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet", ".md": "text/markdown; charset=utf-8", ".png": "image/png",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".svg": "image/svg+xml",
    ".pdf": "application/pdf", ".txt": "text/plain; charset=utf-8",
}
DATED_CACHE = "private, max-age=300"
LATEST_CACHE = "private, no-cache"
MANIFEST = "manifest.json"


def publish_files(settings: Settings, files: Mapping[str, bytes], run: Run, *, folder: str, latest: bool = True
                  ) -> list[str]:
    """Write files below `folder` (and as `latest/`) on every target; the folder's address on each.

    A target that cannot be reached is named in the run and does not hold up the others; `--stage publish` mends it.
    Files that are as they were keep their bytes and their time.
    """
    listed = {name: hashlib.sha256(body).hexdigest() for name, body in sorted(files.items())}
    whole = {**files, MANIFEST: (json.dumps({"folder": folder, "files": listed}, indent=1) + "\n").encode()}
    places = []
    for target in settings.workspace.publish:
        store = open_store(target, base=settings.home)
        try:
            for name, cache in ((folder, DATED_CACHE), *([("latest", LATEST_CACHE)] if latest else [])):
                if _replace(store, name, whole, cache):
                    run.wrote = True
                    LOGGER.info("published %s/%s", store.uri, name)
            places.append(f"{store.uri}/{folder}")
        except (Unreachable, Refused) as error:
            run.unreachable.append(redact(f"publish to {target}: {error}"))
            run.note("stage", "publish", outcome="failed", detail=redact(str(error)))
            LOGGER.error("publish to %s: %s", target, error)
    return places


def _replace(store: Store, folder: str, files: Mapping[str, bytes], cache: str) -> bool:
    if isinstance(store, Folder):
        return _replace_folder(store.path(folder), files)
    assert isinstance(store, Bucket)  # noqa: S101  a target is one or the other
    return _replace_objects(store, folder, files, cache)


def _replace_folder(target: Path, files: Mapping[str, bytes]) -> bool:
    """Build the folder beside the old one and exchange the two."""
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    if _content(target) == dict(files):
        return False
    try:
        fresh.mkdir(parents=True)
        for name, body in sorted(files.items()):
            old, new = target / name, fresh / name
            new.parent.mkdir(parents=True, exist_ok=True)
            if old.is_file() and old.read_bytes() == body:
                os.link(old, new)
                continue
            with new.open("wb") as handle:
                handle.write(body)
                handle.flush()
                os.fsync(handle.fileno())
        fault("before_publish")
        if target.exists():
            _exchange(fresh, target)
        else:
            fresh.rename(target)
        fault("after_publish")
    except OSError as error:
        raise Refused(f"{target}: cannot be published ({error.strerror}); free space or mend the rights, then "
                      "`cost-ops run --stage publish`.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return True


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else {}


def _exchange(fresh: Path, target: Path) -> None:
    """Swap two folders in one step where the file system can (Linux), else in two."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None and renameat2(-100, os.fsencode(fresh), -100, os.fsencode(target), 2) == 0:
        return
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _replace_objects(store: Bucket, folder: str, files: Mapping[str, bytes], cache: str) -> bool:
    """Files first, the report after its tables, the manifest after all; what it no longer names goes last."""
    order = sorted(files, key=lambda name: (name == MANIFEST, name.endswith(".html"), name))
    changed = False
    for name in order:
        kind = CONTENT_TYPE.get(Path(name).suffix, "application/octet-stream")
        fault("before_publish")
        changed |= store.put(f"{folder}/{name}", files[name],
                             attributes={"Content-Type": kind, "Cache-Control": cache})
    for item in list(store.list(f"{folder}/")):
        if item.key.removeprefix(f"{folder}/") not in files:
            store.delete(item.key)
            changed = True
    return changed


def old_reports(store: Store, today: date, days: int) -> list[str]:
    """Keys of dated reports older than so many days; 0 keeps all. `latest/` and reconciliations stay."""
    if not days:
        return []
    limit = today - timedelta(days=days)
    found = []
    for item in store.list("nightly/"):
        try:
            day = date.fromisoformat(item.key.split("/")[1])
        except (ValueError, IndexError):
            continue
        if day < limit:
            found.append(item.key)
    return found


def presigned(uri: str, *, seconds: int = 3600) -> str:
    """A link to one published object for so long. It holds a signature: give it to people, never to a log."""
    from urllib.parse import urlsplit

    from costops.flows.runtime.bucket import s3_client

    place = urlsplit(uri)
    client = s3_client()
    link: str = client.generate_presigned_url(
        "get_object", Params={"Bucket": place.netloc, "Key": place.path.lstrip("/")}, ExpiresIn=seconds)
    return link
