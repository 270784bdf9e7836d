"""Images as objects of an S3 bucket, named by owner and the sha256 of their bytes and therefore written once."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import ClassVar, Self
from uuid import UUID

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.sse import Sse

from shared.errors import NotFound, Unavailable
from shared.settings import Settings
from shared.tables import LOCAL_OWNER

_MISSING = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
_ALREADY_THERE = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_SMALLEST_PART = 5 * 1024 * 1024


@dataclass(frozen=True)
class ObjectInfo:
    key: str
    media_type: str
    bytes: int


class _IfAbsent(Sse):
    """`If-None-Match: *`: write only where nothing is yet.

    The client turns unknown metadata into `x-amz-meta-*`; what an encryption option asks for is the one set of headers
    that it signs and sends as they are.
    """

    HEADERS: ClassVar[dict[str, str]] = {"If-None-Match": "*"}

    def headers(self) -> dict[str, str]:
        return self.HEADERS

    def tls_required(self) -> bool:
        return False

    def copy_headers(self) -> dict[str, str]:
        return {}


class ObjectStore:
    """One bucket. Thread-safe; every call blocks on the network and raises Unavailable when the server is away."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.s3_bucket
        self._client = Minio(
            settings.s3_endpoint,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.get_secret_value(),
            secure=settings.s3_secure,
            region=settings.s3_region,
            # The client's own pool waits five minutes for an answer; a request here has a caller waiting for it.
            http_client=urllib3.PoolManager(
                maxsize=32,
                timeout=urllib3.Timeout(connect=3, read=30),
                retries=urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
            ),
        )

    def of(self, bucket: str) -> Self:
        """The same server's other bucket."""
        other = copy(self)
        other._bucket = bucket
        return other

    def ensure_bucket(self) -> None:
        """Make the bucket where it is missing; any number of processes may do so at once."""
        with _answering():
            if self._client.bucket_exists(self._bucket):
                return
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def ready(self) -> bool:
        """Whether the server answers and has the bucket."""
        with _answering():
            return bool(self._client.bucket_exists(self._bucket))

    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Store bytes under a key that follows from them; what is there already stays untouched."""
        with _answering():
            try:
                self._client.put_object(
                    self._bucket,
                    key,
                    BytesIO(data),
                    len(data),
                    content_type=media_type,
                    sse=_IfAbsent(),
                    # In one part: the condition is judged on a plain PUT, not at the start of a multipart upload.
                    part_size=max(len(data), _SMALLEST_PART),
                )
            except S3Error as error:
                if error.code not in _ALREADY_THERE:
                    raise

    def get(self, key: str) -> bytes:
        """The whole object. Raises NotFound."""
        with _answering(key):
            response = self._client.get_object(self._bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def stat(self, key: str) -> ObjectInfo:
        """Type and size of the object. Raises NotFound."""
        with _answering(key):
            found = self._client.stat_object(self._bucket, key)
            return ObjectInfo(key, found.content_type or "", found.size or 0)

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def presign_get(self, key: str, expires: timedelta) -> str:
        """A URL that reads the object without credentials until it expires; nothing checks that the object exists."""
        return str(self._client.presigned_get_object(self._bucket, key, expires=expires))

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        with _answering():
            self._client.remove_object(self._bucket, key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key that starts so, in order."""
        with _answering():
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                yield str(found.object_name)


def key_of(sha256: str, owner_id: UUID = LOCAL_OWNER) -> str:
    """`images/OWNER/ab/abcd…`; the two characters spread a listing over folders.

    Each owner's bytes are its own, so that one's deletion takes nothing from another, and tells nothing of another.
    """
    return f"images/{owner_id}/{sha256[:2]}/{sha256}"


@contextmanager
def _answering(key: str | None = None) -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if key is not None and error.code in _MISSING:
            raise NotFound("object", key) from error
        raise Unavailable("object store", f"The object store answered {error.code}.") from error
    except (urllib3.exceptions.HTTPError, InvalidResponseError, ServerError) as error:
        raise Unavailable("object store") from error
