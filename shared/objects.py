"""Objects of an S3 bucket: images, named by owner and sha256 of their bytes and so written once, and exports."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import BinaryIO, ClassVar, Self
from uuid import UUID

import urllib3
from minio import Minio
from minio.commonconfig import REPLACE, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.sse import Sse

from shared.errors import NotFound, Unavailable
from shared.presigning import Credentials, SignedRequest, presign
from shared.settings import Settings
from shared.tables import LOCAL_OWNER

_MISSING = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
_OF_THE_SERVICE = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
    }
)
"""Refusals that say nothing of the object: another time, or with other credentials, it may be read."""
_ALREADY_THERE = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_GONE_OR_CHANGED = _MISSING | {"PreconditionFailed"}
UPLOADS = "uploads/"
_SMALLEST_PART = 5 * 1024 * 1024


@dataclass(frozen=True)
class ObjectInfo:
    """version: the ETag, another one whenever the object is written with other bytes."""

    key: str
    media_type: str
    bytes: int
    version: str


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
        self._bucket, self._foreign = settings.s3_bucket, False
        self._credentials = Credentials(
            settings.s3_access_key, settings.s3_secret_key.get_secret_value(), settings.s3_region
        )
        # Never connects: it knows where clients find the bucket. Without a key, what it presigns is a bare URL.
        self._public = Minio(settings.s3_public_endpoint, secure=settings.s3_public_secure, region=settings.s3_region)
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
        other._bucket, other._foreign = bucket, True
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

    def put_stream(self, key: str, data: BinaryIO, length: int, media_type: str) -> None:
        """Store what is read from a file, in parts of a few megabytes; what is there already is replaced."""
        with _answering():
            self._client.put_object(self._bucket, key, data, length, content_type=media_type)

    def get(self, key: str) -> bytes:
        """The whole object. Raises NotFound."""
        with _answering(key, self._foreign):
            response = self._client.get_object(self._bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def read(self, key: str, most: int) -> tuple[ObjectInfo, bytes | None]:
        """One version of the object: what it is, and its bytes, or None where they are more than `most`.

        Raises NotFound. No more than `most` bytes are ever read, whatever the object is.
        """
        with _answering(key, self._foreign):
            response = self._client.get_object(self._bucket, key)
            try:
                headers = response.headers
                size = int(headers["content-length"])
                info = ObjectInfo(key, headers.get("content-type", ""), size, headers["etag"].strip('"'))
                return info, bytes(response.read()) if size <= most else None
            finally:
                response.close()
                response.release_conn()

    def stat(self, key: str) -> ObjectInfo:
        """What the object is. Raises NotFound."""
        with _answering(key, self._foreign):
            found = self._client.stat_object(self._bucket, key)
            return ObjectInfo(key, found.content_type or "", found.size or 0, found.etag or "")

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def copy(self, source: ObjectInfo, key: str, media_type: str) -> bool:
        """Copy an object inside the bucket; False where it is gone, or no longer the version that `source` tells of."""
        with _answering():
            try:
                self._client.copy_object(
                    self._bucket,
                    key,
                    CopySource(self._bucket, source.key, match_etag=source.version),
                    metadata={"Content-Type": media_type},
                    metadata_directive=REPLACE,
                )
            except S3Error as error:
                if error.code in _GONE_OR_CHANGED:
                    return False
                raise
        return True

    def presign_get(self, key: str, expires: timedelta, filename: str | None = None) -> str:
        """A URL that reads the object without credentials until it expires, maybe to be saved under that name.

        Nothing checks that the object exists.
        """
        saved = {"response-content-disposition": f'attachment; filename="{filename}"'} if filename else {}
        return self._presign("GET", key, {}, expires, saved).url

    def presign_put(self, key: str, size: int, media_type: str, expires: timedelta) -> SignedRequest:
        """A request that writes `size` bytes of that type without credentials, and no other number or type."""
        return self._presign("PUT", key, {"Content-Type": media_type, "Content-Length": str(size)}, expires)

    def _presign(
        self,
        method: str,
        key: str,
        headers: dict[str, str],
        expires: timedelta,
        parameters: dict[str, str] | None = None,
    ) -> SignedRequest:
        url = self._public.get_presigned_url(method, self._bucket, key)
        return presign(method, url, headers, self._credentials, datetime.now(UTC), expires, parameters)

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        with _answering():
            self._client.remove_object(self._bucket, key)

    def delete_all(self, keys: Iterable[str]) -> None:
        """Remove all of them in as few requests as can be. Raises Unavailable where one stays."""
        with _answering():
            for error in self._client.remove_objects(self._bucket, (DeleteObject(key) for key in keys)):
                if error.code not in _MISSING:
                    raise Unavailable("object store", f"The object store answered {error.code}.")

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key that starts so, in order. Raises NotFound where another bucket is missing or may not be listed."""
        with _answering(bucket=self._bucket if self._foreign else None):
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                yield str(found.object_name)


def key_of(sha256: str, owner_id: UUID = LOCAL_OWNER) -> str:
    """`images/OWNER/ab/abcd…`; the two characters spread a listing over folders.

    Each owner's bytes are its own, so that one's deletion takes nothing from another, and tells nothing of another.
    """
    return f"images/{owner_id}/{sha256[:2]}/{sha256}"


def upload_key_of(sha256: str, owner_id: UUID) -> str:
    """`uploads/OWNER/abcd…`: where a client puts bytes by itself, which nobody has checked."""
    return f"{UPLOADS}{owner_id}/{sha256}"


@contextmanager
def _answering(key: str | None = None, foreign: bool = False, bucket: str | None = None) -> Iterator[None]:
    """foreign: a bucket that is not the service's own, where a refusal is the object's fate and no outage.

    bucket: such a one that is asked for as a whole.
    """
    try:
        yield
    except S3Error as error:
        if key is not None and error.code in _MISSING:
            raise NotFound("object", key) from error
        refused = 400 <= error.response.status < 500 and error.code not in _OF_THE_SERVICE
        if bucket is not None and refused:
            detail = f"The object store does not list the bucket {bucket}: {error.code}."
            raise NotFound("bucket", bucket, detail=detail) from error
        if key is not None and foreign and refused:
            detail = f"The object store does not give out the object {key}: {error.code}."
            raise NotFound(
                "object", key, detail=detail, remedy="See what the service may read of the bucket."
            ) from error
        raise Unavailable("object store", f"The object store answered {error.code}.") from error
    except (urllib3.exceptions.HTTPError, InvalidResponseError, ServerError) as error:
        raise Unavailable("object store") from error
