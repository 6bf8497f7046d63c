"""Boxes and points in answers: where they are in the text and on which place of which image.

In: an answer, and how its images were sent. Out: `Grounded`s in shares of the original images.
Nothing is evaluated: marks are found by the patterns of `vlm.markup`, JSON is read by `json` from
short pieces around its keys. The time is in proportion to the text, whatever stands in it.

| dialect | written as | numbers |
|---|---|---|
| tags | `<ref>cat</ref><box>[[x1, y1, x2, y2]]</box>`, `<box>(x1,y1),(x2,y2)</box>` | T |
| tokens | the same between `<\\|box_start\\|>` and `<\\|box_end\\|>` | T |
| locations | `<loc0100><loc0200><loc0300><loc0400> cat ; ...`: y1 x1 y2 x2 | of 1024 |
| attributes | `<point x="10.5" y="20" alt="cat">cat</point>` | of 100 |
| json | `{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}`, `point_2d`: [x, y] | P |
| json_yx | `{"box_2d": [y1, x1, y2, x2]}`, `point`: [y, x] | T |

`<quad>` and `<poly>` give the box around them. All numbers of one dialect on one image have one
scale. T: shares if none is above 1, else thousandths if none is above 1000, else pixels of the
picture as it was sent. P: shares if none is above 1, else pixels of the picture as it was sent if
all fit into it, else thousandths if none is above 1000, else such pixels all the same. What lies
beyond the image is cut off; what is wholly outside, has no area, or has too few numbers is left
out. Corners in the wrong order are put right.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from vlm.backend import ImageLayout
from vlm.code_spans import split_code
from vlm.markup import readable, split_thinking
from vlm.places import MOST_PLACES, Dialect, Raw, marks, objects

Scale = Literal["share", "thousand", "pixels"]
Kind = Literal["box", "point"]

BINS = 1024
"""Of location tokens."""


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """A place of an image that an answer speaks of.

    Attributes:
        phrase: what is there; may be empty.
        start, end: of the characters of the answer that say so, phrase and marks.
        kind: "box" (left, top, right, bottom) or "point" (x, y).
        coordinates: in shares of the original image, 0 to 1, to the right and down.
        image: which one, from 0.
        said: whether there is one only, or the answer says which.
        dialect: how it was written.
        scale: how its numbers were read; None where the dialect fixes it.
        shape: tokens that describe the outline inside the box, such as `<seg012>`; not drawn.
    """

    phrase: str
    start: int
    end: int
    kind: Kind
    coordinates: tuple[float, ...]
    image: int
    said: bool
    dialect: Dialect
    scale: Scale | None = None
    shape: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """As an object of JSON."""
        return {
            **{name: getattr(self, name) for name in ("phrase", "start", "end", "kind")},
            "coordinates": [round(value, 6) for value in self.coordinates],
            **{name: getattr(self, name) for name in ("image", "said", "dialect", "scale")},
            "shape": list(self.shape),
        }


def grounded(
    answer: str,
    layouts: Sequence[ImageLayout],
    json_scale: Scale | None = None,
    unsaid: int = 0,
) -> list[Grounded]:
    """The places in an answer, in the order of the text; none where there is no image.

    What a model thinks aloud before its answer does not count.

    Args:
        answer: as the model wrote it, also unfinished.
        layouts: of the images of the conversation, in order.
        json_scale: of the numbers in JSON, where it is known; None: by the rule above.
        unsaid: which image is taken where the answer does not say, from 0.
    """
    if not layouts:
        return []
    said = split_thinking(answer)[1]
    offset = len(answer) - len(said)
    raw = sorted([*marks(said), *objects(said)], key=lambda each: each.span)[:MOST_PLACES]
    mentions = _mentions(said, len(layouts))
    groups: dict[tuple[Dialect, int, bool], list[Raw]] = {}
    for each in raw:
        key = (each.dialect, *_image_of(each, mentions, len(layouts), unsaid))
        groups.setdefault(key, []).append(each)
    found = [
        replace(place, start=place.start + offset, end=place.end + offset)
        for (dialect, image, told), places in groups.items()
        for place in _placed(dialect, places, layouts[image], image, told, json_scale)
    ]
    return sorted(found, key=lambda each: (each.start, each.end))


def speaks_of_places(answer: str) -> bool:
    """Whether there is anything in an answer that could be placed in an image."""
    said = split_thinking(answer)[1]
    return next(chain(marks(said), objects(said)), None) is not None


def to_json(places: Sequence[Grounded]) -> str:
    """A list of objects, as text."""
    return json.dumps([each.to_json() for each in places], ensure_ascii=False)


Draw = Callable[[str, tuple[int, ...]], str]
"""(words, numbers of the places that they name) -> how they are shown."""
HELD = {0xE000: "\ufffd", 0xE001: "\ufffd"}
"""Characters that stand around numbers of phrases for a moment, and what they become elsewhere."""
PHRASE = re.compile("\ue000(\\d+)\ue001")


def with_phrases(answer: str, places: Sequence[Grounded], draw: Draw) -> str:
    """An answer to be shown, as `markup.readable` makes it, its phrases drawn by `draw`.

    A phrase stands for its marks; a place without one is shown by its numbers. JSON stays as it
    is, and so do phrases in what readers of Markdown take for code.
    """
    if not places:
        return readable(answer)
    answer = answer.translate(HELD)
    phrases: list[tuple[str, tuple[int, ...]]] = []
    held: list[str] = []
    position = 0
    for start, end, numbers in _spans(places):
        named = (places[number].phrase for number in numbers)
        words = next(filter(None, named), "") or readable(answer[start:end]).strip()
        held += [answer[position:start], f"\ue000{len(phrases)}\ue001"]
        phrases.append((words, numbers))
        position = end
    shown = readable("".join([*held, answer[position:]]))

    def plain(found: re.Match[str]) -> str:
        return phrases[int(found[1])][0]

    def drawn(found: re.Match[str]) -> str:
        return draw(*phrases[int(found[1])])

    pieces, _ = split_code(shown)
    return "".join(PHRASE.sub(plain if piece.code else drawn, piece.text) for piece in pieces)


def in_text(place: Grounded) -> bool:
    """Whether `with_phrases` draws its phrase: JSON is shown as it stands."""
    return not place.dialect.startswith("json")


def _spans(places: Sequence[Grounded]) -> list[tuple[int, int, tuple[int, ...]]]:
    """(start, end, numbers of the places there) of phrases, in order, none inside another."""
    found: list[tuple[int, int, tuple[int, ...]]] = []
    for number, place in enumerate(places):
        if not in_text(place):
            continue
        if found and place.start < found[-1][1]:
            start, end, numbers = found[-1]
            found[-1] = (start, max(end, place.end), (*numbers, number))
        else:
            found.append((place.start, place.end, (number,)))
    return found


# ---- which image ----

MENTION = re.compile(
    r"\b(?:image|picture|photo)\s{0,3}#?(\d{1,3})(?!\d)|(?:图片|图像|图)\s{0,3}(\d{1,3})"
    r"|第\s{0,3}(\d{1,3})\s{0,3}(?:张|幅|个图)",
    re.IGNORECASE,
)


def _mentions(answer: str, images: int) -> list[tuple[int, int]]:
    """(place in the text, image from 0) wherever an image is named by its number."""
    if images == 1:
        return []
    named = MENTION.finditer(answer)
    found = ((each.start(), int(next(filter(None, each.groups()))) - 1) for each in named)
    return [(place, image) for place, image in found if 0 <= image < images]


def _image_of(
    place: Raw, mentions: Sequence[tuple[int, int]], images: int, unsaid: int
) -> tuple[int, bool]:
    """(which image, whether that is said): the one named last before the end of the place."""
    if images == 1:
        return 0, True
    before = bisect_left(mentions, (place.span[1], -1))
    return (mentions[before - 1][1], True) if before else (unsaid, False)


# ---- numbers to places ----


def _placed(
    dialect: Dialect,
    places: Sequence[Raw],
    layout: ImageLayout,
    image: int,
    said: bool,
    json_scale: Scale | None,
) -> Iterator[Grounded]:
    """The places of one dialect on one image, in shares of it."""
    sent = layout.sent_size or layout.original_size
    scale = json_scale if dialect == "json" and json_scale else _scale(dialect, places, sent)
    divisors = _divisors(dialect, scale, sent)
    if divisors is None:
        return
    for raw in places:
        shares = [value / divisors[axis % 2] for axis, value in enumerate(raw.numbers)]
        coordinates = _in_image(shares, layout)
        if coordinates is not None:
            yield Grounded(
                phrase=raw.phrase,
                start=raw.span[0],
                end=raw.span[1],
                kind="box" if len(coordinates) == 4 else "point",
                coordinates=coordinates,
                image=image,
                said=said,
                dialect=dialect,
                scale=scale,
                shape=raw.shape,
            )


def _scale(dialect: Dialect, places: Sequence[Raw], sent: tuple[int, int]) -> Scale | None:
    """What the numbers of one dialect on one image count; see the module's text."""
    if dialect in ("locations", "attributes"):
        return None
    most = max(max(each.numbers) for each in places)
    fits = all(
        value <= sent[axis % 2] for each in places for axis, value in enumerate(each.numbers)
    )
    if most <= 1:
        return "share"
    if dialect == "json" and fits:
        return "pixels"
    return "thousand" if most <= 1000 else "pixels"


def _divisors(
    dialect: Dialect, scale: Scale | None, sent: tuple[int, int]
) -> tuple[float, float] | None:
    if scale == "pixels":
        return float(sent[0]), float(sent[1])
    fixed = {"locations": BINS, "attributes": 100}.get(dialect)
    of = fixed or {"share": 1, "thousand": 1000}.get(scale or "share", 1)
    return float(of), float(of)


def _in_image(shares: Sequence[float], layout: ImageLayout) -> tuple[float, ...] | None:
    """From shares of the picture that was sent to shares of the original; None if not in it.

    A picture that was padded shows more than the image, one that was cropped less.
    """
    left, top, right, bottom = _frame(layout)
    width, height = layout.original_size
    x = [(left + share * (right - left)) / width for share in shares[::2]]
    y = [(top + share * (bottom - top)) / height for share in shares[1::2]]
    if len(shares) == 2:
        inside = 0 <= x[0] <= 1 and 0 <= y[0] <= 1
        return (x[0], y[0]) if inside else None
    low = [min(max(min(each), 0.0), 1.0) for each in (x, y)]
    high = [min(max(max(each), 0.0), 1.0) for each in (x, y)]
    if low[0] >= high[0] or low[1] >= high[1]:
        return None
    return low[0], low[1], high[0], high[1]


def _frame(layout: ImageLayout) -> tuple[float, float, float, float]:
    """What of the original all tiles together show, in its pixels."""
    if not layout.tiles:
        return (0, 0, *layout.original_size)
    left, top, right, bottom = zip(*(tile.box for tile in layout.tiles), strict=True)
    return min(left), min(top), max(right), max(bottom)
