"""A SigLIP tower on its own: pictures to embeddings, without a language model.

In: a folder or hub id of a SigLIP model, of its vision part, or of a whole checkpoint of this
family. Out: `Tower`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoConfig, SiglipVisionConfig, SiglipVisionModel

from vlm.errors import ModelError
from vlm.families.paligemma.processing import PlainRGB
from vlm.messages import Image

OLD_NAMES = {
    r"^vision_tower\.(?:vision_model\.)?": "",
    r"embeddings\.position_embeddings\.": "embeddings.position_embedding.",
    r"post_layer_norm\.": "post_layernorm.",
}
"""Name of a tensor in whole checkpoints and hand-written towers -> in published towers."""


@dataclass(frozen=True)
class Tower:
    """A vision tower and the pixels it takes."""

    model: SiglipVisionModel
    image_processor: PlainRGB

    @torch.inference_mode()
    def embed(self, images: Sequence[Image]) -> Tensor:
        """(images, positions, width): features of each patch, row by row, after the last norm."""
        return self._run(images).last_hidden_state

    @torch.inference_mode()
    def summarise(self, images: Sequence[Image]) -> Tensor:
        """(images, width): one embedding a picture.

        By the pooling head where the checkpoint has one, as SigLIP was trained; else the mean
        over the patches.
        """
        out = self._run(images)
        pooled = out.pooler_output
        return out.last_hidden_state.mean(dim=1) if pooled is None else pooled

    def _run(self, images: Sequence[Image]) -> Any:
        pixels = self.image_processor([image.pixels for image in images], return_tensors="pt")
        values = pixels["pixel_values"].to(self.model.device, self.model.dtype)
        return self.model(pixel_values=values)  # values: (images, 3, height, width)


def load_tower(source: str, dtype: torch.dtype = torch.float32) -> Tower:
    """Loads the vision part of a checkpoint and nothing else.

    Args:
        source: its folder or hub id.
        dtype: of the weights.

    Raises:
        ModelError: it has no SigLIP tower, or tensors of it are missing.
    """
    config: Any = AutoConfig.from_pretrained(source, trust_remote_code=False)
    vision = getattr(config, "vision_config", config)
    if not isinstance(vision, SiglipVisionConfig):
        raise ModelError("no_siglip_tower", source=source, got=config.model_type)
    model, missing = _load(source, vision, dtype)
    if vision.vision_use_head and missing and all(name.startswith("head.") for name in missing):
        vision.vision_use_head = False  # a tower without its pooling head
        model, missing = _load(source, vision, dtype)
    if missing:
        raise ModelError("weights_missing", count=len(missing), names=", ".join(missing[:5]))
    side: Any = vision.image_size
    return Tower(model.eval(), PlainRGB(size={"height": side, "width": side}))


def _load(
    source: str, config: SiglipVisionConfig, dtype: torch.dtype
) -> tuple[SiglipVisionModel, list[str]]:
    """(the model, names of its tensors that the checkpoint lacks or has in another shape)."""
    model, report = cast(Any, SiglipVisionModel).from_pretrained(
        source,
        config=config,
        dtype=dtype,
        key_mapping=OLD_NAMES,
        ignore_mismatched_sizes=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    return model, sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
