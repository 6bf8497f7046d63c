"""A conversation as a zip archive: `conversation.json`, and each image once, exactly.

In: a `Conversation`, or bytes that anyone may have made. Out: the other one. Every refusal is a
`VLMError`. Nothing is unpacked to disk, and no name from an archive is used as a path.
"""

import contextlib
import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

from vlm.errors import RequestError, VLMError
from vlm.images import DEFAULT_LIMITS, ImageLimits, clean_name, open_image
from vlm.messages import Image
from vlm.transcript.form import (
    Conversation,
    Picture,
    conversation_from_json,
    conversation_to_json,
)

JSON_NAME = "conversation.json"
NAMES = re.compile(r"conversation\.json|images/[0-9]{1,6}\.(?:png|tif)", re.ASCII)
MAX_IMAGES = 2000
"""Different ones, in one file."""

MAX_BYTES = 1_000_000_000
"""Of everything in a file, images as pixels in memory."""

MAX_JSON_BYTES = 16_000_000
"""Of all text together: some thousand pages."""

CENTRAL_ENTRY = b"PK\1\2"
"""What every entry of an archive's list of contents begins with."""

SPARE_ENTRIES = 100
"""So often these bytes may occur by chance, within images."""

ENCRYPTED = 0x1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


# ---- writing ----


def to_zip(conversation: Conversation) -> bytes:
    """The conversation with all its versions and images, to be opened again by `from_zip`.

    The same conversation gives the same bytes.

    Raises:
        RequestError: more turns, images or text than a file takes.
    """
    files: dict[str, str] = {}
    images: list[Image] = []

    def file_of(image: Image) -> str:
        if image.sha256 not in files:
            images.append(image)
            ending = "tif" if image.pixels.mode == "CMYK" else "png"  # PNG has no such colours
            files[image.sha256] = f"images/{len(images):02}.{ending}"
        return files[image.sha256]

    form = conversation_to_json(conversation, file_of)
    if len(images) > MAX_IMAGES:
        raise RequestError("transcript_images", got=len(images), limit=MAX_IMAGES)
    # Half a character, which can be typed on some systems, has no bytes of its own.
    text = json.dumps(form, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    if len(text) > MAX_JSON_BYTES:
        raise RequestError("transcript_too_large", limit=MAX_JSON_BYTES / 1_000_000)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        _add(archive, JSON_NAME, text, zipfile.ZIP_DEFLATED)
        for image in images:
            stored = zipfile.ZIP_DEFLATED if image.pixels.mode == "CMYK" else zipfile.ZIP_STORED
            _add(archive, files[image.sha256], _image_bytes(image), stored)
    return data.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name)  # dated 1980
    entry.create_system, entry.external_attr = 3, 0o100644 << 16
    entry.compress_type = method
    archive.writestr(entry, data, compresslevel=1)


def _image_bytes(image: Image) -> bytes:
    """The picture without loss, quickly."""
    data = io.BytesIO()
    if image.pixels.mode == "CMYK":
        image.pixels.save(data, "TIFF")
    elif image.pixels.mode == "P":
        image.pixels.save(data, "PNG", compress_level=1, bits=8)
        return _with_palette(data.getvalue(), bytes(image.pixels.getpalette() or []))
    else:
        image.pixels.save(data, "PNG", compress_level=1)
    return data.getvalue()


def _with_palette(png: bytes, palette: bytes) -> bytes:
    """A PNG with just these colours: Pillow adds black ones, which odd pictures have pixels of."""
    start = png.index(b"PLTE") - 4
    (length,) = struct.unpack_from(">I", png, start)
    chunk = b"PLTE" + palette
    chunk = struct.pack(">I", len(palette)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:start] + chunk + png[start + 12 + length :]


# ---- reading ----


def from_zip(
    data: bytes, *, limits: ImageLimits = DEFAULT_LIMITS, max_bytes: int = MAX_BYTES
) -> Conversation:
    """The conversation in a file that `to_zip` made, or that says it did.

    Every file of the archive must be known and be used; images must be what their name says.

    Args:
        limits: the largest picture to take; its file may be as large as its pixels need.
        max_bytes: of the file; of all it unpacks to; and of all its images in memory.

    Raises:
        RequestError: no such file, damaged, too large, of another version or form.
        ImageError: one of its images cannot be used.
    """
    if len(data) > max_bytes or data.count(CENTRAL_ENTRY) > MAX_IMAGES + SPARE_ENTRIES:
        raise RequestError("transcript_too_large", limit=max_bytes / 1_000_000)
    with _damage_named("transcript_not_zip"):
        archive = zipfile.ZipFile(io.BytesIO(data))
    entries = _entries(archive, max_bytes)
    form = _json(_read(archive, entries.pop(JSON_NAME)))
    album = _Album(archive, entries, limits, max_bytes)
    conversation = conversation_from_json(form, album.open)
    if unused := sorted(set(entries) - set(album.opened)):
        raise RequestError("transcript_unused", name=unused[0])
    return conversation


@contextlib.contextmanager
def _damage_named(key: str) -> Iterator[None]:
    """Turns whatever reading bytes that make no sense may raise into one error."""
    try:
        yield
    except VLMError:
        raise
    except Exception as error:
        raise RequestError(key) from error


def _entries(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by their names, all of them known and within the limits."""
    entries: dict[str, zipfile.ZipInfo] = {}
    if JSON_NAME not in archive.namelist():
        raise RequestError("transcript_foreign")
    for entry in archive.infolist():
        name = entry.orig_filename
        if not NAMES.fullmatch(name) or name in entries:
            raise RequestError("transcript_name", name=clean_name(name))
        if entry.flag_bits & ENCRYPTED or entry.compress_type not in METHODS:
            raise RequestError("transcript_packed", name=name)
        entries[name] = entry
    if len(entries) > MAX_IMAGES + 1:
        raise RequestError("transcript_images", got=len(entries) - 1, limit=MAX_IMAGES)
    unpacked = sum(entry.file_size for entry in entries.values())
    if unpacked > max_bytes:
        raise RequestError("transcript_too_large", limit=max_bytes / 1_000_000)
    if entries[JSON_NAME].file_size > MAX_JSON_BYTES:
        raise RequestError("transcript_too_large", limit=MAX_JSON_BYTES / 1_000_000)
    return entries


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """What an entry holds; never more than it says, whatever it unpacks to."""
    with _damage_named("transcript_damaged"), archive.open(entry) as file:
        data = file.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise RequestError("transcript_damaged")
    return data


def _json(data: bytes) -> object:
    """The JSON of a file, refused where readers could differ on what it says."""
    try:
        form = json.loads(
            data.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_no_doubles
        )
        # Half characters have no bytes; and what can be written again can be quoted in an error.
        json.dumps(form, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RequestError("transcript_form", at=JSON_NAME) from error
    return form


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and infinities, which are no JSON


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name twice in one object")
    return values


class _Album:
    """Opens the images of an archive, each once, until they take too much memory together."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        entries: dict[str, zipfile.ZipInfo],
        limits: ImageLimits,
        max_bytes: int,
    ) -> None:
        self.opened: dict[str, Image] = {}
        self._archive = archive
        self._entries = entries
        # Written without loss, a picture can be larger than the file it came from.
        megabytes = max(limits.file_megabytes, math.ceil(limits.megapixels * 4.5) + 1)
        self._limits = replace(limits, file_megabytes=megabytes)
        self._bytes_left = self._max_bytes = max_bytes

    def open(self, picture: Picture) -> Image:
        """The image that is named. Raises VLMError."""
        file = picture.file
        if file not in self._entries:
            raise RequestError("transcript_missing", name=clean_name(file))
        if file not in self.opened:
            data = _read(self._archive, self._entries[file])
            image = open_image(data, limits=self._limits, name=picture.name)
            width, height = image.original_size
            self._bytes_left -= width * height * len(image.pixels.getbands())
            if self._bytes_left < 0:
                raise RequestError("transcript_too_large", limit=self._max_bytes / 1_000_000)
            self.opened[file] = image
        if self.opened[file].sha256 != picture.sha256:
            raise RequestError("transcript_image_differs", name=picture.name)
        return replace(self.opened[file], name=picture.name)
