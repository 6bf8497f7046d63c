"""The only door for pictures: a file or its bytes come in, a clean `Image` goes out.

The format is told by the first bytes, never by the name, and the size is read from the header
before a pixel is decoded. What comes out is upright, 8 bits a channel and without metadata;
everything else is refused with an `ImageError` that says what to do.
"""

import base64
import codecs
import contextlib
import hashlib
import io
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as pillow
from PIL.Image import Transpose

from vlm.errors import ImageError
from vlm.messages import Image, Pixels


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """How large a picture may be.

    Attributes:
        megapixels: width x height, in millions.
        side: width or height, in pixels.
        file_megabytes: of the file, in millions of bytes.
    """

    megapixels: float = 40.0
    side: int = 16384
    file_megabytes: float = 20.0

    @property
    def file_bytes(self) -> int:
        """The largest file, in bytes."""
        return int(self.file_megabytes * 1_000_000)


DEFAULT_LIMITS = ImageLimits()


def _open_heif(file: BinaryIO) -> pillow.Image:
    from pillow_heif import HeifImageFile  # loads libheif, which few pictures need

    return HeifImageFile(file)


# The plugins themselves rather than `Image.open`, whose own check against bombs would stop a large
# picture before its size is known.
OPENERS: Mapping[str, Callable[[BinaryIO], pillow.Image]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "HEIC": _open_heif,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
"""Opens each accepted format: reads the header, decodes nothing yet."""

SNIFFED_BYTES = 4096
SIGNATURES: Mapping[str, re.Pattern[bytes]] = {
    kind: re.compile(pattern, re.DOTALL)
    for kind, pattern in {
        "JPEG": rb"\xff\xd8\xff",
        "PNG": rb"\x89PNG\r\n\x1a\n",
        "WebP": rb"RIFF....WEBP",
        "GIF": rb"GIF8[79]a",
        "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
        "TIFF": rb"II[*+]\0|MM\0[*+]",
        "AVIF": rb"....ftyp(avi[fs]|m[is]f1(....){1,16}?avi[fs])",
        "HEIC": rb"....ftyp(he[iv][cmsx]|m[is]f1)",
        # Not accepted, and named so that people know what they have.
        "Canon CR3": rb"....ftypcrx ",
        "QuickTime": rb"....ftypqt  ",
        "MP4": rb"....ftyp",
        "AVI": rb"RIFF....AVI ",
        "WebM": rb"\x1a\x45\xdf\xa3",
        "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
        "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
        "Photoshop PSD": rb"8BPS",
        "ICO": rb"\0\0\x01\0",
        "PDF": rb"%PDF-",
        "PostScript": rb"%!PS",
        "ZIP": rb"PK\x03\x04",
        "gzip": rb"\x1f\x8b",
        "HTML": rb"(?i:(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body)\b)",
        "SVG": rb"(\xef\xbb\xbf)?\s*(?=<)[^\0]*?<(\w+:)?svg[\s>]",
    }.items()
}
"""How the files of each kind begin; the first that fits counts."""

KEPT_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")
MODES_WITH_ALPHA = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
TURNS: Mapping[object, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""


def open_image(
    source: str | os.PathLike[str] | bytes,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
    name: str | None = None,
) -> Image:
    """Opens a picture; of one that moves or has pages, the first frame.

    Args:
        source: path of a file, or the bytes of one. Addresses are for `vlm.fetch.fetch_image`.
        limits: the largest picture to take.
        name: what people call it, instead of the name of the file.

    Raises:
        ImageError: it cannot be read, is no picture of an accepted format, is damaged or too large.
    """
    if isinstance(source, bytes):
        name, data = clean_name(name or ""), source
    else:
        path = os.fsdecode(source)
        name = clean_name(name or path)
        data = _read_file(path, name, limits)
    if not data:
        raise ImageError("image_empty", name=name)
    if len(data) > limits.file_bytes:
        raise _file_too_large(name, len(data), limits)
    pixels = _decode(data, name, limits)
    return Image(pixels, _digest(pixels), name, pixels.size)


def preview(image: Image, side: int = 1600) -> Pixels:
    """A copy to show on a screen: RGB, or RGBA where it is see-through.

    Args:
        side: the longest that width or height may be, in pixels; smaller pictures keep their size.
    """
    see_through = image.pixels.has_transparency_data
    copy = image.pixels.convert("RGBA" if see_through else "RGB")
    copy.thumbnail((side, side), pillow.Resampling.LANCZOS)
    copy.info = {}
    return copy


def data_address(pixels: Pixels, kind: Literal["WEBP", "PNG"] = "WEBP", **settings: Any) -> str:
    """A picture inside an address, so that a page needs no file for it.

    Args:
        pixels: RGB, RGBA or grey.
        kind: of file.
        **settings: of Pillow's writer, such as `quality`.
    """
    file = io.BytesIO()
    pixels.save(file, kind, **settings)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"


def thumbnail(image: Image, side: int) -> str:
    """A copy of at most `side` pixels inside an address."""
    return data_address(preview(image, side), quality=80)


def made_image(
    pixels: Pixels, name: str = "", kind: Literal["TIFF", "JPEG"] = "TIFF", **settings: Any
) -> Image:
    """A picture that was made here, through the door that all come by; of any size.

    Args:
        pixels: in a mode that such a file can hold.
        name: what people call it.
        kind: of file: TIFF keeps every pixel as it is.
        **settings: of Pillow's writer, such as `quality`.
    """
    file = io.BytesIO()
    pixels.save(file, kind, **settings)
    width, height = pixels.size
    room = ImageLimits(
        megapixels=width * height, side=max(width, height), file_megabytes=file.tell()
    )
    return open_image(file.getvalue(), limits=room, name=name)


def begins_like_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like one of an accepted format. False where it cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(SNIFFED_BYTES)
    except OSError:
        return False
    return _kind(start) in OPENERS


def is_address(source: str) -> bool:
    """Whether it is written like a web address, such as https://..., and not like a path."""
    return re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def clean_name(name: str) -> str:
    """The last part of a path, without characters that a page or a terminal would act upon."""
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(character for character in last if character.isprintable()).strip()
    return printable[:120] if printable.strip(".") else "image"


def _read_file(path: str, name: str, limits: ImageLimits) -> bytes:
    if is_address(path):
        raise ImageError("image_is_address", got=path.partition("?")[0][:200])
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("image_folder", name=name)
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
            raise ImageError("image_unreadable", name=name)
        if status.st_size > limits.file_bytes:
            raise _file_too_large(name, status.st_size, limits)
        with open(path, "rb") as file:
            return file.read(limits.file_bytes + 1)  # it may have grown since
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError("image_missing", name=name) from None
    except (OSError, ValueError) as error:
        raise ImageError("image_unreadable", name=name) from error


def _file_too_large(name: str, size: int, limits: ImageLimits) -> ImageError:
    megabytes = math.ceil(size / 100_000) / 10  # upwards, so that it never reads like the limit
    return ImageError("image_file_too_large", name=name, got=megabytes, limit=limits.file_megabytes)


def _decode(data: bytes, name: str, limits: ImageLimits) -> Pixels:
    """The pixels of a file in one of `KEPT_MODES`, upright."""
    kind = _sniff(data, name)
    with _damage_named(name):
        try:
            opened = OPENERS[kind](io.BytesIO(data))
        except SyntaxError:
            if kind == "TIFF":
                _refuse_channels(data, name)
            raise
        _check_size(opened.size, name, limits)
        opened.load()
        return _plain(_upright(opened))


def _kind(start: bytes) -> str:
    """The kind of file that the first bytes belong to, accepted or not; "" if it is not known."""
    return next((kind for kind, pattern in SIGNATURES.items() if pattern.match(start)), "")


def _sniff(data: bytes, name: str) -> str:
    """The accepted format that the bytes begin like."""
    start = data[:SNIFFED_BYTES]
    kind = _kind(start)
    if kind in OPENERS:
        return kind
    accepted = ", ".join(OPENERS)
    if kind:
        raise ImageError("image_format", name=name, got=kind, accepted=accepted)
    with contextlib.suppress(UnicodeDecodeError):
        text, _ = codecs.utf_8_decode(start)  # which may end within a character
        if all(character.isprintable() or character.isspace() for character in text):
            raise ImageError("image_text", name=name, accepted=accepted)
    raise ImageError("image_unknown", name=name, accepted=accepted)


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises on bytes that make no sense into one error."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("image_damaged", name=name) from error


def _check_size(size: tuple[int, int], name: str, limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.megapixels * 1_000_000 or max(size) > limits.side:
        raise ImageError(
            "image_too_big",
            name=name,
            width=width,
            height=height,
            megapixels=limits.megapixels,
            side=limits.side,
        )


def _refuse_channels(data: bytes, name: str) -> None:
    """Says how many channels a TIFF has that Pillow made nothing of; silent if it tells nothing."""
    file = io.BytesIO(data)
    start = file.read(16 if b"+" in data[2:4] else 8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    if TiffImagePlugin.IMAGEWIDTH in tags:
        channels = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
        bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
        raise ImageError("image_channels", name=name, channels=channels, bits=bits)


def _upright(opened: Pixels) -> Pixels:
    try:
        turn = TURNS.get(opened.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # a note beside the picture that makes no sense is no reason to refuse it
        return opened
    return opened if turn is None else opened.transpose(turn)


def _plain(pixels: Pixels) -> Pixels:
    """A copy in one of `KEPT_MODES` without metadata."""
    mode = pixels.mode
    if mode == "P" and isinstance(pixels.info.get("transparency"), bytes):
        plain = pixels.convert("RGBA")  # colours with an alpha each; Pillow shuns them as P too
    elif mode in KEPT_MODES:
        plain = pixels.copy()
    elif mode.startswith("I;16"):
        # The rows hold two bytes a pixel; taking every second one keeps the high bytes.
        high = 0 if mode == "I;16B" else 1
        plain = pillow.frombytes("L", pixels.size, pixels.tobytes()[high::2])
    elif mode in ("I", "F"):
        plain = _stretch(pixels)
    else:
        plain = pixels.convert(MODES_WITH_ALPHA.get(mode, "RGB"))
    transparency = plain.info.get("transparency")
    plain.info = {"transparency": transparency} if _usable(transparency, plain.mode) else {}
    return plain


def _usable(transparency: object, mode: str) -> bool:
    """Whether it is the one colour of the picture that is see-through: RGB, grey or an index."""
    values = transparency if isinstance(transparency, tuple) else (transparency,)
    if len(values) != (3 if mode == "RGB" else 1):
        return False
    return all(isinstance(value, int) and 0 <= value <= 255 for value in values)


def _stretch(pixels: Pixels) -> Pixels:
    """Numbers of any range as grey: the smallest becomes black, the largest white, NaN black."""
    import numpy  # few pictures need it

    values = numpy.array(pixels, dtype=numpy.float64)  # (height, width)
    finite = values[numpy.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    numpy.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    values -= low
    values *= 255 / (high - low) if high > low else 0
    return pillow.fromarray(values.round().astype(numpy.uint8))


def _digest(pixels: Pixels) -> str:
    width, height = pixels.size
    transparency = pixels.info.get("transparency")
    digest = hashlib.sha256(f"{pixels.mode} {width}x{height} {transparency!r} ".encode())
    if pixels.mode == "P":
        # Formats differ in how many colours they write that no pixel has.
        last = pixels.getextrema()[1]
        assert isinstance(last, int)
        digest.update(bytes((pixels.getpalette() or [])[: 3 * (last + 1)]))
    digest.update(pixels.tobytes())
    return digest.hexdigest()
