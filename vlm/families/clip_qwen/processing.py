"""Messages and photos to tensors: a square of pixels an image, and its placeholders.

What the template writes for two images, and what the tokenizer gets:

    <|im_start|>user\\n用中文回答：QUESTION<|extra_0|><|extra_0|><|im_end|>
    <|im_start|>user\\n用中文回答：QUESTION[<|extra_0|> x512]<|im_end|>

The published code takes one `<|extra_0|>` out and puts the features of the one image there, which
comes to the same. It was trained with one image; that several follow one another is this
program's own way, as a question about two photos deserves an answer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.processing_utils import MultiModalData

from vlm.backend import ImageKnob, ImageLayout, Tile
from vlm.errors import ModelError
from vlm.families import common
from vlm.families.clip_qwen.configuration import ClipQwenConfig
from vlm.families.clip_qwen.imaging import ClipQwenImageProcessor, middle_box
from vlm.families.clip_qwen.templates import PLACEHOLDER, chat_template
from vlm.families.clip_qwen.tokenizer import load_tokenizer
from vlm.messages import Image


class ClipQwenProcessor(common.CountsImages, ProcessorMixin):
    """Prepares images and writes placeholders for them.

    Args:
        image_processor: makes `pixel_values` (images, 3, side, side), float32.
        tokenizer: knows `<|extra_0|>` as one token; pads on the left.
        chat_template: Jinja text that writes one `<|extra_0|>` for each image.
        image_side: rows, and columns, of visual tokens of an image.

    Calling it raises RequestError, naming both numbers, when the text has more or fewer
    placeholders than there are images.
    """

    image_token = PLACEHOLDER

    def __init__(
        self,
        image_processor: ClipQwenImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        image_side: int = 16,
    ) -> None:
        self.image_side = image_side
        self.image_token_id = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @property
    def tokens_per_image(self) -> int:
        """Placeholders that an image takes."""
        return self.image_side**2

    @property
    def image_knobs(self) -> tuple[ImageKnob, ...]:
        """What may be chosen about images; see `CroppingKwargs`."""
        part = cast(ClipQwenImageProcessor, self.image_processor)
        return (ImageKnob(name="cropping", default=part.cropping),)

    def replace_image_token(
        self, image_inputs: Mapping[str, Any], image_idx: int, **_: object
    ) -> str:
        """What stands in the text for one image."""
        return PLACEHOLDER * self.tokens_per_image

    def _get_num_multimodal_tokens(
        self, image_sizes: list[list[int]] | None = None, **_: Any
    ) -> MultiModalData:
        """Placeholders of images of any (height, width); transformers asks for this."""
        count = len(image_sizes or [])
        return MultiModalData(
            num_image_tokens=[self.tokens_per_image] * count, num_image_patches=[1] * count
        )

    def image_layout(self, image: Image, **settings: Any) -> ImageLayout:
        """The one square that an image becomes: all of it squeezed, or its middle.

        Args:
            image: of any size.
            **settings: knobs of `image_knobs` by name; those left out keep their defaults.
        """
        part = cast(ClipQwenImageProcessor, self.image_processor)
        side = int(part.size["height"])
        width, height = image.original_size
        cropped = part.chosen(settings, "cropping")
        box = middle_box(width, height, side) if cropped else (0, 0, width, height)
        return ImageLayout(
            original_size=image.original_size,
            sent_size=(side, side),
            tiles=(Tile(box=box, rows=self.image_side, columns=self.image_side),),
            placeholders=self.tokens_per_image,
        )


def make_processor(config: ClipQwenConfig, words: str | Path) -> ClipQwenProcessor:
    """The processor of a checkpoint, from its configuration and tokenizer alone.

    Args:
        config: of the model: side of a picture, number of placeholders, size of the vocabulary.
        words: the folder to take the tokenizer from.

    Raises:
        ModelError: there is no tokenizer, or it is not that of the language model.
    """
    tokenizer = load_tokenizer(words)
    side = {"height": config.image_size, "width": config.image_size}
    processor = ClipQwenProcessor(
        ClipQwenImageProcessor(size=side, crop_size=side),
        tokenizer,
        chat_template=chat_template(),
        image_side=config.patches_per_side,
    )
    if cast(int, processor.image_token_id) >= config.text.vocab_size:
        raise ModelError(
            "placeholder_differs",
            tokenizer=words,
            token=PLACEHOLDER,
            found=processor.image_token_id,
            expected=f"< {config.text.vocab_size}",
        )
    return processor


AutoImageProcessor.register(
    ClipQwenConfig,
    image_processor_classes=dict.fromkeys(("pil", "torchvision"), ClipQwenImageProcessor),
    exist_ok=True,
)
AutoProcessor.register(ClipQwenConfig, ClipQwenProcessor, exist_ok=True)
