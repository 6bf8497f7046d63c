"""Which parts of an answer are code, and whether every reader of Markdown agrees on that."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


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
    splitter = CodeSplitter()
    for line in LINE.findall(text):
        splitter.take(line)
    prose = "".join(piece.text for piece in splitter.pieces if not piece.code)
    sure = splitter.sure and not UNSURE_ANYWHERE.search(text) and not UNSURE_BLOCKS.search(prose)
    if sure and splitter.in_lines:
        sure = not UNSURE_LINES.search(prose)
    return splitter.pieces, sure


class CodeSplitter:
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
