"""A store in a bucket (S3, GCS, Azure), through obstore: every replacement is a compare-and-swap.

Each object that is read is remembered by its version. A put replaces that version and no other (`If-Match`), or
creates where there was none (`If-None-Match`); who comes second gets `Conflict`. A put whose answer was lost is
recognised by reading back: the same bytes stand there, so it is our own.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import from_url

from costops.flows.runtime.faults import fault
from costops.flows.runtime.objects import Listed
from costops.transforms.errors import Conflict, CostopsError, Refused, Unreachable

_CHUNK = 1 << 20
_ATTEMPTS, _PAUSE, _PATIENCE = 4, 0.2, 90.0
_TROUBLE = (BaseError, OSError)
_TAKEN = (AlreadyExistsError, PreconditionError, FileNotFoundError)
_STATUS = re.compile(r"\b([45]\d\d) [A-Z]")
_MD5 = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")
Version = dict[str, str | None]
"""What tells one state of an object from another: `e_tag`, and `version` where the store has one."""

_ABSENT: Version = {}


class Bucket:
    """A store in a bucket; credentials and endpoint come from the standard chain."""

    def __init__(self, uri: str) -> None:

        self.uri = uri.rstrip("/")
        self._api: Any = obstore
        self._store: Any = from_url(
            self.uri, **_options(uri),
            retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=90)})
        self._fenced = False
        self._seen: dict[str, Version] = {}
        self._copies: dict[str, Path] = {}
        self._boto: Any = None
        self.before_put: Callable[[], None] | None = None
        """Called before every change: the lease refuses here when it is lost."""

    # -- what was read -----------------------------------------------------------------------------------------

    def fence(self) -> None:
        """From now on remember what is read, and refuse to replace anything else."""
        self._fenced = True
        self.forget()

    def forget(self) -> None:
        """Start again on the bucket as it is now."""
        self._seen.clear()
        for path in self._copies.values():
            path.unlink(missing_ok=True)
        self._copies.clear()

    def version(self, key: str) -> Version | None:
        """The version of an object as this run knows it; None where it did not look."""
        return self._seen.get(key)

    def saw(self, key: str, version: Version) -> None:
        """Remember the version that was read, here or by a worker; `Conflict` where this run knows another."""
        if not self._fenced:
            return
        if self._seen.setdefault(key, version) != version:
            raise self._conflict(key)

    def _conflict(self, key: str) -> Conflict:
        return Conflict(f"{self.uri}/{key}: another run replaced it in the meantime; run again.")

    # -- the store ---------------------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """Every object below the prefix, all pages."""
        found = self._persist("list", prefix, lambda: [
            item for page in self._api.list(self._store, prefix=prefix or None) for item in page])
        for item in sorted(found, key=lambda one: str(one["path"])):
            yield Listed(item["path"], item["size"], str(item["e_tag"] or item["last_modified"]))

    def read(self, key: str) -> bytes | None:
        """GET."""
        body, version = self.peek(key)
        self.saw(key, version)
        return body

    def peek(self, key: str) -> tuple[bytes | None, Version]:
        """GET with the version, which is not remembered."""
        def get() -> tuple[bytes, Version]:
            answer = self._api.get(self._store, key)
            return bytes(answer.bytes()), _version(answer.meta)

        try:
            return self._persist("read", key, get)
        except FileNotFoundError:
            return None, _ABSENT

    def fetch(self, key: str, scratch: Path) -> Path | None:
        """GET into a file below `scratch`, in pieces; what this run read before is not asked for again."""
        if self._fenced and key in self._copies:
            return self._copies[key]
        target = scratch / key
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.tmp")

        def get() -> Version:
            answer = self._api.get(self._store, key)
            with part.open("wb") as handle:
                for piece in answer.stream(min_chunk_size=_CHUNK):
                    handle.write(piece)
            if part.stat().st_size != answer.meta["size"]:
                raise ConnectionError("the answer ended early")
            return _version(answer.meta)

        try:
            version = self._persist("read", key, get)
        except FileNotFoundError:
            self.saw(key, _ABSENT)
            return None
        self.saw(key, version)
        part.replace(target)
        if self._fenced:
            self._copies[key] = target
        return target

    def put(self, key: str, data: bytes | Path, *, attributes: dict[str, str] | None = None) -> bool:
        """One PUT on the version that was read, or on the one that stands there; the same bytes are left alone."""
        body = data.read_bytes() if isinstance(data, Path) else data
        base = self._seen.get(key) if self._fenced else None
        if base is None:
            base = self._head(key)
        if base and self._holds(key, base, body):
            return False
        if self.before_put is not None:
            self.before_put()
        fault("before_commit")
        made = self.swap(key, body, base, attributes)
        fault("after_commit")
        self._moved(key, made)
        return True

    def swap(self, key: str, body: bytes, base: Version, attributes: dict[str, str] | None = None) -> Version:
        """Replace exactly `base` (create where it is empty); the new version. `Conflict` where it is another by now.

        A put whose answer was lost is known as our own by what stands there.
        """
        for attempt in range(_ATTEMPTS):
            try:
                made = self._api.put(self._store, key, body, mode=_exactly(base), use_multipart=False,
                                     attributes=attributes)
            except (*_TAKEN, *_TROUBLE) as error:
                # its state is unknown until it is read: done (then it is ours), replaced by another, or as it was:
                # the line broke, or the store was busy with the key (409)
                found, version = self.peek(key)
                if found == body:
                    return version
                repeat = version == base and (isinstance(error, _TAKEN) or _passing(error))
                if not repeat or attempt == _ATTEMPTS - 1:
                    raise self._refusal(key, error) from error
                time.sleep(_PAUSE * 4**attempt)
            else:
                return {"e_tag": made["e_tag"], "version": made["version"]}
        raise AssertionError("the last attempt returns or raises")

    def _refusal(self, key: str, error: Exception) -> CostopsError:
        """What to say of a put that did not go through. Nothing is deleted or written again."""
        return self._conflict(key) if isinstance(error, _TAKEN) else self._failed("write", key, error)

    def create(self, key: str, data: bytes) -> bool:
        """Conditional PUT (If-None-Match)."""
        try:
            self._moved(key, self.swap(key, data, _ABSENT))
        except Conflict:
            return False
        return True

    def delete(self, key: str) -> None:
        """DELETE of the version that was read."""
        base = self._seen.get(key) if self._fenced else None
        if base is not None:
            if base != self._head(key):
                raise self._conflict(key)
            if not base:
                return
        if self.before_put is not None:
            self.before_put()
        fault("before_delete")
        if self.uri.startswith("s3://"):
            self._delete_exactly(key, base)
        else:
            try:
                self._api.delete(self._store, key)
            except FileNotFoundError:
                pass
            except _TROUBLE as error:
                raise self._failed("delete", key, error) from error
        self._moved(key, _ABSENT)

    def _delete_exactly(self, key: str, base: Version | None) -> None:
        """DELETE with `If-Match`, which the library does not know; one object, so that one right is enough."""
        from botocore.exceptions import BotoCoreError, ClientError

        place = urlsplit(self.uri)
        if self._boto is None:
            self._boto = s3_client()
        match = {"IfMatch": base["e_tag"]} if base and base["e_tag"] else {}
        try:
            self._boto.delete_object(Bucket=place.netloc, Key=f"{place.path.lstrip('/')}/{key}".lstrip("/"), **match)
        except ClientError as error:
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if status == 412:
                raise self._conflict(key) from None
            if status != 404:
                raise self._failed("delete", key, GenericError(f"{status} Answer")) from None
        except BotoCoreError as error:
            raise self._failed("delete", key, GenericError("no answer")) from error

    # -- inside ------------------------------------------------------------------------------------------------

    def _moved(self, key: str, version: Version) -> None:
        """What this run wrote itself is what it knows from now on."""
        if self._fenced:
            self._seen[key] = version
        if copy := self._copies.pop(key, None):
            copy.unlink(missing_ok=True)

    def _holds(self, key: str, base: Version, body: bytes) -> bool:
        """True where the version has these bytes. The tag is their MD5, save in encrypted or composed objects."""
        tag = (base["e_tag"] or "").strip('"')
        if tag == hashlib.md5(body, usedforsecurity=False).hexdigest():
            return True
        if _MD5.fullmatch(tag):
            return False
        found, version = self.peek(key)
        return version == base and found == body

    def _head(self, key: str) -> Version:
        try:
            return self._persist("look at", key, lambda: _version(self._api.head(self._store, key)))
        except FileNotFoundError:
            return _ABSENT

    def _persist(self, action: str, key: str, call: Callable[[], T]) -> T:
        """Do it again where the line broke. The library repeats refused requests, not bodies that end early."""
        began = time.monotonic()
        for attempt in range(_ATTEMPTS):
            try:
                return call()
            except FileNotFoundError:
                raise
            except _TROUBLE as error:
                late = time.monotonic() - began > _PATIENCE
                if late or attempt == _ATTEMPTS - 1 or not _passing(error):
                    raise self._failed(action, key, error) from error
                time.sleep(_PAUSE * 4**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _failed(self, action: str, key: str, error: Exception) -> CostopsError:
        """One sentence with action, place and cause. The library's own text may hold a signed address: left out."""
        kind = type(error).__name__.removesuffix("Error")
        status = _STATUS.search(str(error))
        if isinstance(error, OSError) and error.strerror and kind not in ("Generic", "PermissionDenied"):
            return Refused(f"{self.uri}/{key}: no local space or right for a copy ({error.strerror}).")
        code = status[1] if status else ""
        if code in ("401", "403") or "AccessDenied" in str(error):
            kind = "Unauthenticated" if code == "401" else "PermissionDenied"
        cause = {"PermissionDenied": "permission denied", "Unauthenticated": "credentials refused",
                 "Generic": f"answered {code}" if code else "no answer"}.get(kind, kind)
        return Unreachable(f"{self.uri}/{key}: cannot {action} ({cause}); check credentials, rights and network, "
                           "then run again.")


def _exactly(base: Version) -> Any:
    return {name: value for name, value in base.items() if value is not None} or "create"


def _passing(error: Exception) -> bool:
    """True where the line broke: an answer with a status has been repeated enough already."""
    return isinstance(error, (GenericError, ConnectionError)) and not _STATUS.search(str(error))


def _version(meta: Any) -> Version:
    return {"e_tag": meta["e_tag"], "version": meta["version"]}


def _options(uri: str) -> dict[str, Any]:
    client: dict[str, Any] = {"connect_timeout": "5s", "timeout": os.environ.get("COSTOPS_STORE_TIMEOUT", "60s")}
    options: dict[str, Any] = {"client_options": client}
    if urlsplit(uri).scheme != "s3":
        return options
    endpoint = _endpoint()
    if endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        if endpoint.startswith("http://"):
            client["allow_http"] = True
    options["region"] = _region()
    return options


def s3_client() -> Any:
    """A boto3 client for what the library does not offer, with the credentials as they are now.

    A session of its own: boto3's default session keeps the first credentials that the process ever had.
    """
    import boto3
    from botocore.config import Config

    config = Config(signature_version="s3v4", s3={"addressing_style": "path"} if _endpoint() else {},
                    retries={"mode": "standard", "max_attempts": 6}, connect_timeout=5, read_timeout=60)
    session: Any = boto3.session.Session()
    return session.client("s3", config=config, region_name=_region())


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
