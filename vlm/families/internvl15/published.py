"""The published configurations, to look into without their files.

Of the entries, InternViT's and those of InternLM2 20B follow the specification; the others are
recalled, as the files cannot be had here. The tokenizer is one of single bytes.
"""

from collections.abc import Mapping
from typing import Any

from vlm.families import Opened, common
from vlm.families.internvl15 import modeling, processing, templates  # noqa: F401 - registers it
from vlm.families.internvl15.configuration import InternVLChatConfig

VISION_6B: Mapping[str, Any] = {
    "image_size": 448,
    "num_hidden_layers": 45,
}
VISION_300M: Mapping[str, Any] = {
    "image_size": 448,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "intermediate_size": 4096,
    "norm_type": "layer_norm",
    "qk_normalization": False,
    "qkv_bias": True,
}
INTERNLM2_20B: Mapping[str, Any] = {
    "architectures": ["InternLM2ForCausalLM"],
    "hidden_size": 6144,
    "num_hidden_layers": 48,
    "num_attention_heads": 48,
    "num_key_value_heads": 8,
    "intermediate_size": 16384,
    "vocab_size": 92553,
    "bias": False,
    "rope_theta": 1000000,
    "rope_scaling": {"type": "dynamic", "factor": 3.0},
    "max_position_embeddings": 32768,
    "pad_token_id": 2,
}
INTERNLM2_2B: Mapping[str, Any] = {
    **INTERNLM2_20B,
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 8192,
    "rope_scaling": {"type": "dynamic", "factor": 2.0},
}
PHI3_4B: Mapping[str, Any] = {
    "architectures": ["Phi3ForCausalLM"],
    "vocab_size": 32020,
    "hidden_size": 3072,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096,
    "pad_token_id": 32000,
}
CHAT: Mapping[str, Any] = {
    "force_image_size": 448,
    "downsample_ratio": 0.5,
    "ps_version": "v2",
    "select_layer": -1,
    "dynamic_image_size": True,
    "use_thumbnail": True,
    "min_dynamic_patch": 1,
    "max_dynamic_patch": 12,
}
"""What all of them share."""

SYSTEMS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "OpenGVLab/InternVL-Chat-V1-5": (VISION_6B, INTERNLM2_20B, "internlm2-chat"),
    "OpenGVLab/Mini-InternVL-Chat-4B-V1-5": (VISION_300M, PHI3_4B, "phi3-chat"),
    "OpenGVLab/Mini-InternVL-Chat-2B-V1-5": (VISION_300M, INTERNLM2_2B, "internlm2-chat"),
}
"""Name -> tower, language model, prompt format."""


def configuration(name: str) -> InternVLChatConfig:
    """The configuration of a name of `SYSTEMS`."""
    vision, language, template = SYSTEMS[name]
    return InternVLChatConfig(
        vision_config=dict(vision), llm_config=dict(language), template=template, **CHAT
    )


def open(name: str) -> Opened:
    """A name of `SYSTEMS` without its files."""
    config = configuration(name)
    stop = templates.find_template(config.template).stop_token
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    marks = (templates.IMAGE_START, templates.IMAGE_END, templates.PLACEHOLDER)
    format_marks = ("<|im_start|>", "<|system|>", "<|user|>", "<|assistant|>", stop)
    tokenizer = common.byte_tokenizer(special, (*marks, *format_marks))
    with common.folder_of(tokenizer) as words:
        processor = processing.make_processor(config, name, words)
    config.image_token_id = tokenizer.convert_tokens_to_ids(templates.PLACEHOLDER)  # pyright: ignore
    return Opened(config=config, processor=processor, weights=name)
