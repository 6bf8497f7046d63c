"""Configuration of InternVL-Chat: InternViT, 2x2 pixel shuffle, a projector, a language model.

The fields have the names and defaults of the published config.json files; the names of
transformers' own InternVL, of which the model is a difference, are further names for them.
"""

from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import (
    AutoConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
)
from transformers.configuration_utils import SubConfigSpec

from vlm.errors import ModelError
from vlm.families import common

NOT_OURS = ("auto_map", "_commit_hash", "attn_implementation", "_attn_implementation")
"""Entries of published sub-configurations that say how their own code was run."""


@strict
class InternViTConfig(PreTrainedConfig):
    """The vision tower, 6B and 300M alike.

    Attributes:
        image_size: side of the pictures for which the position table is made.
        qkv_bias: whether the projections of queries, keys and values have a bias.
        qk_normalization: RMS norm over queries and keys, all heads together.
        norm_type: "rms_norm" or "layer_norm".
        initializer_factor: what the scales of the residual branches begin with.
    """

    model_type = "intern_vit_6b"
    base_config_key = "vision_config"
    attribute_map: ClassVar[dict[str, str]] = {
        "attention_bias": "qkv_bias",
        "use_qk_norm": "qk_normalization",
        "layer_scale_init_value": "initializer_factor",
        "hidden_dropout_prob": "dropout",
        "projection_dropout": "dropout",
    }

    num_channels: int = 3
    patch_size: int = 14
    image_size: int = 224
    hidden_size: int = 3200
    num_attention_heads: int = 25
    intermediate_size: int = 12800
    num_hidden_layers: int = 48
    qkv_bias: bool = False
    qk_normalization: bool = True
    norm_type: str = "rms_norm"
    layer_norm_eps: float = 1e-6
    hidden_act: str = "gelu"
    dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    drop_path_rate: float | int = 0.0
    initializer_range: float = 0.02
    initializer_factor: float = 0.1


@strict
class InternLM2Config(LlamaConfig):
    """The language model InternLM2: the mathematics of Llama.

    Attributes:
        bias: whether the four projections of the attention have one.
    """

    model_type = "internlm2"
    attribute_map: ClassVar[dict[str, str]] = {"attention_bias": "bias"}

    vocab_size: int = 103168
    pad_token_id: int | None = 0
    bias: bool = True


LANGUAGE_MODELS = {
    "InternLM2ForCausalLM": InternLM2Config,
    "LlamaForCausalLM": LlamaConfig,
    "Phi3ForCausalLM": Phi3Config,
    "Qwen2ForCausalLM": Qwen2Config,
}
"""The class that `llm_config` names -> its configuration."""


@strict
class InternVLChatConfig(PreTrainedConfig):
    """The whole model.

    Attributes:
        llm_config: of the language model; the first of its `architectures` chooses the class.
        force_image_size: side of a tile in pixels; None: `vision_config.image_size`.
        downsample_ratio: by how much the pixel shuffle shortens each side of the grid of patches.
        ps_version: "v1" leaves the shuffled tokens column by column, "v2" row by row.
        select_layer: which hidden state of the tower is used; 0 is before the first layer.
        template: name of the prompt format.
        system_message: replaces the format's own system text.
        dynamic_image_size: whether an image is cut into tiles.
        use_thumbnail: whether the whole image follows its tiles.
        pad2square: whether an image that is not cut is padded to a square first.
        use_backbone_lora, use_llm_lora: rank of the adapters in the files; 0: none.
        image_token_id: of the placeholder. Not published: it is looked up in the tokenizer.

    Raises:
        ModelError: `llm_config` names a class that this family does not know.
    """

    model_type = "internvl_chat"
    sub_configs_defaults: ClassVar[dict] = {
        "llm_config": SubConfigSpec(config_class=AutoConfig, model_type=InternLM2Config.model_type),
        "vision_config": InternViTConfig,
    }
    attribute_map: ClassVar[dict[str, str]] = {
        "text_config": "llm_config",
        "vision_feature_layer": "select_layer",
    }
    projector_hidden_act: ClassVar[str] = "gelu"
    vision_feature_select_strategy: ClassVar[str] = "default"  # without the class token

    vision_config: dict | PreTrainedConfig | None = None
    llm_config: dict | PreTrainedConfig | None = None
    force_image_size: int | None = None
    downsample_ratio: float = 0.5
    ps_version: str = "v1"
    select_layer: int = -1
    template: str | None = None
    system_message: str | None = None
    dynamic_image_size: bool = False
    use_thumbnail: bool = False
    min_dynamic_patch: int = 1
    max_dynamic_patch: int = 6
    pad2square: bool = False
    use_backbone_lora: int = 0
    use_llm_lora: int = 0
    image_token_id: int | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.vision_config, dict):
            self.vision_config = _cleaned(self.vision_config)
        if isinstance(self.llm_config, dict):
            file = Path(kwargs.get("name_or_path") or "", common.CONFIG)
            self.llm_config = _language_model(self.llm_config, file)
        super().__post_init__(**{k: v for k, v in kwargs.items() if k not in NOT_OURS})
        # The published files say "tied" in places; the code that they come with unties them all.
        self.tie_word_embeddings = False
        self.text.tie_word_embeddings = False

    @property
    def text(self) -> PreTrainedConfig:
        """Of the language model."""
        assert isinstance(self.llm_config, PreTrainedConfig)
        return self.llm_config

    @property
    def vision(self) -> InternViTConfig:
        """Of the vision tower."""
        assert isinstance(self.vision_config, InternViTConfig)
        return self.vision_config

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels."""
        return self.force_image_size or self.vision.image_size

    @property
    def tile_side(self) -> int:
        """Rows, and columns, of visual tokens of a tile."""
        return int(self.tile_size // self.vision.patch_size * self.downsample_ratio)

    @property
    def tokens_per_tile(self) -> int:
        """Placeholders that a tile takes."""
        return self.tile_side**2


def _cleaned(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in NOT_OURS}


def _language_model(config: dict[str, Any], file: Path) -> PreTrainedConfig:
    """The configuration of the class that is named first. Raises ModelError, which names `file`."""
    by_type = {kind.model_type: kind for kind in LANGUAGE_MODELS.values()}
    named = (config.get("architectures") or [None])[0]
    kind = LANGUAGE_MODELS.get(named) if named else by_type.get(config.get("model_type", ""))
    if kind is None:
        raise ModelError(
            "language_model_unknown",
            file=file,
            got=named or config.get("model_type") or "-",
            name="llm_config",
            known=", ".join(LANGUAGE_MODELS),
        )
    return kind(**{key: value for key, value in _cleaned(config).items() if key != "model_type"})


for _config in (InternViTConfig, InternLM2Config, InternVLChatConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
