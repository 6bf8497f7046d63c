"""Messages and photos to tensors: pictures, and as many placeholders as they have visual tokens.

What the template writes, and what the tokenizer gets:

    <|im_start|>user\\n(<image>./</image>)\\nQUESTION<|im_end|>\\n
    <|im_start|>user\\n<image_id>0</image_id><image>[<unk> x64]</image>
        <slice>[<unk> x64]</slice><slice>[<unk> x64]</slice>\\nQUESTION<|im_end|>\\n

with nothing but a line break between two rows of slices, and none before the first.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    BatchFeature,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2Tokenizer,
)
from transformers.processing_utils import _UNMARKED, MultiModalData, ProcessingKwargs
from transformers.utils.constants import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD

from vlm.backend import ImageKnob, ImageLayout, Tile
from vlm.errors import ModelError, RequestError
from vlm.families import common
from vlm.families.minicpm_v26.configuration import MiniCPMVConfig
from vlm.families.minicpm_v26.pictures import SlicingImageProcessor, SlicingKwargs
from vlm.families.minicpm_v26.slicing import slice_boxes
from vlm.messages import Image

MARK = "(<image>./</image>)"
"""What the template writes for an image."""
PLACEHOLDER = "<unk>"
STARTS, ENDS = ("<image>", "<slice>"), ("</image>", "</slice>")
TURN, TURN_END, TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
TOKENS = (PLACEHOLDER, *STARTS, *ENDS, "<image_id>", "</image_id>", TURN, TURN_END, TEXT_END)
"""What the prompt is made of besides words."""

PADDING = 0
"""Fills up a batch, and is not attended to. It is the number of an ordinary word, too: "!"."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message.role not in ('system', 'user', 'assistant') -%}
        {{- raise_exception('there is no role ' ~ message.role ~ ' here') -}}
    {%- elif message.role == 'system' and not loop.first -%}
        {{- raise_exception('a system message must be the first') -}}
    {%- elif message.role != 'system' and loop.first -%}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
    {%- endif -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {%- if message.content is string -%}
        {{- message.content -}}
    {%- else -%}
        {%- for part in message.content -%}
            {{- '' if loop.first else '\\n' -}}
            {%- if part.type == 'image' -%}
                {{- '(<image>./</image>)' -}}
            {%- elif part.type == 'text' -%}
                {{- part.text -}}
            {%- else -%}
                {{- raise_exception('there are no parts of type ' ~ part.type ~ ' here') -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' -}}
"""


class MiniCPMVProcessorKwargs(ProcessingKwargs, total=False):
    """What may be chosen for one call; a batch is filled up unless told otherwise."""

    images_kwargs: SlicingKwargs
    _defaults = {"text_kwargs": {"padding": True}}  # noqa: RUF012 # pyright: ignore


class MiniCPMVProcessor(common.CountsImages, ProcessorMixin):
    """Slices images, writes placeholders for them, and says which tokens are attended to.

    Args:
        image_processor: makes `pixel_values` and `tgt_sizes`.
        tokenizer: knows every one of `TOKENS`; pads on the left.
        chat_template: Jinja text that writes one `MARK` for each image; by default the one above.
        image_feature_size: placeholders of a picture.

    Calling it raises RequestError, naming both numbers, when the text has more or fewer marks than
    there are images.
    """

    valid_processor_kwargs = MiniCPMVProcessorKwargs
    image_token = MARK

    def __init__(
        self,
        image_processor: SlicingImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        image_feature_size: int = 64,
    ) -> None:
        self.image_feature_size = image_feature_size
        self.image_token_id = _number(tokenizer, PLACEHOLDER)
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    @property
    def unused_input_names(self) -> list[str]:
        """What the image processor returns and the model does not take."""
        return ["grids"]

    @property
    def image_knobs(self) -> tuple[ImageKnob, ...]:
        """What may be chosen about images; see `SlicingKwargs`."""
        part = cast(SlicingImageProcessor, self.image_processor)
        most = part.max_slice_nums
        return (
            ImageKnob(
                name="tiles", argument="max_slice_nums", default=most, low=1, high=max(2 * most, 9)
            ),
            ImageKnob(name="numbering", argument="use_image_id", default=part.use_image_id),
        )

    # ---- text ----

    def __call__(self, images: Any = None, text: Any = None, **settings: Any) -> BatchFeature:
        """Tensors of the model.

        Args:
            images: of each text in order, nested or not.
            text: one or several, with `MARK` where an image stands.
            **settings: `images_kwargs` and `text_kwargs`, or their entries; with `max_length` the
                tokens after so many are cut off.

        Returns:
            `input_ids` and `attention_mask` (batch, tokens), filled up with `PADDING`, and with
            images `pixel_values` and `tgt_sizes`.

        Raises:
            ValueError: a setting means nothing.
            RequestError: there are not as many marks as images, or `max_length` cuts one off.
        """
        part = cast(SlicingImageProcessor, self.image_processor)
        named = {**settings, **(settings.get("images_kwargs") or {})}
        texts = [text] if isinstance(text, str) else text
        if texts and part.chosen(named, "use_image_id"):
            texts = [numbered(each) if isinstance(each, str) else each for each in texts]
        limit = (settings.get("text_kwargs") or {}).get("max_length", settings.get("max_length"))
        if limit is not None:
            settings = {"truncation": True, **settings}
        out = super().__call__(images=images, text=texts, **settings)
        return self._masked(out, limit) if "input_ids" in out else out

    def _masked(self, out: BatchFeature, limit: int | None) -> BatchFeature:
        """With `PADDING` and the attention mask of the published code; see `attended`."""
        ids, mask = out["input_ids"], out["attention_mask"]
        rows, kept = ([list(map(int, row)) for row in each] for each in (ids, mask))
        rows = [
            [number if keep else PADDING for number, keep in zip(row, keeps, strict=True)]
            for row, keeps in zip(rows, kept, strict=True)
        ]
        cut = [limit is not None and sum(keeps) >= limit for keeps in kept]
        found = {
            "input_ids": rows,
            "attention_mask": [
                self.attended(row, may_be_begun=not short)
                for row, short in zip(rows, cut, strict=True)
            ],
        }
        for name, values in found.items():
            out[name] = torch.tensor(values) if isinstance(ids, torch.Tensor) else values
        return out

    def attended(self, ids: Sequence[int], may_be_begun: bool = True) -> list[int]:
        """1 for each token that is attended to, 0 for the others.

        The published code takes every token 0 for padding, also where somebody wrote "!". An
        answer that was begun is the exception: the model attended to all of it when it wrote it.

        Args:
            ids: of a prompt.
            may_be_begun: whether the prompt may end in an answer that was begun.
        """
        mask = [int(number != PADDING) for number in ids]
        turn, end = (_number(self.tokenizer, token) for token in (TURN, TURN_END))
        last = max((at for at, number in enumerate(ids) if number == turn), default=len(ids))
        role = self.tokenizer.encode("assistant", add_special_tokens=False)
        begun = list(ids[last + 1 : last + 1 + len(role)]) == role and end not in ids[last:]
        if begun and may_be_begun:
            mask[last:] = [1] * (len(ids) - last)
        return mask

    def image_bounds(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """(first placeholder, the one after the last) of each picture, in order.

        Raises:
            RequestError: a picture begins and does not end, or the other way about.
        """
        starts, ends = (
            {_number(self.tokenizer, token) for token in tokens} for tokens in (STARTS, ENDS)
        )
        first = [at + 1 for at, number in enumerate(ids) if number in starts]
        after = [at for at, number in enumerate(ids) if number in ends]
        if len(first) != len(after):
            raise RequestError("image_marks", starts=len(first), ends=len(after))
        return list(zip(first, after, strict=True))

    def _check_special_mm_tokens(
        self, text: list[str], text_inputs: Any, modalities: list[str]
    ) -> None:
        """Whether every placeholder of the texts is there in tokens. Raises RequestError."""
        plain = re.compile(_UNMARKED + re.escape(PLACEHOLDER))  # not those that a person typed
        for ids, each in zip(text_inputs["input_ids"], text, strict=True):
            found = list(map(int, ids)).count(self.image_token_id)
            expected = len(plain.findall(each))
            if found != expected:
                raise RequestError("image_cut", found=found, expected=expected, limit=len(ids))

    # ---- images ----

    def replace_image_token(
        self, image_inputs: Mapping[str, Any], image_idx: int, **_: object
    ) -> str:
        """What stands in the text for one image, without its number."""
        columns, rows = (int(count) for count in image_inputs["grids"][image_idx])
        return image_text((columns, rows) if columns else None, self.image_feature_size)

    def _get_num_multimodal_tokens(
        self, image_sizes: list[list[int]] | None = None, **settings: Any
    ) -> MultiModalData:
        """Placeholders of images of these (height, width); transformers asks for this."""
        part = cast(SlicingImageProcessor, self.image_processor)
        pictures = [part.plan(wide, high, settings).pictures for high, wide in image_sizes or []]
        return MultiModalData(
            num_image_tokens=[count * self.image_feature_size for count in pictures],
            num_image_patches=pictures,
        )

    def image_layout(self, image: Image, **settings: Any) -> ImageLayout:
        """The pictures of an image: the overview as its thumbnail, the slices as its tiles.

        The visual tokens of a picture are answers to learned questions and stand nowhere in it:
        they are told as one row.

        Args:
            image: of any size.
            **settings: see `SlicingKwargs`; those left out keep their defaults.
        """
        part = cast(SlicingImageProcessor, self.image_processor)
        size, tokens = image.original_size, self.image_feature_size
        how = part.plan(*size, settings)
        whole = Tile(box=(0, 0, *size), rows=1, columns=tokens)
        tiles = (whole,)
        if how.grid is not None:
            boxes = slice_boxes(size, how.grid)
            tiles = tuple(Tile(box=box, rows=1, columns=tokens) for box in boxes)
        return ImageLayout(
            original_size=size,
            sent_size=how.refined or how.overview,
            tiles=tiles,
            thumbnail=whole if how.grid is not None else None,
            thumbnail_first=True,
            placeholders=how.pictures * tokens,
            placed=False,
        )


def numbered(text: str) -> str:
    """The text with the number of each image before its mark, from 0."""
    before, *others = text.split(MARK)
    pieces = (f"<image_id>{at}</image_id>{MARK}{piece}" for at, piece in enumerate(others))
    return before + "".join(pieces)


def image_text(grid: tuple[int, int] | None, tokens: int) -> str:
    """What stands in the text for an image.

    Args:
        grid: (columns, rows) of slices; None: none.
        tokens: placeholders of a picture.
    """
    whole = f"<image>{PLACEHOLDER * tokens}</image>"
    if grid is None:
        return whole
    columns, rows = grid
    row = f"<slice>{PLACEHOLDER * tokens}</slice>" * columns
    return whole + "\n".join([row] * rows)


def _number(tokenizer: Any, token: str) -> int:
    return cast(int, tokenizer.convert_tokens_to_ids(token))


# ---- files ----


def make_processor(
    config: MiniCPMVConfig, source: str | Path, words: str | Path
) -> MiniCPMVProcessor:
    """The processor of a checkpoint; preprocessor_config.json may be absent.

    Args:
        config: of the model.
        source: folder of the checkpoint.
        words: the folder to take the tokenizer from.

    Raises:
        ModelError: there is no tokenizer, it does not know a token that the prompt needs, or
            preprocessor_config.json says something else than config.json.
    """
    tokenizer = load_tokenizer(Path(words))
    stored = _settings(Path(source) / "preprocessor_config.json")
    _compare(stored, config, source)
    settings: dict[str, Any] = {
        "max_slice_nums": config.max_slice_nums,
        "use_image_id": config.use_image_id,
        "scale_resolution": stored.get("scale_resolution", config.scale_resolution),
        "patch_size": config.vision.patch_size,
        "image_mean": stored.get("norm_mean", IMAGENET_STANDARD_MEAN),
        "image_std": stored.get("norm_std", IMAGENET_STANDARD_STD),
    }
    image_processor = SlicingImageProcessor(**settings)
    return MiniCPMVProcessor(image_processor, tokenizer, image_feature_size=config.query_num)


def _compare(stored: Mapping[str, Any], config: MiniCPMVConfig, source: str | Path) -> None:
    """Whether both files say the same, as the published code asks. Raises ModelError."""
    expected = {
        "image_feature_size": config.query_num,
        "patch_size": config.vision.patch_size,
        "use_image_id": config.use_image_id,
        "max_slice_nums": config.max_slice_nums,
        "slice_mode": config.slice_mode,
    }
    for name, value in expected.items():
        if stored.get(name, value) != value:
            raise ModelError(
                "processor_differs", source=source, name=name, found=stored[name], expected=value
            )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, which pads on the left. The published class is not needed.

    Raises:
        ModelError: there is none, or it does not know one of `TOKENS`.
    """
    if (folder / "tokenizer.json").exists():
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder)
    elif (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    else:
        raise ModelError("no_tokenizer", source=folder)
    known = tokenizer.get_vocab()
    for token in TOKENS:
        if token not in known:
            raise ModelError("token_unknown", tokenizer=folder, token=token)
    tokenizer.padding_side = "left"
    return tokenizer


def _settings(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


AutoImageProcessor.register(
    MiniCPMVConfig,
    image_processor_classes=dict.fromkeys(("pil", "torchvision"), SlicingImageProcessor),
    exist_ok=True,
)
AutoProcessor.register(MiniCPMVConfig, MiniCPMVProcessor, exist_ok=True)
