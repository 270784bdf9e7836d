"""Images, and uploads that go past the gateway."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.schema.base import ImageId, Request, Response


class Upload(Request):
    """An image that a client will put into the object store by itself."""

    sha256: ImageId
    bytes: int = Field(gt=0, le=2**63 - 1)
    media_type: Literal["image/png", "image/jpeg", "image/webp"]


class UploadsRequest(Request):
    images: list[Upload] = Field(min_length=1, max_length=1000)


class Image(Response):
    id: str
    width: int
    height: int
    media_type: str


class StoredImage(Image):
    bytes: int
    created: bool = Field(description="false when the image was there already")


class SignedRequest(Response):
    """A request that the object store takes without a key, until it expires."""

    method: str
    url: str
    headers: dict[str, str] = Field(description="to be sent exactly so; HTTP clients set Content-Length by themselves")
    expires_at: datetime


class ExpectedUpload(Response):
    """`id` is the image's, to be used once it is uploaded; at once where it is stored."""

    id: str
    stored: bool = Field(description="the image is there already: nothing is to be uploaded")
    arrived: bool = Field(
        False,
        description="it was declared before, and bytes of that length are there, which nobody has checked yet: "
        "they need not be uploaded again",
    )
    upload: SignedRequest | None = Field(
        description="what to send, with the image as its body; null where it is stored"
    )


class Uploads(Response):
    images: list[ExpectedUpload] = Field(description="in the order in which they were asked for")
