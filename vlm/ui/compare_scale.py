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
    return _scale("0", f"{HOTTEST:.0f}", say("pair.heat.caption", language), language)


def model_scale(difference: "FeatureDifference", size: "Size", language: str) -> str:
    """Of what a model sees, see `vlm.feature_difference.feature_heat`.

    Args:
        size: (width, height) of the first image.
    """
    floor = f"{difference.floor:.2g}"
    width, height = difference.cell(size)
    caption = say("pair.model.caption", language, floor=floor, width=width, height=height)
    return _scale(floor, "1", caption, language)


def _scale(low: str, high: str, caption: str, language: str) -> str:
    """
    Args:
        low, high: up to and from where on all is drawn in the first and in the last colour.
    """
    ends = (
        escaped(say(f"pair.scale.{end}", language, value=value))
        for end, value in (("low", low), ("high", high))
    )
    ramp = f"linear-gradient(to right, {', '.join(scale_colours())})"
    bar = f'<span class="ramp" aria-hidden="true" style="background: {ramp}"></span>'
    first, last = (f"<span>{words}</span>" for words in ends)
    return f'<p class="legend">{first}{bar}{last}</p><p class="quiet">{escaped(caption)}</p>'
