"""The published configurations of both sizes, to look into without their files.

The entries of the config.json files of Qwen and CLIP-ViT-L/14 are recalled, as they cannot be had
here. The tokenizer is one of single bytes.
"""

from collections.abc import Mapping
from typing import Any, cast

from vlm.families import Opened, common
from vlm.families.clip_qwen import modeling, processing  # noqa: F401 - registers its class
from vlm.families.clip_qwen.configuration import ClipQwenConfig, from_published
from vlm.families.clip_qwen.tokenizer import SPECIAL

CLIP_L: Mapping[str, Any] = {
    "image_size": 224,
    "patch_size": 14,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
QWEN: Mapping[str, Mapping[str, Any]] = {
    "7B": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 22016,
    },
    "1.8B": {
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 11008,
    },
}
COMMON: Mapping[str, Any] = {"kv_channels": 128, "seq_length": 8192, "vocab_size": 151936}


def configuration(size: str) -> ClipQwenConfig:
    """The configuration with a language model of `QWEN`."""
    return from_published({**QWEN[size], **COMMON}, {"vision_config": CLIP_L})


def open(size: str) -> Opened:
    """A language model of `QWEN` with its tower and projector, without their files."""
    config = configuration(size)
    with common.folder_of(common.byte_tokenizer({}, SPECIAL)) as words:
        processor = processing.make_processor(config, words)
    config.image_token_id = cast(int, processor.image_token_id)
    return Opened(config=config, processor=processor, weights=f"CLIP-ViT-L + Qwen {size}")
