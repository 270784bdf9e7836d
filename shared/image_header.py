"""What PNG, JPEG and WebP files say about themselves, read without decoding a pixel.

A decoder may allocate width × height before it looks at anything else, so the size is taken from the bytes first.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"

# Real files stay far below these; a file of millions of empty blocks would only cost time.
_MAX_PNG_CHUNKS = 100_000
_MAX_JPEG_SEGMENTS = 10_000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PALETTE = 3
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_EOI, _JPEG_SOS = 0xD9, 0xDA
_WEBP_ANIMATED = 0x02

_OTHER_FORMATS = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
)
_BRANDS = {b"avif": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}


class UnknownFormatError(Exception):
    """The bytes are no PNG, JPEG or WebP; `name` is what they look like, or None."""

    def __init__(self, name: str | None) -> None:
        super().__init__(name or "unknown")
        self.name = name


class BrokenHeaderError(Exception):
    """The format is known, but the file contradicts it or ends too early; the message says where."""


@dataclass(frozen=True)
class Header:
    """Size in pixels as stored, before any EXIF rotation; bits of one sample; samples of one pixel."""

    media_type: str
    width: int
    height: int
    bits: int
    channels: int
    animated: bool = False
    transparent_palette: bool = False


def read_header(data: bytes) -> Header:
    """The header of one encoded image. Raises UnknownFormatError or BrokenHeaderError."""
    try:
        if data.startswith(_PNG_SIGNATURE):
            return _read_png(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _read_webp(data)
    except (struct.error, IndexError) as error:
        raise BrokenHeaderError("the file ends inside its header") from error
    raise UnknownFormatError(_guess(data))


def _guess(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "an ISO media file")
    return next((name for magic, name in _OTHER_FORMATS if data.startswith(magic)), None)


def _read_png(data: bytes) -> Header:
    chunks = _png_chunks(data)
    kind, body = next(chunks)
    if kind != b"IHDR":
        raise BrokenHeaderError("the first PNG chunk is not IHDR")
    width, height, bits, color = struct.unpack_from(">IIBB", body)
    if color not in _PNG_CHANNELS:
        raise BrokenHeaderError(f"PNG colour type {color} does not exist")
    animated = transparent = False
    for kind, body in chunks:
        if kind == b"acTL":
            animated = struct.unpack_from(">I", body)[0] > 1
        elif kind == b"tRNS" and color == _PNG_PALETTE:
            transparent = any(alpha < 255 for alpha in body[:256])
        elif kind == b"IEND":
            return Header(PNG, width, height, bits, _PNG_CHANNELS[color], animated, transparent)
    raise BrokenHeaderError("the PNG file ends before its IEND chunk")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, position = memoryview(data), len(_PNG_SIGNATURE)
    for _ in range(_MAX_PNG_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            raise BrokenHeaderError(f"the file ends inside the PNG chunk {kind.decode('latin-1')!r}")
        yield kind, view[position + 8 : position + 8 + length]
        position += 12 + length
    raise BrokenHeaderError(f"the PNG file has more than {_MAX_PNG_CHUNKS} chunks")


def _read_jpeg(data: bytes) -> Header:
    header, position = None, 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        position = data.find(b"\xff", position)
        if position < 0:
            raise BrokenHeaderError("the JPEG file ends before its picture starts")
        while data[position] == 0xFF:
            position += 1
        marker, position = data[position], position + 1
        if marker == 0 or marker in _JPEG_STANDALONE:
            continue
        if marker == _JPEG_EOI:
            raise BrokenHeaderError("the JPEG file ends before its picture starts")
        if marker == _JPEG_SOS:
            if header is None:
                raise BrokenHeaderError("the JPEG picture starts before its size is given")
            return header
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _JPEG_FRAMES:
            if header is not None:
                raise BrokenHeaderError("the JPEG file gives its size twice")
            bits, height, width, channels = struct.unpack_from(">BHHB", data, position + 2)
            header = Header(JPEG, width, height, bits, channels)
        position += length
    raise BrokenHeaderError(f"the JPEG file has more than {_MAX_JPEG_SEGMENTS} segments before its picture")


def _read_webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise BrokenHeaderError(f"the WebP file says {size + 8} bytes and has {len(data)}")
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8 ":
        if body[3:6] != b"\x9d\x01\x2a":
            raise BrokenHeaderError("the WebP picture does not start with a key frame")
        width, height = struct.unpack_from("<HH", body, 6)
        return Header(WEBP, width & 0x3FFF, height & 0x3FFF, 8, 3)
    if kind == b"VP8L":
        signature, packed = struct.unpack_from("<BI", body)
        if signature != 0x2F:
            raise BrokenHeaderError("the lossless WebP picture has no signature")
        return Header(WEBP, (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, 8, 4 if packed >> 28 & 1 else 3)
    if kind == b"VP8X":
        width = int.from_bytes(body[4:7], "little") + 1
        height = int.from_bytes(body[7:10], "little") + 1
        return Header(WEBP, width, height, 8, 4, animated=bool(body[0] & _WEBP_ANIMATED))
    raise BrokenHeaderError(f"the WebP file starts with the unknown chunk {kind.decode('latin-1')!r}")
