"""The vision tower: SigLIP's layers over pictures of any number of patches.

In: strips of patches and how many rows and columns each picture has. Out: features of patches.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import numpy
import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.siglip.modeling_siglip import SiglipEncoder, SiglipPreTrainedModel
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs


@lru_cache(maxsize=1024)
def buckets(patches: int, side: int) -> numpy.ndarray:
    """Where each of so many patches in a line stands in a table of `side` places: (patches,).

    The step between patches is rounded to float32 before it is multiplied, which for 25, 49, 50
    and other numbers of patches moves some of them to the place before.

    Source: `SiglipVisionEmbeddings` of openbmb/MiniCPM-V-2_6.
    """
    on_cpu: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
    with torch.inference_mode(False):
        step = float(numpy.float32(1) / numpy.float32(patches))
        places = torch.arange(0, 1 - 1e-6, step, **on_cpu)  # (patches,)
        borders = torch.arange(1 / side, 1.0, 1 / side, **on_cpu)  # (side - 1,)
        return torch.bucketize(places, borders, right=True).numpy()  # (patches,)


class PatchPositions(nn.Module):
    """The row of the table of positions that belongs to each patch.

    Args:
        side: the table has side * side rows.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, sizes: Sequence[Sequence[int]], length: int, device: torch.device) -> Tensor:
        """(pictures, length), int64; 0 after the last patch of a picture.

        Args:
            sizes: (rows, columns) of patches of each picture.
            length: patches of the largest picture, or more.
            device: of the result.
        """
        ids = numpy.zeros((len(sizes), length), dtype=numpy.int64)
        for row, (high, wide) in zip(ids, sizes, strict=True):
            places = buckets(high, self.side)[:, None] * self.side + buckets(wide, self.side)
            row[: high * wide] = places.reshape(-1)
        return torch.from_numpy(ids).to(device)  # (pictures, length)


class MiniCPMVVisionEmbeddings(nn.Module):
    """Patches that lie side by side in a strip, and a learned table of positions."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        patch, side = cast(int, config.patch_size), cast(int, config.image_size)
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=patch, stride=patch
        )
        self.position_embedding = nn.Embedding((side // patch) ** 2, config.hidden_size)
        self.positions = PatchPositions(side // patch)

    def forward(self, pixel_values: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
        """(pictures, channels, patch, patch * patches) -> (pictures, patches, width)"""
        weight = self.patch_embedding.weight
        patches = self.patch_embedding(pixel_values.to(weight.dtype))  # (pictures, width, 1, ...)
        patches = patches.flatten(2).transpose(1, 2)  # (pictures, patches, width)
        ids = self.positions(sizes, patches.shape[1], weight.device)  # (pictures, patches)
        return patches + self.position_embedding(ids)


class MiniCPMVVisionModel(SiglipPreTrainedModel):
    """SigLIP over pictures of any number of patches, without a head.

    Args:
        config: as published.
        drops_last: whether there is one layer less than the configuration says.
    """

    config: Any
    base_model_prefix = "vision_tower"
    input_modalities = ("image",)

    def __init__(self, config: SiglipVisionConfig, drops_last: bool = False) -> None:
        super().__init__(config)
        self.embeddings = MiniCPMVVisionEmbeddings(config)
        self.encoder = SiglipEncoder(cast(Any, config))
        if drops_last:
            self.encoder.layers = self.encoder.layers[:-1]
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embedding

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, pixel_values: Tensor, sizes: Sequence[Sequence[int]], **_: object
    ) -> BaseModelOutputWithPooling:
        """Features of patches.

        Args:
            pixel_values: (pictures, 3, patch, patch * patches), normalised; after the last patch
                of a picture anything.
            sizes: (rows, columns) of patches of each picture.

        Returns:
            `last_hidden_state` (pictures, patches, width), row by row; 0 after the last patch.
        """
        hidden = self.embeddings(pixel_values, sizes)  # (pictures, patches, width)
        counts = torch.tensor([[high * wide] for high, wide in sizes], device=hidden.device)
        filled = torch.arange(hidden.shape[1], device=hidden.device) < counts  # (pictures, patches)
        padded = any(high * wide < hidden.shape[1] for high, wide in sizes)
        mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden, attention_mask=filled if padded else None
        )
        hidden = self.encoder(hidden, attention_mask=mask).last_hidden_state
        hidden = self.post_layernorm(hidden)  # (pictures, patches, width)
        return BaseModelOutputWithPooling(last_hidden_state=hidden * filled[..., None])
