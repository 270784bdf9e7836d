"""S3 requests that are signed beforehand, for clients without credentials: AWS Signature Version 4 in the query.

The S3 client that the rest is done with signs the host alone. Here the headers are signed as well, so that the server
refuses what has another length or type than was agreed on.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)
    region: str


@dataclass(frozen=True)
class SignedRequest:
    """Whoever has it may send it until `expires_at`, with exactly these headers."""

    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime


def presign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    credentials: Credentials,
    now: datetime,
    expires: timedelta,
    parameters: Mapping[str, str] | None = None,
) -> SignedRequest:
    """Sign a request to a URL, and the query's parameters. now: UTC; expires: whole seconds, at most seven days."""
    address = urlsplit(url)
    signed = dict(sorted({"host": address.netloc, **{name.lower(): headers[name] for name in headers}}.items()))
    names = ";".join(signed)
    now = now.replace(microsecond=0)
    time = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now:%Y%m%d}/{credentials.region}/s3/aws4_request"
    query = _query(
        {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": time,
            "X-Amz-Expires": str(int(expires.total_seconds())),
            "X-Amz-SignedHeaders": names,
            **(parameters or {}),
        }
    )
    lines = [f"{name}:{value}" for name, value in signed.items()]
    request = "\n".join([method, address.path, query, *lines, "", names, "UNSIGNED-PAYLOAD"])
    text = "\n".join([_ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return SignedRequest(
        method, f"{url}?{query}&X-Amz-Signature={_hmac(key, text).hex()}", dict(headers), now + expires
    )


def _query(parameters: Mapping[str, str]) -> str:
    """In the order of their names, as the signature wants them."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(parameters.items()))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
