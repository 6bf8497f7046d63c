"""Images to tiles: which grid, what is cut, which pixels come out.

In: pictures of any size. Out: `pixel_values` (tiles, 3, side, side) float32, row by row, the
thumbnail last, and how many each picture has. By PIL and numpy, also where torchvision is there.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy
from PIL import Image as pillow
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_base import BatchFeature
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from vlm.messages import Pixels

Grid = tuple[int, int]
"""(columns, rows)."""
Box = tuple[float, float, float, float]


class TilingKwargs(ImagesKwargs, total=False):
    """What may be chosen for one call.

    Attributes:
        splitting: whether an image is cut into tiles.
        tiles: at most so many of one image, its thumbnail not counted.
        min_tiles: at least so many.
        thumbnail: whether the whole image follows its tiles, if there is more than one.
        padding: whether an image that is not cut is padded to a square first.
    """

    splitting: bool
    tiles: int
    min_tiles: int
    thumbnail: bool
    padding: bool


@lru_cache(maxsize=64)
def candidate_grids(fewest: int, most: int) -> tuple[Grid, ...]:
    """All grids of so many tiles, by their number."""
    grids = [
        (columns, rows)
        for columns in range(1, most + 1)
        for rows in range(1, most // columns + 1)
        if fewest <= columns * rows
    ]
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))


def choose_grid(width: int, height: int, side: int, fewest: int, most: int) -> Grid:
    """The grid whose shape is nearest to the image's.

    Of grids equally near the larger one is taken if the image has more than half of its pixels.

    Args:
        width, height: of the image in pixels.
        side: of a tile in pixels.
        fewest, most: tiles.

    Source: `dynamic_preprocess` of OpenGVLab/InternVL.
    """
    best, smallest = (1, 1), float("inf")
    for columns, rows in candidate_grids(fewest, most):
        difference = abs(width / height - columns / rows)
        large = width * height > 0.5 * side * side * columns * rows
        if difference < smallest or (difference == smallest and large):
            best, smallest = (columns, rows), difference
    return best


def square_box(width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the square around an image, in its own pixels."""
    longer = max(width, height)
    left, top = -((longer - width) // 2), -((longer - height) // 2)
    return left, top, left + longer, top + longer


def tile_boxes(width: float, height: float, grid: Grid) -> list[Box]:
    """(left, top, right, bottom) of each tile in pixels of the image, row by row."""
    columns, rows = grid
    across, down = width / columns, height / rows
    return [
        (column * across, row * down, (column + 1) * across, (row + 1) * down)
        for row in range(rows)
        for column in range(columns)
    ]


class TilingImageProcessor(PilBackend):
    """The image part of the processor; see `TilingKwargs`."""

    valid_kwargs = TilingKwargs
    model_input_names = ["pixel_values"]  # noqa: RUF012 - as in its base class
    resample = PILImageResampling.BICUBIC
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"height": 448, "width": 448}  # noqa: RUF012
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    splitting = True
    tiles = 12
    min_tiles = 1
    thumbnail = True
    padding = False

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> Any:
        """Drops transparency, where the native way would lay the picture on white."""
        if isinstance(image, pillow.Image):
            return numpy.asarray(image.convert("RGB"))  # (height, width, 3)
        return super().convert_to_rgb(image, input_data_format)

    def grid(self, width: int, height: int, settings: dict[str, Any]) -> Grid:
        """How an image is cut under these settings; those left out keep their defaults."""
        if not self.chosen(settings, "splitting"):
            return 1, 1
        side, most = int(settings.get("size", self.size)["height"]), self.chosen(settings, "tiles")
        fewest = min(self.chosen(settings, "min_tiles"), most)
        return choose_grid(width, height, side, fewest, most)

    def chosen(self, settings: dict[str, Any], name: str) -> Any:
        """The value of a setting for one call."""
        value = settings.get(name)
        return getattr(self, name) if value is None else value

    def _preprocess(
        self,
        images: list[numpy.ndarray],
        size: SizeDict,
        resample: Any,
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        thumbnail: bool,
        padding: bool,
        return_tensors: Any = None,
        **settings: Any,
    ) -> BatchFeature:
        side = size["height"]
        found: list[numpy.ndarray] = []
        counts: list[int] = []
        for image in images:
            picture = pillow.fromarray(numpy.ascontiguousarray(image.transpose(1, 2, 0)))
            grid = self.grid(*picture.size, {**settings, "size": size})
            if padding and not settings["splitting"]:
                picture = _padded(picture, image_mean)
            tiles = list(_cut(picture, grid, side, resample))
            if thumbnail and len(tiles) > 1:
                tiles.append(_resized(picture, side, side, resample))
            found += tiles
            counts.append(len(tiles))
        pixels = numpy.stack(found).astype(numpy.float32) / numpy.float32(255)
        mean, deviation = (
            numpy.asarray(values, dtype=numpy.float32) for values in (image_mean, image_std)
        )
        pixels = ((pixels - mean) / deviation).transpose(0, 3, 1, 2)  # (tiles, 3, side, side)
        values = {"pixel_values": numpy.ascontiguousarray(pixels), "num_patches": counts}
        return BatchFeature(data=values, tensor_type=return_tensors)


def _resized(picture: Pixels, width: int, height: int, resample: Any) -> numpy.ndarray:
    return numpy.asarray(picture.resize((width, height), pillow.Resampling(int(resample))))


def _cut(picture: Pixels, grid: Grid, side: int, resample: Any) -> Iterator[numpy.ndarray]:
    """Tiles (side, side, 3) of a picture that is squeezed to the size of the grid, row by row."""
    columns, rows = grid
    whole = _resized(picture, side * columns, side * rows, resample)
    for row in range(rows):
        for column in range(columns):
            yield whole[row * side : (row + 1) * side, column * side : (column + 1) * side]


def _padded(picture: Pixels, mean: tuple[float, ...]) -> Pixels:
    """A square with the picture in its middle, on the mean colour."""
    left, top, right, bottom = square_box(*picture.size)
    colour = tuple(int(value * 255) for value in mean)
    square = pillow.new("RGB", (right - left, bottom - top), colour)
    square.paste(picture, (-left, -top))
    return square
