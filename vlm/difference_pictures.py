"""Pictures of a comparison: a heat map, numbered boxes, both images in one frame."""

from typing import TYPE_CHECKING, TypeVar

import numpy
from numpy import ndarray
from PIL import Image as pillow
from PIL import ImageChops, ImageDraw, ImageFilter, ImageFont

from vlm.arrays import LUMA, covered, fitted, moved, on_white, plain, scaling, shrunk
from vlm.messages import Image, Pixels

if TYPE_CHECKING:
    from vlm.compare import Comparison

T = TypeVar("T", float, ndarray)

HOTTEST = 50.0
"""Difference of colour that is shown in the last colour; see `vlm.compare.colour_difference`."""
COLOURS = numpy.array([(0.2, 0.0, 0.35), (0.8, 0.15, 0.25), (1.0, 0.6, 0.05), (1.0, 1.0, 0.65)])
"""Of the heat map, from little difference to much: dark to light, so that it reads in grey too."""
FRAME = (255, 64, 32)
NUMBER = (255, 255, 255)


def heat_map(first: Image, comparison: "Comparison", values: ndarray | None = None) -> Pixels:
    """The first image in pale grey, the differences over it in colour.

    RGB, in the size of the arrays of the comparison. What the second does not show stays dark.

    Args:
        values: (height, width) from 0 to 1, instead of the differences of colour.
    """
    strength = comparison.difference / HOTTEST if values is None else values
    strength = numpy.clip(strength, 0, 1) * comparison.seen  # (height, width)
    grey = _faded(_working_copy(first, comparison) @ LUMA)
    grey = numpy.where(comparison.seen, grey, grey * 0.4)  # (height, width)
    return veiled(grey, strength)


def _faded(brightness: T) -> T:
    """The grey, 0 to 1, that stands under the colours for a brightness, 0 to 1."""
    return brightness * 0.5 + 0.15


def veiled(grey: ndarray, strength: ndarray) -> Pixels:
    """A grey picture (height, width) under colours for a strength (height, width), 0 to 1."""
    veil = numpy.sqrt(strength)[..., None]
    return _picture(grey[..., None] * (1 - veil) + heat_colours(strength) * veil)


def heat_colours(strength: ndarray) -> ndarray:
    """Numbers from 0 to 1 as colours of the heat map: (..., 3), 0 to 1."""
    steps = numpy.linspace(0, 1, len(COLOURS))
    return numpy.stack([numpy.interp(strength, steps, each) for each in COLOURS.T], axis=-1)


def laid_on(first: Image, second: Image, comparison: "Comparison", side: int) -> list[Pixels]:
    """Both images in the frame of the first, for a screen: RGB, or RGBA where one is see-through.

    The second is see-through where it shows nothing.

    Args:
        side: the longest that width or height may be, in pixels; neither image is enlarged.
    """
    size = fitted(first.pixels.size, side)
    scale = comparison.alignment.scale
    if scale < 1:  # the second has fewer pixels: more would show nothing
        size = fitted(size, max(1, round(max(first.pixels.size) * scale)))
    size = size if max(size) >= max(comparison.aligned.size) else comparison.aligned.size
    frame = comparison.alignment.matrix @ scaling(size, first.pixels.size)
    under, over = shrunk(plain(first.pixels), size), moved(plain(second.pixels), frame, size)
    seen = covered(frame, size, second.pixels.size, margin=0)
    if not seen.all():
        there = pillow.fromarray(seen.astype(numpy.uint8) * 255)
        there = there.filter(ImageFilter.GaussianBlur(0.8))  # no steps along its edges
        if over.mode == "RGBA":
            there = ImageChops.darker(there, over.getchannel("A"))
        over = over.convert("RGBA")
        over.putalpha(there)
    return [under, over]


def boxed(first: Image, comparison: "Comparison") -> Pixels:
    """The first image with its changed regions framed and numbered. RGB, in the same size."""
    picture = _picture(_working_copy(first, comparison))
    draw = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 300))
    font = ImageFont.load_default(max(10, max(picture.size) / 40))
    across, down = (a / b for a, b in zip(picture.size, first.pixels.size, strict=True))
    for region in comparison.regions:
        left, top, right, bottom = region.box
        corners = (left * across, top * down, right * across - 1, bottom * down - 1)
        x, y = corners[:2]
        draw.rectangle((x, y, max(x, corners[2]), max(y, corners[3])), outline=FRAME, width=width)
        text = str(region.number)
        ground = draw.textbbox((x + width, y + width), text, font=font)
        draw.rectangle((x, y, ground[2] + width, ground[3] + width), fill=FRAME)
        draw.text((x + width, y + width), text, fill=NUMBER, font=font)
    return picture


def scale_colours(steps: int = 17) -> list[str]:
    """ "#rrggbb" of a heat map from no difference to the largest, over a middle grey."""
    strength = numpy.linspace(0, 1, steps)[None]  # (1, steps)
    grey = numpy.full_like(strength, _faded(0.5))
    colours = numpy.asarray(veiled(grey, strength))[0]  # (steps, 3)
    return ["#" + bytes(colour.tolist()).hex() for colour in colours]


def _working_copy(first: Image, comparison: "Comparison") -> ndarray:
    """Colours (height, width, 3) of the first image in the size of the comparison."""
    return on_white(shrunk(plain(first.pixels), comparison.difference.shape[::-1]))[0]


def _picture(colours: ndarray) -> Pixels:
    return pillow.fromarray((numpy.clip(colours, 0, 1) * 255).round().astype(numpy.uint8))
