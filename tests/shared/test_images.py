"""Which images are taken and which are refused, with the reason a client can act on."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.errors import InvalidInput, TooLarge, UnsupportedMedia
from shared.images import Limits, check, decode, upright_size

LIMITS = Limits(max_bytes=1_000_000, max_pixels=1_000_000, max_side=4096)


def picture(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Left half dark, right half light, so that a rotation shows; noise, so that a truncated file lacks pixels."""
    noise = np.random.default_rng(0).integers(0, 60, (height, width), dtype=np.uint8)
    noise[:, width // 2 :] += 180
    return Image.fromarray(noise).convert(mode)


def encode(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with_header(width: int, height: int, bits: int = 8, color: int = 2, body: bytes = b"\0") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in chunks)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        pytest.param(encode(picture()), "image/png", id="png"),
        pytest.param(encode(picture(mode="L")), "image/png", id="grey png"),
        pytest.param(encode(picture(mode="1")), "image/png", id="black and white png"),
        pytest.param(encode(picture().quantize(8)), "image/png", id="palette png"),
        pytest.param(encode(picture(mode="RGBA")), "image/png", id="png with an opaque alpha channel"),
        pytest.param(encode(picture(), "JPEG"), "image/jpeg", id="jpeg"),
        pytest.param(encode(picture(), "JPEG", progressive=True), "image/jpeg", id="progressive jpeg"),
        pytest.param(encode(picture(mode="L"), "JPEG"), "image/jpeg", id="grey jpeg"),
        pytest.param(encode(picture(), "WEBP"), "image/webp", id="webp"),
        pytest.param(encode(picture(), "WEBP", lossless=True), "image/webp", id="lossless webp"),
        pytest.param(encode(picture(), "WEBP", exif=exif(1)), "image/webp", id="extended webp"),
        pytest.param(encode(picture(), "MPO", save_all=True, append_images=[picture()]), "image/jpeg", id="mpo"),
    ],
)
def test_an_ordinary_image_is_taken_as_it_is(data: bytes, media_type: str) -> None:
    image = check(data, LIMITS)
    assert (image.media_type, image.width, image.height) == (media_type, 48, 32)
    assert image.data == data
    assert image.id == sha256(data).hexdigest()
    pixels = decode(data)
    assert (pixels.mode, pixels.size) == ("RGB", (48, 32))
    assert np.asarray(pixels)[:, :20].mean() < 100 < np.asarray(pixels)[:, 28:].mean()


# Where the light half of the picture lies once the stored pixels are turned as EXIF says.
@pytest.mark.parametrize(
    ("orientation", "size", "light"),
    [
        (1, (48, 32), "right"),
        (2, (48, 32), "left"),
        (3, (48, 32), "left"),
        (4, (48, 32), "right"),
        (5, (32, 48), "bottom"),
        (6, (32, 48), "bottom"),
        (7, (32, 48), "top"),
        (8, (32, 48), "top"),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_exif_rotation_is_applied(file_format: str, orientation: int, size: tuple[int, int], light: str) -> None:
    data = encode(picture(), file_format, exif=exif(orientation))
    image = check(data, LIMITS)
    assert (image.width, image.height) == size
    upright = decode(data)
    assert upright.size == size
    pixels = np.asarray(upright).mean(axis=2)
    halves = {"left": pixels[:, :10], "right": pixels[:, -10:], "top": pixels[:10], "bottom": pixels[-10:]}
    assert max(halves, key=lambda side: float(halves[side].mean())) == light


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_the_size_of_a_file_is_that_of_the_upright_picture(file_format: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    for orientation, size in ((1, (48, 32)), (3, (48, 32)), (6, (32, 48))):
        path.write_bytes(encode(picture(), file_format, exif=exif(orientation)))
        assert upright_size(path) == size
    path.write_bytes(path.read_bytes()[:20])
    assert upright_size(path) is None
    assert upright_size(tmp_path / "nowhere") is None


def test_a_broken_exif_block_counts_as_upright() -> None:
    image = check(encode(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"), LIMITS)
    assert (image.width, image.height) == (48, 32)
    assert decode(image.data).size == (48, 32)


def animation(file_format: str) -> bytes:
    return encode(
        picture(), file_format, save_all=True, append_images=[picture().transpose(Image.Transpose.ROTATE_180)]
    )


def palette_with_alpha() -> bytes:
    return encode(picture().quantize(8), transparency=bytes([255, 128]))


def clear_pixels(file_format: str) -> bytes:
    image = picture(mode="RGBA")
    image.putpixel((3, 3), (0, 0, 0, 0))
    return encode(image, file_format, **({"lossless": True} if file_format == "WEBP" else {}))


REFUSED: dict[str, tuple[Callable[[], bytes], type[InvalidInput], str]] = {
    "zero bytes": (lambda: b"", InvalidInput, "empty"),
    "text": (lambda: b"once upon a time", UnsupportedMedia, "no image"),
    "gif": (lambda: encode(picture(), "GIF"), UnsupportedMedia, "GIF"),
    "animated gif": (lambda: animation("GIF"), UnsupportedMedia, "GIF"),
    "bmp": (lambda: encode(picture(), "BMP"), UnsupportedMedia, "BMP"),
    "tiff": (lambda: encode(picture(), "TIFF"), UnsupportedMedia, "TIFF"),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(64), UnsupportedMedia, "HEIC"),
    "png signature alone": (lambda: encode(picture())[:8], InvalidInput, "header"),
    "truncated png": (lambda: encode(picture())[:-40], InvalidInput, "ends"),
    "png without its end": (lambda: encode(picture())[:-12], InvalidInput, "header"),
    "png with a wrong checksum": (
        lambda: encode(picture()).replace(b"IDAT", b"IDAT\1", 1),
        InvalidInput,
        "cannot be read",
    ),
    "truncated jpeg": (lambda: encode(picture(480, 320), "JPEG")[:-2000], InvalidInput, "truncated"),
    "truncated progressive jpeg": (
        lambda: encode(picture(480, 320), "JPEG", progressive=True)[:-2000],
        InvalidInput,
        "truncated",
    ),
    "jpeg header alone": (lambda: encode(picture(), "JPEG")[:100], InvalidInput, "JPEG"),
    "truncated webp": (lambda: encode(picture(), "WEBP")[:-40], InvalidInput, "says"),
    "webp of a wrong length": (
        lambda: (lambda d: d[:4] + struct.pack("<I", len(d) - 48) + d[8:-40])(encode(picture(480, 320), "WEBP")),
        InvalidInput,
        "cannot be read",
    ),
    "a wall of pixels in a png header": (lambda: png_with_header(100_000, 100_000), TooLarge, "100000 × 100000"),
    "a wall of pixels in a jpeg header": (
        lambda: encode(picture(), "JPEG").replace(struct.pack(">HH", 32, 48), struct.pack(">HH", 65_000, 65_000)),
        TooLarge,
        "65000 × 65000",
    ),
    "too many bytes": (lambda: encode(picture()) + bytes(1_000_000), TooLarge, "1,000,000 bytes"),
    "too long a side": (lambda: encode(picture(4097, 128)), TooLarge, "4,096"),
    "one pixel": (lambda: encode(picture(1, 1)), InvalidInput, "1 × 1"),
    "no pixel": (lambda: png_with_header(0, 0), InvalidInput, "0 × 0"),
    "a strip": (lambda: encode(picture(2048, 16)), InvalidInput, "64 times"),
    "animated png": (lambda: animation("PNG"), UnsupportedMedia, "animated"),
    "animated webp": (lambda: animation("WEBP"), UnsupportedMedia, "animated"),
    "cmyk": (lambda: encode(picture(mode="CMYK"), "JPEG"), UnsupportedMedia, "CMYK"),
    "16 bits grey": (
        lambda: encode(Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32))),
        UnsupportedMedia,
        "16 bits",
    ),
    "16 bits rgb": (
        lambda: png_with_header(32, 32, bits=16, body=bytes(32 * (1 + 32 * 6))),
        UnsupportedMedia,
        "16 bits",
    ),
    "palette with alpha": (palette_with_alpha, UnsupportedMedia, "palette"),
    "png with clear pixels": (lambda: clear_pixels("PNG"), UnsupportedMedia, "transparent"),
    "webp with clear pixels": (lambda: clear_pixels("WEBP"), UnsupportedMedia, "transparent"),
    "png with a clear colour": (
        lambda: encode(Image.new("RGB", (32, 32), "red"), transparency=(255, 0, 0)),
        UnsupportedMedia,
        "transparent",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_image_is_refused_with_a_reason(name: str) -> None:
    make, kind, reason = REFUSED[name]
    with pytest.raises(InvalidInput) as refusal:
        check(make(), LIMITS, "picture")
    assert type(refusal.value) is kind
    assert refusal.value.field == "picture"
    assert reason in refusal.value.detail
    assert refusal.value.remedy


def test_a_wall_of_pixels_is_refused_before_anything_is_decoded() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            check(png_with_header(100_000, 100_000), LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("file_format", "start", "filler"), [("PNG", 33, png_chunk(b"tEXt", b"")), ("JPEG", 2, b"\xff\xfe\x00\x02")]
)
def test_a_file_of_empty_blocks_is_refused(file_format: str, start: int, filler: bytes) -> None:
    whole = encode(picture(), file_format)
    limits = Limits(max_bytes=10_000_000, max_pixels=1_000_000, max_side=4096)
    with pytest.raises(InvalidInput, match="more than"):
        check(whole[:start] + filler * 110_000 + whole[start:], limits)


@settings(max_examples=300, deadline=None)
@given(
    whole=st.sampled_from([encode(picture(), f) for f in ("PNG", "JPEG", "WEBP")]),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
)
def test_whatever_the_bytes_an_image_is_taken_whole_or_refused(
    whole: bytes, cut: float, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(whole[: round(cut * len(whole))])
    for place, value in changes:
        if data:
            data[int(place * len(data))] = value
    try:
        image = check(bytes(data), LIMITS)
    except InvalidInput:
        return
    assert decode(image.data).size == (image.width, image.height)
