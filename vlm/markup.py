"""What models write besides plain text, told apart: thoughts, boxes, addresses of pictures.

In: an answer, also an unfinished one. Out: text that a page may show as Markdown without
fetching anything. No page and no model here. Every pattern takes time in proportion to the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

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
    pieces, _ = split_code(answer)
    if pieces and not pieces[-1].code:
        pieces[-1] = Piece(UNFINISHED_MARK.sub("", pieces[-1].text), code=False)
    return "".join(piece.text if piece.code else _boxes_readable(piece.text) for piece in pieces)


class PlainText:
    """`without_marks`, piece by piece, where what was shown can never be taken back.

    Held back is what may still become a mark, or code in which marks stay as they are. All pieces
    together are `without_marks` of the whole answer; spaces before a mark that is never finished
    stay.
    """

    def __init__(self) -> None:
        self._answer = ""
        self._shown = 0

    def push(self, text: str) -> str:
        """What is sure to be shown by now; may be empty."""
        self._answer += text
        return self._new(_settled(self._answer))

    def finish(self) -> str:
        """What was held back."""
        return self._new(self._answer)

    def _new(self, answer: str) -> str:
        shown = without_marks(answer)
        new = shown[self._shown :]
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


# ---- code ----


@dataclass(frozen=True)
class Piece:
    """A part of an answer, code or not."""

    text: str
    code: bool


LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n)|[^\r\n]++")
FENCE = re.compile(
    r"(?P<before>[\s>*+\-.)\d]*+)(?P<fence>`{3,}+(?=[^`]*+$)|~{3,}+)(?P<language>.*+)", re.DOTALL
)
BACKTICKS = re.compile(r"`++")
UNSURE_ANYWHERE = re.compile(r"\]:|[$]|\\[(\[b]|[\0\v\f\x85\u2028\u2029]")
"""Definitions and formulas may be looked for before code is; some ends of lines are no such."""

UNSURE_BLOCKS = re.compile(r"<[a-zA-Z/!?]|\\")
"""Outside code: after HTML and escapes, readers differ on what is code."""

UNSURE_LINES = re.compile(r"\]\(|://|www\.|~")
"""Outside code: addresses and struck text may swallow the marks of code in a line."""


def split_code(text: str) -> tuple[list[Piece], bool]:
    """(the pieces of a text, whether every reader of Markdown takes the same ones for code).

    Readers differ on many odd texts. Whatever must not be shown outside code may stay in it only
    where they cannot differ.
    """
    splitter = _CodeSplitter()
    for line in LINE.findall(text):
        splitter.take(line)
    prose = "".join(piece.text for piece in splitter.pieces if not piece.code)
    sure = splitter.sure and not UNSURE_ANYWHERE.search(text) and not UNSURE_BLOCKS.search(prose)
    if sure and splitter.in_lines:
        sure = not UNSURE_LINES.search(prose)
    return splitter.pieces, sure


class _CodeSplitter:
    """Takes a text line by line: fenced blocks, and code within a line."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.sure = True
        self.in_lines = False
        self._open: re.Match[str] | None = None

    def take(self, line: str) -> None:
        bare = line.rstrip("\r\n")
        if self._open:
            self._in_fence(line, bare, self._open)
        elif found := FENCE.match(bare):
            self._open = found
            # Within a list or a quote, readers differ on where the block ends.
            self.sure = self.sure and found["before"] in ("", " ", "  ", "   ")
            self.sure = self.sure and not re.search(r"[^\w#+. -]", found["language"])
            self.pieces.append(Piece(line, code=True))
        else:
            self._in_prose(line)

    def _in_fence(self, line: str, bare: str, opened: re.Match[str]) -> None:
        self.pieces.append(Piece(line, code=True))
        indent, fence = opened["before"], opened["fence"]
        stripped = bare.strip(" \t>")
        if bare.strip() and not bare.startswith(indent):
            self.sure = False
        if len(stripped) >= len(fence) and not stripped.strip("`~"):
            ends = not stripped.strip(fence[0])
            # Exactly as it was opened; anything else ends it for some readers only.
            self.sure = self.sure and ends and bare.rstrip(" ") == indent + stripped
            self._open = None if ends else opened

    def _in_prose(self, line: str) -> None:
        """Code within one line: from a run of backticks to the next run of the same length."""
        runs = [found.span() for found in BACKTICKS.finditer(line)]
        lengths = [end - start for start, end in runs]
        position = 0
        for number, partner in _pairs(lengths):
            code = line[runs[number][0] : runs[partner][1]]
            self.pieces.append(Piece(line[position : runs[number][0]], code=False))
            self.pieces.append(Piece(code, code=True))
            self.sure = self.sure and not re.search(r"[|*_~]", code)
            position = runs[partner][1]
        self.pieces.append(Piece(line[position:], code=False))
        if runs:
            self.in_lines = True
            # Some readers take two backticks for code without content.
            self.sure = self.sure and set(lengths) == {1} and len(runs) % 2 == 0


def _pairs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Which runs of backticks open and close code, from left to right."""
    partners: list[int | None] = []
    latest: dict[int, int] = {}
    for number in range(len(lengths) - 1, -1, -1):
        partners.append(latest.get(lengths[number]))
        latest[lengths[number]] = number
    partners.reverse()
    pairs: list[tuple[int, int]] = []
    number = 0
    while number < len(partners):
        partner = partners[number]
        if partner is not None:
            pairs.append((number, partner))
        number = number + 1 if partner is None else partner + 1
    return pairs


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
