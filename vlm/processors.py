"""The processor of a checkpoint that transformers knows: text and images to tensors.

In: a folder or hub id and the model's configuration. Out: a processor without its video part,
which needs torchvision.
"""

import json
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
    kind = _declared_processor(source)
    if kind is None and type(config) in PROCESSOR_MAPPING:
        kind = cast(type[ProcessorMixin], PROCESSOR_MAPPING[type(config)])
    if kind is None:
        processor: Any = AutoProcessor.from_pretrained(
            source, config=config, trust_remote_code=False
        )
    else:
        processor = without_video(kind).from_pretrained(source, trust_remote_code=False)
    if not hasattr(processor, "image_processor"):
        raise ModelError("no_processor", source=source)
    if getattr(processor, "patch_size", 0) is None:  # lost where processor_config.json is missing
        _derive_sizes(processor, config)
    return processor


def _declared_processor(source: str) -> type[ProcessorMixin] | None:
    """The processor class that a checkpoint's files name, if transformers has it."""
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        file = cached_file(
            source,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        found = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
        if kind := processor_class_from_name(found.get("processor_class") or ""):
            return kind
    return None


def _derive_sizes(processor: Any, config: Any) -> None:
    """What decides how many placeholders an image gets, from the model's configuration."""
    processor.patch_size = config.vision_config.patch_size
    processor.vision_feature_select_strategy = config.vision_feature_select_strategy
    with torch.device("meta"):
        tower = AutoModel.from_config(config.vision_config, trust_remote_code=False)
    has_class_token = any("class_embedding" in name for name, _ in tower.named_parameters())
    processor.num_additional_image_tokens = int(has_class_token)


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
