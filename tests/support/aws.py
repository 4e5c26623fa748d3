"""Reads a signed GetCallerIdentity request as AWS would (Signature Version 4)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<day>\d{8})/(?P<region>[\w-]+)/sts/aws4_request,"
    r" SignedHeaders=(?P<names>[\w;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def signer(subject_token: str, target: str, secrets: Mapping[str, str]) -> str:
    """Give the access key id that signed a request that is for `target`; empty for no good one."""
    request = json.loads(unquote(subject_token))
    headers = {one["key"].lower(): one["value"] for one in request["headers"]}
    found = _CREDENTIAL.fullmatch(headers["authorization"])
    if not found or headers["x-goog-cloud-target-resource"] != target:
        return ""
    url = urlsplit(request["url"])
    canonical = "\n".join(
        [
            request["method"],
            url.path or "/",
            url.query,
            *[f"{name}:{headers[name]}" for name in found["names"].split(";")],
            "",
            found["names"],
            hashlib.sha256(b"").hexdigest(),
        ]
    )
    scope = f"{found['day']}/{found['region']}/sts/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
    key = f"AWS4{secrets.get(found['id'], '')}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    right = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    known = found["id"] in secrets and url.hostname == f"sts.{found['region']}.amazonaws.com"
    return found["id"] if known and right == found["signature"] else ""
