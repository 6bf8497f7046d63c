"""What differs between two texts, for answers side by side: word by word, or by character.

In: two texts. Out: `Run`s that give both texts back. Languages that write no spaces (Chinese,
Japanese) are compared by character.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "removed", "added"]

# Ideographs with their extensions and marks, kana, CJK punctuation and full-width forms.
UNSPACED = "\u2e80-\u2fdf\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED += "\U00020000-\U0003ffff"
TOKEN = re.compile(rf"(?:(?![{UNSPACED}])[\w'’])+|\s+|.", re.DOTALL)
"""A character of a language without spaces, a word, white space, or a sign."""

LONG = 2000
"""Tokens above which frequent ones are no longer tried as anchors: the time grows quadratically."""


@dataclass(frozen=True)
class Run:
    """A piece of text: "same" in both, "removed" from the first or "added" in the second."""

    kind: Kind
    text: str


def word_difference(first: str, second: str) -> tuple[Run, ...]:
    """The runs that turn the first text into the second.

    "same" and "removed" runs joined give the first text, "same" and "added" the second. Neighbours
    differ in kind; what was removed stands before what was added. By difflib (Ratcliff and
    Obershelp's matching), to which white space alone is no match.
    """
    one, other = TOKEN.findall(first), TOKEN.findall(second)
    return tuple(_joined(_runs(one, other)))


def _runs(one: Sequence[str], other: Sequence[str]) -> Iterator[Run]:
    """Runs between two lists of tokens; what both begin and end with is taken off first."""
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    yield Run("same", "".join(one[:start]))
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    matcher = SequenceMatcher(str.isspace, left, right, autojunk=len(right) > LONG)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield Run("same", "".join(left[a:b]))
        else:
            yield Run("removed", "".join(left[a:b]))
            yield Run("added", "".join(right[c:d]))
    yield Run("same", "".join(one[len(one) - end :]))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many tokens both begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Neighbours of one kind as one run; between two "same" runs, removals before additions."""
    changes = {"removed": "", "added": ""}
    same = ""
    for run in runs:
        if not run.text:
            continue
        if run.kind == "same":
            yield from (Run(kind, text) for kind, text in changes.items() if text)  # type: ignore
            changes = dict.fromkeys(changes, "")
            same += run.text
        else:
            if same:
                yield Run("same", same)
                same = ""
            changes[run.kind] += run.text
    if same:
        yield Run("same", same)
    yield from (Run(kind, text) for kind, text in changes.items() if text)  # type: ignore
