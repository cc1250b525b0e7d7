"""Access tokens from the clouds' own sign-in, where no key is named: azure-identity and google-auth, as extras.

Azure: a service principal in `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET` (or a certificate), a
workload or managed identity, or a signed-in command line, in the order of `DefaultAzureCredential`. Google: the
application default credentials: a key file named by `GOOGLE_APPLICATION_CREDENTIALS`, the machine's service account,
or a signed-in command line. Tokens hold an hour or so: one is asked for when a pull begins, and a pull that it does not
last for goes on in the next run where it stopped. None is ever written down.
"""

from __future__ import annotations

import importlib
from typing import Any

from costops.transforms.errors import Unreachable, Usage

AZURE_SCOPE = "https://management.azure.com/.default"
BIGQUERY_SCOPE = "https://www.googleapis.com/auth/bigquery.readonly"
CATALOGUE_SCOPE = "https://www.googleapis.com/auth/cloud-billing.readonly"


def azure_token(scope: str = AZURE_SCOPE, *, client_id: str | None = None) -> str:
    """An access token for Azure's management API. `client_id` names a user-assigned managed identity."""
    identity = _library("azure.identity", "azure")
    core = _library("azure.core.exceptions", "azure")
    given = {"managed_identity_client_id": client_id} if client_id else {}
    try:
        with identity.DefaultAzureCredential(**given) as credential:
            return str(credential.get_token(scope).token)
    except core.AzureError as error:
        raise Unreachable(
            f"azure: no access token ({type(error).__name__}); sign in, give the machine a managed identity, or set "
            "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET of an application that may read costs.") from None


def google_token(scope: str) -> str:
    """An access token for a Google API, from the application default credentials."""
    auth = _library("google.auth", "gcp")
    transport = _library("google.auth.transport.requests", "gcp")
    faults = _library("google.auth.exceptions", "gcp")
    try:
        found, _ = auth.default(scopes=[scope])
        found.refresh(transport.Request())
    except faults.GoogleAuthError as error:
        raise Unreachable(
            f"gcp: no access token ({type(error).__name__}); sign in with `gcloud auth application-default login`, run "
            "as a service account, or name its key file with GOOGLE_APPLICATION_CREDENTIALS.") from None
    return str(found.token)


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Usage(f"{name} is not installed: install llm-costops[{extra}], or name a variable that holds an access "
                    "token with `api_key_env`.") from None
