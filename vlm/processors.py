"""The processor of a checkpoint that transformers knows, and what it lets people choose.

In: a folder or hub id and the model's configuration. Out: a processor for images and text; its
knobs for images, and their values as arguments of one call.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import transformers
from transformers import AutoImageProcessor, AutoModel, AutoProcessor, ProcessorMixin
from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.processing_auto import (
    PROCESSOR_MAPPING,
    processor_class_from_name,
)

from vlm.backend import ImageKnob, check_image_detail
from vlm.errors import ModelError
from vlm.processor_parts import image_text_only, read_json, with_plain_marks


def load_processor(
    source: str, config: transformers.PreTrainedConfig, tokenizer: str = ""
) -> ProcessorMixin:
    """The processor of a checkpoint that transformers knows, for images and text alone.

    The class is one of transformers' own, named by the checkpoint or else by its configuration,
    never by a file's `auto_map`, so no checkpoint can ask for remote code here.

    Args:
        source: folder or hub id.
        config: of the model.
        tokenizer: folder or hub id to take the tokenizer from instead.
    """
    kind = _declared_class(source)
    if kind is None and type(config) in PROCESSOR_MAPPING:
        kind = cast(type[ProcessorMixin], PROCESSOR_MAPPING[type(config)])
    if kind is None:
        processor = AutoProcessor.from_pretrained(source, config=config, trust_remote_code=False)
    else:
        made = with_plain_marks(image_text_only(with_tokenizer(kind, tokenizer)))
        sizes = _missing_sizes(kind, source, config)
        processor = made.from_pretrained(source, trust_remote_code=False, **sizes)
    if not hasattr(processor, "image_processor"):
        raise ModelError("no_processor", source=source)
    return processor


def load_image_processor(source: str, vision: Any) -> Any:
    """What turns pictures into the pixels of a vision tower alone.

    Args:
        source: folder or hub id of the checkpoint.
        vision: configuration of the tower. Where the checkpoint does not say how its pictures are
            prepared, it is as for the tower's kind, at the tower's size.

    Raises:
        ModelError: neither the checkpoint nor transformers knows how.
    """
    own = read_json(source, "preprocessor_config.json")
    if own or "image_processor" in read_json(source, "processor_config.json"):
        return AutoImageProcessor.from_pretrained(source, backend="pil", trust_remote_code=False)
    package = type(vision).__module__.split(".")[-2]
    name = (IMAGE_PROCESSOR_MAPPING_NAMES.get(package) or {}).get("pil")
    kind: Any = get_image_processor_class_from_name(name) if name else None
    if kind is None:
        raise ModelError("no_processor", source=source)
    settings: dict[str, Any] = {}
    if hasattr(kind, "patch_size"):
        settings["patch_size"] = vision.patch_size
    for argument in ("size", "crop_size"):
        if usual := getattr(kind, argument, None):
            settings[argument] = dict.fromkeys(usual, vision.image_size)
    return kind(**settings)


def _declared_class(source: str) -> type[ProcessorMixin] | None:
    """The processor class that a checkpoint's files name, if transformers has it."""
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        name = read_json(source, file).get("processor_class")
        if name and (kind := processor_class_from_name(name)) is not None:
            return kind
    return None


def _missing_sizes(kind: type[ProcessorMixin], source: str, config: Any) -> dict[str, Any]:
    """Numbers that decide how many placeholders an image gets, where the checkpoint has none.

    They are arguments of the processor that only processor_config.json stores, which older
    checkpoints lack; their defaults belong to one published model.
    """
    stored = read_json(source, "processor_config.json")
    taken = inspect.signature(kind.__init__).parameters
    sizes: dict[str, Any] = {}
    for name, derive in SIZES.items():
        if name in taken and stored.get(name) is None:
            # this model counts in another way
            with contextlib.suppress(AttributeError, ValueError):
                sizes[name] = derive(config)
    return sizes


def _class_tokens(config: Any) -> int:
    """How many tokens a vision tower has besides its patches."""
    with torch.device("meta"):
        tower = AutoModel.from_config(config.vision_config, trust_remote_code=False)
    return int(any("class_embedding" in name for name, _ in tower.named_parameters()))


def _shuffled_patches(config: Any) -> int:
    """Patches of a tile after `scale_factor` x `scale_factor` of them became one token."""
    side = config.vision_config.image_size // config.vision_config.patch_size
    return side**2 // config.scale_factor**2


SIZES: Mapping[str, Callable[[Any], Any]] = {
    "patch_size": lambda config: config.vision_config.patch_size,
    "vision_feature_select_strategy": lambda config: config.vision_feature_select_strategy,
    "num_additional_image_tokens": _class_tokens,
    "image_seq_len": _shuffled_patches,
    "image_seq_length": lambda config: config.mm_tokens_per_image,
}
"""Argument of a processor -> how it follows from the model's configuration."""


def with_tokenizer(kind: type[ProcessorMixin], tokenizer: str) -> type[ProcessorMixin]:
    """The same processor class, whose tokenizer is read from another folder or hub id if any."""
    if not tokenizer:
        return kind

    class OtherTokenizer(kind):
        @classmethod
        def _load_tokenizer_from_pretrained(
            cls, sub_processor_type: str, source: str, **settings: Any
        ) -> Any:
            return super()._load_tokenizer_from_pretrained(
                sub_processor_type, tokenizer, **settings
            )

    OtherTokenizer.__name__ = kind.__name__
    return OtherTokenizer


# ---- knobs: what a processor lets people choose about images ----


@dataclass(frozen=True, kw_only=True)
class _Switch:
    """An argument of native image processors that stands behind a knob.

    Attributes:
        knob: its name for people.
        argument: of the image processor.
        beside: another argument that must be there too: some names mean other things elsewhere.
        stretch: how many times its own default a number may be raised.
    """

    knob: Literal["tiles", "thumbnail", "splitting"]
    argument: str
    beside: str | None = None
    stretch: int = 0


SWITCHES = (
    _Switch(knob="splitting", argument="do_image_splitting"),
    _Switch(knob="splitting", argument="do_pan_and_scan"),
    _Switch(knob="splitting", argument="crop_to_patches"),
    _Switch(knob="splitting", argument="split_image"),
    _Switch(knob="splitting", argument="slice_mode"),
    _Switch(knob="thumbnail", argument="use_thumbnail"),
    # Twice what it was made for still works, at a price in memory and time.
    _Switch(knob="tiles", argument="max_patches", beside="crop_to_patches", stretch=2),
    _Switch(knob="tiles", argument="max_slice_nums", stretch=2),
    _Switch(knob="tiles", argument="pan_and_scan_max_num_crops", stretch=2),
    # Where each tile has a learned position there are no more of them than there were in training.
    _Switch(knob="tiles", argument="max_image_tiles", beside="tile_size", stretch=1),
)
"""The first switch of a knob that a processor has is the one that is used."""


def image_knobs(processor: Any) -> tuple[ImageKnob, ...]:
    """What `image_detail` may name for this processor; empty where all images go one way.

    A family's processor may say so itself in an attribute `image_knobs`.
    """
    own = getattr(processor, "image_knobs", None)
    if own is not None:
        return tuple(own)
    return tuple(knob for knob, _ in _native_knobs(processor))


def image_settings(processor: Any, detail: Mapping[str, int | bool]) -> dict[str, Any]:
    """Arguments of the image processor for one call. The processor itself is never changed.

    Args:
        detail: name of a knob -> its value; those left out keep the checkpoint's own.

    Raises:
        RequestError: there is no such knob, or its value is out of range or of the wrong kind.
    """
    if not detail:
        return {}
    knobs = {knob.name: knob for knob in image_knobs(processor)}
    check_image_detail(detail, tuple(knobs.values()))
    if getattr(processor, "image_knobs", None) is not None:
        return {knobs[name].argument or name: value for name, value in detail.items()}
    found = {knob.name: setting for knob, setting in _native_knobs(processor)}
    settings: dict[str, Any] = {}
    for name, value in detail.items():
        settings |= found[name](value)
    return settings


Setting = Callable[[int | bool], dict[str, Any]]


def _native_knobs(processor: Any) -> Iterator[tuple[ImageKnob, Setting]]:
    """Each knob of a native processor and how its value becomes arguments."""
    arguments = image_arguments(processor, {})
    seen: set[str] = set()
    for switch in SWITCHES:
        default = _declared(processor, arguments, switch.argument)
        if default is None or switch.knob in seen:
            continue
        if switch.beside and _declared(processor, arguments, switch.beside) is None:
            continue
        seen.add(switch.knob)
        yield _knob_of(switch, default, arguments), _passed_as(switch.argument)
    if (size := _pixel_limits(processor)) is not None:
        low, high = size
        yield (
            ImageKnob(name="pixels", default=high, low=low, high=high),
            lambda value: {"size": {"shortest_edge": low, "longest_edge": value}},
        )
    if _pads_to_square(processor):
        default = bool(_declared(processor, arguments, "do_pad"))
        yield ImageKnob(name="padding", default=default), _passed_as("do_pad")


def _knob_of(switch: _Switch, default: Any, arguments: Mapping[str, Any]) -> ImageKnob:
    if not switch.stretch:
        return ImageKnob(name=switch.knob, default=bool(default))
    low = max(int(arguments.get("min_patches") or 1), 1)
    return ImageKnob(
        name=switch.knob, default=int(default), low=low, high=int(default) * switch.stretch
    )


def _passed_as(argument: str) -> Setting:
    return lambda value: {argument: value}


def image_arguments(processor: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the image processor is called with: the processor's own defaults, then `settings`."""
    merged = processor._merge_kwargs(images_kwargs=dict(settings), return_tensors="pt")
    return merged["images_kwargs"]


def _declared(processor: Any, arguments: Mapping[str, Any], name: str) -> Any:
    """The value an image processor uses for an argument; None where it does not know it."""
    part = processor.image_processor
    known = getattr(getattr(part, "valid_kwargs", None), "__annotations__", {})
    if name not in known and not hasattr(part, name):
        return None
    value = arguments.get(name)
    return getattr(part, name, None) if value is None else value


def _pixel_limits(processor: Any) -> tuple[int, int] | None:
    """(fewest, most) pixels of an image, where `size` counts pixels and not the length of edges."""
    part = processor.image_processor
    known = getattr(getattr(part, "valid_kwargs", None), "__annotations__", {})
    size = getattr(part, "size", None)
    low, high = getattr(size, "shortest_edge", None), getattr(size, "longest_edge", None)
    if isinstance(size, Mapping):
        low, high = size.get("shortest_edge"), size.get("longest_edge")
    if "max_pixels" not in known or not low or not high:
        return None
    return int(low), int(high)


def _pads_to_square(processor: Any) -> bool:
    """Whether `do_pad` is about the shape of a picture; elsewhere it only fills up a batch."""
    part = processor.image_processor
    return hasattr(part, "pad_to_square") and not hasattr(part, "image_grid_pinpoints")
