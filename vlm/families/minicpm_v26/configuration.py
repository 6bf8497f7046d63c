"""Configuration of MiniCPM-V 2.6: SigLIP over patches of any number, a resampler, Qwen2.

The fields have the names and defaults of the published config.json, where those of the language
model stand at the top.
"""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, Qwen2Config, SiglipVisionConfig

from vlm.errors import ModelError

NOT_OURS = ("auto_map", "_commit_hash", "attn_implementation", "_attn_implementation")
"""Entries of published files that say how their own code was run."""

HEAD_WIDTH = 128
"""Of the resampler's attention: a model `hidden_size` wide has hidden_size // 128 heads."""

PUBLISHED_TOWER: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 980,
    "patch_size": 14,
}
"""The vision tower of a file that does not describe one."""


@strict
class MiniCPMVConfig(Qwen2Config):
    """The whole model.

    Attributes:
        vision_config: of the vision tower; its `image_size` only sets the table of positions.
        query_num: visual tokens of each picture.
        drop_vision_last_layer: whether the tower has one layer less than `vision_config` says.
        vision_batch_size: pictures that go through the tower together.
        slice_config: `max_slice_nums`, `scale_resolution` and `patch_size` of slices.
        use_image_id: whether images are numbered in the prompt.
        slice_mode: always true.
        image_size: in the published files, used for nothing.
        scale_emb: what embedded words are multiplied by; None: nothing. Not in 2.6.
        image_token_id: of the placeholder. Not published: it is looked up in the tokenizer.

    Raises:
        ModelError: `hidden_size` cannot be split into the resampler's heads.
    """

    model_type = "minicpmv"
    sub_configs_defaults: ClassVar[dict] = {"vision_config": SiglipVisionConfig}

    vision_config: dict | PreTrainedConfig | None = None
    query_num: int = 64
    drop_vision_last_layer: bool = True
    batch_vision_input: bool = True
    vision_batch_size: int = 16
    slice_config: dict | None = None
    use_image_id: bool = True
    slice_mode: bool = True
    image_size: int = 448
    scale_emb: float | int | None = None
    image_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.vision_config is None:
            self.vision_config = SiglipVisionConfig(**PUBLISHED_TOWER)
        elif isinstance(self.vision_config, dict):
            left_out = (*NOT_OURS, "model_type")
            described = {k: v for k, v in self.vision_config.items() if k not in left_out}
            self.vision_config = SiglipVisionConfig(**described)
        self.slice_mode = True
        super().__post_init__(**{k: v for k, v in kwargs.items() if k not in NOT_OURS})
        width, heads = self.hidden_size, self.resampler_heads
        if heads == 0 or width % heads or width % 4:
            raise ModelError("resampler_width", got=width, step=HEAD_WIDTH)

    @property
    def vision(self) -> SiglipVisionConfig:
        """Of the vision tower."""
        assert isinstance(self.vision_config, SiglipVisionConfig)
        return self.vision_config

    @property
    def text_config(self) -> "MiniCPMVConfig":
        """Of the language model: its fields stand here."""
        return self

    @property
    def resampler_heads(self) -> int:
        """Heads of the resampler's attention."""
        return self.hidden_size // HEAD_WIDTH

    @property
    def max_slice_nums(self) -> int:
        """Slices that an image may have, the overview not counted."""
        return int((self.slice_config or {}).get("max_slice_nums", 1))

    @property
    def scale_resolution(self) -> int:
        """Side of a square of the area that a slice has, in pixels."""
        return int((self.slice_config or {}).get("scale_resolution", 448))


AutoConfig.register(MiniCPMVConfig.model_type, MiniCPMVConfig, exist_ok=True)
