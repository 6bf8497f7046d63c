"""The model: pictures as strips of patches -> SigLIP -> resampler -> Qwen2 -> logits.

The language model is transformers' own, and image features are merged into the prompt as its
InternVL does it; what differs is written here and in `tower` and `resampler`.
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    GenerationConfig,
    InternVLForConditionalGeneration,
    InternVLModel,
    LogitsProcessorList,
    Qwen2Model,
    RepetitionPenaltyLogitsProcessor,
)
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.internvl.modeling_internvl import InternVLPreTrainedModel

from vlm.families.common import CountsPlaceholders, ImagesDoNotCount
from vlm.families.minicpm_v26 import weights  # noqa: F401 - registers how its files are read
from vlm.families.minicpm_v26.configuration import MiniCPMVConfig
from vlm.families.minicpm_v26.resampler import MiniCPMVResampler
from vlm.families.minicpm_v26.tower import MiniCPMVVisionModel

Encoded = dict[str, BaseModelOutputWithPooling]
"""Features that were worked out before, by the kind of input."""


class ScaledEmbedding(nn.Embedding):
    """Embedded words times a number."""

    def __init__(self, words: int, width: int, scale: float, **settings: Any) -> None:
        super().__init__(words, width, **settings)
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        """(batch, tokens) -> (batch, tokens, width)"""
        return super().forward(input) * self.scale


class MiniCPMVPreTrainedModel(InternVLPreTrainedModel):
    """What the model with and without its head share."""

    config: Any
    input_modalities = ("image", "text")
    _no_split_modules: ClassVar[list[str]] = [
        "Qwen2DecoderLayer",
        "SiglipEncoderLayer",
        "MiniCPMVVisionEmbeddings",
        "MiniCPMVResampler",
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MiniCPMVResampler):
            init.trunc_normal_(module.query, std=0.02)
            init.normal_(module.proj, std=module.proj.shape[0] ** -0.5)


class MiniCPMVModel(CountsPlaceholders, MiniCPMVPreTrainedModel, InternVLModel):
    """Tower, resampler and language model."""

    config: MiniCPMVConfig

    def __init__(self, config: MiniCPMVConfig) -> None:
        InternVLPreTrainedModel.__init__(self, cast(Any, config))  # not what InternVL is made of
        self.vision_tower = MiniCPMVVisionModel(config.vision, config.drop_vision_last_layer)
        self.resampler = MiniCPMVResampler(config)
        self.language_model = Qwen2Model(config)
        if config.scale_emb is not None:
            self.language_model.embed_tokens = ScaledEmbedding(
                config.vocab_size, config.hidden_size, config.scale_emb
            )
        self.post_init()

    def get_image_features(
        self, pixel_values: Tensor, tgt_sizes: Tensor, **_: object
    ) -> BaseModelOutputWithPooling:
        """Features of pictures for the language model.

        Args:
            pixel_values: (pictures, 3, patch, patch * patches), normalised; 0 after the last patch
                of a picture.
            tgt_sizes: (pictures, 2), (rows, columns) of patches.

        Returns:
            `pooler_output` (pictures, queries, width of the language model), and
            `last_hidden_state` of the tower.
        """
        sizes = tgt_sizes.tolist()
        together = self.config.vision_batch_size
        hidden = torch.cat(
            [
                self.vision_tower(pixels, sizes=some).last_hidden_state
                for pixels, some in zip(
                    pixel_values.split(together),
                    (sizes[at : at + together] for at in range(0, len(sizes), together)),
                    strict=True,
                )
            ]
        )  # (pictures, patches, width of the tower)
        features = self.resampler(hidden, tgt_sizes.to(hidden.device))
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=features)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        tgt_sizes: Tensor | None = None,
        mm_encoder_outputs: Encoded | None = None,
        **kwargs: Any,
    ) -> Any:
        """As natively; `tgt_sizes` goes with `pixel_values`, see `get_image_features`."""
        if pixel_values is not None and mm_encoder_outputs is None:
            if tgt_sizes is None:
                raise ValueError("pixel_values came without tgt_sizes; pass both")
            mm_encoder_outputs = {"image": self.get_image_features(pixel_values, tgt_sizes)}
            pixel_values = None
        return super().forward(
            cast(Any, input_ids),
            pixel_values=cast(Any, pixel_values),
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )


def attended_positions(attention_mask: Tensor) -> Tensor:
    """(batch, tokens): the place of each token among those that are attended to; else 1."""
    places = attention_mask.long().cumsum(-1) - 1  # (batch, tokens)
    return places.masked_fill(attention_mask == 0, 1)


class MiniCPMVForConditionalGeneration(
    ImagesDoNotCount, MiniCPMVPreTrainedModel, InternVLForConditionalGeneration
):
    """The model with its head."""

    config: MiniCPMVConfig

    def __init__(self, config: MiniCPMVConfig) -> None:
        InternVLPreTrainedModel.__init__(self, cast(Any, config))
        self.model = MiniCPMVModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_image_features(self, pixel_values: Tensor, tgt_sizes: Tensor, **_: object) -> Any:
        """See `MiniCPMVModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, tgt_sizes)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        tgt_sizes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        mm_encoder_outputs: Encoded | None = None,
        **kwargs: Any,
    ) -> Any:
        """As natively, but positions that are not given follow from the attention mask.

        Args:
            input_ids: (batch, tokens).
            pixel_values, tgt_sizes: see `get_image_features`; pictures of the whole batch in order.
            attention_mask: (batch, tokens), 0 also where a token of the prompt is not attended to.
            position_ids: (batch, tokens), see `attended_positions`.
            mm_encoder_outputs: features under "image", instead of pixels.
            **kwargs: as natively: `labels`, `past_key_values`, `logits_to_keep` and others.

        Raises:
            RequestError: there are not as many placeholders as features.
        """
        flat = attention_mask is not None and attention_mask.ndim == 2
        if position_ids is None and flat and input_ids is not None:
            places = attended_positions(cast(Tensor, attention_mask))
            position_ids = places[:, -input_ids.shape[1] :]  # (batch, tokens)
        native: Any = super().forward
        return native(
            input_ids,
            pixel_values=pixel_values,
            tgt_sizes=tgt_sizes,
            attention_mask=attention_mask,
            position_ids=position_ids,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict
    ) -> Any:
        """As natively, but what is not attended to is at position 1, as the published code does."""
        position_ids = super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        mask = model_kwargs.get("attention_mask")
        if mask is None or mask.shape != position_ids.shape:
            return position_ids
        return attended_positions(mask)

    def _get_logits_processor(
        self,
        generation_config: GenerationConfig,
        input_ids_seq_length: int | None = None,
        **settings: Any,
    ) -> LogitsProcessorList:
        """As natively, but only what the model says itself counts as a repetition.

        The published code hands embeddings to `generate`, so that no token of the prompt is known
        to it.
        """
        native: Any = super()._get_logits_processor  # pyright: ignore[reportAttributeAccessIssue]
        found = native(generation_config, input_ids_seq_length, **settings)
        for processor in found:
            if isinstance(processor, RepetitionPenaltyLogitsProcessor):
                processor.prompt_ignore_length = input_ids_seq_length
        return found


AutoModel.register(MiniCPMVConfig, MiniCPMVModel, exist_ok=True)
AutoModelForImageTextToText.register(
    MiniCPMVConfig, MiniCPMVForConditionalGeneration, exist_ok=True
)
