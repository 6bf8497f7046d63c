"""The published systems at their full size, without weights: what README's table says of memory.

`python -m tests.published` prints it: parameters, and the memory of the weights in each precision,
worked out from names and shapes on the meta device. The entries of the published config.json files
that no specification confirms are recalled; `tests/families/*` say which.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import transformers
from transformers import AutoConfig, PaliGemmaConfig

from tests.families.clip_qwen import test_full_size as clip_qwen
from tests.families.internvl15 import test_weights as internvl15
from tests.families.minicpm_v26 import test_modeling as minicpm_v26
from vlm import families
from vlm.families import pocket
from vlm.families.minicpm_v26.configuration import MiniCPMVConfig
from vlm.families.minimind_v.configuration import (
    TOWERS,
    MiniMindTextConfig,
    MiniMindVConfig,
    language_settings,
)
from vlm.loading import empty_model
from vlm.quantization import weight_bytes

INTERNLM2_2B = {
    **internvl15.INTERNLM2_20B,
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 8192,
}
PHI3_4B = {
    "architectures": ["Phi3ForCausalLM"],
    "vocab_size": 32020,
    "hidden_size": 3072,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 8192,
}
SIGLIP_SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 2048,
    "vision_use_head": False,
}
GEMMA_2B = {
    "model_type": "gemma",
    "vocab_size": 257216,
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
}


def paligemma() -> PaliGemmaConfig:
    """PaliGemma 3B at 224 pixels."""
    return PaliGemmaConfig(
        projection_dim=2048,
        image_token_index=257152,
        vision_config=SIGLIP_SO400M,
        text_config=GEMMA_2B,
    )


def minimind(generation: Any, **given: Any) -> MiniMindVConfig:
    """MiniMind-V of a generation and size."""
    text = MiniMindTextConfig(**language_settings(generation, given))
    return MiniMindVConfig(text_config=text, vision_config=dict(TOWERS[generation]))


SYSTEMS: Mapping[str, Callable[[], transformers.PreTrainedConfig]] = {
    "Pocket": lambda: AutoConfig.from_pretrained(pocket.CHECKPOINTS[0].source),
    "InternVL-Chat-V1-5 26B": lambda: internvl15.full_size(
        internvl15.VISION_6B, internvl15.INTERNLM2_20B
    ),
    "Mini-InternVL 4B": lambda: internvl15.full_size(internvl15.VISION_300M, PHI3_4B),
    "Mini-InternVL 2B": lambda: internvl15.full_size(internvl15.VISION_300M, INTERNLM2_2B),
    "PaliGemma 3B": paligemma,
    "MiniCPM-V 2.6": lambda: MiniCPMVConfig(**minicpm_v26.PUBLISHED),
    "MiniMind2-V, seed 26M": lambda: minimind("seed", dim=512, n_layers=8),
    "MiniMind2-V 104M": lambda: minimind("mid", hidden_size=768, num_hidden_layers=16),
    "minimind-3v": lambda: minimind("head", hidden_size=768, num_hidden_layers=8),
    "minimind-3v MoE": lambda: minimind(
        "head", hidden_size=768, num_hidden_layers=8, use_moe=True, num_experts=4
    ),
    "CLIP-L + Qwen 1.8B": lambda: clip_qwen.full_size("1.8B"),
    "CLIP-L + Qwen 7B": lambda: clip_qwen.full_size("7B"),
}
"""Title -> its configuration."""


def main() -> None:
    """Prints the table."""
    for name in families.NAMES:  # which registers its classes
        importlib.import_module(f"vlm.families.{name}.modeling")
    print("| system | parameters | 16 bit | 8 bit | 4 bit |\n|---|---|---|---|---|")
    for title, configure in SYSTEMS.items():
        model = empty_model(configure())
        count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        sizes = (weight_bytes(model, each) / 1e9 for each in ("none", "int8", "nf4"))
        print(f"| {title} | {count:,.0f} M |", " | ".join(f"{size:.2f} GB" for size in sizes), "|")


if __name__ == "__main__":
    main()
