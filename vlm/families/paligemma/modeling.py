"""The native model, in whose loss the placeholders of images do not count."""

import transformers
from transformers import AutoModelForImageTextToText, PaliGemmaConfig
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)

from vlm.families.common import ImagesDoNotCount

LAYOUT = PaliGemmaConfig.model_type


class PaliGemmaForConditionalGeneration(
    ImagesDoNotCount, transformers.PaliGemmaForConditionalGeneration
):
    """Under its published name, as checkpoints are saved with it."""


AutoModelForImageTextToText.register(
    PaliGemmaConfig, PaliGemmaForConditionalGeneration, exist_ok=True
)
# The published names of tensors are known to transformers, but not used for others' classes.
register_checkpoint_conversion_mapping(
    LAYOUT, get_checkpoint_conversion_mapping(LAYOUT) or [], overwrite=True
)
