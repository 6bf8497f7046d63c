"""ChatSession: the one owner of a conversation.

Stateful shell over a stateless backend. A turn is kept only with its answer; a failed one leaves
the conversation as it was.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vlm.backend import Backend, Event, Finished, TextDelta
from vlm.errors import RequestError
from vlm.messages import Image, Message, Text, user_message
from vlm.settings import GenerationOptions


@dataclass(frozen=True)
class Turn:
    """A question, what was answered, and how the answer came about.

    Attributes:
        question: the user's message.
        answer: the model's text; a part of it when it was stopped.
        finished: reason, counts and times.
        options: as used, with the seed.
    """

    question: Message
    answer: str
    finished: Finished
    options: GenerationOptions


class ChatSession:
    """A conversation with a backend.

    Args:
        backend: what answers.
        system_prompt: said to the model before everything; empty for none.
        max_images: at most so many images in one message.
    """

    def __init__(self, backend: Backend, *, system_prompt: str = "", max_images: int = 8) -> None:
        self._backend = backend
        self._system_prompt = system_prompt
        self._max_images = max_images
        self._history: tuple[Message, ...] = ()
        self._turns: list[Turn] = []
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
        """What was said in this session, oldest first."""
        return tuple(self._turns)

    @property
    def messages(self) -> list[Message]:
        """The conversation as the backend is given it."""
        system = [Message("system", (Text(self._system_prompt),))] if self._system_prompt else []
        said = [
            message
            for turn in self._turns
            for message in (turn.question, Message("assistant", (Text(turn.answer),)))
        ]
        return [*system, *self._history, *said]

    def send(
        self,
        text: str,
        images: Sequence[Image] = (),
        options: GenerationOptions | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        """Asks, and yields the backend's events; the turn is kept once the answer has ended.

        An answer that was stopped is kept as far as it came; closing the iterator stops it too.
        A seed that is not given is drawn here and noted in `Turn.options`.

        Raises:
            RequestError: an empty message, too many images, another answer still running.
            VLMError: whatever the backend raises; nothing is kept then.
        """
        if not text.strip() and not images:
            raise RequestError("empty_message")
        if len(images) > self._max_images:
            raise RequestError("too_many_images", got=len(images), limit=self._max_images)
        options = options or GenerationOptions()
        if options.seed is None:
            options = replace(options, seed=random.randrange(2**32))
        if not self._busy.acquire(blocking=False):
            raise RequestError("busy")
        try:
            question = user_message(text, images)
            yield from self._ask(question, options, cancel or threading.Event())
        finally:
            self._busy.release()

    def _ask(
        self, question: Message, options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        """Runs the backend and keeps the turn, also when the listener leaves half-way."""
        answer: list[str] = []
        finished: Finished | None = None
        events = self._backend.stream([*self.messages, question], options, cancel)
        try:
            for event in events:
                if isinstance(event, TextDelta):
                    answer.append(event.text)
                elif isinstance(event, Finished):
                    finished = event
                    self._keep(question, answer, event, options)
                yield event
        except GeneratorExit:
            cancel.set()
            if finished is None and answer:
                self._keep(question, answer, Finished("cancelled"), options)
            raise
        if finished is None:
            raise RequestError("answer_broke_off")

    def _keep(
        self, question: Message, answer: list[str], finished: Finished, options: GenerationOptions
    ) -> None:
        """A turn stopped before its first word is dropped: there is nothing to go on from."""
        if answer or finished.reason != "cancelled":
            self._turns.append(Turn(question, "".join(answer), finished, options))

    def clear(self) -> None:
        """Forgets everything said. Raises RequestError while an answer runs."""
        if self._busy.locked():
            raise RequestError("busy")
        self._turns.clear()
        self._history = ()
