"""A moto S3 server in a process of its own, so that it outlives a killed pipeline; with rights checked on demand."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from copy import copy
from typing import Any

import httpx

from tests.flows.server import dies_with_parent, free_port

BUCKET = "costops-lake"


class S3:
    """The server, and what a client's environment must hold."""

    def __init__(self) -> None:
        self.bucket = BUCKET
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "root", "AWS_SECRET_ACCESS_KEY": "root-secret",
                    "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

    def start(self) -> S3:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=dies_with_parent)  # noqa: PLW1509
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/moto-api/", timeout=2).is_success:
                    break
            time.sleep(0.1)
        self.client().create_bucket(Bucket=BUCKET)
        return self

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(5)

    def client(self, service: str = "s3", key: str = "root", secret: str = "root-secret") -> Any:  # noqa: S107
        import boto3
        from botocore.config import Config

        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}) if service == "s3" else None
        make: Any = boto3.client
        return make(service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=key,
                            aws_secret_access_key=secret, config=config)

    def with_versions(self) -> S3:
        """The same server with a bucket that keeps every version of an object."""
        other = copy(self)
        other.bucket = f"{BUCKET}-versions"
        client = self.client()
        client.create_bucket(Bucket=other.bucket)
        client.put_bucket_versioning(Bucket=other.bucket, VersioningConfiguration={"Status": "Enabled"})
        return other

    def versions(self, prefix: str) -> Counter[str]:
        """How often each key below the prefix was written or deleted."""
        pages = self.client().get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=prefix.rstrip("/") + "/")
        return Counter(item["Key"].removeprefix(prefix).lstrip("/") for page in pages
                       for item in (*page.get("Versions", []), *page.get("DeleteMarkers", [])))

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Key below the prefix -> bytes."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix.rstrip("/") + "/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key.removeprefix(prefix).lstrip("/"): client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
                for key in keys}

    def with_policy(self, name: str, *documents: dict[str, Any]) -> tuple[str, str]:
        """A user with exactly these policies, and its key; call `check_rights` afterwards."""
        import json

        iam = self.client("iam")
        iam.create_user(UserName=name)
        for number, document in enumerate(documents):
            iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def check_rights(self, *, on: bool = True) -> None:
        """From now on refuse what no policy allows."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0" if on else b"1000000000", timeout=5)
