"""An answer that is looked into, and what goes from one tab to another. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vlm.backend import Progress
from vlm.chat import ChatSession
from vlm.errors import VLMError
from vlm.explain import WordMaps, word_maps
from vlm.explanation import ExplainMethod, Explanation
from vlm.messages import Image, Message, images_of
from vlm.options import GenerationOptions
from vlm.ui.image_numbers import Numbered, numbered

MAP_BYTES = 1_500_000
"""About what the maps of an answer may take in the page; with more words they get smaller."""
MAP_SIDES = (8, 48)
"""Rows and columns of a map, at least and at most."""


@dataclass(eq=False)
class Answered:
    """An answer, and what was found out about it.

    Attributes:
        messages: up to the question.
        options: as used for the answer.
        text: of the answer, as far as it is written.
        origin: settings of the model that wrote it; empty: the one that is loaded.
        method: that is shown.
        found: explanations by method.
        model: that they come from.
        foreign: whether another model wrote the answer.
        progress: what goes on now; None at rest.
        error: why the last run ended early.
        waiting: it is to be looked into as soon as its tab is open.
        before: questions that Chat still shows and the model was not given.
    """

    messages: Sequence[Message]
    options: GenerationOptions = field(default_factory=GenerationOptions)
    text: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    method: ExplainMethod = "attention"
    found: dict[ExplainMethod, Explanation] = field(default_factory=dict)
    model: str = ""
    foreign: bool = False
    progress: Progress | None = None
    error: VLMError | None = None
    waiting: bool = False
    before: int = 0
    _maps: dict[ExplainMethod, list[WordMaps]] = field(default_factory=dict)

    @classmethod
    def of_turn(cls, session: ChatSession, index: int) -> "Answered | None":
        """A turn of a conversation with all that was said before it; None: there is no such."""
        if not 0 <= index < len(session.turns):
            return None
        turn = session.turns[index]
        return cls(
            messages=session.asked(index),
            options=turn.options,
            text=turn.answer,
            origin=turn.finished.model,
            progress=Progress("thinking"),
            waiting=True,
            before=min(session.dropped, index),
        )

    @property
    def images(self) -> list[Image]:
        """All that the model was shown, in order."""
        return images_of(self.messages)

    @property
    def numbers(self) -> list[Numbered]:
        """What each of the images is called."""
        return numbered(self.messages, self.before)

    def maps(self, method: ExplainMethod) -> list[WordMaps]:
        """The maps of a method for each image; worked out once."""
        if method not in self._maps:
            found = self.found[method]
            each = 2 * (len(found.tokens) + 1) * max(1, len(found.sights))
            least, most = MAP_SIDES
            side = max(least, min(most, int((MAP_BYTES / each) ** 0.5)))
            self._maps[method] = word_maps(found, side)
        return self._maps[method]

    def keep(self, found: Explanation, model: str, foreign: bool) -> None:
        """Notes an explanation; those by another model go."""
        if model != self.model:
            self.found.clear()
            self._maps.clear()
        self._maps.pop(found.method, None)
        self.found[found.method] = found
        self.method, self.model, self.foreign = found.method, model, foreign


@dataclass(frozen=True)
class Sent:
    """What is on its way from one tab to another.

    Attributes:
        images: that were chosen.
        answered: an answer to look into, if it is one.
    """

    images: Sequence[Image] = ()
    answered: Answered | None = None
