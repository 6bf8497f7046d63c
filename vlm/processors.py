"""The processor of a checkpoint that transformers knows: text and images to tensors.

In: a folder or hub id and the model's configuration. Out: a processor without its video part,
which needs torchvision.
"""

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from transformers import AutoModel, AutoProcessor, ProcessorMixin
from transformers.models.auto.processing_auto import (
    PROCESSOR_MAPPING,
    processor_class_from_name,
)
from transformers.utils.hub import cached_file

from vlm.errors import ModelError


def load_processor(source: str, config: transformers.PreTrainedConfig) -> ProcessorMixin:
    """The processor of a checkpoint that transformers knows, without its video part.

    The class is one of transformers' own, named by the checkpoint or else by its configuration,
    never by a file's `auto_map`, so no checkpoint can ask for remote code here.
    """
    kind = _declared_class(source)
    if kind is None and type(config) in PROCESSOR_MAPPING:
        kind = cast(type[ProcessorMixin], PROCESSOR_MAPPING[type(config)])
    if kind is None:
        processor = AutoProcessor.from_pretrained(source, config=config, trust_remote_code=False)
    else:
        processor = without_video(kind).from_pretrained(
            source, trust_remote_code=False, **_missing_sizes(kind, source, config)
        )
    if not hasattr(processor, "image_processor"):
        raise ModelError("no_processor", source=source)
    return processor


def _declared_class(source: str) -> type[ProcessorMixin] | None:
    """The processor class that a checkpoint's files name, if transformers has it."""
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        name = _read(source, file).get("processor_class")
        if name and (kind := processor_class_from_name(name)) is not None:
            return kind
    return None


def _read(source: str, file: str) -> dict[str, Any]:
    """A JSON object of the checkpoint; empty where it has no such file."""
    path = cached_file(
        source,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def _missing_sizes(kind: type[ProcessorMixin], source: str, config: Any) -> dict[str, Any]:
    """Numbers that decide how many placeholders an image gets, where the checkpoint has none.

    They are arguments of the processor that only processor_config.json stores, which older
    checkpoints lack; their defaults belong to one published model.
    """
    stored = _read(source, "processor_config.json")
    taken = inspect.signature(kind.__init__).parameters
    sizes: dict[str, Any] = {}
    for name, derive in SIZES.items():
        if name in taken and stored.get(name) is None:
            with contextlib.suppress(AttributeError):  # this model counts in another way
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


def without_video(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The same processor class for images and text alone.

    The video part of a processor needs torchvision and is of no use here.
    """
    parts = [name for name in kind.get_attributes() if name != "video_processor"]
    if parts == kind.get_attributes():
        return kind

    class ImageTextProcessor(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return parts

        @classmethod
        def from_args_and_dict(
            cls, args: list[Any], processor_dict: dict[str, Any], **settings: Any
        ) -> Any:
            # constructors take (image_processor, tokenizer, video_processor, ...)
            settings_of_file = {k: v for k, v in processor_dict.items() if k != "video_processor"}
            return super().from_args_and_dict([*args, None], settings_of_file, **settings)

        def apply_chat_template(self, *arguments: Any, **settings: Any) -> Any:
            # some classes ask their video part for defaults here
            return ProcessorMixin.apply_chat_template(self, *arguments, **settings)

    ImageTextProcessor.__name__ = kind.__name__  # it is written to, and read from, the checkpoint
    return ImageTextProcessor
