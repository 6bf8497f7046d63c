"""Places as answers write them, in every dialect: found in marks and in JSON, not yet placed.

In: an answer. Out: `Raw`s, numbers in the scale of their dialect; see `vlm.grounding`. Marks are
found by the patterns of `vlm.markup`, JSON is read by `json` from short pieces around its keys.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vlm.code_spans import split_code
from vlm.markup import IN_GROUP, NUMBER, PLACE, POINT_NUMBER

Dialect = Literal["tags", "tokens", "locations", "attributes", "json", "json_yx"]

MOST_PLACES = 500
"""In one answer; what comes after them is left out."""
MOST_TRIES = 4000
"""Keys of JSON that are looked at."""
LONGEST_OBJECT = 1000
"""Characters of a JSON object, and before its key."""
LONGEST_PHRASE = 200
LONGEST_NUMBER = 20


@dataclass(frozen=True)
class Raw:
    """A place as it is written: numbers (x, y) or (x1, y1, x2, y2) in the dialect's own scale."""

    phrase: str
    span: tuple[int, int]
    numbers: tuple[float, ...]
    dialect: Dialect
    shape: tuple[str, ...] = ()


# ---- marks ----

REF = re.compile(
    r"(?:<ref>([^<>]*+)</ref>|<\|object_ref_start\|>([^<>]*+)<\|object_ref_end\|>)\s*+\Z"
)
LABEL = re.compile(r"((?:<seg_?\d{1,3}>)*+)([^;<>\r\n]*+)")
CORNER = re.compile(r"<loc_?(\d{1,4})>")
SHAPE = re.compile(r"<seg_?\d{1,3}>")
BETWEEN = re.compile(r"[\s,;]*+\Z")


def marks(answer: str) -> Iterator[Raw]:
    """Places in marks, outside code."""
    offset = 0
    for piece in split_code(answer)[0] if "<" in answer else []:
        if not piece.code:
            yield from _marks_of_prose(piece.text, offset)
        offset += len(piece.text)


def _marks_of_prose(text: str, offset: int) -> Iterator[Raw]:
    last: tuple[int, tuple[int, str]] | None = None  # (end of a place, (start, name) it belongs to)
    for found in PLACE.finditer(text):
        if found["shape"]:
            continue
        if found["corners"]:
            yield from _located(found, offset)
        elif found["attributes"] is not None:
            yield from _attributed(found, offset)
        else:
            begun = _named(text, found.start(), last)
            last = (found.end(), begun)
            yield from _boxed(found, begun, offset)


def _named(text: str, start: int, last: tuple[int, tuple[int, str]] | None) -> tuple[int, str]:
    """Where a place begins with its name, and the name: it stands before, or before its twin."""
    if last is not None and BETWEEN.fullmatch(text, last[0], start):
        return start, last[1][1]
    low = max(0, start - LONGEST_PHRASE - 50)
    before = text.rfind("<ref>", low, start), text.rfind("<|object_ref_start|>", low, start)
    if max(before) >= 0 and (name := REF.fullmatch(text, max(before), start)):
        return name.start(), (name[1] if name[1] is not None else name[2]).strip()
    return start, ""


def _boxed(found: re.Match[str], begun: tuple[int, str], offset: int) -> Iterator[Raw]:
    """The places of one mark: boxes, corners of quadrangles, points."""
    tag, token = found["kind"], found["kind2"]
    inside = found["numbers"] if tag else found["numbers2"]
    kind = tag or token
    numbers = _numbers(NUMBER.findall(inside))
    size = IN_GROUP.get(kind, len(numbers))
    span = (begun[0] + offset, found.end() + offset)
    for group in _groups(numbers, size):
        if kind in ("quad", "poly"):
            group = _hull(group)
        yield Raw(begun[1], span, group, "tags" if tag else "tokens")


def _hull(numbers: tuple[float, ...]) -> tuple[float, ...]:
    """The box around corners x, y, x, y, ..."""
    x, y = numbers[::2], numbers[1::2]
    return (min(x), min(y), max(x), max(y)) if y else ()


def _located(found: re.Match[str], offset: int) -> Iterator[Raw]:
    """Location tokens by fours, and the label after the last four; others have none."""
    numbers = _numbers(CORNER.findall(found["corners"]))
    label = LABEL.match(found.string, found.end())
    groups = list(_groups(numbers, 4))
    for number, (top, left, bottom, right) in enumerate(groups):
        phrase, shape, end = "", (), found.end()
        if label and number == len(groups) - 1:
            phrase, shape = label[2].strip()[:LONGEST_PHRASE], tuple(SHAPE.findall(label[1]))
            end = label.start(2) + len(label[2].rstrip())
        span = (found.start() + offset, end + offset)
        yield Raw(phrase, span, (left, top, right, bottom), "locations", shape)


def _attributed(found: re.Match[str], offset: int) -> Iterator[Raw]:
    span = (found.start() + offset, found.end() + offset)
    for group in _groups(_numbers(POINT_NUMBER.findall(found["attributes"])), 2):
        yield Raw(found["name"].strip()[:LONGEST_PHRASE], span, group, "attributes")


def _numbers(words: Sequence[str]) -> list[float]:
    """Numbers as they are written; those too long to be meant are not numbers (not a number)."""
    words = words[: 8 * MOST_PLACES]
    return [float(word) if len(word) <= LONGEST_NUMBER else math.nan for word in words]


def _groups(numbers: Sequence[float], size: int) -> Iterator[tuple[float, ...]]:
    """Whole groups of so many finite numbers; what is left over is dropped."""
    for start in range(0, len(numbers) - size + 1, max(1, size)):
        group = tuple(numbers[start : start + size])
        if group and all(map(math.isfinite, group)):
            yield group


# ---- JSON ----

KEY = re.compile(r'"(?P<name>bbox_2d|point_2d|box_2d|point)"\s{0,8}:')
SIZES = {"bbox_2d": 4, "point_2d": 2, "box_2d": 4, "point": 2}
BRACES = 3
"""So many opening braces before a key are tried: a name may contain one."""


def objects(answer: str) -> Iterator[Raw]:
    """Places in JSON, object by object, also of a list that was never closed."""
    decoder, done = json.JSONDecoder(), 0
    for tries, found in enumerate(KEY.finditer(answer)):
        if tries == MOST_TRIES:
            return
        if found.start() < done:
            continue
        whole = _object_around(decoder, answer, found.start())
        if whole is None:
            continue
        start, done, values = whole
        for name in SIZES.keys() & values.keys():
            yield from _of_object(values, name, (start, done))


def _object_around(
    decoder: json.JSONDecoder, answer: str, key: int
) -> tuple[int, int, dict[str, Any]] | None:
    """(start, end, values) of the object with a key at a place."""
    start = key
    for _ in range(BRACES):
        start = answer.rfind("{", max(0, key - LONGEST_OBJECT), start)
        if start < 0:
            return None
        try:
            values, length = decoder.raw_decode(answer[start : start + 2 * LONGEST_OBJECT])
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and start + length > key:
            return start, start + length, values
    return None


def _of_object(values: dict[str, Any], name: str, span: tuple[int, int]) -> Iterator[Raw]:
    """The places under one key: numbers, or a list of lists of them."""
    label = values.get("label", values.get("text_content", ""))
    phrase = label.strip()[:LONGEST_PHRASE] if isinstance(label, str) else ""
    written = values[name]
    if not isinstance(written, list):
        return
    several = written if written and all(isinstance(each, list) for each in written) else [written]
    for numbers in several[:MOST_PLACES]:
        right = len(numbers) == SIZES[name] and all(
            isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < 1e9
            for each in numbers
        )  # neither NaN nor infinite
        if right and name in ("bbox_2d", "point_2d"):
            yield Raw(phrase, span, tuple(map(float, numbers)), "json")
        elif right:
            pairs = zip(numbers[1::2], numbers[::2], strict=True)
            yield Raw(phrase, span, tuple(float(n) for pair in pairs for n in pair), "json_yx")
