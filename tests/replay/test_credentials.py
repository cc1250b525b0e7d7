"""Where no key is named, Azure and Google are reached with their own sign-in; no token is ever written down."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from costops.flows.command import main
from costops.flows.sources.api import credentials
from costops.transforms.errors import Unreachable, Usage
from tests.replay.server import KEY, Provider, serving

CONFIG = """
[[sources]]
name = "azure-costs"
kind = "azure.cost_management"
base_url = "{url}"
start = "2026-10-01"
options = {{ scope = "/subscriptions/s" }}
[[sources]]
name = "google-costs"
kind = "gcp.billing_export"
base_url = "{url}/bigquery/v2"
start = "2026-10-01"
options = {{ table = "p.d.t", location = "EU" }}
[gates]
unpriced_share = "1"
quarantine_share = "1"
"""


class NoSignInError(Exception):
    """What a library raises where there is no sign-in."""


def _libraries(token: str | None) -> dict[str, Any]:
    """The two libraries as far as they are used; without a token both find no sign-in."""
    def signed(*_: Any, **__: Any) -> Any:
        if token is None:
            raise NoSignInError("secret-canary in the message")
        return SimpleNamespace(token=token)

    class Credential:
        def __init__(self, **given: Any) -> None:
            self.given = given

        def __enter__(self) -> Credential:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        get_token = staticmethod(signed)

    class Found:
        token = None

        def refresh(self, _: Any) -> None:
            self.token = signed().token

    return {
        "azure.identity": SimpleNamespace(DefaultAzureCredential=Credential),
        "azure.core.exceptions": SimpleNamespace(AzureError=NoSignInError),
        "google.auth": SimpleNamespace(default=lambda **_: (Found(), "project")),
        "google.auth.transport.requests": SimpleNamespace(Request=object),
        "google.auth.exceptions": SimpleNamespace(GoogleAuthError=NoSignInError),
    }


def _installed(monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    known = _libraries(token)
    monkeypatch.setattr(credentials, "_library", lambda name, _: known[name])


def _run(home: Path) -> int:
    return main(["run", "--config", str(home / "costops.toml"), "-q", "--stage", "ingest"])


def test_the_clouds_own_sign_in_reaches_them_and_no_token_is_left_behind(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _installed(monkeypatch, KEY)
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-05T06:00:00+00:00")
    with serving(Provider()) as url:
        (tmp_path / "costops.toml").write_text(CONFIG.format(url=url))
        assert _run(tmp_path) == 0
    landed = {path.relative_to(tmp_path / "lake/raw").parts[0] for path in (tmp_path / "lake/raw").rglob("*.json")}
    assert landed == {"azure-costs", "google-costs"}
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in everything
    assert KEY not in capsys.readouterr().err


def test_without_a_sign_in_the_source_is_named_and_how_to_mend_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _installed(monkeypatch, None)
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-05T06:00:00+00:00")
    (tmp_path / "costops.toml").write_text(CONFIG.format(url="http://127.0.0.1:9"))
    assert _run(tmp_path) == 3
    told = capsys.readouterr().err
    assert "azure-costs: azure: no access token (NoSignInError); sign in, give the machine a managed identity" in told
    assert "google-costs: gcp: no access token (NoSignInError); sign in with `gcloud auth application-default" in told
    assert "canary" not in told


def test_a_missing_extra_is_wrong_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("azure.identity", "google.auth"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Usage, match=r"azure.identity is not installed: install llm-costops\[azure\]"):
        credentials.azure_token()
    with pytest.raises(Usage, match=r"google.auth is not installed: install llm-costops\[gcp\]"):
        credentials.google_token(credentials.BIGQUERY_SCOPE)


@contextmanager
def _issuer(answer: dict[str, Any]) -> Iterator[str]:
    """A token endpoint on loopback."""
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it
            pass

        def do_GET(self) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def test_azure_identity_gets_the_token_of_a_managed_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.identity")
    with _issuer({"access_token": "token-a", "expires_on": "4102444800", "resource": "r", "token_type": "Bearer"}) as url:
        monkeypatch.setenv("IDENTITY_ENDPOINT", url)
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        assert credentials.azure_token() == "token-a"


def test_google_auth_gets_the_token_of_a_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.auth")
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    serial = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serial.Encoding.PEM, serial.PrivateFormat.PKCS8, serial.NoEncryption()).decode()
    with _issuer({"access_token": "token-g", "expires_in": 3600, "token_type": "Bearer"}) as url:
        (tmp_path / "key.json").write_text(json.dumps({
            "type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": key,
            "client_email": "costs@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": f"{url}/token"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        assert credentials.google_token(credentials.BIGQUERY_SCOPE) == "token-g"
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
        with pytest.raises(Unreachable, match="no access token"):
            credentials.google_token(credentials.BIGQUERY_SCOPE)
