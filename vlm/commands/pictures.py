"""Pictures as they are named on the command line: files, https addresses, folders of files.

The files of a folder come in natural order ("img2" before "img10"), whatever the case of letters.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from natsort import natsorted, ns

from vlm.errors import RequestError
from vlm.fetch import fetch_image
from vlm.images import begins_like_image, is_address, open_image
from vlm.messages import Image
from vlm.settings import Settings


@dataclass(frozen=True)
class Picture:
    """Something that should be a picture.

    Attributes:
        source: its path or https address.
        name: what it is called in what is written: its path below the folder that was named, with
            forward slashes, or the name of the file.
    """

    source: str
    name: str

    @property
    def shown(self) -> str:
        """The name without characters that a terminal would act upon."""
        return "".join(each if each.isprintable() else "\ufffd" for each in self.name)


def open_source(source: str, settings: Settings) -> Image:
    """The picture of a path or an https address. Raises ImageError."""
    if is_address(source):
        return fetch_image(source, limits=settings.image_limits)
    return open_image(source, limits=settings.image_limits)


def pictures_in(
    folder: str, *, recursive: bool = False, without: Iterable[str] = ()
) -> list[Picture]:
    """The files of a folder in natural order; hidden ones are left out.

    Args:
        folder: its path.
        recursive: whether folders in it count too, unless they are hidden or links.
        without: paths of files that are not meant, such as one that is being written.

    Raises:
        RequestError: there is no such folder, it cannot be read, or nothing in it begins like a
            picture.
    """
    top = Path(folder)
    if not top.exists():
        raise RequestError("folder_missing", folder=folder)
    if not top.is_dir():
        raise RequestError("folder_is_file", folder=folder)
    unwanted = {os.path.realpath(path) for path in without}
    try:
        files = [file for file in _files(top, recursive) if os.path.realpath(file) not in unwanted]
    except OSError as error:
        where = error.filename or folder
        raise RequestError("folder_unreadable", folder=where, detail=error.strerror) from error
    if not files:
        raise RequestError("folder_empty", folder=folder)
    if not any(map(begins_like_image, files)):
        raise RequestError("folder_without_images", folder=folder, count=len(files))
    names = {file.relative_to(top).as_posix(): file for file in files}
    return [Picture(str(names[name]), _text(name)) for name in natural_order(names)]


def natural_order(names: Iterable[str]) -> list[str]:
    """Numbers in them count as numbers; folder by folder; the case of letters hardly counts."""
    return natsorted(sorted(names), alg=ns.PATH | ns.IGNORECASE)


def _files(folder: Path, recursive: bool) -> Iterator[Path]:
    """Raises OSError where a folder cannot be read."""
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.startswith(".")]
    for entry in entries:
        if entry.is_file():
            yield Path(entry.path)
        elif recursive and entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), recursive)


def named_pictures(sources: Sequence[str], *, recursive: bool = False) -> list[Picture]:
    """Files, https addresses and the files of folders, in the order they are named.

    What is named twice counts once. Names differ: where two files would have the same, all are
    called by the paths that were given.

    Raises:
        RequestError: see `pictures_in`.
    """
    found: dict[str, Picture] = {}
    for source in sources:
        if is_address(source):
            found.setdefault(source, Picture(source, source))
        elif Path(source).is_dir():
            for picture in pictures_in(source, recursive=recursive):
                found.setdefault(picture.source, picture)
        else:
            path = Path(source)
            found.setdefault(str(path), Picture(str(path), _text(path.name)))
    pictures = list(found.values())
    if len({picture.name for picture in pictures}) < len(pictures):
        pictures = [Picture(each.source, _as_given(each.source)) for each in pictures]
    return pictures


def _as_given(source: str) -> str:
    return source if is_address(source) else _text(Path(source).as_posix())


def _text(name: str) -> str:
    """A name as text, also where its bytes are none."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
