"""Pictures with one patch painted over, to see which patch an answer needs.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014),
section 4.2: a grey square covers one place after the other while the output is watched.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL import ImageDraw

from vlm.backend import Tile
from vlm.messages import Image, Message

PATCHES = 36
"""At most so many of an image; each costs one reading of the whole prompt."""
GREY = (128, 128, 128)


def patch_grid(size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of patches that are about square, of an image of (width, height) pixels."""
    width, height = size
    grids = [(rows, min(PATCHES // rows, width)) for rows in range(1, min(PATCHES, height) + 1)]
    return min(grids, key=lambda grid: abs(math.log(width / grid[1] * grid[0] / height)))


def patch_tile(image: Image) -> Tile:
    """The patches of an image as cells."""
    rows, columns = patch_grid(image.pixels.size)
    return Tile(box=(0, 0, *image.original_size), rows=rows, columns=columns)


def occluded(image: Image) -> Iterator[Image]:
    """The image with each patch painted over in turn, row by row."""
    tile = patch_tile(image)
    width, height = image.pixels.size
    across = [round(width * column / tile.columns) for column in range(tile.columns + 1)]
    down = [round(height * row / tile.rows) for row in range(tile.rows + 1)]
    mode = "RGBA" if image.pixels.has_transparency_data else "RGB"
    for row in range(tile.rows):
        for column in range(tile.columns):
            pixels = image.pixels.convert(mode)
            corners = (across[column], down[row], across[column + 1] - 1, down[row + 1] - 1)
            ImageDraw.Draw(pixels).rectangle(corners, fill=GREY)
            yield replace(image, pixels=pixels, sha256=f"{image.sha256} without {row}, {column}")


def with_image(messages: Sequence[Message], number: int, image: Image) -> list[Message]:
    """The conversation with another picture in place of one image, counted from 0."""
    found, seen = [], 0
    for message in messages:
        parts = []
        for part in message.parts:
            if isinstance(part, Image):
                parts.append(image if seen == number else part)
                seen += 1
            else:
                parts.append(part)
        found.append(replace(message, parts=tuple(parts)))
    return found
