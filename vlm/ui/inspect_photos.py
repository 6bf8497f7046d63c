"""The photos in Inspect: each with its tiles over it, its thumbnail apart, and what is said of it.

In: images, what a model makes of them, where their tiles stand in the prompt. Out: HTML. What
belongs together carries the same `data-span`; assets/inspect.js lights it up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlm.backend import ImageLayout, Tile
from vlm.images import thumbnail
from vlm.inspection import TileSpan, fit, pictures
from vlm.messages import Image
from vlm.strings import say
from vlm.ui import region
from vlm.ui.context import action_button, escaped
from vlm.ui.image_numbers import Numbered

SIDE = 768
"""Longest side of a photo as it is drawn, in pixels."""
THUMBNAIL_SIDE = 192
LONGEST = 8
"""Times as wide as high, or as high as wide, that a picture is drawn at most."""
LEAST_SHARE = 0.002
"""Of an image that is said to be cut away: less is a row of pixels that rounding took."""


def photos(
    images: Sequence[Image],
    numbers: Sequence[Numbered],
    layouts: Sequence[ImageLayout | None],
    spans: Sequence[TileSpan],
    about: bool,
    language: str,
) -> str:
    """Each picture with its tiles over it, its thumbnail apart, and what is said about both.

    Args:
        images: as they were opened, in order.
        numbers: what each is called.
        layouts: of each; None while no model can say.
        spans: where their tiles stand in the prompt; empty before the run.
        about: whether those places are not exact.
        language: of the page.
    """
    several = named_apart(numbers)
    drawn = (
        _photo(
            Place(number, numbers[number - 1], several, about, language),
            image,
            layout,
            {span.tile: span for span in spans if span.image == number},
        )
        for number, (image, layout) in enumerate(zip(images, layouts, strict=True), 1)
    )
    return f'<div class="photos">{"".join(drawn)}</div>' if images else ""


def named_apart(numbers: Sequence[Numbered]) -> bool:
    """Whether it is to be said which image is meant: there are others, or were."""
    return len(numbers) > 1 or any(each.question for each in numbers)


@dataclass(frozen=True)
class Place:
    """Which of the pictures one is, and how it is spoken of.

    Attributes:
        image: which of those that are shown, from 1.
        called: its number for people.
        several: see `named_apart`.
        about: whether places in the prompt are not exact.
        language: of the page.
    """

    image: int
    called: Numbered
    several: bool
    about: bool
    language: str

    def tile_words(self, number: int, tile: Tile, span: TileSpan | None) -> str:
        """What is said about a tile; 0: the thumbnail."""
        count = tile.rows * tile.columns
        facts: dict[str, object] = {"number": number} if number else {}
        if span is None:
            key = "inspect.tile" if number else "inspect.thumbnail"
            said = say(key, self.language, count=count, **facts)
        else:
            ends = {"first": span.ranges[0][0], "last": span.ranges[-1][1] - 1}
            facts |= approximate(ends, self.about, self.language)
            key = "inspect.tile.at" if number else "inspect.thumbnail.at"
            said = say(key, self.language, count=count, **facts)
        if not self.several:
            return said
        called = self.called.words(self.language)
        return f"{say('inspect.photo', self.language, number=called)} · {said}"

    def mark(self, tile: int) -> str:
        """A tile in a few letters."""
        mark = str(tile) if tile else say("inspect.thumbnail.mark", self.language)
        return f"{self.called.mark}·{mark}" if self.several else mark


def approximate(places: Mapping[str, int], about: bool, language: str) -> dict[str, object]:
    """Places in the prompt, marked where they are not exact."""
    if not about:
        return dict(places)
    return {name: say("inspect.about", language, count=at) for name, at in places.items()}


def _photo(
    place: Place, image: Image, layout: ImageLayout | None, spans: Mapping[int, TileSpan]
) -> str:
    head = _photo_head(place, image) if place.several else ""
    shown = f'<img src="{thumbnail(image, SIDE)}" alt="{escaped(image.name)}">'
    cutting = region.tools(image, place.language)
    aspect = drawn_aspect(image)
    tiles = below = ""
    if layout is not None:
        tiles = "".join(
            _tile(place, number, tile, layout.original_size, spans.get(number))
            for number, tile in pictures(layout)
            if number
        )
        facts = "".join(f"<li>{escaped(each)}</li>" for each in _facts(layout, place.language))
        whole = _thumbnail(place, image, layout, spans.get(0)) if layout.thumbnail else ""
        below = f'{whole}<ul class="facts">{facts}</ul>'
    width, height = image.original_size
    if not math.isclose(aspect, width / height):
        stretched = escaped(say("inspect.stretched", place.language))
        below = f'<p class="quiet">{stretched}</p>{below}'
    return (
        f'<div class="seen">{head}<div class="picture" style="--aspect:{aspect:.4f}">'
        f"{shown}{tiles}</div>{cutting}{below}</div>"
    )


def drawn_aspect(image: Image) -> float:
    """Width by height of a picture as it is drawn: of a line something is to be seen too."""
    width, height = image.original_size
    return min(max(width / height, 1 / LONGEST), LONGEST)


def _photo_head(place: Place, image: Image) -> str:
    """Its number and name, and the button that takes it out."""
    called = place.called.words(place.language)
    named = say("looked.image", place.language, number=called, name=image.name)
    away = say("inspect.photo.out", place.language, number=called)
    button = action_button("take_out", "×", away, name=place.image)
    return f'<div class="bar"><span class="named">{escaped(named)}</span>{button}</div>'


def _tile(
    place: Place, number: int, tile: Tile, size: tuple[int, int], span: TileSpan | None
) -> str:
    """A tile as a button over the picture: it can be pointed at and reached by keys."""
    width, height = size
    left, top, right, bottom = tile.box
    where = (
        f"left:{100 * left / width:.3f}%;top:{100 * top / height:.3f}%;"
        f"width:{100 * (right - left) / width:.3f}%;height:{100 * (bottom - top) / height:.3f}%"
    )
    label = escaped(place.tile_words(number, tile, span))
    return (
        f'<button type="button" class="tile" style="{where}" '
        f'data-span="{place.image}-{number}" aria-label="{label}" title="{label}">'
        f"<span>{number}</span></button>"
    )


def _thumbnail(place: Place, image: Image, layout: ImageLayout, span: TileSpan | None) -> str:
    assert layout.thumbnail is not None
    when = "inspect.thumbnail.first" if layout.thumbnail_first else "inspect.thumbnail.last"
    label = escaped(place.tile_words(0, layout.thumbnail, span))
    source = thumbnail(image, THUMBNAIL_SIDE)
    return (
        f'<button type="button" class="thumbnail" data-span="{place.image}-0" '
        f'aria-label="{label}" title="{label}"><img src="{source}" alt="">'
        f"<span>{escaped(say(when, place.language))}</span></button>"
    )


def _facts(layout: ImageLayout, language: str) -> list[str]:
    width, height = layout.original_size
    size: dict[str, object] = {"width": width, "height": height}
    if layout.sent_size is None:
        facts = [say("inspect.size.unknown", language, **size)]
    else:
        sent = {"to_width": layout.sent_size[0], "to_height": layout.sent_size[1]}
        facts = [say("inspect.size", language, **size, **sent)]
    facts += _fitted(layout, language)
    facts.append(say("inspect.tokens", language, count=layout.placeholders))
    if not layout.tiles:
        return [*facts, say("inspect.tiles.unknown", language)]
    first = layout.tiles[0]
    facts += _pieces(layout, language)
    grid = {"rows": first.rows, "columns": first.columns}
    queries = first.rows == 1 and first.columns > 1
    key = "inspect.tokens.queries" if queries else "inspect.tokens.grid"
    facts.append(say(key, language, **({} if queries else grid)))
    if layout.alpha != "none":
        facts.append(say(f"image.alpha.{layout.alpha}", language))
    return facts


def _fitted(layout: ImageLayout, language: str) -> list[str]:
    """Whether it was squeezed, cropped or filled up to the size that is sent, in figures."""
    found = fit(layout)
    if found is None:
        return []
    facts = []
    if found.squeezed:
        key = "inspect.narrower" if found.after < found.before else "inspect.flatter"
        ratios = {"before": ratio(found.before), "after": ratio(found.after)}
        facts.append(say(key, language, **ratios))
    else:
        facts.append(say("inspect.proportions", language))
    if found.cut > LEAST_SHARE:
        width, height = (round(side) for side in found.seen)
        share = _percent(found.cut)
        facts.append(say("inspect.cropped", language, width=width, height=height, share=share))
    if found.border > LEAST_SHARE:
        facts.append(say("inspect.padded", language, share=_percent(found.border)))
    return facts


def ratio(proportions: float) -> str:
    """Width by height: "1.5 : 1", "1 : 2"."""
    wide = proportions >= 1
    number = proportions if wide else 1 / proportions
    shown = f"{number:.0f}" if number >= 100 else f"{number:.3g}"
    return f"{shown} : 1" if wide else f"1 : {shown}"


def _percent(share: float) -> str:
    """Never 100: something is left."""
    return f"{min(100 * share, 99):.0f}" if share > 0.1 else f"{100 * share:.1f}"


def _pieces(layout: ImageLayout, language: str) -> list[str]:
    """How many pictures an image became, and the tokens of each; nothing of one."""
    counts = {number: tile.rows * tile.columns for number, tile in pictures(layout)}
    if len(counts) == 1:
        return []
    other = counts.pop(0, None)
    of_tiles = set(counts.values())
    if other is None:
        facts = [say("inspect.tiles", language, count=len(counts))]
    elif len(counts) == 1:
        facts = [say("inspect.tiles.one", language)]
    else:
        facts = [say("inspect.tiles.thumbnail", language, count=len(counts))]
    if len(of_tiles) > 1:
        return facts
    (each,) = of_tiles
    if other in (None, each):
        return [*facts, say("inspect.tokens.each", language, count=each)]
    return [*facts, say("inspect.tokens.apart", language, count=each, other=other)]
