"""Configuration of CLIP + Qwen: the CLIP tower, a projector, the language model Qwen v1.

Published as two files that know nothing of each other; `from_published` makes one of them. The
names of transformers' LLaVA, of which the model is a difference, are constants here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, CLIPVisionConfig, PreTrainedConfig, Qwen2Config

from vlm.errors import ModelError

NTK_LEVELS = 16
"""Doublings of `seq_length` that the rotary frequencies are worked out for."""

REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "seq_length")
"""Entries of the published config.json without which nothing is right; `seq_length` has no
default there, and those of the others belong to one size."""


@strict
class QwenConfig(Qwen2Config):
    """The language model Qwen v1: Qwen2 with two rules for prompts longer than in training.

    Attributes:
        seq_length: tokens of a text in training; both rules begin beyond it.
        use_dynamic_ntk: whether the rotary base grows with the length of the prompt.
        use_logn_attn: whether queries are scaled by the logarithm of their position.
        no_bias: whether the projections besides queries, keys and values have no bias.
    """

    model_type = "clip_qwen_text"
    base_config_key = "text_config"

    max_position_embeddings: int = 8192
    seq_length: int = 8192
    use_dynamic_ntk: bool = True
    use_logn_attn: bool = True
    no_bias: bool = True

    def ntk_level(self, tokens: int) -> int:
        """How often `seq_length` is to be doubled to hold so many tokens; 0 if not scaled.

        The base of the rotary angles is multiplied by alpha ** (d / (d - 2)), where alpha is
        2 ** (level + 1) - 1 and d the width of a head.
        """
        if not self.use_dynamic_ntk:
            return 0
        return min((-(-tokens // self.seq_length) - 1).bit_length(), NTK_LEVELS - 1)


@strict
class ClipQwenConfig(PreTrainedConfig):
    """The whole model.

    Attributes:
        image_context_length: placeholders of an image; None: as many as the tower has patches.
        adapter_scale: alpha / rank of the LoRA adapter in the tensors that are loaded; None where
            there is none, as in checkpoints saved here.
        image_token_id: of the placeholder. Not published: it is looked up in the tokenizer.

    Raises:
        ModelError: `image_context_length` is not the number of patches.
    """

    model_type = "clip_qwen"
    sub_configs_defaults: ClassVar[dict] = {
        "vision_config": CLIPVisionConfig,
        "text_config": QwenConfig,
    }
    projector_hidden_act: ClassVar[str] = "gelu"
    multimodal_projector_bias: ClassVar[bool] = True
    vision_feature_layer: ClassVar[int] = -1
    vision_feature_select_strategy: ClassVar[str] = "default"  # without the class token

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    image_context_length: int | None = None
    adapter_scale: float | None = None
    image_token_id: int | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        patches = self.patches_per_side**2
        if self.image_context_length is None:
            self.image_context_length = patches
        if self.image_context_length != patches:
            raise ModelError(
                "config_value",
                file="config.json",
                name="image_context_length",
                got=self.image_context_length,
                expected=f"{patches} ({self.patches_per_side} x {self.patches_per_side} patches)",
            )

    @property
    def text(self) -> QwenConfig:
        """Of the language model."""
        assert isinstance(self.text_config, QwenConfig)
        return self.text_config

    @property
    def vision(self) -> CLIPVisionConfig:
        """Of the vision tower."""
        assert isinstance(self.vision_config, CLIPVisionConfig)
        return self.vision_config

    @property
    def image_size(self) -> int:
        """Side of the square that an image becomes, in pixels."""
        return int(self.vision.image_size)  # pyright: ignore[reportArgumentType]

    @property
    def patches_per_side(self) -> int:
        """Rows, and columns, of visual tokens of an image."""
        return self.image_size // int(self.vision.patch_size)  # pyright: ignore


def from_published(
    language: Mapping[str, Any], vision: Mapping[str, Any], file: str | Path = "config.json"
) -> ClipQwenConfig:
    """One configuration from the two published ones.

    Args:
        language: config.json of Qwen v1.
        vision: config.json of CLIP.
        file: what to call the first in errors.

    Raises:
        ModelError: an entry is missing, or says something that this family does not do.
    """
    return ClipQwenConfig(
        text_config=_language(language, file),
        vision_config=CLIPVisionConfig(**dict(vision.get("vision_config") or {})),
    )


def _language(read: Mapping[str, Any], file: str | Path) -> QwenConfig:
    for name in REQUIRED:
        if not isinstance(read.get(name), int) or read[name] < 1:
            raise ModelError(
                "config_value", file=file, name=name, got=read.get(name), expected="a whole number"
            )
    hidden, heads = read["hidden_size"], read["num_attention_heads"]
    only = {"rotary_pct": 1.0, "kv_channels": hidden / heads, "scale_attn_weights": True}
    for name, expected in only.items():
        if read.get(name, expected) != expected:
            raise ModelError(
                "config_value", file=file, name=name, got=read[name], expected=expected
            )
    return QwenConfig(
        vocab_size=read.get("vocab_size", 151936),
        hidden_size=hidden,
        # published as the sum of the two projections that are multiplied
        intermediate_size=read.get("intermediate_size", 22016) // 2,
        num_hidden_layers=read["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=heads,
        rms_norm_eps=read.get("layer_norm_epsilon", 1e-6),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": float(read.get("rotary_emb_base", 10000)),
        },
        attention_dropout=read.get("attn_dropout_prob", 0.0),
        initializer_range=read.get("initializer_range", 0.02),
        max_position_embeddings=read.get("max_position_embeddings", 8192),
        seq_length=read["seq_length"],
        use_dynamic_ntk=read.get("use_dynamic_ntk", True),
        use_logn_attn=read.get("use_logn_attn", True),
        no_bias=read.get("no_bias", True),
    )


for _config in (QwenConfig, ClipQwenConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
