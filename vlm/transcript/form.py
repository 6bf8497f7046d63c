"""What a conversation file says, value by value: each has its writer and its reader side by side.

In: a `Conversation`, or JSON that anyone may have written. Out: the other one. Images are named
here by their file; `vlm.transcript.archive` holds the files.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn, get_args

from vlm.backend import Finished, Reason, Timings, Usage
from vlm.chat import Branch, Turn
from vlm.errors import RequestError
from vlm.images import clean_name
from vlm.messages import Image, Message, Part, Text
from vlm.options import GenerationOptions

FORMAT = "diptych-conversation"
VERSION = 1
MAX_TURNS = 5000
"""In one file, all versions counted."""

LARGEST_COUNT = 2**53
"""The largest whole number that every reader of JSON keeps."""


@dataclass(frozen=True)
class Conversation:
    """What a file holds.

    Attributes:
        start: the tree of turns.
        model: name of the model for people.
        system_prompt: for the next turn; each turn knows its own.
        dropped: so many of the oldest turns shown are no longer sent to the model.
    """

    start: Branch
    model: str
    system_prompt: str = ""
    dropped: int = 0


@dataclass(frozen=True)
class Picture:
    """An image as the JSON names it: its file in the archive, and what it should hold."""

    file: str
    name: str
    sha256: str


def branches_of(start: Branch) -> Iterator[tuple[int | None, Branch]]:
    """(number of the turn before, branch) of every turn; each comes after the one before it."""
    waiting: list[tuple[int | None, Branch]] = [(None, branch) for branch in start.following[::-1]]
    number = 0
    while waiting:
        before, branch = waiting.pop()
        yield before, branch
        waiting += [(number, following) for following in branch.following[::-1]]
        number += 1


# ---- the whole ----


def conversation_to_json(
    conversation: Conversation, file_of: Callable[[Image], str]
) -> dict[str, object]:
    """The JSON of a conversation.

    Args:
        file_of: the name of an image's file in the archive.

    Raises:
        RequestError: more turns than a file takes.
    """
    branches = list(branches_of(conversation.start))
    if len(branches) > MAX_TURNS:
        raise RequestError("transcript_turns", got=len(branches), limit=MAX_TURNS)
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
        "dropped": conversation.dropped,
        "chosen": conversation.start.chosen,
        "turns": [
            {
                "after": before,
                "chosen": branch.chosen,
                **_turn_to_json(_turn_of(branch), file_of),
            }
            for before, branch in branches
        ],
    }


def conversation_from_json(value: object, picture_of: Callable[[Picture], Image]) -> Conversation:
    """The conversation that JSON tells of.

    Args:
        picture_of: the image that was named.

    Raises:
        RequestError: another form, or a version that is not known here.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RequestError("transcript_foreign")
    version = value.get("version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise RequestError("transcript_form", at="version")
    if version != VERSION:
        raise RequestError("transcript_version", got=str(version)[:20], known=VERSION)
    whole = Reader(value)
    whole.only("format", "version", "model", "system_prompt", "dropped", "chosen", "turns")
    turns = whole.array("turns")
    if len(turns) > MAX_TURNS:
        raise RequestError("transcript_turns", got=len(turns), limit=MAX_TURNS)
    start = _tree_from_json(whole, turns, picture_of)
    dropped = whole.count("dropped", most=len(start.path()) - 1)
    return Conversation(start, whole.text("model"), whole.text("system_prompt"), dropped)


def _tree_from_json(
    whole: "Reader", turns: list[Any], picture_of: Callable[[Picture], Image]
) -> Branch:
    start = Branch()
    chosen = [(start, whole)]
    for number, value in enumerate(turns):
        turn = Reader(value, f"turns[{number}]")
        turn.only("after", "chosen", *TURN_NAMES)
        before = 0 if turn.value["after"] is None else turn.count("after", most=number - 1) + 1
        branch = Branch(_turn_from_json(turn, picture_of))
        chosen[before][0].following.append(branch)
        chosen.append((branch, turn))
    for branch, reader in chosen:
        branch.chosen = reader.count("chosen", most=max(len(branch.following) - 1, 0))
    return start


# ---- turns ----

TURN_NAMES = (
    *("question", "answer", "reason", "usage", "timings"),
    *("options", "system_prompt", "tokens"),
)


def _turn_of(branch: Branch) -> Turn:
    assert branch.turn is not None  # only the start has none
    return branch.turn


def _turn_to_json(turn: Turn, file_of: Callable[[Image], str]) -> dict[str, object]:
    return {
        "question": [_part_to_json(part, file_of) for part in turn.question.parts],
        "answer": turn.answer,
        "reason": turn.finished.reason,
        "usage": asdict(turn.finished.usage),
        "timings": asdict(turn.finished.timings),
        "options": turn.options.to_json(),
        "system_prompt": turn.system_prompt,
        "tokens": turn.tokens,
    }


def _turn_from_json(turn: "Reader", picture_of: Callable[[Picture], Image]) -> Turn:
    reason = turn.text("reason")
    if reason not in get_args(Reason):
        turn.refuse("reason")
    usage, timings, options = turn.object("usage"), turn.object("timings"), turn.object("options")
    usage.only(*(each.name for each in fields(Usage)))
    timings.only(*(each.name for each in fields(Timings)))
    if odd := [name for name in options.value if len(name) > 40]:
        options.refuse(odd[0][:40])
    parts = turn.array("question")
    return Turn(
        Message("user", tuple(_part_from_json(turn, part, picture_of) for part in parts)),
        turn.text("answer"),
        Finished(
            reason,  # pyright: ignore[reportArgumentType]
            Usage(**{name: usage.count(name) for name in usage.value}),
            Timings(
                **{
                    name: timings.count(name) if name == "peak_bytes" else timings.seconds(name)
                    for name in timings.value
                }  # pyright: ignore[reportArgumentType]
            ),
        ),
        GenerationOptions.from_json(options.value),
        turn.text("system_prompt"),
        turn.count("tokens"),
    )


def _part_to_json(part: Part, file_of: Callable[[Image], str]) -> dict[str, object]:
    if isinstance(part, Text):
        return {"text": part.text}
    return {"file": file_of(part), "name": part.name, "sha256": part.sha256}


def _part_from_json(turn: "Reader", value: object, picture_of: Callable[[Picture], Image]) -> Part:
    part = Reader(value, f"{turn.place}.question")
    if "text" in part.value:
        part.only("text")
        return Text(part.text("text"))
    part.only("file", "name", "sha256")
    picture = Picture(part.text("file"), clean_name(part.text("name")), part.text("sha256"))
    return picture_of(picture)


# ---- JSON that anyone may have written ----


class Reader:
    """Takes values out of a JSON object and refuses every one of another kind.

    Args:
        value: the object, as it was read.
        place: where it stands, for people.
    """

    def __init__(self, value: object, place: str = "") -> None:
        self.place = place
        if not isinstance(value, dict):
            self.refuse()
        self.value: Mapping[str, Any] = value

    def refuse(self, name: str = "") -> NoReturn:
        """Raises the error that names the place."""
        at = ".".join(filter(None, [self.place, name])) or "conversation.json"
        raise RequestError("transcript_form", at=at)

    def only(self, *names: str) -> None:
        """Refuses an object with other names than these, or without one of them."""
        for name in {*names} ^ {*self.value}:
            self.refuse(name[:40])

    def text(self, name: str) -> str:
        """The text of that name."""
        value = self.value.get(name)
        return value if isinstance(value, str) else self.refuse(name)

    def array(self, name: str) -> list[Any]:
        """The list of that name."""
        value = self.value.get(name)
        return value if isinstance(value, list) else self.refuse(name)

    def object(self, name: str) -> "Reader":
        """The object of that name."""
        return Reader(self.value.get(name), f"{self.place}.{name}".lstrip("."))

    def count(self, name: str, most: int = LARGEST_COUNT) -> int:
        """The whole number of that name, from 0 to `most`."""
        value = self.value.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            self.refuse(name)
        return value

    def seconds(self, name: str) -> float:
        """The time of that name: 0 or more, and an end to it."""
        value = self.value.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(name)
        if not 0 <= value <= LARGEST_COUNT:  # which NaN is not either
            self.refuse(name)
        return float(value)
