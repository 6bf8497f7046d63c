"""Where a model looked for a word of its answer, as maps over the images. Only numpy here.

In: an `Explanation` of a backend that `Explains`, and which of its tokens count. Out: a map over
each image, cells to draw, a picture. All words of an answer come from the one explanation: nothing
is run again for another word.

By attention a map is the share of the tokens' attention that lands on each place. By occlusion it
is what the tokens' log-probability loses without it. Neither proves why a word was said: attention
is one of many ways in which an image reaches an answer (Jain and Wallace, "Attention is not
Explanation", NAACL 2019), and without a patch another may serve.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy
from numpy import ndarray

from vlm.arrays import Size, brightness, fitted, plain, shrunk
from vlm.difference_pictures import veiled
from vlm.errors import RequestError
from vlm.explanation import Explanation, Sight
from vlm.messages import Image, Pixels

LONGEST_SIDE = 1024
"""Of a picture of a map, in pixels."""


@dataclass(frozen=True)
class Cell:
    """One place of an image and its value.

    Attributes:
        box: (left, top, right, bottom) in pixels of the original; what was padded lies outside.
        value: by attention, the share of the tokens' attention; by occlusion, in nats.
        strength: of the value among its kind, 0 to 1: tiles of the largest value have 1, of a
            thumbnail or of tiles of other sizes by value per area. Values below 0 have 0.
    """

    box: tuple[float, float, float, float]
    value: float
    strength: float


def tokens_within(explanation: Explanation, start: int, end: int) -> tuple[int, ...]:
    """The numbers of the tokens that have characters between two places of the answer.

    Raises:
        RequestError: there are none.
    """
    found = tuple(
        number
        for number, token in enumerate(explanation.tokens)
        if token.start < end and token.end > start
    )
    if not found:
        raise RequestError(
            "word_not_in_answer", word=explanation.answer[start:end], answer=explanation.answer
        )
    return found


def find_word(explanation: Explanation, word: str) -> tuple[int, ...]:
    """The tokens of the first place where the answer has a word, whatever the case of letters.

    A place where it stands alone goes before one within another word.

    Raises:
        RequestError: the answer does not have it.
    """
    answer, wanted = explanation.answer.casefold(), word.strip().casefold()
    places = []
    at = answer.find(wanted) if wanted else -1
    while at >= 0 and len(answer) == len(explanation.answer):
        places.append(at)
        at = answer.find(wanted, at + 1)
    if not places:
        raise RequestError("word_not_in_answer", word=word, answer=explanation.answer)

    def joined(place: int) -> bool:
        around = answer[:place][-1:] + answer[place + len(wanted) :][:1]
        return any(each.isalnum() for each in around)

    best = min(places, key=lambda place: (joined(place), place))
    return tokens_within(explanation, best, best + len(wanted))


def words(explanation: Explanation) -> list[tuple[str, tuple[int, ...]]]:
    """The answer in pieces to point at: (text, its tokens), all characters in order.

    A piece is a run of tokens up to the next that begins with a space, or that has letters where
    the last had none.
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    position = 0
    for number, token in enumerate(explanation.tokens):
        text = explanation.answer[position : max(position, token.end)]
        position = max(position, token.end)
        if found and not _begins(explanation, number, text, found[-1][0]):
            found[-1] = (found[-1][0] + text, (*found[-1][1], number))
        else:
            found.append((text, (number,)))
    if found and position < len(explanation.answer):
        found[-1] = (found[-1][0] + explanation.answer[position:], found[-1][1])
    return found


def _begins(explanation: Explanation, number: int, text: str, before: str) -> bool:
    token, last = explanation.tokens[number], explanation.tokens[number - 1]
    if (token.start, token.end) == (last.start, last.end) or not text:
        return False  # both are parts of one character
    return text[0].isspace() or before[-1:].isspace() or text[0].isalnum() != before[-1:].isalnum()


def values(sight: Sight, tokens: Sequence[int] | None = None) -> ndarray:
    """One number for each cell, float32 (cells,), of some tokens or of all.

    By attention the mean over the tokens, so that words of any length compare; by occlusion the
    sum, which is what the words together lose.
    """
    chosen = sight.weights if tokens is None else sight.weights[list(tokens)]  # (tokens, cells)
    return chosen.sum(0) if sight.grain == "patch" else chosen.mean(0)


def contrast(sight: Sight) -> Sight:
    """The same image with what each token has more than the answer on average.

    Some places draw attention whatever is said. Where two objects are in an image, a word's own
    map often lies on the more striking one; what it has beyond the rest of the answer lies on its
    own. Compared are shares of the attention that goes to this image at all; what is less than
    the average is below 0. Similar in idea: relative attention in Zhang et al., "MLLMs Know Where
    to Look" (ICLR 2025). By occlusion no place is favoured, and it is returned as it is.
    """
    if sight.grain == "patch":
        return sight
    sums = sight.weights.sum(1, keepdims=True)  # (tokens, 1)
    shares = sight.weights / numpy.maximum(sums, 1e-12)  # (tokens, cells)
    return replace(sight, weights=shares - shares.mean(0))


def heat(
    sight: Sight,
    tokens: Sequence[int] | None = None,
    size: Size | None = None,
    smooth: bool = False,
) -> ndarray:
    """A map over the original picture.

    Args:
        sight: of the image.
        tokens: that count; None: all.
        size: (width, height) of the map; None: the original's, at most `LONGEST_SIDE`.
        smooth: from the middle of one cell to the next without steps, to look at; else every place
            has the value of its cell.

    Returns:
        float32 (height, width). By attention its sum is the share of attention that lands on the
        picture: each cell's is spread evenly over its place, tiles and thumbnail added up (smooth
        maps only nearly). By occlusion it is the loss in nats at each place.
    """
    return heats(sight, [tokens], size or fitted(sight.original_size, LONGEST_SIDE), smooth)[0]


def heats(
    sight: Sight,
    groups: Sequence[Sequence[int] | None],
    size: Size,
    smooth: bool = False,
) -> ndarray:
    """A map, as `heat` gives it, for each of several groups of tokens.

    Args:
        sight: of the image.
        groups: the tokens that count; None: all.
        size: (width, height) of the maps.
        smooth: see `heat`.

    Returns:
        float32 (groups, height, width).
    """
    width, height = size
    numbers, start = numpy.stack([values(sight, each) for each in groups]), 0  # (groups, cells)
    total = numpy.zeros((len(groups), height, width), numpy.float32)
    across, down = (
        (side / whole) for side, whole in zip((width, height), sight.original_size, strict=True)
    )
    for tile in sight.tiles:
        count = tile.rows * tile.columns
        grid = numbers[:, start : start + count].reshape(-1, tile.rows, tile.columns)
        start += count
        left, top, right, bottom = tile.box
        rows = _cover(height, top * down, bottom * down, tile.rows, smooth)  # (height, rows)
        columns = _cover(width, left * across, right * across, tile.columns, smooth)
        if sight.grain != "patch":  # from a whole to what each pixel has of it
            rows = rows * tile.rows / max((bottom - top) * down, 1e-9)
            columns = columns * tile.columns / max((right - left) * across, 1e-9)
        total += (rows @ grid @ columns.T).astype(numpy.float32)  # (groups, height, width)
    return total


def _cover(pixels: int, start: float, end: float, cells: int, smooth: bool) -> ndarray:
    """How much of each pixel (pixels, cells) lies in each of equal cells from start to end.

    Smooth: how much each cell counts at the middle of each pixel, by way of their middles.
    """
    edges = numpy.linspace(start, end, cells + 1)
    low = numpy.arange(pixels)[:, None]
    if not smooth:
        common = numpy.minimum(edges[1:], low + 1) - numpy.maximum(edges[:-1], low)
        return numpy.clip(common, 0, 1)  # (pixels, cells)
    middle = low[:, 0] + 0.5
    inside = (middle >= start) & (middle <= end)
    middles = (edges[1:] + edges[:-1]) / 2
    units = numpy.eye(cells)
    shares = numpy.stack([numpy.interp(middle, middles, unit) for unit in units], axis=1)
    return shares * inside[:, None]  # (pixels, cells)


def cells(sight: Sight, tokens: Sequence[int] | None = None) -> list[Cell]:
    """The places of an image with their values, tile by tile, row by row, to be drawn as boxes."""
    numbers = values(sight, tokens).tolist()
    boxes = [box for tile in sight.tiles for box in _boxes(tile.box, tile.rows, tile.columns)]
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in boxes]
    per_area = [max(0.0, n) / max(a, 1e-9) for n, a in zip(numbers, areas, strict=True)]
    most = max(per_area, default=0.0) or 1.0
    return [
        Cell(box, number, density / most)
        for box, number, density in zip(boxes, numbers, per_area, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class WordMaps:
    """Small maps of one image: of the whole answer first, then of each of its words.

    Attributes:
        own: uint8 (1 + words, rows, columns). 255 is the largest value of the word's maps of all
            images, by attention for each part of an image that is as large; below 0 counts as 0.
        beyond: the same of `contrast`; of the whole answer, its own map.
        shares: float32 (1 + words,). By attention, how much of it lands on the image; by
            occlusion, the most nats that are lost at one place.
    """

    own: ndarray
    beyond: ndarray
    shares: ndarray


def word_maps(explanation: Explanation, most: int) -> list[WordMaps]:
    """Maps of every word of an answer (`words`) over each image, small enough to be sent to a page.

    Args:
        explanation: of the answer.
        most: rows and columns that a map may have; it has fewer where the cells are larger.
    """
    groups = [None, *(tokens for _, tokens in words(explanation))]
    sights = explanation.sights
    sizes = [_grid(sight, most) for sight in sights]
    own = [
        _dense(heats(each, groups, size), each) for each, size in zip(sights, sizes, strict=True)
    ]
    beyond = [
        numpy.concatenate([maps[:1], _dense(heats(contrast(each), groups[1:], size), each)])
        for each, size, maps in zip(sights, sizes, own, strict=True)
    ]
    shares = [
        maps.max((1, 2)) if each.grain == "patch" else _shares(each, groups)
        for each, maps in zip(sights, own, strict=True)
    ]
    return list(map(WordMaps, _levels(own), _levels(beyond), shares))


def _grid(sight: Sight, most: int) -> Size:
    """(width, height) at which the smallest cells of an image are a pixel, `most` at most."""
    sides = []
    for axis, whole in enumerate(sight.original_size):
        counts = [tile.columns if axis == 0 else tile.rows for tile in sight.tiles]
        lengths = [tile.box[axis + 2] - tile.box[axis] for tile in sight.tiles]
        smallest = min(a / b for a, b in zip(lengths, counts, strict=True))
        sides.append(max(1, min(most, round(whole / max(smallest, 1e-9)))))
    return sides[0], sides[1]


def _dense(maps: ndarray, sight: Sight) -> ndarray:
    """Maps (groups, rows, columns) whose values compare with those of other sizes of map."""
    return maps if sight.grain == "patch" else maps * (maps.shape[1] * maps.shape[2])


def _shares(sight: Sight, groups: Sequence[Sequence[int] | None]) -> ndarray:
    return numpy.stack([values(sight, each).sum() for each in groups])  # (groups,)


def _levels(maps: Sequence[ndarray]) -> list[ndarray]:
    """Maps (groups, rows, columns) of several images as uint8, 255 for the largest of a group."""
    if not maps:
        return []
    most = numpy.max([each.max((1, 2)) for each in maps], axis=0)[:, None, None]  # (groups, 1, 1)
    most = numpy.where(most > 0, most, numpy.inf)
    return [(numpy.clip(each / most, 0, 1) * 255).round().astype(numpy.uint8) for each in maps]


def _boxes(
    box: tuple[float, float, float, float], rows: int, columns: int
) -> list[tuple[float, float, float, float]]:
    left, top, right, bottom = box
    x, y = numpy.linspace(left, right, columns + 1), numpy.linspace(top, bottom, rows + 1)
    return [
        (float(x[column]), float(y[row]), float(x[column + 1]), float(y[row + 1]))
        for row in range(rows)
        for column in range(columns)
    ]


def strength(map_: ndarray) -> ndarray:
    """A map from 0 to 1 by its own largest value; what is below 0 is 0, as nothing was lost."""
    most = float(map_.max(initial=0.0))
    return numpy.clip(map_ / most, 0, 1) if most > 0 else numpy.zeros_like(map_)


def map_picture(image: Image, sight: Sight, tokens: Sequence[int] | None = None) -> Pixels:
    """The image in pale grey and where the model looked over it in colour. RGB.

    The brightest colour is the largest value of this map: maps of two words do not compare.
    """
    size = fitted(image.original_size, LONGEST_SIDE)
    grey = brightness(shrunk(plain(image.pixels), size)) * 0.6 + 0.2  # (height, width)
    return veiled(grey, strength(heat(sight, tokens, size, smooth=True)))
