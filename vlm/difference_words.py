"""What a comparison found in words, the same on the page and in the terminal."""

from functools import reduce
from typing import TYPE_CHECKING

from vlm.strings import say

if TYPE_CHECKING:
    from vlm.alignment import Alignment
    from vlm.arrays import Size

STILL = 0.0005
"""A change of scale that nobody needs to be told."""


def alignment_words(alignment: "Alignment", sizes: "tuple[Size, Size]", language: str) -> str:
    """ "Aligned: the second is turned by 2.9° clockwise, 4 % smaller, moved by 12 px."

    Args:
        alignment: of the second image on the first.
        sizes: (width, height) of both.
        language: "en" or "zh".
    """
    if alignment.state != "aligned":
        return say(f"pair.{alignment.state}", language)
    parts = []
    if abs(alignment.rotation) >= 0.05:
        key = "pair.turned" if alignment.rotation > 0 else "pair.turned_back"
        parts.append(say(key, language, degrees=f"{abs(alignment.rotation):.1f}"))
    if abs(alignment.scale - 1) > STILL:
        key = "pair.larger" if alignment.scale > 1 else "pair.smaller"
        parts.append(say(key, language, percent=f"{100 * abs(alignment.scale - 1):.1f}"))
    pixels = alignment.movement(*sizes)
    if pixels >= 1:
        parts.append(say("pair.moved", language, pixels=f"{pixels:.0f}"))
    elif not parts:
        parts.append(say("pair.hardly_moved", language))
    what = reduce(lambda one, other: say("pair.listed", language, one=one, other=other), parts)
    return say("pair.aligned", language, what=what)
