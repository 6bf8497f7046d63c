"""Answers in a file of JSON lines, so that a run that was ended can be gone on with.

A line is written whole and at once, so only the last one can be half there, when the process was
killed. Lines about other questions stay and do not count. Where one image has several lines about
the same question, the last counts: a failure that was tried again stands before its answer.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlm.commands.pictures import Picture
from vlm.errors import RequestError

START = b'{"file": '
"""How every line begins; a half-written one may be shorter."""


@dataclass(frozen=True)
class Group:
    """Pictures that are asked about together, most often one.

    Attributes:
        pictures: in the order the model reads them.
        digests: SHA-256 of their files, where answers are kept.
    """

    pictures: tuple[Picture, ...]
    digests: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def shown(self) -> str:
        """The names, for people."""
        return ", ".join(picture.shown for picture in self.pictures)

    @property
    def facts(self) -> dict[str, object]:
        """What a line says about the pictures: of one, names and digests are no lists."""
        names = [picture.name for picture in self.pictures]
        return {"file": _alone(names), "sha256": _alone(self.digests)}


def _alone(values: Sequence[str]) -> object:
    return values[0] if len(values) == 1 else list(values)


def digest(path: str) -> str:
    """SHA-256 of a file; empty where it cannot be read, which opening it will say."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@dataclass
class AnswerFile:
    """A file of answers, read when it is opened and only added to after that.

    Attributes:
        path: as the person gave it.
        asked: what all lines of this run have in common: prompt, model, options.
        cut: whether a half-written last line was taken off.
    """

    path: str
    asked: Mapping[str, object]
    cut: bool = False
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _file: Any = None

    @classmethod
    def open(cls, path: str, asked: Mapping[str, object]) -> "AnswerFile":
        """Opens a file to go on with, or makes it.

        Raises:
            RequestError: it cannot be read or written, or holds something else. It is left as it
                was then.
        """
        answers = cls(path, asked)
        try:
            data = b""
            if os.path.exists(path):
                with open(path, "rb") as file:
                    data = file.read()
            kept = answers._read(data)
            answers._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`
            answers._file.truncate(kept)
            if data[:kept] and not data[:kept].endswith(b"\n"):
                answers._write(b"\n")
        except OSError as error:
            detail = error.strerror or str(error)
            raise RequestError("answers_unusable", file=path, detail=detail) from error
        return answers

    def _read(self, data: bytes) -> int:
        """Takes the rows in; how many bytes of the file are to be kept."""
        lines = data.split(b"\n")
        last = lines[-1]
        if last and START.startswith(last[: len(START)]) and _parsed(last) is None:
            self.cut = True
            lines.pop()
        for number, line in enumerate(lines, 1):
            row = _parsed(line)
            if isinstance(row, dict) and "file" in row and {"answer", "error"} & row.keys():
                self._rows.append(row)
            elif line.strip():
                raise RequestError("answers_foreign", file=self.path, line=number)
        return len(data) - (len(last) if self.cut else 0)

    def answered(self, groups: Sequence[Group]) -> set[int]:
        """Which of the groups, by index, have an answer to this question.

        A picture is known by its content. Each line counts for one group, first for the one of
        its own name, so that a copy of a picture gets an answer of its own.
        """
        rows = [row for row in self._rows if "answer" in row and self._same_question(row)]
        left = Counter(json.dumps([row["file"], row.get("sha256")]) for row in rows)
        found = _claimed(left, [json.dumps(list(group.facts.values())) for group in groups])
        contents = Counter(json.dumps(json.loads(each)[1]) for each in left.elements())
        others = [index for index in range(len(groups)) if index not in found]
        claimed = _claimed(contents, [json.dumps(groups[i].facts["sha256"]) for i in others])
        return found | {others[index] for index in claimed}

    def _same_question(self, row: Mapping[str, object]) -> bool:
        return all(row.get(name) == value for name, value in self.asked.items())

    def add(self, group: Group, result: Mapping[str, object]) -> None:
        """Writes one line: the pictures, the question and `result`; a failure only once.

        Raises:
            RequestError: it cannot be written, as on a full disk.
        """
        row = {**group.facts, **self.asked, **result}
        if "error" in row and row in self._rows:
            return
        self._rows.append(row)
        try:
            self._write(_encoded(row) + b"\n")
        except OSError as error:
            detail = error.strerror or str(error)
            raise RequestError("answers_unusable", file=self.path, detail=detail) from error

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _parsed(line: bytes) -> object:
    """What a line of JSON says; None where it is no JSON, or not all of it."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _claimed(left: Counter[str], wanted: Sequence[str]) -> set[int]:
    """Which of the keys find one of their own among those left; each is taken away."""
    found: set[int] = set()
    for index, key in enumerate(wanted):
        if left[key] > 0:
            left[key] -= 1
            found.add(index)
    return found


def _encoded(row: Mapping[str, object]) -> bytes:
    """JSON that people can read; the name of a model may hold bytes that are no text."""
    try:
        return json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(row).encode("ascii")
