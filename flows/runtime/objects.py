"""Objects by key, on a local folder or in a bucket: one small interface, atomic puts on both.

A local put writes a hidden temporary file, syncs it, renames it and syncs the folder, so that a reader sees the
old bytes or the new ones and a crash leaves nothing that matches `*.parquet`. A bucket put is one request
(`costops.flows.runtime.bucket`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from costops.flows.runtime.faults import fault
from costops.transforms.errors import Refused, Usage

_CHUNK = 1 << 20
_SIGNED = "user.costops.sha256"
_BUCKET_SCHEMES = ("s3", "gs", "az", "abfs", "abfss")


@dataclass(frozen=True)
class Listed:
    """One object: `version` changes when its bytes may have."""

    key: str
    size: int
    version: str


class Store(Protocol):
    """Where bytes live."""

    uri: str

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """Every object below a prefix, in key order."""
        ...

    def read(self, key: str) -> bytes | None:
        """The bytes, or None where there is no such object."""
        ...

    def fetch(self, key: str, scratch: Path) -> Path | None:
        """A local file with the bytes: the object itself on a local store, else a copy below `scratch`."""
        ...

    def put(self, key: str, data: bytes | Path) -> bool:
        """Replace the object atomically. False where the bytes stood there already."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Put only where there is none yet; False where there was one."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""
        ...


def open_store(uri: str, *, base: Path | None = None) -> Store:
    """The store at a path (relative to `base`) or at `s3://bucket/prefix`, `gs://...`, `az://...`."""
    scheme = urlsplit(uri).scheme
    if scheme in _BUCKET_SCHEMES:
        from costops.flows.runtime.bucket import Bucket

        return Bucket(uri)
    if "://" in uri:
        raise Usage(f"{uri}: expected a path or s3://bucket/prefix; scheme {scheme!r} is not known.")
    return Folder((base or Path()) / Path(uri).expanduser())


class Folder:
    """A store in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)
        self.before_put: Callable[[], None] | None = None

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.root / key

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """Every visible file below the prefix."""
        start = self.root / prefix
        if start.is_file():
            if item := self._listed(start):
                yield item
            return
        for folder, folders, names in os.walk(start, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and (item := self._listed(Path(folder) / name)):
                    yield item

    def _listed(self, path: Path) -> Listed | None:
        """None for what went away since the folder was read, and for a link to nothing."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        return Listed(path.relative_to(self.root).as_posix(), stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}")

    def read(self, key: str) -> bytes | None:
        """The bytes, or None."""
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, key: str, scratch: Path) -> Path | None:  # noqa: ARG002  the file is its own local copy
        """The file itself."""
        path = self.path(key)
        return path if path.is_file() else None

    def put(self, key: str, data: bytes | Path) -> bool:
        """Write hidden, sync, rename, sync the folder."""
        target = self.path(key)
        if _same(target, data):
            return False
        if self.before_put is not None:
            self.before_put()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.tmp")
            if isinstance(data, Path):
                shutil.copyfile(data, part)
            else:
                part.write_bytes(data)
            fault("after_temp_write")
            _sign(part)
            with part.open("rb+") as handle:
                os.fsync(handle.fileno())
            fault("before_commit")
            part.replace(target)
            fault("after_commit")
            _sync_folder(target.parent)
        except OSError as error:
            raise _unwritable(target, error) from error
        return True

    def create(self, key: str, data: bytes) -> bool:
        """Put by exclusive creation."""
        target = self.path(key)
        part = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            with part.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.link(part, target)
            _sync_folder(target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise _unwritable(target, error) from error
        finally:
            part.unlink(missing_ok=True)
        return True

    def delete(self, key: str) -> None:
        """Unlink, and sync the folder."""
        target = self.path(key)
        fault("before_delete")
        try:
            target.unlink()
            _sync_folder(target.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _unwritable(target, error) from error


def _same(target: Path, data: bytes | Path) -> bool:
    """True where the file holds these bytes already."""
    try:
        size = target.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return False
    if isinstance(data, bytes):
        return size == len(data) and target.read_bytes() == data
    if size != data.stat().st_size:
        return False
    with target.open("rb") as one, data.open("rb") as other:
        while piece := one.read(_CHUNK):
            if piece != other.read(_CHUNK):
                return False
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sign(path: Path) -> None:
    """Keep the hash of the bytes beside them, where the file system can; `lake verify` holds the two together."""
    with suppress(OSError, AttributeError):
        os.setxattr(path, _SIGNED, _digest(path).encode())


def written_digest(path: Path) -> tuple[str, str] | None:
    """The hash of the bytes as written and as they are now; None where the file system keeps none."""
    try:
        return os.getxattr(path, _SIGNED).decode(), _digest(path)
    except (OSError, AttributeError):
        return None


def _unwritable(target: Path, error: OSError) -> Refused:
    return Refused(f"{target}: cannot be written ({error.strerror}); free space or mend the rights, then run again.")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise Refused(f"{error.filename}: cannot be read ({error.strerror}); mend the rights.") from error
