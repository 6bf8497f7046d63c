"""What models write besides plain text, told apart: thoughts, boxes, addresses of pictures.

In: an answer, also an unfinished one. Out: text that a page may show as Markdown without
fetching anything. No page and no model here. Every pattern takes time in proportion to the text.
"""

import re
from collections.abc import Sequence
from copy import copy

from vlm.code_spans import LINE, CodeSplitter, Piece, split_code

THINKING = re.compile(r"\A\s*<(think|thinking)>(.*?)(?:</\1>\s*|\Z)", re.DOTALL)


def split_thinking(answer: str) -> tuple[str, str]:
    """(thoughts, answer proper) of a model that thinks aloud first, in a `<think>` block.

    The thoughts of an answer that broke off within them are all that follows the opening mark.
    """
    found = THINKING.match(answer)
    return (found.group(2).strip(), answer[found.end() :]) if found else ("", answer)


def readable(answer: str) -> str:
    """An answer as it is shown: boxes and points as numbers, pictures as their names.

    `<ref>cat</ref><box>[[1,2,3,4]]</box>` becomes `cat [1, 2, 3, 4]`. A mark that is not complete
    at the very end, where the model still writes, is left out. Code stays as it is.
    """
    return without_pictures(without_marks(answer))


def without_marks(answer: str) -> str:
    """As `readable`, but pictures and their addresses stay: for what is no page."""
    return _marks_read(split_code(answer)[0], at_end=True)


def _marks_read(pieces: Sequence[Piece], *, at_end: bool) -> str:
    """Pieces of an answer as they read; at its end a mark that has only begun is left out."""
    texts = [piece.text for piece in pieces]
    if at_end and pieces and not pieces[-1].code:
        texts[-1] = UNFINISHED_MARK.sub("", texts[-1])
    return "".join(
        text if piece.code else _boxes_readable(text)
        for piece, text in zip(pieces, texts, strict=True)
    )


class PlainText:
    """`without_marks`, piece by piece, where what was shown can never be taken back.

    Held back is what may still become a mark, or code in which marks stay as they are. All pieces
    together are `without_marks` of the whole answer; spaces before a mark that is never finished
    stay. Of lines before the last only an open block of code matters, so they are not kept.
    """

    def __init__(self) -> None:
        self._splitter = CodeSplitter()
        self._line = ""  # the last one, ended or not
        self._shown = 0  # characters of it, as it reads

    def push(self, text: str) -> str:
        """What is sure to be shown by now; may be empty."""
        *ended, self._line = LINE.findall(self._line + text) or [""]
        new = "".join(map(self._ended, ended))
        return new + self._new(_settled(self._line))

    def finish(self) -> str:
        """What was held back."""
        return self._new(self._line)

    def _ended(self, line: str) -> str:
        """The rest of a line after which another has begun."""
        self._splitter.pieces = []
        self._splitter.take(line)
        new = _marks_read(self._splitter.pieces, at_end=False)[self._shown :]
        self._shown = 0
        return new

    def _new(self, line: str) -> str:
        """What the last line has more than it had before."""
        if "<" in line:
            splitter = copy(self._splitter)
            splitter.pieces = []
            splitter.take(line)
            line = _marks_read(splitter.pieces, at_end=True)
        new = line[self._shown :]
        self._shown += len(new)
        return new


# ---- boxes, points and shapes ----

_NAME_MARK = r"</?ref>|<\|object_ref_(?:start|end)\|>"
NAME_MARKS_AT_END = re.compile(rf"(?:{_NAME_MARK})++\Z")
NAME_MARKS_AT_START = re.compile(rf"\A(?:{_NAME_MARK})++")
MOST_OF_NAME_MARKS = 100
"""Characters that are looked through for the letter before or after a place."""
PLACE = re.compile(
    r"<(?P<kind>box|quad|point|poly)>(?P<numbers>[^<>]*+)</(?P=kind)>"
    r"|<\|(?P<kind2>box|quad|point)_start\|>(?P<numbers2>[^<>]*+)<\|(?P=kind2)_end\|>"
    r"|<points?\s(?P<attributes>[^<>]*+)>(?P<name>[^<>]*+)</points?>"
    r"|(?P<corners>(?:<loc_?\d{1,4}>)++)"
    r"|(?P<shape>(?:<seg_?\d{1,3}>)++)"
)
"""Box, quadrangle and point of the dialects in use, and the corner tokens of boxes and shapes."""

MARK = re.compile(rf"{PLACE.pattern}|(?P<of_name>{_NAME_MARK})")

POINT_NUMBER = re.compile(r"\b[xy]\d*\s*=\s*[\"']?\s*(-?\d+(?:\.\d+)?)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
NUMBERS_ONLY = re.compile(r"[\s\d.,;()\[\]-]*+")
IN_GROUP = {"box": 4, "quad": 8, "point": 2}
"""How many numbers say one place."""

_MARKS = (
    *("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<point>", "</point>", "<points>"),
    *("<poly>", "</poly>", "<loc", "<seg", "<img"),
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    *("<|quad_start|>", "<|quad_end|>", "<|point_start|>", "<|point_end|>"),
)


CORNER = re.compile(r"<(?:loc|seg)_?\d{1,4}>")


def is_place_mark(token: str) -> bool:
    """Whether a token is a mark of boxes, points or shapes, rather than of the prompt format."""
    return token in _MARKS or CORNER.fullmatch(token) is not None


def _beginnings(mark: str, least: int = 0) -> str:
    """A pattern of what a mark begins with; a lone `<` or `<b` may be meant as it stands."""
    least = least or (2 if mark.startswith(("<|", "</")) else 3)
    return "|".join(re.escape(mark[:end]) for end in range(len(mark) - 1, least - 1, -1))


UNFINISHED_MARK = re.compile(
    rf"(?:(?<!\s)\s*+<(?:box|quad|point|poly|\|(?:box|quad|point)_start\|)>[\s\d.,;()\[\]-]*+(?:</?)?)?"
    rf"(?:{'|'.join(map(_beginnings, _MARKS))}|<loc_?\d{{0,4}}|<seg_?\d{{0,3}})?\Z"
    r"|<points?\s[^<>]*+(?:>[^<>]*+)?(?:</?p?o?i?n?t?s?)?\Z"
)
"""A known mark that has only begun, or a place whose closing mark is still to come."""


UNSETTLED_MARK = re.compile(
    rf"(?:{'|'.join(_beginnings(mark, 1) for mark in _MARKS)})\Z|"
    r"(?:<(?:box|quad|point|poly)>|<\|(?:box|quad|point)_start\|>|<points?\s[^<>]*+>)"
    r"[^<>]*+(?:<[^<>]*+)?\Z"
    r"|(?<!\d>)(?:<(?:loc|seg)_?\d{1,4}>)++(?:<[^<>]*+)?\Z"
)
"""A place to which more may belong that is still to come."""


def _settled(answer: str) -> str:
    """The answer as far as it reads the same whatever comes next."""
    start = max(answer.rfind("\n"), answer.rfind("\r")) + 1
    line = answer[start:]
    backtick = line.find("`")
    if backtick >= 0 and (mark := line.find("<", backtick)) >= 0:
        line = line[:mark]  # it may turn out to stand in code
    if found := UNSETTLED_MARK.search(line):
        line = line[: found.start()]
    return answer[:start] + line


def _boxes_readable(text: str) -> str:
    return MARK.sub(_place, text) if "<" in text else text


def _place(found: re.Match[str]) -> str:
    """The numbers of one place, set off from the words around them."""
    if found["shape"] or found["of_name"]:
        return ""
    words = _place_words(found)
    start, end = found.span()
    before = found.string[max(0, start - MOST_OF_NAME_MARKS) : start]
    before = NAME_MARKS_AT_END.sub("", before)[-1:]
    after = NAME_MARKS_AT_START.sub("", found.string[end : end + MOST_OF_NAME_MARKS])[:1]
    space_before = before.isalnum() and not words.startswith(" ")
    return f"{' ' if space_before else ''}{words}{' ' if after.isalnum() else ''}"


def _place_words(found: re.Match[str]) -> str:
    if found["attributes"] is not None:
        places = _groups(POINT_NUMBER.findall(found["attributes"]), 2)
        return f"{found['name'].strip()} {places}".strip()
    if found["corners"]:
        return _groups([str(int(digits)) for digits in re.findall(r"\d+", found["corners"])], 4)
    inside = found["numbers"] if found["numbers"] is not None else found["numbers2"]
    numbers = NUMBER.findall(inside)
    if not numbers or not NUMBERS_ONLY.fullmatch(inside):
        return inside
    return _groups(numbers, IN_GROUP.get(found["kind"] or found["kind2"], len(numbers)))


def _groups(numbers: Sequence[str], size: int) -> str:
    """[1, 2, 3, 4], [5, 6, 7, 8]"""
    if len(numbers) % size:
        size = len(numbers)
    groups = (numbers[start : start + size] for start in range(0, len(numbers), size or 1))
    return ", ".join(f"[{', '.join(group)}]" for group in groups)


# ---- pictures ----

_ALWAYS = (
    *("img", "picture", "video", "audio", "iframe", "frame", "frameset", "object", "embed", "svg"),
    *("applet", "bgsound", "portal", "feimage", "script", "style"),
)
_WITH_ATTRIBUTES = ("source", "track", "link", "use", "image", "input", "body", "base", "meta")
_FETCHING = (
    *("src", "srcset", "srcdoc", "poster", "background", "style", "data", "lowsrc", "dynsrc"),
    *("imagesrcset", "longdesc", "ping", "xlink:href", "manifest", "archive", "code", "codebase"),
)
FETCHING_ATTRIBUTE = re.compile(rf"[\s\"'/](?:{'|'.join(_FETCHING)})\s*=", re.IGNORECASE)
PICTURE_TAG = re.compile(
    rf"</?(?:{'|'.join(_ALWAYS)})(?![\w-])[^<>]*+>"
    rf"|</?(?:{'|'.join(_WITH_ATTRIBUTES)})(?=[\s/])[^<>=]*+=[^<>]*+>"
    rf"|<[a-z](?=[^<>]*?{FETCHING_ATTRIBUTE.pattern})[^<>]*+>",
    re.IGNORECASE,
)
PICTURE_TAG_START = re.compile(
    rf"<(?=/?(?:{'|'.join(_ALWAYS)})(?![\w-])|(?:{'|'.join(_WITH_ATTRIBUTES)})[\s/])", re.IGNORECASE
)
ANY_TAG_START = re.compile(r"<(?=[a-zA-Z/])")
UNFINISHED_TAG = re.compile(
    rf"<(?:{'|'.join(_ALWAYS)})(?:\s++[\w:-]++\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>]++))*+"
    rf"\s*+(?:[\w:-]++\s*+(?:=\s*+(?:[\"'][^<>\"']*+)?)?|/)?\Z",
    re.IGNORECASE,
)
ALTERNATIVE = re.compile(r"\salt\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE)

_ALT = r"!\[(?P<alt>(?:\\.|[^\[\]\\!]|!(?!\[)|\[[^\[\]]*+\])*+)\]"
_TARGET = r"(?:<[^<>\n]*+>|(?:[^\s()<]|\([^\s()]*+\))*+)"
_TITLE = r"(?:\s++(?:\"[^\"]*+\"|'[^']*+'|\([^()]*+\)))?"
PICTURE = re.compile(rf"{_ALT}(?:\(\s*+{_TARGET}{_TITLE}\s*+\)|\[[^\[\]]*+\])", re.DOTALL)
UNFINISHED_PICTURE = re.compile(rf"{_ALT}\([^()\n]*+\Z|!\[(?P<begun>[^\[\]\n]*+)\Z", re.DOTALL)
NESTED_PICTURES = 3
"""Pictures in the names of pictures are named so many levels deep."""

PICTURE_START = re.compile(r"!+(?=\[)")
HARMLESS = re.compile(r"!\[[^\[\]!`<\\\r\n]*+\](?![(\[:])")
"""Text such as `vec![1, 2]`: no picture unless some line says what address the name stands for."""


def without_pictures(text: str) -> str:
    """The text with the name of each picture in its place: a page that shows it fetches nothing.

    Code keeps its pictures where every reader of Markdown takes it for code. Links stay.
    """
    if "![" not in text and "<" not in text:
        return text
    pieces, sure = split_code(text)
    shown: list[str] = []
    prose = ""
    for piece in pieces:
        if piece.code and sure:
            shown += [_cleaned(prose), piece.text]
            prose = ""
        else:
            prose += piece.text
    prose = UNFINISHED_TAG.sub("", UNFINISHED_PICTURE.sub(_picture_name, prose))
    return "".join([*shown, _cleaned(prose)])


def _cleaned(text: str) -> str:
    text = PICTURE_TAG.sub(_tag_name, text)
    for _ in range(NESTED_PICTURES):
        text = PICTURE.sub(_picture_name, text)
    # Odd or nested forms, and what the steps before put together, are made harmless as text.
    if "![" in text:
        text = _marks_disarmed(text)
    if FETCHING_ATTRIBUTE.search(text):
        text = ANY_TAG_START.sub("&lt;", text)
    return PICTURE_TAG_START.sub("&lt;", text)


def _marks_disarmed(text: str) -> str:
    """Takes the `!` from every `![` that could still be a picture."""
    defined = "]:" in text

    def disarm(found: re.Match[str]) -> str:
        harmless = not defined and HARMLESS.match(text, found.end() - 1)
        return found[0] if harmless else ""

    return PICTURE_START.sub(disarm, text)


def _picture_name(found: re.Match[str]) -> str:
    groups = found.groupdict()
    return groups.get("alt") or groups.get("begun") or ""


def _tag_name(found: re.Match[str]) -> str:
    alternative = ALTERNATIVE.search(found[0])
    return next(filter(None, alternative.groups()), "") if alternative else ""
