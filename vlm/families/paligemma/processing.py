"""Messages and photos to tensors: one square of pixels an image, then the last question.

    <image> <image> ... <bos> QUESTION \\n        as many <image> as patches, for each image

The model knows no conversation: what was said before the last question is left out, its images
are kept. Tasks are words of the question: "caption en", "answer en ...", "detect cat",
"segment cat"; boxes and masks come back as <loc....> and <seg...>, four of them for a box.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image as pillow
from transformers import (
    AutoTokenizer,
    BatchFeature,
    PaliGemmaConfig,
    PaliGemmaProcessor,
    ProcessorMixin,
    SiglipImageProcessorPil,
)

from vlm.backend import ImageLayout, Tile
from vlm.errors import ModelError
from vlm.families import common
from vlm.messages import Image

CHAT_TEMPLATE = """\
{%- if begun_answer is defined -%}
    {{- raise_exception('answers are not gone on with') -}}
{%- endif -%}
{%- for message in messages if message.content is not string -%}
    {%- for part in message.content if part.type == 'image' -%}{{- '<image>' -}}{%- endfor -%}
{%- endfor -%}
{{- bos_token -}}
{%- for message in (messages | selectattr('role', 'equalto', 'user') | list)[-1:] -%}
    {%- if message.content is string -%}
        {{- message.content -}}
    {%- else -%}
        {%- set texts = message.content | selectattr('type', 'equalto', 'text') -%}
        {{- texts | map(attribute='text') | join('\\n') -}}
    {%- endif -%}
{%- endfor -%}
{{- '\\n' -}}
"""
"""Writes the whole prompt. An answer that was begun would be read as part of the question."""


class PlainRGB(SiglipImageProcessorPil):
    """SigLIP's pixels; alpha is dropped and grey repeated, as PIL's own conversion does it."""

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> Any:
        """A picture as (height, width, 3), uint8; arrays go the way of the parent class."""
        if isinstance(image, pillow.Image):
            image = image.convert("RGB")
        return super().convert_to_rgb(image, input_data_format)


class ChatPaliGemmaProcessor(PaliGemmaProcessor):
    """The native processor with a chat template, text alone, and token types that never lack.

    Calling it raises RequestError when the text has more or fewer placeholders than there are
    images.
    """

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    def __call__(
        self, images: Any = None, text: Any = None, suffix: Any = None, **settings: Any
    ) -> BatchFeature:
        """Tensors of the model; `labels` only with a suffix, the answer to learn.

        Where a prompt has no answer in it all `token_type_ids` are 0: without them the model
        would read it in one direction, which gives other logits and no error. The tokenizer
        leaves them out when it is told to take marks in a person's text as plain text.
        """
        if suffix is not None:
            return super().__call__(images=images, text=text, suffix=suffix, **settings)
        # not the native call, which loses sight of what a person typed
        out = ProcessorMixin.__call__(self, images=images, text=text, **settings)
        ids = out["input_ids"]
        whole = isinstance(ids, torch.Tensor)
        out["token_type_ids"] = torch.zeros_like(ids) if whole else [[0] * len(row) for row in ids]
        return out

    def prepare_inputs_layout(self, images: Any = None, text: Any = None, **settings: Any) -> Any:
        """Leaves texts alone that the chat template has already written whole."""
        texts = [text] if isinstance(text, str) else list(text or [])
        start = rf"(?:{re.escape(self.image_token)})*{re.escape(self.tokenizer.bos_token)}"
        if images is None or (texts and all(re.match(start, each) for each in texts)):
            return ProcessorMixin.prepare_inputs_layout(self, images, text, **settings)
        return super().prepare_inputs_layout(images, text, **settings)

    def validate_inputs(self, images: Any = None, text: Any = None, **settings: Any) -> None:
        """As for any other model; the native class refuses text without images."""
        common.check_image_count(self.image_token, images, text)
        ProcessorMixin.validate_inputs(self, images, text, **settings)

    def image_layout(self, image: Image) -> ImageLayout:
        """Every image is squeezed whole into one square, whatever its shape."""
        side = math.isqrt(self.image_seq_length)
        size: Mapping[str, int] = self.image_processor.size
        return ImageLayout(
            original_size=image.original_size,
            sent_size=(size["width"], size["height"]),
            tiles=(Tile(box=(0, 0, *image.original_size), rows=side, columns=side),),
            placeholders=self.image_seq_length,
        )


def make_processor(
    config: PaliGemmaConfig, source: str, other_tokenizer: str | None = None
) -> ChatPaliGemmaProcessor:
    """The processor of a checkpoint, from its configuration and tokenizer alone.

    Args:
        config: of the model: the size of the pixels and of a patch.
        source: folder or hub id with the tokenizer.
        other_tokenizer: a folder or hub id to take the tokenizer from instead.

    Raises:
        ModelError: the tokenizer has another number for the placeholder than the model.
    """
    tokenizer = AutoTokenizer.from_pretrained(other_tokenizer or source, trust_remote_code=False)
    vision: Any = config.vision_config
    image_processor: Any = PlainRGB(size={"height": vision.image_size, "width": vision.image_size})
    image_processor.image_seq_length = (vision.image_size // vision.patch_size) ** 2
    processor = ChatPaliGemmaProcessor(image_processor, tokenizer)
    if processor.image_token_id != config.image_token_id:
        raise ModelError(
            "placeholder_differs",
            tokenizer=other_tokenizer or source,
            token=processor.image_token,
            found=processor.image_token_id,
            expected=config.image_token_id,
        )
    return processor
