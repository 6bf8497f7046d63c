"""The model: squares of pixels -> CLIP -> projector -> Qwen v1 -> logits.

Written as a difference from transformers' LLaVA and Qwen2. What Qwen v1 adds: dynamic NTK scaling
of the rotary angles, and queries scaled by the logarithm of their position.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    Cache,
    DynamicCache,
    LlavaForConditionalGeneration,
    LlavaModel,
    Qwen2Model,
)
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2Attention,
    Qwen2MLP,
    Qwen2RotaryEmbedding,
    apply_rotary_pos_emb,
    eager_attention_forward,
)
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from vlm.families.clip_qwen import weights  # noqa: F401 - registers the names on disk
from vlm.families.clip_qwen.configuration import NTK_LEVELS, ClipQwenConfig, QwenConfig
from vlm.families.common import CountsPlaceholders, ImagesDoNotCount

# ---- language model ----


class QwenRotaryEmbedding(Qwen2RotaryEmbedding):
    """Rotary positions at every level of dynamic NTK scaling."""

    @staticmethod
    def compute_default_rope_parameters(config: Any, **_: object) -> tuple[Tensor, float]:
        """Frequencies (levels, head dim / 2), float32, and a factor of no use.

        Source: `RotaryEmbedding` and `get_ntk_alpha` of Qwen v1: the base is multiplied by
        alpha ** (d / (d - 2)) with alpha = 1, 3, 7, ... at level 0, 1, 2, ...
        """
        dim = config.hidden_size // config.num_attention_heads
        powers = torch.arange(0, dim, 2, dtype=torch.float32) / dim  # (head dim / 2,)
        rows = [
            1.0 / (config.rope_parameters["rope_theta"] * alpha ** (dim / (dim - 2))) ** powers
            for alpha in (2.0 ** (level + 1) - 1 for level in range(NTK_LEVELS))
        ]
        return torch.stack(rows), 1.0

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (batch, tokens, head dim), like `x`.

        Args:
            x: decides number type and device.
            position_ids: (batch or 1, tokens).
            level: (batch,), of NTK scaling; int64.
        """
        frequencies = self.inv_freq.to(device=x.device, dtype=torch.float32)[level]
        angles = position_ids[..., None].float() * frequencies[:, None]  # (batch, tokens, dim / 2)
        angles = torch.cat((angles, angles), dim=-1)  # (batch, tokens, head dim)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class QwenAttention(Qwen2Attention):
    """Attention whose queries are scaled after they were rotated."""

    def __init__(self, config: QwenConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        if not config.no_bias:
            self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=True)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None,
        past_key_values: Cache | None = None,
        query_scale: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """As natively, with `query_scale` (batch or 1, tokens) or None."""
        query, key, value = (
            projection(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )  # (batch, heads, tokens, head dim)
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if query_scale is not None:
            query = query * query_scale[:, None, :, None].to(query.dtype)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(
            cast(Any, self.config)._attn_implementation, eager_attention_forward
        )
        mixed, shares = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )  # (batch, tokens, heads, head dim)
        return self.o_proj(mixed.flatten(2).contiguous()), shares


class QwenMLP(Qwen2MLP):
    """The native layers with biases."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__(config)
        narrow, wide = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(narrow, wide)
        self.up_proj = nn.Linear(narrow, wide)
        self.down_proj = nn.Linear(wide, narrow)


class QwenModel(Qwen2Model):
    """Qwen v1 without its head."""

    config: QwenConfig

    def __init__(self, config: QwenConfig) -> None:
        super().__init__(config)
        for index, layer in enumerate(cast(Any, self.layers)):
            layer.self_attn = QwenAttention(config, index)
            if not config.no_bias:
                layer.mlp = QwenMLP(config)
        self.rotary_emb = QwenRotaryEmbedding(config)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """As natively; the scaling of the rotary angles is chosen once for a cache.

        Args:
            input_ids: (batch, tokens), or `inputs_embeds` (batch, tokens, width).
            attention_mask: (batch, tokens of the cache and new ones), 0 at padding.
            position_ids: (batch or 1, tokens); None: those that follow the cache.
            past_key_values: keys and values of earlier tokens.
            use_cache: whether those of the new tokens are kept.

        Raises:
            ValueError: neither or both of `input_ids` and `inputs_embeds` are given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        known = 0 if past_key_values is None else past_key_values.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(known, known + hidden.shape[1], device=hidden.device)[None]
        mask: Any = attention_mask
        if not isinstance(mask, dict):  # else `generate` has prepared it already
            mask = create_causal_mask(
                config=self.config,
                inputs_embeds=hidden,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                position_ids=position_ids,
            )
        mask = mask["full_attention"] if isinstance(mask, dict) else mask
        level = self._level(hidden, attention_mask, past_key_values)
        rotation = self.rotary_emb(hidden, position_ids, level)
        for layer in self.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_embeddings=rotation,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                query_scale=self._query_scale(position_ids),
                **kwargs,
            )
        return BaseModelOutputWithPast(
            last_hidden_state=self.norm(hidden),
            past_key_values=past_key_values if use_cache else None,
        )

    def _level(
        self, hidden: Tensor, attention_mask: Tensor | None, past_key_values: Cache | None
    ) -> Tensor:
        """The level of NTK scaling of each row (batch,), by the tokens that it has.

        It is kept with the keys that were rotated by it, however long they grow: published so.
        """
        known = 0 if past_key_values is None else past_key_values.get_seq_length()
        kept = getattr(past_key_values, "ntk_level", None)
        if known and kept is not None:
            return kept.to(hidden.device)
        rows, config = hidden.shape[0], self.config
        if self.training or not config.use_dynamic_ntk:
            level = torch.zeros(rows, dtype=torch.int64, device=hidden.device)
        else:
            if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
                lengths = attention_mask.sum(-1)  # (batch,)
            else:
                lengths = torch.full((rows,), known + hidden.shape[1], device=hidden.device)
            limits = config.seq_length * 2 ** torch.arange(NTK_LEVELS - 1, device=hidden.device)
            level = (lengths[:, None] > limits).sum(-1)  # (batch,)
        if past_key_values is not None:
            cast(Any, past_key_values).ntk_level = level
        return level

    def _query_scale(self, position_ids: Tensor) -> Tensor | None:
        """log(position + 1) to the base `seq_length`, at least 1: (batch or 1, tokens)."""
        if self.training or not self.config.use_logn_attn:
            return None
        scale = torch.log(position_ids.float() + 1) / math.log(self.config.seq_length)
        return scale.clamp(min=1.0)


# ---- the whole ----


class ClipQwenModel(CountsPlaceholders, LlavaModel):
    """Tower, projector and language model."""

    config: ClipQwenConfig

    def get_image_features(self, pixel_values: Tensor, **_: object) -> BaseModelOutputWithPooling:
        """Features of images for the language model.

        The tower's last layer is taken as it is, without the class token and without the norm
        that CLIP has after it.

        Args:
            pixel_values: (images, 3, height, width), normalised.

        Returns:
            `pooler_output`, a tensor (placeholders, width of the language model) for each image;
            `last_hidden_state` (images, 1 + patches, width of the tower).
        """
        outputs = self.vision_tower(pixel_values.to(self.dtype), return_dict=True)
        patches = outputs.last_hidden_state[:, 1:]  # (images, patches, width of the tower)
        outputs.pooler_output = list(self.multi_modal_projector(patches))
        return outputs

    def get_placeholder_mask(
        self, input_ids: Tensor | None, inputs_embeds: Tensor, image_features: Tensor
    ) -> Tensor:
        """See `CountsPlaceholders`; here features are (placeholders of all images, width)."""
        # the native count of features is right for tensors with an axis of images
        return super().get_placeholder_mask(input_ids, inputs_embeds, image_features[None])


class ClipQwenForConditionalGeneration(ImagesDoNotCount, LlavaForConditionalGeneration):
    """The model with its head, which has weights of its own."""

    config: ClipQwenConfig
    _tied_weights_keys: ClassVar[dict[str, str]] = {}

    def __init__(self, config: ClipQwenConfig) -> None:
        super().__init__(cast(Any, config))
        self.model = ClipQwenModel(cast(Any, config))
        self.post_init()

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """As natively: one folder under the names of this model, with the adapter merged."""
        kwargs.setdefault("save_original_format", False)  # what was merged stays merged
        self.config.adapter_scale = None
        super().save_pretrained(save_directory, **kwargs)


AutoModel.register(QwenConfig, QwenModel, exist_ok=True)
AutoModel.register(ClipQwenConfig, ClipQwenModel, exist_ok=True)
AutoModelForImageTextToText.register(
    ClipQwenConfig, ClipQwenForConditionalGeneration, exist_ok=True
)
