"""What becomes of one image on its way into the prompt: pixels, placeholders, layout, alpha.

In: an image and `image_detail`. Out: what its processor makes of it. Only the image processor runs
here, never the tokenizer, so every thread may ask while an answer is written.
"""

import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from PIL import Image as pillow

from vlm.backend import ImageLayout, Tile
from vlm.errors import RequestError
from vlm.inspection import PixelScale
from vlm.messages import Image, Pixels
from vlm.processors import image_arguments, image_settings

Alpha = Literal["none", "dropped", "white", "black"]
ImageKey = tuple[str, tuple[tuple[str, int | bool], ...]]
"""An image by content and what was chosen for it: two with the same key look the same."""

KEPT = 512
"""Images whose layout and text are remembered: a few hundred bytes to kilobytes each."""

PROBE_SIZE = (64, 64)
HIDDEN = (200, 40, 90)
"""The colour under the transparency of a probe: far from white and from black."""


@dataclass(frozen=True)
class ImageText:
    """What stands in the prompt for an image.

    Attributes:
        text: placeholders, and whatever else the model reads around and between them.
        placeholders: how many of its tokens are replaced by features of the image.
    """

    text: str
    placeholders: int


@dataclass(frozen=True)
class ReadImage:
    """An image after its processor.

    Attributes:
        inputs: tensors such as `pixel_values`, and numbers about them.
        written: what stands for it in the prompt.
    """

    inputs: Mapping[str, Any]
    written: ImageText


def image_key(image: Image, detail: Mapping[str, int | bool]) -> ImageKey:
    """Names an image and the choices made for it."""
    return image.sha256, tuple(sorted(detail.items()))


class ImageReader:
    """Runs the image part of a processor on one image at a time, and remembers what came out.

    Args:
        processor: of the model; never changed.
        placeholder: the text of the token that features replace.
    """

    def __init__(self, processor: Any, placeholder: str) -> None:
        self._processor = processor
        self._placeholder = placeholder
        self._lock = threading.Lock()
        self._texts: OrderedDict[ImageKey, ImageText] = OrderedDict()
        self._layouts: OrderedDict[ImageKey, ImageLayout] = OrderedDict()
        self._alphas: dict[tuple[str, bool], Alpha] = {}

    def convert(self, pixels: Pixels) -> Pixels:
        """The picture as the processor can take it: in RGB where it does not see to that."""
        converts = getattr(self._processor.image_processor, "do_convert_rgb", None)
        return pixels if converts else pixels.convert("RGB")

    def read(self, image: Image, detail: Mapping[str, int | bool]) -> ReadImage:
        """Runs the image processor. Raises RequestError where it refuses."""
        arguments = image_arguments(self._processor, image_settings(self._processor, detail))
        processed, text = self._process(image.pixels, arguments)
        written = ImageText(text, text.count(self._placeholder))
        key = image_key(image, detail)
        self._keep(self._texts, key, written)
        if not hasattr(self._processor, "image_layout"):
            layout = self._describe(image, processed, arguments, written.placeholders)
            self._keep(self._layouts, key, layout)
        unused = set(self._processor.unused_input_names)
        inputs = {name: value for name, value in processed.items() if name not in unused}
        return ReadImage(inputs, written)

    def knows_text(self, image: Image, detail: Mapping[str, int | bool]) -> bool:
        """Whether `text` can answer without reading the image."""
        return self._look_up(self._texts, image_key(image, detail)) is not None

    def text(self, image: Image, detail: Mapping[str, int | bool]) -> ImageText:
        """What stands for the image in the prompt; reads it only the first time."""
        known = self._look_up(self._texts, image_key(image, detail))
        return self.read(image, detail).written if known is None else known

    def layout(self, image: Image, detail: Mapping[str, int | bool]) -> ImageLayout:
        """See `vlm.backend.Backend.image_layout`; reads the image only the first time."""
        # Checked before looking: 1 and True are one key, but not both may be a right value.
        settings = image_settings(self._processor, detail)
        key = image_key(image, detail)
        known = self._look_up(self._layouts, key)
        if known is None and hasattr(self._processor, "image_layout"):
            own = self._processor.image_layout(image, **settings)
            known = replace(own, alpha=self.alpha(image.pixels))
            self._keep(self._layouts, key, known)
        elif known is None:
            self.read(image, detail)
            known = self._look_up(self._layouts, key)
        assert known is not None
        return known

    def alpha(self, pixels: Pixels) -> Alpha:
        """What becomes of transparency; found out by trying, once for every kind of picture."""
        transparency = "transparency" in pixels.info
        if not transparency and "A" not in pixels.getbands():
            return "none"
        darkest, _ = pixels.convert("RGBA").getchannel("A").getextrema()
        if darkest == 255:
            return "none"
        kind = (pixels.mode, transparency)
        if kind not in self._alphas:
            self._alphas[kind] = self._try_alpha(_probe(*kind))
        return self._alphas[kind]

    def _try_alpha(self, probe: Pixels) -> Alpha:
        """Which opaque picture a wholly transparent one comes out like."""
        shown = self._first_tensor(probe)
        red, green, blue, _ = probe.convert("RGBA").split()
        candidates: dict[Alpha, Pixels] = {
            "dropped": pillow.merge("RGB", (red, green, blue)),
            "white": pillow.new("RGB", probe.size, "white"),
            "black": pillow.new("RGB", probe.size, "black"),
        }
        far: dict[Alpha, float] = {
            name: float((self._first_tensor(each) - shown).abs().mean())
            for name, each in candidates.items()
        }
        return min(far.items(), key=lambda item: item[1])[0]

    @functools.cached_property
    def pixel_scale(self) -> PixelScale | None:
        """How pixels become colours again; found out by trying, once.

        None where the processor does more than shift and scale each colour by itself, or does not
        hand out pictures of three colours.
        """
        try:
            return self._try_scale()
        except RequestError:  # it refuses a plain picture
            return None

    def _try_scale(self) -> PixelScale | None:
        """From a black and a white picture; a third in one colour must come out between them."""
        plain = (pillow.new("RGB", PROBE_SIZE, colour) for colour in ("black", "white", HIDDEN))
        tensors = [self._first_tensor(each).float() for each in plain]
        shape = tensors[0].shape
        if any(each.ndim < 4 or each.shape[-3] != 3 or each.shape != shape for each in tensors):
            return None
        flat = torch.stack([each.reshape(-1, *shape[-3:]) for each in tensors])
        flat = flat.transpose(1, 2).flatten(2)  # (probes, colours, pixels)
        at = (flat[1] - flat[0]).abs().argmax(1)  # (colours,): padding never differs
        black, white, hidden = flat.gather(2, at.expand(3, 3)[..., None])[..., 0]
        found = (hidden - black) / (white - black)  # (colours,)
        expected = torch.tensor(HIDDEN) / 255
        if not torch.allclose(found, expected, atol=0.02):
            return None
        low, high = (tuple(each.tolist()) for each in (black, white))
        return PixelScale(cast(Any, low), cast(Any, high))

    def _first_tensor(self, pixels: Pixels) -> torch.Tensor:
        processed, _ = self._process(pixels, image_arguments(self._processor, {}))
        return next(
            value
            for value in processed.values()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        )

    def _process(self, pixels: Pixels, arguments: Mapping[str, Any]) -> tuple[Any, str]:
        """(what the image processor returns, the text it stands for)."""
        try:
            images = self._processor.prepare_inputs_layout(images=[self.convert(pixels)])[0]
            processed, texts = self._processor._process_images(images, **arguments)
        except (ValueError, TypeError, IndexError) as error:
            raise RequestError("processor_refused", detail=str(error)[:300]) from error
        return processed, texts[0] if texts else ""

    def _describe(
        self, image: Image, processed: Any, arguments: Mapping[str, Any], placeholders: int
    ) -> ImageLayout:
        """The layout as far as the output of a native image processor tells it."""
        part = self._processor.image_processor
        values = {**vars(part), **{k: v for k, v in arguments.items() if v is not None}}
        size, tiles, thumbnail = _parts(image.original_size, processed, values, placeholders)
        return ImageLayout(
            original_size=image.original_size,
            sent_size=size,
            tiles=tiles,
            thumbnail=thumbnail,
            thumbnail_first="grids" in processed,  # see `_of_slices`
            placeholders=placeholders,
            alpha=self.alpha(image.pixels),
        )

    def _keep(self, known: "OrderedDict[ImageKey, Any]", key: ImageKey, value: object) -> None:
        with self._lock:
            known[key] = value
            known.move_to_end(key)
            while len(known) > KEPT:
                known.popitem(last=False)

    def _look_up(self, known: "OrderedDict[ImageKey, Any]", key: ImageKey) -> Any:
        with self._lock:
            if key in known:
                known.move_to_end(key)
            return known.get(key)


def _probe(mode: str, transparency: bool) -> Pixels:
    """A wholly transparent picture of a mode, with a colour under it."""
    if not transparency:
        return pillow.new("RGBA", PROBE_SIZE, (*HIDDEN, 0)).convert(mode)
    if mode == "P":
        probe = pillow.new("P", PROBE_SIZE, 0)
        probe.putpalette(HIDDEN)
        probe.info["transparency"] = 0
        return probe
    probe = pillow.new("RGB", PROBE_SIZE, HIDDEN).convert(mode)
    probe.info["transparency"] = probe.getpixel((0, 0))
    return probe


# ---- tiles, where the output of a native image processor tells them ----

Parts = tuple[tuple[int, int] | None, tuple[Tile, ...] | None, Tile | None]


def _parts(
    original: tuple[int, int], processed: Any, values: Mapping[str, Any], placeholders: int
) -> Parts:
    """(size sent, tiles, thumbnail) of one image; None for what cannot be known."""
    if (grid := processed.get("image_grid_thw")) is not None:
        _, rows, columns = (int(count) for count in grid[0])
        return _of_patches(original, (rows, columns), values, "merge_size", placeholders)
    if (positions := processed.get("image_position_ids")) is not None:
        # (1, patches, column and row); padding has -1
        columns, rows = (int(last) + 1 for last in positions[0].amax(0))
        return _of_patches(original, (rows, columns), values, "pooling_kernel_size", placeholders)
    if "target_sizes" in processed and "grids" in processed:
        sizes = [(int(rows), int(columns)) for rows, columns in processed["target_sizes"]]
        return _of_slices(original, sizes, processed["grids"][0], values, placeholders)
    pixels = processed.get("pixel_values")
    if not isinstance(pixels, torch.Tensor) or pixels.ndim < 4:
        return None, None, None
    height, width = pixels.shape[-2:]
    pictures = pixels.shape[:-3].numel()
    if "rows" in processed and "cols" in processed:
        rows, columns = processed["rows"][0][0], processed["cols"][0][0]
        if rows * columns > 0 and rows * columns + 1 == pictures:
            return _of_cut_grid(original, (width, height), (rows, columns), placeholders)
    if pictures != 1:
        return None, None, None
    box = _box_seen(original, (width, height), processed, values)
    token_grid = _token_grid(placeholders, width, height)
    if box is None or token_grid is None:
        return (width, height), None, None
    return (width, height), (Tile(box=box, rows=token_grid[0], columns=token_grid[1]),), None


def _of_patches(
    original: tuple[int, int],
    grid: tuple[int, int],
    values: Mapping[str, Any],
    merge_name: str,
    placeholders: int,
) -> Parts:
    """Any size in one piece, counted in patches of which merge x merge become a token."""
    patch, merge = values.get("patch_size"), values.get(merge_name)
    if not isinstance(patch, int) or not isinstance(merge, int):
        return None, None, None
    rows, columns = grid[0] // merge, grid[1] // merge
    size = (grid[1] * patch, grid[0] * patch)
    if rows * columns != placeholders:
        return size, None, None
    return size, _cut(original, (1, 1), (rows, columns)), None


def _of_slices(
    original: tuple[int, int],
    sizes: list[tuple[int, int]],
    grid: tuple[int, int],
    values: Mapping[str, Any],
    placeholders: int,
) -> Parts:
    """The whole image, then slices of it row by row, each counted in patches (rows, columns)."""
    patch, (whole, *slices) = values.get("patch_size"), sizes
    patches = sum(rows * columns for rows, columns in sizes)
    merge = math.isqrt(patches // placeholders) if placeholders else 0
    if not isinstance(patch, int) or merge**2 * placeholders != patches or len(set(slices)) > 1:
        return None, None, None
    if len(slices) != grid[0] * grid[1] or any(side % merge for size in sizes for side in size):
        return None, None, None
    tokens = [(rows // merge, columns // merge) for rows, columns in sizes]
    if not slices:
        return (whole[1] * patch, whole[0] * patch), _cut(original, (1, 1), tokens[0]), None
    sent = (slices[0][1] * grid[1] * patch, slices[0][0] * grid[0] * patch)
    (thumbnail,) = _cut(original, (1, 1), tokens[0])
    return sent, _cut(original, grid, tokens[1]), thumbnail


def _of_cut_grid(
    original: tuple[int, int], size: tuple[int, int], grid: tuple[int, int], placeholders: int
) -> Parts:
    """Equal tiles row by row, then the whole image once more."""
    rows, columns = grid
    sent = (size[0] * columns, size[1] * rows)
    tokens = _token_grid(placeholders // (rows * columns + 1), *size)
    if tokens is None or tokens[0] * tokens[1] * (rows * columns + 1) != placeholders:
        return sent, None, None
    (thumbnail,) = _cut(original, (1, 1), tokens)
    return sent, _cut(original, grid, tokens), thumbnail


def _cut(
    original: tuple[int, int], grid: tuple[int, int], tokens: tuple[int, int]
) -> tuple[Tile, ...]:
    """An image in rows x columns equal tiles of rows x columns tokens, row by row."""
    width, height = original[0] / grid[1], original[1] / grid[0]
    return tuple(
        Tile(
            box=(column * width, row * height, (column + 1) * width, (row + 1) * height),
            rows=tokens[0],
            columns=tokens[1],
        )
        for row in range(grid[0])
        for column in range(grid[1])
    )


def _box_seen(
    original: tuple[int, int], sent: tuple[int, int], processed: Any, values: Mapping[str, Any]
) -> tuple[float, float, float, float] | None:
    """The part of the original that the only picture shows; None where that is not plain."""
    mask = processed.get("pixel_attention_mask")
    padded = bool(values.get("do_pad")) and not (mask is not None and bool(mask.all()))
    if not values.get("do_resize") or padded:
        return None
    if not values.get("do_center_crop"):
        return (0, 0, *original)
    size: Any = values.get("size")
    edge = size.get("shortest_edge") if hasattr(size, "get") else None
    if not edge or max(sent) > edge:
        return None
    scale = edge / min(original)
    sides = [length / scale for length in sent]
    left, top = (max((whole - side) / 2, 0.0) for whole, side in zip(original, sides, strict=True))
    return left, top, left + sides[0], top + sides[1]


def _token_grid(tokens: int, width: int, height: int) -> tuple[int, int] | None:
    """Rows and columns of so many tokens over a picture, if they divide it evenly."""
    rows = math.isqrt(tokens * height // width) if width else 0
    if rows == 0 or tokens % rows or rows * width != tokens // rows * height:
        return None
    return rows, tokens // rows
