"""Objects by key, on a local folder or in a bucket: one small interface, atomic puts on both.

A local put writes a hidden temporary file, syncs it, renames it and syncs the folder, so that a reader sees the
old bytes or the new ones and a crash leaves nothing that matches `*.parquet`. A bucket put is one request.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from costops.flows.runtime.faults import fault
from costops.transforms.errors import Refused, Unreachable, Usage

_CHUNK = 1 << 20
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
        return Bucket(uri)
    if "://" in uri:
        raise Usage(f"{uri}: expected a path or s3://bucket/prefix; scheme {scheme!r} is not known.")
    return Folder((base or Path()) / Path(uri).expanduser())


class Folder:
    """A store in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.root / key

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """Every visible file below the prefix."""
        start = self.root / prefix
        if start.is_file():
            yield self._listed(start)
            return
        for folder, folders, names in os.walk(start, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield self._listed(Path(folder) / name)

    def _listed(self, path: Path) -> Listed:
        stat = path.stat()
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
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.tmp")
            if isinstance(data, Path):
                shutil.copyfile(data, part)
            else:
                part.write_bytes(data)
            fault("after_temp_write")
            with part.open("rb+") as handle:
                os.fsync(handle.fileno())
            fault("before_commit")
            part.replace(target)
            fault("after_commit")
            _sync_folder(target.parent)
        except OSError as error:
            raise Refused(f"{target}: cannot be written ({error.strerror}); free space or mend the rights, "
                          "then run again.") from error
        return True

    def create(self, key: str, data: bytes) -> bool:
        """Put by exclusive creation."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as handle:
                handle.write(data)
                os.fsync(handle.fileno())
        except FileExistsError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Unlink."""
        self.path(key).unlink(missing_ok=True)


class Bucket:
    """A store in a bucket, through obstore; credentials and endpoint come from the standard chain."""

    def __init__(self, uri: str) -> None:
        import obstore
        from obstore.store import from_url

        options: dict[str, Any] = {}
        if uri.startswith("s3://"):
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            if endpoint:
                options = {"endpoint": endpoint, "virtual_hosted_style_request": False}
                if endpoint.startswith("http://"):
                    options["client_options"] = {"allow_http": True}
            options.setdefault("region", os.environ.get("AWS_REGION") or os.environ.get(
                "AWS_DEFAULT_REGION", "us-east-1"))
        self.uri = uri.rstrip("/")
        self._store: Any = from_url(self.uri, **options)
        self._api: Any = obstore

    def _failed(self, key: str, error: Exception) -> Unreachable:
        kind = type(error).__name__.removesuffix("Error")
        return Unreachable(f"{self.uri}/{key}: {kind}; check credentials, rights and network, then run again.")

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """Every object below the prefix, all pages."""
        try:
            found = [item for page in self._api.list(self._store, prefix=prefix or None) for item in page]
        except Exception as error:
            raise self._failed(prefix, error) from error
        for item in sorted(found, key=lambda one: str(one["path"])):
            yield Listed(item["path"], item["size"], str(item["e_tag"] or item["last_modified"]))

    def read(self, key: str) -> bytes | None:
        """GET."""
        try:
            return bytes(self._api.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed(key, error) from error

    def fetch(self, key: str, scratch: Path) -> Path | None:
        """GET into a file below `scratch`, in pieces."""
        target = scratch / key
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            stream = self._api.get(self._store, key).stream(min_chunk_size=_CHUNK)
            with target.open("wb") as handle:
                for piece in stream:
                    handle.write(piece)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed(key, error) from error
        return target

    def put(self, key: str, data: bytes | Path) -> bool:
        """One PUT; an object with the same bytes is left alone."""
        body = data.read_bytes() if isinstance(data, Path) else data
        if self._etag(key) == hashlib.md5(body, usedforsecurity=False).hexdigest():
            return False
        fault("before_commit")
        try:
            self._api.put(self._store, key, body, use_multipart=False)
        except Exception as error:
            raise self._failed(key, error) from error
        fault("after_commit")
        return True

    def create(self, key: str, data: bytes) -> bool:
        """Conditional PUT (If-None-Match)."""
        from obstore.exceptions import AlreadyExistsError

        try:
            self._api.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return self.read(key) == data       # our own put whose answer was lost
        except Exception as error:
            raise self._failed(key, error) from error
        return True

    def delete(self, key: str) -> None:
        """DELETE."""
        try:
            self._api.delete(self._store, key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._failed(key, error) from error

    def _etag(self, key: str) -> str | None:
        try:
            return str(self._api.head(self._store, key)["e_tag"] or "").strip('"')
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed(key, error) from error


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


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise Refused(f"{error.filename}: cannot be read ({error.strerror}); mend the rights.") from error
