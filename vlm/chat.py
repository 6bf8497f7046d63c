"""ChatSession: the one owner of a conversation.

Stateful shell over a stateless backend. A turn is kept only with its answer; a failed one leaves
the conversation as it was. What was answered or asked before stays beside it, as another version:

    start ─┬─ turn 1 ─┬─ turn 2 (version 1 of 2)
           │          └─ turn 2 (version 2 of 2) ── turn 3
           └─ turn 1, its question edited
"""

import contextlib
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from vlm.backend import Backend, Event, Finished, TextDelta
from vlm.errors import RequestError
from vlm.markup import split_thinking
from vlm.messages import Image, Message, Text, system_messages, user_message
from vlm.options import GenerationOptions

ANSWER_ROOM = 64
"""Tokens that a question should leave for its answer, at least."""


@dataclass(frozen=True)
class Turn:
    """A question, what was answered, and how the answer came about.

    Attributes:
        question: the user's message.
        answer: the model's text, thoughts included; a part of it when it was stopped.
        finished: reason, counts and times.
        options: as used, with the seed.
        system_prompt: as used.
        tokens: that the turn adds to the prompt of the next one, as far as is known.
    """

    question: Message
    answer: str
    finished: Finished
    options: GenerationOptions
    system_prompt: str = ""
    tokens: int = 0

    @property
    def unfinished(self) -> bool:
        """Whether the answer was stopped or cut off, so that it can be gone on with."""
        return bool(self.answer) and self.finished.reason != "stop"


@dataclass(eq=False)
class Branch:
    """A turn and the versions of what follows it.

    Attributes:
        turn: None for the start of the conversation.
        following: versions of the next turn, oldest first.
        chosen: which of them is shown, from 0.
    """

    turn: Turn | None = None
    following: list["Branch"] = field(default_factory=list)
    chosen: int = 0

    def add(self, turn: Turn) -> None:
        """One more version of the next turn; it is the one shown."""
        self.chosen = len(self.following)
        self.following.append(Branch(turn))

    def path(self) -> list["Branch"]:
        """This branch and what is shown after it, down to the last turn."""
        branches: list[Branch] = [self]
        while branches[-1].following:
            branches.append(branches[-1].following[branches[-1].chosen])
        return branches


class ChatSession:
    """A conversation with a backend.

    Args:
        backend: what answers.
        system_prompt: said to the model before everything; empty for none. May be changed.
        max_images: at most so many images in one message.
        start: a conversation to go on from.

    Attributes:
        dropped: so many of the oldest turns are shown but no longer sent.
        revision: grows with every answer that is kept.
        key: names the conversation where it is kept, such as in a browser.

    Every method that asks or changes something raises RequestError while an answer runs.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        system_prompt: str = "",
        max_images: int = 8,
        start: Branch | None = None,
    ) -> None:
        self.system_prompt = system_prompt
        self.start = start or Branch()
        self.dropped = 0
        self.revision = 0
        self.key = secrets.token_hex(8)
        self._backend = backend
        self._max_images = max_images
        self._history: tuple[Message, ...] = ()
        self._busy = threading.Lock()

    @classmethod
    def resume(
        cls, backend: Backend, history: Sequence[Message], *, max_images: int = 8
    ) -> "ChatSession":
        """A session that goes on from messages said elsewhere."""
        session = cls(backend, max_images=max_images)
        session._history = tuple(history)
        return session

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns that are shown, oldest first; `dropped` of them are no longer sent."""
        return tuple(branch.turn for branch in self.start.path() if branch.turn is not None)

    @property
    def images(self) -> set[Image]:
        """Every image of the conversation, in all its versions."""
        branches, found = [self.start], set()
        while branches:
            branch = branches.pop()
            branches += branch.following
            found |= set(branch.turn.question.images) if branch.turn else set()
        return found

    @property
    def busy(self) -> bool:
        """Whether an answer runs."""
        return self._busy.locked()

    def versions(self, index: int) -> tuple[int, int]:
        """(which, of how many) versions of a turn is shown, counted from 1."""
        fork = self._fork(index)
        return fork.chosen + 1, len(fork.following)

    def choose(self, index: int, version: int) -> None:
        """Shows another version of a turn, and what was said after it. Counted from 1."""
        self._refuse_if_busy()
        fork = self._fork(index)
        if not 1 <= version <= len(fork.following):
            raise RequestError("no_such_turn", got=version, limit=len(fork.following))
        fork.chosen = version - 1
        self.dropped = min(self.dropped, index)

    def send(
        self,
        text: str,
        images: Sequence[Image] = (),
        options: GenerationOptions | None = None,
        cancel: threading.Event | None = None,
        *,
        at: int | None = None,
    ) -> Iterator[Event]:
        """Asks, and yields the backend's events; the turn is kept once the answer has ended.

        An answer that was stopped is kept as far as it came; closing the iterator stops it too.
        A seed that is not given is drawn here and noted in `Turn.options`.

        Args:
            at: index of a turn to branch from: this becomes another version of it.

        Raises:
            RequestError: an empty message, too many images, another answer still running.
            VLMError: whatever the backend raises; nothing is kept then.
        """
        if not text.strip() and not images:
            raise RequestError("empty_message")
        yield from self._ask(user_message(text, images), at, options, cancel)

    def retry(
        self,
        index: int | None = None,
        options: GenerationOptions | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        """Asks a turn again, by default the last; the new answer is another version. See `send`."""
        index = len(self.turns) - 1 if index is None else index
        yield from self._ask(self._turn(index).question, index, options, cancel)

    def go_on(self, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Goes on with the last answer where it was stopped or cut off, as it was begun.

        Raises:
            RequestError: there is no unfinished answer.
            VLMError: whatever the backend raises; the answer stays as it was.
        """
        with self._answering():
            branch = self.start.path()[-1]
            begun = branch.turn
            if begun is None or not begun.unfinished:
                raise RequestError("nothing_to_continue")

            def keep(answer: str, finished: Finished) -> None:
                if answer or finished.reason != "cancelled":
                    branch.turn = _joined(begun, answer, finished)
                    self.revision += 1

            messages = self._messages(len(self.turns) - 1, begun.system_prompt)
            messages += [begun.question, Message("assistant", (Text(begun.answer),))]
            yield from self._run(messages, begun.options, cancel, keep)

    def undo(self) -> Message:
        """Takes the last question back with its answers, and returns it.

        Versions that were gone on with, or that ask something else, stay and are shown then.
        """
        self._refuse_if_busy()
        last = len(self.turns) - 1
        question = self._turn(last).question
        fork = self._fork(last)
        fork.following = [
            branch
            for branch in fork.following
            if branch.following or (branch.turn and branch.turn.question != question)
        ]
        fork.chosen = max(len(fork.following) - 1, 0)
        self.dropped = min(self.dropped, last)
        return question

    def drop_oldest(self, count: int) -> None:
        """Sends the oldest turns no longer; they stay to be read. Counted from the first turn."""
        self._refuse_if_busy()
        self.dropped = max(self.dropped, min(count, len(self.turns)))

    def too_many_for(self, tokens: int, limit: int) -> int:
        """How many of the oldest turns to drop so that a prompt of `tokens` fits into `limit`."""
        excess, count = tokens + min(ANSWER_ROOM, limit // 4) - limit, self.dropped
        while excess > 0 and count < len(self.turns):
            excess -= self.turns[count].tokens
            count += 1
        return count

    def clear(self) -> None:
        """Forgets everything said."""
        self._refuse_if_busy()
        self.start, self.dropped, self._history = Branch(), 0, ()

    @property
    def used_tokens(self) -> int:
        """What the conversation so far takes of the model's context, as far as is known."""
        return sum(turn.tokens for turn in self.turns[self.dropped :])

    @property
    def messages(self) -> list[Message]:
        """The conversation as the backend is given it."""
        return self._messages(len(self.turns), self.system_prompt)

    def asked(self, index: int) -> list[Message]:
        """What the backend is given for a turn, its question last. Raises RequestError: no turn."""
        turn = self._turn(index)
        return [*self._messages(index, turn.system_prompt), turn.question]

    def _messages(self, count: int, system_prompt: str) -> list[Message]:
        """What goes before turn `count`: thoughts are not part of the history."""
        said = [
            message
            for turn in self.turns[min(self.dropped, count) : count]
            for message in (
                turn.question,
                Message("assistant", (Text(split_thinking(turn.answer)[1]),)),
            )
        ]
        return [*system_messages(system_prompt), *self._history, *said]

    def _ask(
        self,
        question: Message,
        at: int | None,
        options: GenerationOptions | None,
        cancel: threading.Event | None,
    ) -> Iterator[Event]:
        """Runs the backend on a question: the next turn, or another version of turn `at`."""
        options = options or GenerationOptions()
        if options.seed is None:
            options = replace(options, seed=random.randrange(2**32))
        if len(question.images) > self._max_images:
            raise RequestError("too_many_images", got=len(question.images), limit=self._max_images)
        with self._answering():
            at = len(self.turns) if at is None else at
            fork, system_prompt = self._fork(at), self.system_prompt
            before = sum(turn.tokens for turn in self.turns[min(self.dropped, at) : at])

            def keep(answer: str, finished: Finished) -> None:
                """A turn stopped before its first word is dropped: nothing to go on from."""
                if answer or finished.reason != "cancelled":
                    usage = finished.usage
                    tokens = max(usage.prompt_tokens + usage.completion_tokens - before, 0)
                    fork.add(Turn(question, answer, finished, options, system_prompt, tokens))
                    self.dropped = min(self.dropped, at)
                    self.revision += 1

            messages = [*self._messages(at, system_prompt), question]
            yield from self._run(messages, options, cancel, keep)

    def _run(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        cancel: threading.Event | None,
        keep: Callable[[str, Finished], None],
    ) -> Iterator[Event]:
        """Yields the events and keeps the answer, also when the listener leaves half-way."""
        cancel = cancel or threading.Event()
        answer: list[str] = []
        finished: Finished | None = None
        try:
            for event in self._backend.stream(messages, options, cancel):
                if isinstance(event, TextDelta):
                    answer.append(event.text)
                elif isinstance(event, Finished):
                    finished = event
                    keep("".join(answer), event)
                yield event
        except GeneratorExit:
            cancel.set()
            if finished is None and answer:
                keep("".join(answer), Finished("cancelled"))
            raise
        if finished is None:
            raise RequestError("answer_broke_off")

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """One answer at a time."""
        if not self._busy.acquire(blocking=False):
            raise RequestError("busy")
        try:
            yield
        finally:
            self._busy.release()

    def _refuse_if_busy(self) -> None:
        if self.busy:
            raise RequestError("busy")

    def _fork(self, index: int) -> Branch:
        """What turn `index` follows; one past the last turn is where the next one goes."""
        path = self.start.path()
        if not 0 <= index < len(path):
            raise RequestError("no_such_turn", got=index + 1, limit=len(path) - 1)
        return path[index]

    def _turn(self, index: int) -> Turn:
        turns = self.turns
        if not turns:
            raise RequestError("no_turns")
        if not 0 <= index < len(turns):
            raise RequestError("no_such_turn", got=index + 1, limit=len(turns))
        return turns[index]


def _joined(begun: Turn, more: str, finished: Finished) -> Turn:
    """An answer and what was added to it later, as one turn."""
    first, then = begun.finished, finished
    usage = replace(
        first.usage,
        completion_tokens=first.usage.completion_tokens + then.usage.completion_tokens,
    )
    timings = replace(
        first.timings,
        decode=first.timings.decode + then.timings.decode,
        peak_bytes=max(first.timings.peak_bytes, then.timings.peak_bytes),
    )
    return replace(
        begun,
        answer=begun.answer + more,
        finished=Finished(then.reason, usage, timings, first.model),
        tokens=begun.tokens + then.usage.completion_tokens,
    )
