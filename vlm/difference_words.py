"""What a comparison found in words, the same on the page and in the terminal."""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING

from vlm.strings import say

if TYPE_CHECKING:
    from vlm.alignment import Alignment
    from vlm.arrays import Size
    from vlm.compare import Region

STILL = 0.0005
"""A change of scale that nobody needs to be told."""
EQUALLY_LIGHT = 0.5
"""A difference of brightness, in steps of CIE L*, that nobody needs to be told."""
SLIGHT, MUCH = 5.0, 15.0
"""From where on one is more than slightly lighter, and much lighter."""
APART = 0.01
"""Share of a side by which the middles of two regions must differ for one to be the upper one."""


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


def brightness_words(lighter: float, language: str) -> str:
    """How much lighter or darker the second is; empty where that cannot be seen.

    Args:
        lighter: in steps of CIE L*, below 0 where it is darker.
    """
    if abs(lighter) < EQUALLY_LIGHT:
        return ""
    by = "slightly" if abs(lighter) < SLIGHT else "clearly" if abs(lighter) < MUCH else "much"
    key = f"pair.{'lighter' if lighter > 0 else 'darker'}.{by}"
    return say(key, language, value=f"{lighter:+.0f}".replace("-", "−"))


def region_places(regions: "Sequence[Region]", size: "Size", language: str) -> list[str]:
    """Where each region lies, no two in the same words: "middle (upper)", "middle (lower)".

    The place of a region is the ninth of the picture that its middle lies in. Those of one ninth
    are told apart by which lies further up or left, or, where they lie in each other, by size.

    Args:
        regions: largest first.
        size: (width, height) of the first image, in whose pixels their boxes are.
    """
    middles = [_middle(region.box, size) for region in regions]
    ninths = [tuple(min(2, int(3 * share)) for share in middle) for middle in middles]
    places = []
    for at, ninth in enumerate(ninths):
        place = say(f"pair.place.{ninth[0] + 1}{ninth[1] + 1}", language)
        alike = [each for each, other in enumerate(ninths) if other == ninth]
        which = _which(alike.index(at), [middles[each] for each in alike], language)
        places.append(
            say("pair.place.which", language, place=place, which=which) if which else place
        )
    return places


def _middle(box: tuple[int, int, int, int], size: "Size") -> tuple[float, float]:
    """The middle of a box as shares of the width and of the height."""
    left, top, right, bottom = box
    return (left + right) / 2 / size[0], (top + bottom) / 2 / size[1]


def _which(at: int, middles: Sequence[tuple[float, float]], language: str) -> str:
    """What tells one of several regions from the others; empty for the only one.

    Args:
        at: its index.
        middles: as shares of width and height, of the largest region first.
    """
    count = len(middles)
    if count == 1:
        return ""
    gaps = [min(b - a for a, b in pairwise(sorted(each))) for each in zip(*middles, strict=True)]
    axis = 1 if gaps[1] >= gaps[0] else 0
    way, rank = "size", at
    if gaps[axis] >= APART:
        way = ("across", "down")[axis]
        rank = sorted(middle[axis] for middle in middles).index(middles[at][axis])
    if count == 2:
        return say(f"pair.which.{way}.{rank + 1}", language)
    return say(f"pair.which.{way}", language, number=rank + 1, count=count)
