"""The native model: placeholders of images do not count in its loss, and must be as many as
their features."""

import transformers
from transformers import AutoModelForImageTextToText, PaliGemmaConfig
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)

from vlm.families.common import CountsPlaceholders, ImagesDoNotCount

LAYOUT = PaliGemmaConfig.model_type


class PaliGemmaModel(CountsPlaceholders, transformers.PaliGemmaModel):
    """Tower, projector and language model, under the native name that conversions go by."""


class PaliGemmaForConditionalGeneration(
    ImagesDoNotCount, transformers.PaliGemmaForConditionalGeneration
):
    """Under its published name, as checkpoints are saved with it."""

    def __init__(self, config: PaliGemmaConfig) -> None:
        super().__init__(config)
        self.model = PaliGemmaModel(config)
        self.post_init()


AutoModelForImageTextToText.register(
    PaliGemmaConfig, PaliGemmaForConditionalGeneration, exist_ok=True
)
# The published names of tensors are known to transformers, but not used for others' classes.
register_checkpoint_conversion_mapping(
    LAYOUT, get_checkpoint_conversion_mapping(LAYOUT) or [], overwrite=True
)
