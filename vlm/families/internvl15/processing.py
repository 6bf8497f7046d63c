"""Messages and photos to tensors: tiles, and as many placeholders as they have visual tokens.

What the template writes, and what the tokenizer gets:

    <|im_start|>user\\n<IMG_CONTEXT>\\nQUESTION<|im_end|>
    <|im_start|>user\\n<img>[<IMG_CONTEXT> x256 for each tile]</img>\\nQUESTION<|im_end|>
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
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.templates import (
    PLACEHOLDER,
    chat_template,
    find_template,
    image_text,
)
from vlm.families.internvl15.tiling import TilingImageProcessor, square_box, tile_boxes
from vlm.families.internvl15.tokenizer import load_tokenizer
from vlm.messages import Image

MOST_TILES = 40
"""The published code goes so far when it answers; training had 12."""


class InternVLChatProcessor(common.CountsImages, ProcessorMixin):
    """Cuts images into tiles and writes placeholders for them.

    Args:
        image_processor: makes `pixel_values` (tiles, 3, side, side), float32.
        tokenizer: knows `<IMG_CONTEXT>` as one token; pads on the left.
        chat_template: Jinja text that writes one `<IMG_CONTEXT>` for each image.
        tile_side: rows, and columns, of visual tokens of a tile.

    Calling it raises RequestError, naming both numbers, when the text has more or fewer
    placeholders than there are images.
    """

    image_token = PLACEHOLDER

    def __init__(
        self,
        image_processor: TilingImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        tile_side: int = 16,
    ) -> None:
        self.tile_side = tile_side
        self.image_token_id = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @property
    def tokens_per_tile(self) -> int:
        """Placeholders that a tile takes."""
        return self.tile_side**2

    @property
    def unused_input_names(self) -> list[str]:
        """What the image processor returns and the model does not take."""
        return ["num_patches"]

    @property
    def image_knobs(self) -> tuple[ImageKnob, ...]:
        """What may be chosen about images; see `TilingKwargs`."""
        part = cast(TilingImageProcessor, self.image_processor)
        return (
            ImageKnob(
                name="tiles",
                default=part.tiles,
                low=max(part.min_tiles, 1),
                high=max(part.tiles, MOST_TILES),
            ),
            ImageKnob(name="thumbnail", default=part.thumbnail),
            ImageKnob(name="splitting", default=part.splitting),
            ImageKnob(name="padding", default=part.padding),
        )

    def replace_image_token(
        self, image_inputs: Mapping[str, Any], image_idx: int, **_: object
    ) -> str:
        """What stands in the text for one image, thumbnail included."""
        return image_text(int(image_inputs["num_patches"][image_idx]), self.tokens_per_tile)

    def _get_num_multimodal_tokens(
        self, image_sizes: list[list[int]] | None = None, **settings: Any
    ) -> MultiModalData:
        """Placeholders of images of these (height, width); transformers asks for this."""
        tiles = [self._count_tiles(width, height, settings) for height, width in image_sizes or []]
        return MultiModalData(
            num_image_tokens=[count * self.tokens_per_tile for count in tiles],
            num_image_patches=tiles,
        )

    def _count_tiles(self, width: int, height: int, settings: dict[str, Any]) -> int:
        part = cast(TilingImageProcessor, self.image_processor)
        columns, rows = part.grid(width, height, settings)
        thumbnail = part.chosen(settings, "thumbnail") and columns * rows > 1
        return columns * rows + int(thumbnail)

    def image_layout(self, image: Image, **settings: Any) -> ImageLayout:
        """The tiles of an image in the order in which the model reads them.

        Args:
            image: of any size.
            **settings: knobs of `image_knobs` by name; those left out keep their defaults.
        """
        part = cast(TilingImageProcessor, self.image_processor)
        width, height = image.original_size
        grid = part.grid(width, height, settings)
        count = self._count_tiles(width, height, settings)
        side, tokens = int(part.size["height"]), self.tile_side
        boxes = tile_boxes(width, height, grid)
        if part.chosen(settings, "padding") and not part.chosen(settings, "splitting"):
            boxes = [square_box(width, height)]
        tiles = tuple(Tile(box=box, rows=tokens, columns=tokens) for box in boxes)
        whole = Tile(box=(0, 0, width, height), rows=tokens, columns=tokens)
        return ImageLayout(
            original_size=image.original_size,
            sent_size=(side * grid[0], side * grid[1]),
            tiles=tiles,
            thumbnail=whole if count > len(tiles) else None,
            placeholders=count * self.tokens_per_tile,
        )


def make_processor(
    config: InternVLChatConfig, source: str, words: str | Path
) -> InternVLChatProcessor:
    """The processor of a checkpoint, from its configuration and tokenizer alone.

    Args:
        config: of the model: tiles, prompt format, number of placeholders.
        source: of the checkpoint, for errors.
        words: the folder to take the tokenizer from.

    Raises:
        ModelError: there is no tokenizer, it does not know a token that the prompt needs, or
            the prompt format is unknown.
    """
    template = find_template(config.template, source)
    tokenizer = load_tokenizer(words)
    for token in (PLACEHOLDER, template.stop_token):
        if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id):
            raise ModelError("token_unknown", tokenizer=words, token=token)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    settings: dict[str, Any] = {
        "size": {"height": config.tile_size, "width": config.tile_size},
        "splitting": config.dynamic_image_size,
        "tiles": config.max_dynamic_patch,
        "min_tiles": config.min_dynamic_patch,
        "thumbnail": config.use_thumbnail,
        "padding": config.pad2square,
    }
    image_processor = TilingImageProcessor(**settings)
    return InternVLChatProcessor(
        image_processor,
        tokenizer,
        chat_template=chat_template(template, config.system_message),
        tile_side=config.tile_side,
    )


AutoImageProcessor.register(
    InternVLChatConfig,
    image_processor_classes=dict.fromkeys(("pil", "torchvision"), TilingImageProcessor),
    exist_ok=True,
)
AutoProcessor.register(InternVLChatConfig, InternVLChatProcessor, exist_ok=True)
