"""Which images the service takes, and the one way from their bytes to pixels.

An image is stored exactly as it was sent, so its id, the sha256 of those bytes, can be computed by the client before
it uploads anything. Width, height, boxes and masks refer to the upright picture: `decode` applies the EXIF rotation,
and whoever needs the pixels of a stored image goes through it.
"""

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from shared.errors import InvalidInput, TooLarge, UnsupportedMedia
from shared.image_header import JPEG, BrokenHeaderError, Header, UnknownFormatError, read_header

FORMATS = ("PNG", "JPEG", "WEBP")

MIN_SIDE = 16
"""About one patch of the image encoders; below it there is nothing to ground."""

MAX_ASPECT = 64
"""The encoders fit the longer side; a thinner strip would keep too few pixels, or none, of the shorter one."""

_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})
_SAVE_AS = "Save it as an 8-bit RGB or greyscale PNG, JPEG or WebP."
_SHRINK = "Shrink the image or cut it into tiles."

# `check` compares the header with the configured limit, so Pillow's own would be a second and hidden one.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Limits:
    """Upper bounds of one image: encoded bytes, pixels, and pixels along one side."""

    max_bytes: int
    max_pixels: int
    max_side: int


@dataclass(frozen=True)
class CheckedImage:
    """An image that passed `check`. id: hex sha256 of data; width, height: pixels of the upright picture."""

    id: str
    media_type: str
    width: int
    height: int
    data: bytes = field(repr=False)


def check(data: bytes, limits: Limits, name: str = "image") -> CheckedImage:
    """Accept one encoded image or raise InvalidInput for the input field `name`.

    Everything that the header tells is judged before a decoder sees the bytes; then the picture is decoded once, since
    only that shows a truncated file or a see-through pixel. Costs CPU time: keep it off an event loop.
    """
    if not data:
        raise InvalidInput(name, "The image is empty (0 bytes).", "Send the bytes of a PNG, JPEG or WebP file.")
    if len(data) > limits.max_bytes:
        raise too_many_bytes(limits, name)
    try:
        header = read_header(data)
    except UnknownFormatError as error:
        what = f"The image is {error.name}" if error.name else "The bytes are no image of a known format"
        raise UnsupportedMedia(name, f"{what}; PNG, JPEG and WebP are read.", _SAVE_AS) from error
    except BrokenHeaderError as error:
        raise _broken(name, str(error)) from error
    _check_header(header, limits, name)
    width, height = _check_picture(data, header, name)
    return CheckedImage(sha256(data).hexdigest(), header.media_type, width, height, data)


def decode(data: bytes) -> Image.Image:
    """The pixels of a checked image: mode RGB, upright."""
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        image.load()
        upright = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
        return upright.convert("RGB")


def upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height of the upright picture in a file that nobody checked; None where it cannot be read.

    JPEG and WebP tell it in their header. A PNG is decoded, since its EXIF block may stand behind the pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = _orientation(image) in _TURNED
            return (image.height, image.width) if turned else image.size
    except MemoryError:
        raise
    except Exception:  # as in `_check_picture`
        return None


def too_many_bytes(limits: Limits, name: str = "image") -> TooLarge:
    return TooLarge(
        name, f"The image has more than {limits.max_bytes:,} bytes.", f"Send at most {limits.max_bytes:,} bytes."
    )


def _check_header(header: Header, limits: Limits, name: str) -> None:
    width, height = header.width, header.height
    size = f"The image is {width} × {height} pixels"
    if width * height > limits.max_pixels:
        raise TooLarge(name, f"{size}; {limits.max_pixels:,} in all are allowed.", _SHRINK)
    if max(width, height) > limits.max_side:
        raise TooLarge(name, f"{size}; {limits.max_side:,} along a side are allowed.", _SHRINK)
    if min(width, height) < MIN_SIDE:
        raise InvalidInput(name, f"{size}.", f"Send an image with at least {MIN_SIDE} pixels along each side.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidInput(
            name,
            f"{size}; one side may be at most {MAX_ASPECT} times the other.",
            "Cut the image into pieces that are less narrow.",
        )
    if header.animated:
        raise UnsupportedMedia(name, "The image is animated.", "Send one frame as a still image.")
    if header.bits > 8:
        raise UnsupportedMedia(name, f"The image has {header.bits} bits a channel; at most 8 are read.", _SAVE_AS)
    if header.media_type == JPEG and header.channels not in (1, 3):
        color = "in CMYK" if header.channels == 4 else f"a JPEG of {header.channels} channels"
        raise UnsupportedMedia(name, f"The image is {color}.", f"Convert it to RGB. {_SAVE_AS}")
    if header.transparent_palette:
        raise _transparent(name, "The image's palette has transparent colours.")


def _check_picture(data: bytes, header: Header, name: str) -> tuple[int, int]:
    """Decode once; the size of the upright picture."""
    stored = (header.width, header.height)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.size != stored:
                raise BrokenHeaderError("it gives two different sizes")
            orientation = _orientation(image)
            if header.media_type == JPEG:
                # An eighth of the size still reads every byte of the file, with a sixty-fourth of the memory.
                image.draft(None, (header.width // 8, header.height // 8))
            image.load()
            see_through = _see_through(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's parsers let through whatever a malformed file trips them with
        raise _broken(name, str(error) or type(error).__name__) from error
    if see_through:
        raise _transparent(name, "The image has transparent pixels.")
    return (header.height, header.width) if orientation in _TURNED else stored


def _see_through(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    alpha = (image if "A" in image.getbands() else image.convert("RGBA")).getchannel("A")
    return alpha.getextrema() != (255, 255)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) … 8; a broken EXIF block says nothing, and the picture counts as upright."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, LookupError, TypeError, struct.error):
        return 1
    return value if value in range(1, 9) else 1


def _broken(name: str, why: str) -> InvalidInput:
    return InvalidInput(name, f"The image cannot be read: {why}.", "Send the whole file, as it was saved.")


def _transparent(name: str, what: str) -> UnsupportedMedia:
    return UnsupportedMedia(name, what, "Flatten it onto a background and send it without an alpha channel.")
