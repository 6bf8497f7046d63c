"""Messages and photos to tensors: one square of pixels an image, 196 or 64 placeholders for it.

The prompt is written by the template of the tokenizer's folder, which takes plain text; what comes
before it here makes that of messages with images:

    IMG\\nIMG\\nQUESTION        every part of a message on a line of its own

A placeholder is `<|image_pad|>` in minimind-3v. The older generations used "@" for it, which cannot
be told from one that a person typed; here it is a token of its own, read as "@" where no image is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from PIL import Image as pillow
from tokenizers import AddedToken
from transformers import (
    AutoProcessor,
    CLIPImageProcessorPil,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    SiglipImageProcessorPil,
)
from transformers.processing_utils import MultiModalData

from vlm.backend import ImageLayout, Tile
from vlm.errors import ModelError, RequestError
from vlm.families import common
from vlm.families.minimind_v import MOST_IMAGES
from vlm.families.minimind_v.configuration import AT, MiniMindVConfig
from vlm.messages import Image

PAD = "<|image_pad|>"
PLACEHOLDERS = {"seed": "<image>", "mid": "<image>", "head": PAD}
READ_AS = {"seed": ("@", AT), "mid": ("@", AT), "head": (PAD, 12)}
"""The token that stands for a part of an image upstream, and its number."""

LONGEST = 100
"""Times as long as it is wide: of a longer picture only the middle is worth resizing."""

BEFORE_TEMPLATE = """\
{%- set said = namespace(messages=[]) -%}
{%- for message in messages -%}
    {%- if message.content is string -%}
        {%- set said.messages = said.messages + [message] -%}
    {%- else -%}
        {%- set lines = namespace(all=[]) -%}
        {%- for part in message.content -%}
            {%- set line = 'PLACEHOLDER' if part.type == 'image' else part.text -%}
            {%- set lines.all = lines.all + [line] -%}
        {%- endfor -%}
        {%- set plain = {'role': message.role, 'content': lines.all | join('\\n')} -%}
        {%- set said.messages = said.messages + [plain] -%}
    {%- endif -%}
{%- endfor -%}
{%- set messages = said.messages -%}
"""
"""Goes before a published template; written twice, it changes nothing more."""


class PlainRGB:
    """Before an image processor: alpha is dropped and grey repeated, as PIL's own conversion does.

    Transformers would lay a picture with alpha on white.
    """

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> Any:
        """A picture as (height, width, 3), uint8; arrays go the way of the parent class."""
        if isinstance(image, pillow.Image):
            image = image.convert("RGB")
        return cast(Any, super()).convert_to_rgb(image, input_data_format)


class MiniMindVCropImageProcessor(PlainRGB, CLIPImageProcessorPil):
    """CLIP's pixels: the shorter side to 224, then the middle."""

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> Any:
        """As above, without the ends of a strip that would take gigabytes to resize."""
        if isinstance(image, pillow.Image):
            image = image.crop(_middle(*image.size))
        return super().convert_to_rgb(image, input_data_format)


class MiniMindVSquashImageProcessor(PlainRGB, SiglipImageProcessorPil):
    """SigLIP's pixels: the whole picture, squeezed into a square."""


def _middle(width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a picture that is not too long: (left, top, right, bottom)."""
    longest = LONGEST * min(width, height)
    left, top = (max(0, (side - longest) // 2) for side in (width, height))
    return left, top, width - left, height - top


def seen_box(width: int, height: int, side: int) -> tuple[float, float, float, float]:
    """What is left of a picture after the crop, in its own pixels: (left, top, right, bottom).

    Args:
        width, height: of the picture.
        side: of the square that comes out.
    """
    start = _middle(width, height)
    size = (start[2] - start[0], start[3] - start[1])
    resized = [int(side * length / min(size)) for length in size]
    box = []
    for first, length, long in zip(start[:2], size, resized, strict=True):
        cut = (long - side) // 2
        box.append((first + cut * length / long, first + (cut + side) * length / long))
    (left, right), (top, bottom) = box
    return left, top, right, bottom


class MiniMindVProcessor(common.CountsImages, ProcessorMixin):
    """An image processor and a tokenizer.

    Args:
        image_processor: makes `pixel_values` (images, 3, side, side), float32.
        tokenizer: knows `image_token` as one token.
        chat_template: Jinja text that writes one `image_token` for each image.
        image_token: the placeholder.
        image_side: rows, and columns, of visual tokens.
        most_images: in one conversation; None: any number.

    Calling it raises RequestError, naming both numbers, when the text has more or fewer
    placeholders than there are images, or when there are too many images.
    """

    def __init__(
        self,
        image_processor: Any,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        image_token: str = PAD,
        image_side: int = 8,
        most_images: int | None = None,
    ) -> None:
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        self.image_side = image_side
        self.most_images = most_images
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @property
    def image_seq_length(self) -> int:
        """Placeholders of an image."""
        return self.image_side**2

    def validate_inputs(self, images: Any = None, text: Any = None, **settings: Any) -> None:
        """As natively; too many images for one prompt are refused as well."""
        super().validate_inputs(images, text, **settings)
        for prompt in text or ():
            count = prompt.count(self.image_token)
            if self.most_images is not None and count > self.most_images:
                raise RequestError("images_in_all", got=count, limit=self.most_images)

    def replace_image_token(
        self, image_inputs: Mapping[str, Any], image_idx: int, **_: object
    ) -> str:
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
        """One square. CLIP's holds only the middle of a picture: its box says what is seen."""
        part = cast(Any, self.image_processor)
        crop = part.crop_size if part.do_center_crop else None
        side = int((crop or part.size)["height"])
        width, height = image.original_size
        box = seen_box(width, height, side) if crop else (0, 0, width, height)
        return ImageLayout(
            original_size=image.original_size,
            sent_size=(side, side),
            tiles=(Tile(box=box, rows=self.image_side, columns=self.image_side),),
            placeholders=self.image_seq_length,
        )


def make_processor(
    config: MiniMindVConfig, tower: Path | None, words: Path | None, source: Path
) -> MiniMindVProcessor:
    """The processor of a checkpoint; `config` learns the number of the placeholder.

    Args:
        config: of the model.
        tower: folder that may say how pixels are made.
        words: folder of the tokenizer.
        source: of the language model, for errors.

    Raises:
        ModelError: there is no tokenizer or no template in its folder, or it is another model's.
    """
    generation = config.generation
    if words is None:
        raise ModelError("tokenizer_missing", source=source, example=f"{source}+TOWER+TOKENIZER")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(words, trust_remote_code=False)
    placeholder, (token, expected) = PLACEHOLDERS[generation], READ_AS[generation]
    found = tokenizer.get_vocab().get(token)
    if found != expected:
        raise ModelError(
            "placeholder_differs", tokenizer=words, token=token, found=found, expected=expected
        )
    count = len(tokenizer) - (placeholder in tokenizer.get_vocab() and placeholder != token)
    if count != config.text.vocab_size:
        raise ModelError(
            "vocabulary_differs", tokenizer=words, found=count, expected=config.text.vocab_size
        )
    if placeholder != token:
        tokenizer.add_tokens([AddedToken(placeholder, special=True, normalized=False)])
    tokenizer.padding_side = "left"
    processor = MiniMindVProcessor(
        _image_processor(config, tower),
        tokenizer,
        chat_template=_chat_template(tokenizer, placeholder, words),
        image_token=placeholder,
        image_side=config.image_side,
        most_images=MOST_IMAGES[generation],
    )
    config.image_token_id = cast(int, processor.image_token_id)
    config.text_token_id = expected
    return processor


def _chat_template(tokenizer: PreTrainedTokenizerBase, placeholder: str, words: Path) -> str:
    own = tokenizer.chat_template
    if not isinstance(own, str):
        raise ModelError("no_chat_template", tokenizer=words)
    before = BEFORE_TEMPLATE.replace("PLACEHOLDER", placeholder)
    return own if own.startswith(before) else before + own


def _image_processor(config: MiniMindVConfig, tower: Path | None) -> Any:
    """Made for the tower's size; the filter and the colours are those of its folder, if it says."""
    said: dict[str, Any] = {}
    if tower is not None:
        said = common.read_json(str(tower), "preprocessor_config.json")
        said = said or common.read_json(str(tower), "processor_config.json")
        said = said.get("image_processor", said)
    taken: dict[str, Any] = {
        name: said[name]
        for name in ("resample", "image_mean", "image_std", "rescale_factor")
        if said.get(name) is not None
    }
    side = config.vision.image_size
    square = {"height": side, "width": side}
    if config.generation == "head":
        # The class has another filter by default than SigLIP2 was trained with.
        settings = {"resample": 2, **taken, "size": square}
        return MiniMindVSquashImageProcessor(**settings)
    settings = {**taken, "size": {"shortest_edge": side}, "crop_size": square}
    return MiniMindVCropImageProcessor(**settings)


AutoProcessor.register(MiniMindVConfig, MiniMindVProcessor, exist_ok=True)
