"""Messages and photos to tensors: 256x256 pixels, and 16 placeholders for each image.

What the template writes, and what the tokenizer gets:

    <|im_start|>user\\n<jupyter_start>\\nQUESTION<|im_end|>\\n
    <|im_start|>user\\n[<jupyter_start> x16]\\nQUESTION<|im_end|>\\n
"""

import math
from typing import cast

from transformers import (
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    SiglipImageProcessorPil,
)
from transformers.image_processing_utils import BaseImageProcessor
from transformers.processing_utils import MultiModalData
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from vlm.backend import ImageLayout, Tile
from vlm.errors import ModelError
from vlm.families import common
from vlm.families.pocket.configuration import PocketConfig, PocketVisionConfig
from vlm.messages import Image

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {%- if message.content is string -%}
        {{- message.content -}}
    {%- else -%}
        {%- set images = message.content | selectattr('type', 'equalto', 'image') | list -%}
        {%- set texts = message.content | selectattr('type', 'equalto', 'text') -%}
        {%- for image in images -%}
            {{- 'Image ' ~ loop.index ~ ': ' if images | length > 1 else '' -}}
            {{- '<jupyter_start>\\n' -}}
        {%- endfor -%}
        {{- texts | map(attribute='text') | join('\\n') -}}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' -}}
"""
"""As in training: no system text of its own, and the images of a turn before its words."""


class PocketProcessor(common.CountsImages, ProcessorMixin):
    """A native image processor and a tokenizer.

    Args:
        image_processor: makes `pixel_values` (images, 3, 256, 256), float32.
        tokenizer: knows `image_token` as one token.
        chat_template: Jinja text that writes one `image_token` for each image; by default the one
            above.
        image_token: the placeholder.
        image_seq_length: placeholders an image.

    Calling it raises RequestError, naming both numbers, when the text has more or fewer
    placeholders than there are images.
    """

    def __init__(
        self,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        image_token: str = "<jupyter_start>",
        image_seq_length: int = 16,
    ) -> None:
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        self.image_seq_length = image_seq_length
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    def replace_image_token(self, image_inputs: dict, image_idx: int, **_: object) -> str:
        """What stands in the text for one image; the same for all of them."""
        return self.image_token * self.image_seq_length

    def _get_num_multimodal_tokens(
        self, image_sizes: list[list[int]] | None = None, **_: object
    ) -> MultiModalData:
        """Placeholders of images of these (height, width); transformers asks for this."""
        images = len(image_sizes or [])
        return MultiModalData(
            num_image_tokens=[self.image_seq_length] * images, num_image_patches=[1] * images
        )

    def image_layout(self, image: Image) -> ImageLayout:
        """Every image is squeezed whole into one square, whatever its shape."""
        side = math.isqrt(self.image_seq_length)
        size = self.image_processor.size
        return ImageLayout(
            original_size=image.original_size,
            sent_size=(size["width"], size["height"]),
            tiles=(Tile(box=(0, 0, *image.original_size), rows=side, columns=side),),
            placeholders=self.image_seq_length,
        )


def make_processor(
    config: PocketConfig, source: str, other_tokenizer: str | None = None
) -> PocketProcessor:
    """The processor of a checkpoint, from its configuration and tokenizer alone.

    Args:
        config: of the model: the size of the pixels and the number of placeholders.
        source: folder with the tokenizer and its chat template.
        other_tokenizer: a folder or hub id to take the tokenizer from instead.

    Raises:
        ModelError: the tokenizer has another number for the placeholder than the model.
    """
    tokenizer = AutoTokenizer.from_pretrained(other_tokenizer or source, trust_remote_code=False)
    side = cast(PocketVisionConfig, config.vision_config).image_size
    image_processor = SiglipImageProcessorPil(  # by PIL, also where torchvision is installed
        size={"height": side, "width": side},
        image_mean=IMAGENET_DEFAULT_MEAN,
        image_std=IMAGENET_DEFAULT_STD,
    )
    processor = PocketProcessor(
        image_processor,
        tokenizer,
        chat_template=None if other_tokenizer else tokenizer.chat_template,
        image_seq_length=config.image_seq_length,
    )
    if processor.image_token_id != config.image_token_id:
        raise ModelError(
            "placeholder_differs",
            tokenizer=other_tokenizer or source,
            token=processor.image_token,
            found=processor.image_token_id,
            expected=config.image_token_id,
        )
    return processor


AutoProcessor.register(PocketConfig, PocketProcessor, exist_ok=True)
