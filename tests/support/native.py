"""Folders with the processor of any native model type, and with no weights to speak of."""

import json
from pathlib import Path

from transformers import AutoConfig, ProcessorMixin
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from tests.support.tiny import tokenizer
from vlm.processors import load_processor

TOKENS = (
    "image_token",
    "video_token",
    "audio_token",
    "boi_token",
    "eoi_token",
    "boa_token",
    "eoa_token",
    "start_image_token",
    "end_image_token",
    "context_image_token",
    "fake_image_token",
    "global_image_token",
    "end_of_utterance_token",
    "image_start_token",
    "image_end_token",
    "video_start_token",
    "video_end_token",
    "slice_start_token",
    "slice_end_token",
    "image_id_start_token",
    "image_id_end_token",
)
"""Names that processors ask their tokenizers for."""


def pil_class(kind: str) -> str | None:
    """The image processor of a model type that needs Pillow alone."""
    return (IMAGE_PROCESSOR_MAPPING_NAMES.get(kind) or {}).get("pil")


def write_processor(folder: Path, kind: str, **settings: object) -> None:
    """The files of a processor as older checkpoints have them: one for images, and a tokenizer."""
    tokenizer("<image>", **{name: f"<{name}>" for name in TOKENS}).save_pretrained(folder)
    classes = IMAGE_PROCESSOR_MAPPING_NAMES[kind]
    shared = {
        "processor_class": PROCESSOR_MAPPING_NAMES[kind],
        "image_processor_type": next(iter(classes.values())).removesuffix("Pil"),
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(shared), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")


def read_processor(folder: Path) -> ProcessorMixin:
    """The processor of such a folder, as it is loaded for a model."""
    return load_processor(str(folder), AutoConfig.from_pretrained(folder))
