"""A vision tower on its own: pictures to embeddings, without a language model.

In: a folder or hub id of a tower, of a tower with its text twin, or of a whole checkpoint that
holds one. Out: `Tower`. Which class it is follows from the configuration.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from vlm.errors import ModelError, RequestError
from vlm.loading import SHORT_NAMES
from vlm.messages import Image
from vlm.model_errors import model_errors
from vlm.processors import load_image_processor
from vlm.sources import check_source
from vlm.unfilled import Report, check_filled, unfilled

OLD_NAMES = {
    r"^(?:model\.)?(?:vision_tower|vision_model)\.(?:vision_model\.)?": "",
    r"embeddings\.position_embeddings\.": "embeddings.position_embedding.",
    r"post_layer_norm\.": "post_layernorm.",
}
"""Name of a tensor in whole checkpoints and hand-written towers -> in published towers."""

HEAD = "head."
"""How the names of a pooling head begin; a configuration says `vision_use_head` if there is one."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a tower made of pictures.

    Attributes:
        features: (images, positions, width), after the tower's last norm; the class token first,
            where there is one, then patches row by row.
        pooled: (images, width).
        own_pooling: whether `pooled` is the tower's own; else it is the mean over the positions.
    """

    features: Tensor
    pooled: Tensor
    own_pooling: bool


@dataclass(frozen=True)
class Tower:
    """A vision tower and what prepares pictures for it.

    Attributes:
        model: in evaluation mode, on its device.
        image_processor: pictures in RGB to tensors.
    """

    model: PreTrainedModel
    image_processor: Any

    @property
    def precision(self) -> str:
        """What the weights are held in."""
        return SHORT_NAMES[self.model.dtype]

    def embed(self, images: Sequence[Image]) -> Tensor:
        """(images, positions, width): features of each patch; see `see`."""
        return self.see(images).features

    def summarise(self, images: Sequence[Image]) -> Tensor:
        """(images, width): one embedding a picture; see `see`."""
        return self.see(images).pooled

    @torch.inference_mode()
    def see(self, images: Sequence[Image]) -> Seen:
        """Features and one embedding of each picture, from one run.

        Alpha is dropped and grey repeated. Pictures that a tower takes at their own shape may
        differ in positions: the shorter ones are filled up at the end.

        Raises:
            RequestError: a picture that cannot be prepared at the size that the tower takes.
        """
        taken = inspect.signature(self.model.forward).parameters
        try:
            read = self.image_processor(
                [image.pixels.convert("RGB") for image in images], return_tensors="pt"
            )
            inputs = {
                name: _placed(value, self.model) for name, value in read.items() if name in taken
            }
            out = cast(Any, self.model(**inputs))
        except ValueError as error:
            raise RequestError("processor_refused", detail=str(error)[:300]) from error
        return _seen(out.last_hidden_state, out.pooler_output, read.get("pixel_attention_mask"))


def _placed(value: Tensor, model: PreTrainedModel) -> Tensor:
    return value.to(model.device, model.dtype if value.is_floating_point() else None)


def _seen(features: Tensor, pooled: Tensor | None, mask: Tensor | None) -> Seen:
    """Args: features (images, positions, width); pooled (images, width); mask: which are real."""
    if mask is None or mask.shape != features.shape[:2]:
        mask = torch.ones(features.shape[:2])
    mask = mask.to(features.device, torch.bool)  # (images, positions)
    longest = int(mask.sum(dim=1).max())
    features, mask = features[:, :longest], mask[:, :longest]  # (images, longest, width)
    if pooled is not None:
        return Seen(features, pooled, True)
    kept = features.masked_fill(~mask[..., None], 0)  # (images, longest, width)
    return Seen(features, kept.sum(dim=1) / mask.sum(dim=1, keepdim=True), False)


def vision_part(config: PreTrainedConfig) -> PreTrainedConfig | None:
    """The configuration of the tower that a checkpoint is or holds; None where it has none."""
    vision = getattr(config, "vision_config", config)
    kind: Any = AutoModel._model_mapping.get(type(vision), None)
    modalities = getattr(kind, "input_modalities", ())
    return vision if modalities in ("image", ("image",)) else None


def load_tower(
    source: str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tower:
    """Loads the vision part of a checkpoint and nothing else.

    Args:
        source: its folder or hub id.
        dtype: of the weights.
        device: where they go.

    Raises:
        ModelError: it has no tower of a kind that transformers knows, or tensors of it are missing.
    """
    with model_errors(source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        vision: Any = vision_part(config)
        if vision is None:
            raise ModelError("no_vision_tower", source=source, got=config.model_type)
        check_source(source)
        image_processor = load_image_processor(source, vision)
        model, report = _load(source, vision, dtype, device)
        has_head, missing = getattr(vision, "vision_use_head", False), unfilled(report)
        if has_head and missing and all(name.startswith(HEAD) for name in missing):
            vision.vision_use_head = False  # a tower without its pooling head
            model, report = _load(source, vision, dtype, device)
        check_filled(model, report, source)
    return Tower(model.eval(), image_processor)


def _load(
    source: str, config: PreTrainedConfig, dtype: torch.dtype, device: torch.device | str
) -> tuple[PreTrainedModel, Report]:
    """(the model, what was missing, left over or of another shape)."""
    kind: Any = AutoModel._model_mapping[type(config)]
    return kind.from_pretrained(
        source,
        config=config,
        dtype=dtype,
        device_map={"": device},
        key_mapping=OLD_NAMES,
        ignore_mismatched_sizes=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
