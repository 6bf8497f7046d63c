"""The photos in Inspect: each with its tiles over it, its thumbnail apart, and what is said of it.

In: images, what a model makes of them, where their tiles stand in the prompt. Out: HTML. What
belongs together carries the same `data-span`; assets/inspect.js lights it up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlm.backend import ImageLayout, Tile
from vlm.images import thumbnail
from vlm.inspection import TileSpan, pictures
from vlm.messages import Image
from vlm.strings import say
from vlm.ui import region
from vlm.ui.context import action_button, escaped
from vlm.ui.image_numbers import Numbered

SIDE = 768
"""Longest side of a photo as it is drawn, in pixels."""
THUMBNAIL_SIDE = 192


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
    width, height = image.original_size
    shown = f'<img src="{thumbnail(image, SIDE)}" alt="{escaped(image.name)}">'
    cutting = region.tools(image, place.language)
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
    return (
        f'<div class="seen">{head}<div class="picture" style="--aspect:{width / height:.4f}">'
        f"{shown}{tiles}</div>{cutting}{below}</div>"
    )


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
    facts.append(say("inspect.tokens", language, count=layout.placeholders))
    if not layout.tiles:
        return [*facts, say("inspect.tiles.unknown", language)]
    first = layout.tiles[0]
    facts += _pieces(layout, language)
    grid = {"rows": first.rows, "columns": first.columns}
    queries = first.rows == 1 and first.columns > 1
    key = "inspect.tokens.queries" if queries else "inspect.tokens.grid"
    facts.append(say(key, language, **({} if queries else grid)))
    seen = [edge(tile.box[side] for tile in layout.tiles) for side, edge in enumerate(EDGES)]
    if seen[0] > 0.5 or seen[1] > 0.5 or width - seen[2] > 0.5 or height - seen[3] > 0.5:
        facts.append(say("inspect.cropped", language))
    if layout.alpha != "none":
        facts.append(say(f"image.alpha.{layout.alpha}", language))
    return facts


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


EDGES = (min, min, max, max)
