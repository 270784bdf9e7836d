"""Request bodies: read no further than their limit, and taken apart into fields and an image.

Nothing here trusts a declared length: the bytes are counted as they arrive, whether or not one was declared.
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive

from services.gateway.errors import from_pydantic
from services.gateway.parts import MAX_FIELD_BYTES, MAX_FIELDS, read_parts
from shared.errors import InvalidInput, TooLarge, UnsupportedMedia
from shared.images import Limits, too_many_bytes
from shared.schema import AskRequest, JobRequest

IMAGE_FIELD = "image"
MAX_JSON_BYTES = 1024 * 1024
"""Far more than a valid request, so that a prompt which is too long is called that and not a body too large."""
_UNKNOWN_TYPE = "application/octet-stream"
_JSON_FIELDS = {
    "boxes": "[[x1, y1, x2, y2]] in pixels of the image",
    "expressions": '["the dog on the left"]',
    "phrases": '["a dog", "a tree"]',
}
"""Fields of a form that are lists, and what they look like."""

_JOB: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)
_ASK: TypeAdapter[AskRequest] = TypeAdapter(AskRequest)


@dataclass(frozen=True)
class Submission:
    """What POST /jobs was sent: the request, and either the id of an image or one to store."""

    request: AskRequest
    image: bytes | str


async def read_image(request: Request, limits: Limits) -> bytes:
    """The body of POST /images: the image itself, or a form with the file `image`. Raises InvalidInput."""
    kind = content_type(request.headers)
    if kind == "multipart/form-data":
        fields, image = await _read_form(request, limits)
        for name in fields:
            raise InvalidInput(name, f"POST /images knows no field {name!r}.", f"Send {IMAGE_FIELD!r} alone.")
        if image is None:
            raise _no_image()
        return image
    if not _may_be_image(kind):
        raise UnsupportedMedia(
            "Content-Type",
            f"POST /images does not read {kind}.",
            "Send the image as the body with its type, such as image/png, or as the file 'image' of a multipart form.",
        )
    return await _bounded(request, limits.max_bytes, too_many_bytes(limits)).body()


async def read_json(request: Request) -> bytes:
    """A body of JSON, whatever it holds. Raises InvalidInput."""
    kind = content_type(request.headers)
    if kind != "application/json":
        given = kind or "a body without a type"
        raise UnsupportedMedia("Content-Type", f"{request.url.path} does not read {given}.", "Send application/json.")
    return await _bounded(request, MAX_JSON_BYTES, _too_large_json()).body()


async def read_ask(request: Request) -> AskRequest:
    """The body of a turn: what is asked, without an image. Raises InvalidInput."""
    try:
        return _ASK.validate_json(await read_json(request))
    except ValidationError as error:
        raise from_pydantic(error, of_tasks=True) from error


async def read_submission(request: Request, limits: Limits) -> Submission:
    """The body of POST /jobs: JSON that names an image, or a form that may bring one. Raises InvalidInput."""
    kind = content_type(request.headers)
    try:
        if kind == "application/json":
            job = _JOB.validate_json(await read_json(request))
            return Submission(job, job.image_id)
        if kind == "multipart/form-data":
            fields, image = await _read_form(request, limits)
            return _form_submission(fields, image)
    except ValidationError as error:
        raise from_pydantic(error, of_tasks=True) from error
    raise UnsupportedMedia(
        "Content-Type",
        f"{request.method} {request.url.path} does not read {kind or 'a body without a type'}.",
        "Send application/json with image_id, or multipart/form-data with the file 'image'.",
    )


def _form_submission(fields: Mapping[str, str], image: bytes | None) -> Submission:
    values = {name: _parsed(name, value) if name in _JSON_FIELDS else value for name, value in fields.items()}
    if image is None:
        if "image_id" not in fields:
            raise _no_image()
        job = _JOB.validate_python(values)
        return Submission(job, job.image_id)
    if "image_id" in fields:
        raise InvalidInput("image_id", "The form brings both an image and an image_id.", "Send one of the two.")
    return Submission(_ASK.validate_python(values), image)


def _parsed(name: str, value: str) -> object:
    """A form's field that is a list."""
    try:
        return from_json(value)
    except ValueError as error:
        raise InvalidInput(name, f"{name}: {error}.", f"Send JSON: {_JSON_FIELDS[name]}.") from error


async def _read_form(request: Request, limits: Limits) -> tuple[dict[str, str], bytes | None]:
    """The text fields of a form and the bytes of its file `image`."""
    most = limits.max_bytes + MAX_FIELD_BYTES
    try:
        form = await read_parts(_bounded(request, most, _too_large_form(most, limits)), limits)
        try:
            return await _take_apart(form)
        finally:
            await form.close()
    except MultiPartException as error:
        raise InvalidInput(
            "body",
            f"The form cannot be read: {error.message}",
            f"Send well-formed multipart/form-data with one file and at most {MAX_FIELDS} fields of text.",
        ) from error
    except UnicodeError as error:
        raise InvalidInput(
            "Content-Type", f"The form cannot be read in its charset: {error}.", "Send it in UTF-8, without a charset."
        ) from error


async def _take_apart(form: FormData) -> tuple[dict[str, str], bytes | None]:
    fields: dict[str, str] = {}
    image: bytes | None = None
    seen: set[str] = set()
    for name, value in form.multi_items():
        if name in seen:
            raise InvalidInput(name, f"The form has the field {name!r} twice.", "Send it once.")
        seen.add(name)
        if isinstance(value, str):
            if name == IMAGE_FIELD:
                raise InvalidInput(name, "The field 'image' is text.", "Send it as a file, with a file name.")
            fields[name] = value
        elif name != IMAGE_FIELD:
            raise InvalidInput(name, f"The field {name!r} is a file.", "Send it as text; the one file is 'image'.")
        else:
            image = await _read_file(value)
    return fields, image


async def _read_file(file: UploadFile) -> bytes:
    kind = content_type(file.headers)
    if not _may_be_image(kind):
        raise UnsupportedMedia(
            IMAGE_FIELD, f"The file 'image' came as {kind}.", "Send it with its type, such as image/png."
        )
    return await file.read()


def content_type(headers: Mapping[str, str]) -> str:
    """Without its parameters, in lower case; "" where none is given."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def require_plain(headers: Mapping[str, str]) -> None:
    """Raises UnsupportedMedia for a body that is compressed: nothing here unpacks one."""
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedMedia(
            "Content-Encoding",
            f"No body is read that is packed with {coding[:40]!r}.",
            "Send it as it is, not compressed.",
        )


def _may_be_image(kind: str) -> bool:
    """The bytes decide what an image is, since programs guess its type from a file's name; only other kinds are out."""
    return kind in ("", _UNKNOWN_TYPE) or kind.startswith("image/")


def _no_image() -> InvalidInput:
    return InvalidInput(IMAGE_FIELD, "The form brings no image.", "Send the image as the file 'image'.")


def _too_large_json() -> TooLarge:
    return TooLarge(
        "body", f"The body has more than {MAX_JSON_BYTES:,} bytes.", f"Send at most {MAX_JSON_BYTES:,} bytes of JSON."
    )


def _too_large_form(most: int, limits: Limits) -> TooLarge:
    return TooLarge(
        "body",
        f"The form has more than {most:,} bytes.",
        f"Send an image of at most {limits.max_bytes:,} bytes, and no more than {MAX_FIELD_BYTES:,} bytes besides.",
    )


def _bounded(request: Request, limit: int, refusal: TooLarge) -> Request:
    """The same request, whose body raises `refusal` as soon as it is, or says it will be, longer than `limit` bytes.

    Raises UnsupportedMedia where it is compressed.
    """
    require_plain(request.headers)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise refusal
    return Request(request.scope, _counted(request.receive, limit, refusal))


def _counted(receive: Receive, limit: int, refusal: TooLarge) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise refusal
        return message

    return counted


async def gathered(stream: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    """A body in pieces of about `size` bytes: each costs a switch to a thread, and clients send small ones."""
    held = bytearray()
    async for piece in stream:
        held += piece
        if len(held) >= size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
