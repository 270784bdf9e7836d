"""The object store's user that the service's processes use: it may do all with the service's bucket and nothing else.

By the calls of MinIO's administrators, which other S3 servers do not have: there, make such a user by their own means.
"""

from typing import Any

import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from shared.errors import Unavailable
from shared.settings import Settings


def ensure_user(settings: Settings, admin_key: str, admin_secret: str) -> None:
    """Let the user of s3_access_key and s3_secret_key exist, with the policy below. Safe to repeat.

    Raises Unavailable where the server is away or refuses.
    """
    retries = urllib3.Retry(total=5, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504))
    admin = MinioAdmin(
        endpoint=settings.s3_endpoint,
        credentials=StaticProvider(admin_key, admin_secret),
        region=settings.s3_region,
        secure=settings.s3_secure,
        http_client=urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=30), retries=retries),
    )
    user = settings.s3_access_key
    try:
        admin.policy_add(user, policy=policy(settings))
        admin.user_add(user, settings.s3_secret_key.get_secret_value())
        # In place of whatever the user was given before.
        admin.policy_set(user, user=user)
    except MinioAdminException as error:
        raise Unavailable("object store", f"The object store makes no user {user}: {_reason(error)}.") from error
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable("object store") from error


def policy(settings: Settings) -> dict[str, Any]:
    """All of the service's own bucket, and reading those whose images batches may name."""
    statements = [_allow(["s3:*"], [settings.s3_bucket])]
    if settings.import_buckets:
        statements.append(_allow(["s3:GetObject", "s3:ListBucket"], settings.import_buckets))
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: list[str], buckets: "list[str] | tuple[str, ...]") -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{bucket}{part}" for bucket in buckets for part in ("", "/*")]
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _reason(error: MinioAdminException) -> str:
    return " ".join(str(error).split()).rstrip(".")
