"""What the colours of the heat maps mean: a bar with its numbers, and a sentence, as HTML."""

from typing import TYPE_CHECKING

from vlm.difference_pictures import HOTTEST, scale_colours
from vlm.strings import say
from vlm.ui.context import escaped

if TYPE_CHECKING:
    from vlm.arrays import Size
    from vlm.feature_difference import FeatureDifference


def pixel_scale(language: str) -> str:
    """Of the differences of colour, see `vlm.compare.colour_difference`."""
    low = say("pair.scale.same", language, value=0)
    return _scale(low, f"{HOTTEST:.0f}", say("pair.heat.caption", language), language)


def model_scale(difference: "FeatureDifference", size: "Size", language: str) -> str:
    """Of what a model sees, see `vlm.feature_difference.feature_heat`.

    Args:
        size: (width, height) of the first image.
    """
    floor = f"{difference.floor:.2g}"
    width, height = difference.cell(size)
    caption = say("pair.model.caption", language, floor=floor, width=width, height=height)
    return _scale(say("pair.scale.low", language, value=floor), "1", caption, language)


def _scale(low: str, high: str, caption: str, language: str) -> str:
    """
    Args:
        low: what is drawn in the first colour, in words.
        high: from where on all is drawn in the last colour.
        caption: what the numbers are.
        language: of the page.
    """
    ends = map(escaped, (low, say("pair.scale.high", language, value=high)))
    ramp = f"linear-gradient(to right, {', '.join(scale_colours())})"
    bar = f'<span class="ramp" aria-hidden="true" style="background: {ramp}"></span>'
    first, last = (f"<span>{words}</span>" for words in ends)
    return f'<p class="legend">{first}{bar}{last}</p><p class="quiet">{escaped(caption)}</p>'
