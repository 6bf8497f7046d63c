"""The model: tiles -> InternViT -> pixel shuffle -> projector -> language model -> logits.

Written as a difference from transformers' InternVL, which has the layers of the tower, the shuffle,
the projector and the merging of image features into the prompt.
"""

from functools import wraps
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    InternVLForConditionalGeneration,
    InternVLModel,
    LlamaModel,
)
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.internvl.modeling_internvl import (
    InternVLVisionEncoder,
    InternVLVisionPreTrainedModel,
    InternVLVisionRMSNorm,
)
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from vlm.families.common import CountsPlaceholders
from vlm.families.internvl15 import weights
from vlm.families.internvl15.configuration import (
    InternLM2Config,
    InternViTConfig,
    InternVLChatConfig,
)

IGNORED = -100
"""The label of a position that does not count."""

# ---- vision tower ----


class InternViTPatchEmbeddings(nn.Module):
    """A convolution whose windows do not overlap."""

    def __init__(self, config: InternViTConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.projection(pixel_values.to(self.projection.weight.dtype))


class InternViTEmbeddings(nn.Module):
    """Patches, the class token before them, and a learned table of positions."""

    def __init__(self, config: InternViTConfig) -> None:
        super().__init__()
        side = config.image_size // config.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embeddings = InternViTPatchEmbeddings(config)
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + side**2, config.hidden_size))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(tiles, channels, height, width) -> (tiles, 1 + patches, dim), row by row."""
        patches = self.patch_embeddings(pixel_values)  # (tiles, dim, rows, columns)
        table = resized_table(self.position_embeddings, *patches.shape[-2:])
        patches = patches.flatten(2).transpose(1, 2)  # (tiles, patches, dim)
        classes = self.cls_token.expand(len(patches), -1, -1)  # (tiles, 1, dim)
        return torch.cat((classes, patches), dim=1) + table  # (tiles, 1 + patches, dim)


def resized_table(table: Tensor, rows: int, columns: int) -> Tensor:
    """A table of positions for another grid of patches: bicubic, in float32.

    Args:
        table: (1, 1 + side * side, dim), the class token first.
        rows, columns: of the grid that is wanted.

    Returns:
        (1, 1 + rows * columns, dim), of the same number type; the table itself where it fits.
    """
    side = int((table.shape[1] - 1) ** 0.5)
    if (rows, columns) == (side, side):
        return table
    grid = table[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, dim, ...)
    grid = functional.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False)
    grid = grid.flatten(2).transpose(1, 2)  # (1, rows * columns, dim)
    return torch.cat((table[:, :1], grid.to(table.dtype)), dim=1)


class InternViTModel(InternVLVisionPreTrainedModel):
    """InternViT: the layers of transformers' InternVL, without a norm at the end."""

    config: InternViTConfig
    base_model_prefix = "vision_tower"

    def __init__(self, config: InternViTConfig) -> None:
        super().__init__(config)
        self.embeddings = InternViTEmbeddings(config)
        self.encoder = InternVLVisionEncoder(cast(Any, config))
        for layer in cast(Any, self.encoder.layer):
            for norm in (layer.attention.q_norm, layer.attention.k_norm):
                if isinstance(norm, InternVLVisionRMSNorm):
                    norm.variance_epsilon = config.layer_norm_eps  # natively fixed
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, InternViTEmbeddings):
            init.normal_(module.cls_token, std=self.config.initializer_range)
            init.normal_(module.position_embeddings, std=self.config.initializer_range)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embeddings

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: Tensor | None = None,
        pixel_embeds: Tensor | None = None,
        **_: object,
    ) -> BaseModelOutputWithPooling:
        """Features of tiles.

        Args:
            pixel_values: (tiles, 3, height, width), normalised.
            pixel_embeds: (tiles, 1 + patches, dim), embedded already, instead.

        Returns:
            `last_hidden_state` (tiles, 1 + patches, dim), the class token first, then row by row;
            `pooler_output` (tiles, dim), the class token.

        Raises:
            ValueError: neither is given, or pixels that are not of rank 4.
        """
        if pixel_embeds is not None:
            hidden = pixel_embeds
        elif pixel_values is None:
            raise ValueError("got neither pixel_values nor pixel_embeds; pass one of them")
        elif pixel_values.ndim != 4:
            shape = tuple(pixel_values.shape)
            raise ValueError(f"pixel_values has the shape {shape}; (tiles, 3, height, width) fits")
        else:
            hidden = self.embeddings(pixel_values)
        hidden = self.encoder(hidden).last_hidden_state  # (tiles, 1 + patches, dim)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=hidden[:, 0])

    @torch.no_grad()
    def resize_pos_embeddings(self, old_size: int, new_size: int, patch_size: int) -> None:
        """Replaces the table of positions for good; the configuration says so and is saved.

        Args:
            old_size, new_size: side of a picture in pixels.
            patch_size: side of a patch.

        Raises:
            ValueError: the table is not one for `old_size`.
        """
        table = self.embeddings.position_embeddings
        expected = 1 + (old_size // patch_size) ** 2
        if table.shape[1] != expected:
            raise ValueError(f"the table has {table.shape[1]} rows; for {old_size}: {expected}")
        side = new_size // patch_size
        resized = resized_table(table, side, side).clone()
        self.embeddings.position_embeddings = nn.Parameter(
            resized, requires_grad=table.requires_grad
        )
        self.config.image_size = new_size


# ---- language model ----


class InternLM2RotaryEmbedding(LlamaRotaryEmbedding):
    """Rotary positions with dynamic NTK scaling that depends on nothing but the present length.

    The native class remembers the longest prompt it has seen, so that one conversation could
    change the answers of another.
    """

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (batch, tokens, head dim) of positions (batch, tokens), like `x`."""
        frequencies = self.inv_freq.to(device=x.device, dtype=torch.float32)  # (head dim / 2,)
        if self.rope_type == "dynamic":
            frequencies = self._scaled(frequencies, position_ids)
        angles = position_ids[..., None].float() * frequencies  # (batch, tokens, head dim / 2)
        angles = torch.cat((angles, angles), dim=-1)  # (batch, tokens, head dim)
        return (
            (angles.cos() * self.attention_scaling).to(x.dtype),
            (angles.sin() * self.attention_scaling).to(x.dtype),
        )

    def _scaled(self, frequencies: Tensor, position_ids: Tensor) -> Tensor:
        """base' = base * (f * length / longest - (f - 1)) ** (d / (d - 2)), past the longest."""
        rope = cast(dict[str, float], self.config.rope_parameters)
        factor, longest = rope["factor"], self.config.max_position_embeddings
        dim = 2 * len(frequencies)
        length = position_ids.max() + 1
        growth = factor * length / longest - (factor - 1)
        base = rope["rope_theta"] * growth.clamp(min=1.0) ** (dim / (dim - 2))
        powers = torch.arange(0, dim, 2, dtype=torch.float32, device=frequencies.device) / dim
        # Chosen without asking the device, which would wait for it at every token.
        return torch.where(length > longest, 1.0 / base**powers, frequencies)


class InternLM2Model(LlamaModel):
    """InternLM2 without its head."""

    config: InternLM2Config

    def __init__(self, config: InternLM2Config) -> None:
        super().__init__(config)
        self.rotary_emb = InternLM2RotaryEmbedding(config)
        self.post_init()


# ---- the whole ----


class PixelShuffle(nn.Module):
    """Gathers blocks of 2x2 patches into the channels of one token; it has no weights.

    Unlike `torch.nn.PixelShuffle`, which scatters channels into pixels.
    """

    def __init__(self, config: InternVLChatConfig) -> None:
        super().__init__()
        self.step = round(1 / config.downsample_ratio)
        self.transposes = config.ps_version == "v1"

    def forward(self, hidden: Tensor) -> Tensor:
        """Tokens of tiles.

        Args:
            hidden: (tiles, 1 + patches, dim), the class token first, then row by row.

        Returns:
            (tiles, patches / 4, 4 dim), row by row; column by column in version 1.
        """
        side = int((hidden.shape[1] - 1) ** 0.5) // self.step
        blocks = hidden[:, 1:].unflatten(1, (side, self.step, side, self.step))
        rows, columns = (3, 1) if self.transposes else (1, 3)
        blocks = blocks.permute(0, rows, columns, 2, 4, 5)  # (tiles, ..., ..., 2, 2, dim)
        return blocks.flatten(3).flatten(1, 2)  # (tiles, patches / 4, 4 dim)


class InternVLChatModel(CountsPlaceholders, InternVLModel):
    """Tower, projector and language model."""

    config: InternVLChatConfig

    def __init__(self, config: InternVLChatConfig) -> None:
        super().__init__(cast(Any, config))
        self.shuffle = PixelShuffle(config)

    def get_image_features(
        self, pixel_values: Tensor, vision_feature_layer: int | None = None, **_: object
    ) -> BaseModelOutputWithPooling:
        """Features of tiles for the language model.

        Args:
            pixel_values: (tiles, 3, height, width), normalised.
            vision_feature_layer: which hidden state; None: as the configuration says.

        Returns:
            `pooler_output` (tiles, tokens, width of the language model), and the tower's own.
        """
        layer = self.config.select_layer if vision_feature_layer is None else vision_feature_layer
        outputs = self.vision_tower(
            pixel_values.to(self.dtype), output_hidden_states=layer != -1, return_dict=True
        )
        selected = outputs.last_hidden_state if layer == -1 else outputs.hidden_states[layer]
        tokens = self.shuffle(selected)  # (tiles, tokens, 4 dim)
        outputs.pooler_output = self.multi_modal_projector(tokens)
        return outputs


class InternVLChatForConditionalGeneration(InternVLForConditionalGeneration):
    """The model with its head, which has weights of its own."""

    config: InternVLChatConfig
    _tied_weights_keys: ClassVar[dict[str, str]] = {}

    def __init__(self, config: InternVLChatConfig) -> None:
        super().__init__(cast(Any, config))
        self.model = InternVLChatModel(config)
        self.post_init()

    @wraps(InternVLForConditionalGeneration.forward)
    def forward(self, input_ids: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """As natively; positions of images never count in the loss."""
        labels = kwargs.get("labels")
        if labels is not None and input_ids is not None:
            image = input_ids == self.config.image_token_id  # (batch, tokens)
            kwargs["labels"] = labels.masked_fill(image, IGNORED)
        return super().forward(cast(Any, input_ids), *args, **kwargs)

    def resize_pos_embeddings(self, old_size: int, new_size: int, patch_size: int) -> None:
        """See `InternViTModel.resize_pos_embeddings`; tiles become as large, too."""
        self.model.vision_tower.resize_pos_embeddings(old_size, new_size, patch_size)
        self.config.force_image_size = new_size

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict
    ) -> Any:
        """As natively, but padding is at position 1, as the published code has it."""
        position_ids = super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        mask = model_kwargs.get("attention_mask")
        if mask is None or mask.shape != position_ids.shape:
            return position_ids
        return position_ids.masked_fill(mask == 0, 1)

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """As natively; by default in the published layout, with adapters merged."""
        self._weight_conversions = weights.published(self.config.text.model_type)
        self.config.use_backbone_lora = self.config.use_llm_lora = 0
        super().save_pretrained(save_directory, **kwargs)


AutoModel.register(InternViTConfig, InternViTModel, exist_ok=True)
AutoModel.register(InternLM2Config, InternLM2Model, exist_ok=True)
AutoModel.register(InternVLChatConfig, InternVLChatModel, exist_ok=True)
AutoModelForImageTextToText.register(
    InternVLChatConfig, InternVLChatForConditionalGeneration, exist_ok=True
)
