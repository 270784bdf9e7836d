"""Whatever bytes come, in whatever pieces: a submission, or an error that is the client's."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from services.gateway.body import MAX_JSON_BYTES, Submission, read_image, read_submission
from shared.errors import InvalidInput
from shared.images import Limits
from shared.schema import RegionCaptionRequest, to_ask
from shared.tasks import Ask, Task

LIMITS = Limits(max_bytes=1000, max_pixels=1, max_side=1)

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\nregion_caption\r\n'
    b'--x\r\nContent-Disposition: form-data; name="boxes"\r\n\r\n[[1, 2, 3, 4]]\r\n'
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    b"\x89PNG and so on\r\n--x--\r\n"
)
JSON = b'{"image_id": "%s", "task": "vqa", "question": "a dog", "boxes": [[1, 2, 3.5, 4e0]]}' % (b"0" * 64)


def request(content_type: str, pieces: list[bytes]) -> Request:
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    headers = [(b"content-type", content_type.encode())]

    async def receive() -> Message:
        return messages.pop(0)

    # As under a real application, which Starlette's form parser asks for.
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "app": None}, receive)


def read(
    reader: Callable[[Request, Limits], Awaitable[Submission | bytes]], content_type: str, pieces: list[bytes]
) -> Submission | bytes | InvalidInput:
    async def run() -> Submission | bytes:
        return await reader(request(content_type, pieces), LIMITS)

    try:
        return asyncio.run(run())
    except InvalidInput as error:
        return error


def cut(data: bytes, places: list[float]) -> list[bytes]:
    marks = sorted(round(place * len(data)) for place in places)
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


places = st.lists(st.floats(0, 1), max_size=5)


@settings(deadline=None)
@given(places)
def test_a_body_means_the_same_in_any_pieces(places: list[float]) -> None:
    form = read(read_submission, "multipart/form-data; boundary=x", cut(FORM, places))
    assert isinstance(form, Submission)
    assert form.image == b"\x89PNG and so on"
    assert form.request == RegionCaptionRequest(task=Task.REGION_CAPTION, boxes=[(1, 2, 3, 4)])
    job = read(read_submission, "application/json", cut(JSON, places))
    assert isinstance(job, Submission)
    assert job.image == "0" * 64
    assert to_ask(job.request) == Ask(Task.VQA, "a dog", ((1, 2, 3.5, 4),))


@settings(deadline=None)
@given(
    whole=st.sampled_from([("multipart/form-data; boundary=x", FORM), ("application/json", JSON)]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=4), st.integers(0, 8)), max_size=4),
    places=places,
)
def test_a_damaged_body_is_the_clients_error(
    whole: tuple[str, bytes], changes: list[tuple[float, bytes, int]], places: list[float]
) -> None:
    content_type, data = whole
    for place, new, gone in changes:
        start = int(place * len(data))
        data = data[:start] + new + data[start + gone :]
    for reader in (read_submission, read_image):
        outcome = read(reader, content_type, cut(data, places))
        if isinstance(outcome, InvalidInput):
            assert outcome.field
            assert outcome.remedy


@settings(deadline=None)
@given(st.text(max_size=60), st.binary(max_size=60))
def test_a_strange_content_type_is_the_clients_error(content_type: str, data: bytes) -> None:
    header = content_type.encode("ascii", "ignore").decode()
    for kind in (header, f"multipart/form-data; {header}", f"application/json; {header}"):
        for reader in (read_submission, read_image):
            read(reader, kind, [data])


def test_a_body_is_read_up_to_its_limit_and_no_further() -> None:
    assert read(read_image, "image/png", [b"a" * 500] * 2) == b"a" * 1000
    for reader, content_type, pieces in (
        (read_image, "image/png", [b"a" * 500, b"a" * 501]),
        (read_image, "multipart/form-data; boundary=x", [FORM.replace(b"and so on", b"a" * 1001)]),
        (read_image, "multipart/form-data; boundary=x", [FORM[:-30], b"a" * (MAX_JSON_BYTES + 1000)]),
        (read_submission, "application/json", [b" " * MAX_JSON_BYTES, b"{"]),
    ):
        refusal = read(reader, content_type, pieces)
        assert isinstance(refusal, InvalidInput)
        assert refusal.status == 413


def test_a_form_in_a_charset_that_decodes_nothing_is_the_clients_error() -> None:
    for reader in (read_submission, read_image):
        refusal = read(reader, "multipart/form-data; boundary=x; charset=undefined", [FORM])
        assert isinstance(refusal, InvalidInput)
        assert refusal.field == "Content-Type"
        assert "UTF-8" in (refusal.remedy or "")
