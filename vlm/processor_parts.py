"""Processors for images and text alone: what stands in for their parts for video and audio.

In: a processor class of transformers, whatever parts its constructor takes, and in what order. Out:
the same class, which loads, works and is saved without the packages that those parts need.
"""

import importlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import ProcessorMixin
from transformers.processing_utils import _MARKED_RE, AudioKwargs, VideosKwargs
from transformers.utils.hub import PushToHubMixin, cached_file

from vlm.errors import RequestError

UNUSED: Mapping[str, type] = {
    "video_processor": VideosKwargs,
    "feature_extractor": AudioKwargs,
    "audio_processor": AudioKwargs,
}
"""Part of a processor that images and text do not need -> settings that all of its kind have."""

OWN_FILE = {"video_processor": "video_preprocessor_config.json"}
"""Where older checkpoints keep the settings of a part that newer ones have in one file."""

PRIVATE_PLANE = 0x100000
PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


def read_json(source: str, file: str) -> dict[str, Any]:
    """A JSON object of a checkpoint; empty where it has no such file."""
    path = cached_file(
        source,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


class UnusedPart(PushToHubMixin):
    """Stands in a processor for a part that is never called.

    Processors ask their parts for settings: it knows those that the real part would have.

    Args:
        name: of the part.
        stored: its settings as the checkpoint has them; they are saved again as they were.
        values: further settings, by name.
    """

    _auto_class = None
    model_input_names: tuple[str, ...] = ()

    def __init__(
        self, name: str, stored: Mapping[str, Any] = {}, values: Mapping[str, Any] = {}
    ) -> None:
        self.__dict__.update({**dict.fromkeys(UNUSED[name].__annotations__), **values, **stored})
        self._name = name
        self._stored = dict(stored)

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise RequestError("part_unused", part=self._name)

    def to_dict(self) -> dict[str, Any]:
        """What the checkpoint has, neither more nor less."""
        return dict(self._stored)


def image_text_only(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The same processor class with an `UnusedPart` for each part of it that `UNUSED` names."""
    parts = kind.get_attributes()
    unused = [name for name in parts if name in UNUSED]
    if not unused:
        return kind

    class UsedParts(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in parts if name not in unused]

    class ImageTextProcessor(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return parts

        @classmethod
        def _get_arguments_from_pretrained(
            cls, source: str, processor_dict: dict[str, Any] | None = None, **settings: Any
        ) -> list[Any]:
            found = UsedParts._get_arguments_from_pretrained(source, processor_dict, **settings)
            used = iter(found)
            return [read_unused(source, name) if name in unused else next(used) for name in parts]

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if isinstance(argument, UnusedPart):
                return UnusedPart
            return super().check_argument_for_proper_class(argument_name, argument)

        def to_dict(self) -> dict[str, Any]:
            output = super().to_dict()
            return {k: v for k, v in output.items() if k not in unused or v}

    for made in (UsedParts, ImageTextProcessor):
        made.__name__ = kind.__name__  # it is written to, and read from, the checkpoint
    return ImageTextProcessor


def read_unused(source: str, name: str) -> UnusedPart:
    """The stand-in for a part of the checkpoint at `source`, a folder or hub id.

    As in transformers, its settings are a section of processor_config.json, else a file of its own,
    else those of the image processor; what they leave out is what its class declares.
    """
    whole = read_json(source, "processor_config.json")
    stored = whole.get(name) or (name in OWN_FILE and read_json(source, OWN_FILE[name])) or {}
    shared = {} if stored else read_json(source, "preprocessor_config.json")
    class_name = _class_name(name, stored or shared or whole.get("image_processor", {}))
    return UnusedPart(name, stored, {**_declared(class_name), **shared})


def _class_name(name: str, settings: Mapping[str, Any]) -> str:
    """The class of a part, or the one that goes with the image processor where none is named."""
    usual = str(settings.get("image_processor_type", "")).removesuffix("Fast")
    words = "".join(word.capitalize() for word in name.split("_"))
    return settings.get(f"{name}_type") or usual.replace("ImageProcessor", words)


def _declared(class_name: str) -> dict[str, Any]:
    """Settings that a class of transformers has by itself; none where it cannot be imported.

    Without its packages transformers shows an empty class instead, but still says where it is.
    """
    shown = getattr(transformers, class_name, None)
    if not isinstance(shown, type):
        return {}
    try:
        kind = getattr(importlib.import_module(shown.__module__), class_name)
    except (ImportError, NameError):  # the module itself cannot do without them
        return {}
    found = {name: value for base in reversed(kind.mro()) for name, value in vars(base).items()}
    return {k: v for k, v in found.items() if isinstance(v, PLAIN) and not k.startswith("_")}


def with_plain_marks(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The same processor class, for which marks of the prompt format in people's text are text.

    transformers encloses them in two private characters and then looks at the others only. Classes
    that work on the prompt themselves count them all: there they are hidden until that is done.
    """
    call = inspect.unwrap(kind.__call__)
    restores = "get_text_with_replacements" in call.__code__.co_names
    if call is ProcessorMixin.__call__ or not restores:
        return kind

    class PlainMarksProcessor(kind):
        def __call__(self, images: Any = None, text: Any = None, **settings: Any) -> Any:
            hidden = _swapped(text) if isinstance(text, str) else [_swapped(t) for t in text or []]
            return super().__call__(images=images, text=hidden or text, **settings)

        def get_text_with_replacements(self, text: list[str], *found: Any, **more: Any) -> Any:
            shown = [_swapped(each) for each in text]
            return super().get_text_with_replacements(shown, *found, **more)

    PlainMarksProcessor.__name__ = kind.__name__
    return PlainMarksProcessor


def _swapped(text: str) -> str:
    """A text whose enclosed marks are moved to a private plane of Unicode, or back from there."""

    def swap(found: re.Match[str]) -> str:
        start, *inside, end = found[0]
        return start + "".join(chr(ord(each) ^ PRIVATE_PLANE) for each in inside) + end

    return _MARKED_RE.sub(swap, text)
