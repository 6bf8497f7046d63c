"""Where it looked, in the Inspect tab: an answer, made here or sent from Chat, is looked into.

In: presses of buttons, and answers in `Visit.sent`. Out: the section that `answer_view` draws. What
was found is kept in `Looking.answered`.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import gradio as gr

from vlm.backend import Event, Finished, Progress, TextDelta
from vlm.errors import RequestError, VLMError
from vlm.explanation import Explains, Explanation
from vlm.settings import model_names
from vlm.strings import error_text
from vlm.ui import answer_view
from vlm.ui.answered import Answered
from vlm.ui.background import in_background
from vlm.ui.chat_view import card
from vlm.ui.context import RUNNING, Context, Updates, Visit
from vlm.ui.inspect_parts import LOADED, Looking, Parts, in_tab

log = logging.getLogger(__name__)

STEP = 0.1
"""Seconds between two looks whether a model is there."""

Steps = Callable[[Answered, threading.Event], Iterator[None]]
"""Work on an answer; it yields after each change, and ends where the event is set."""


class AnswerSection:
    """What happens in the section.

    Args:
        context: of the page.
        parts: the components of the tab.
        looking_of: what a visit looks into.
        pictured: draws the photos, called as in the answer that is looked into.
    """

    def __init__(
        self,
        context: Context,
        parts: Parts,
        looking_of: Callable[[Visit], Looking],
        pictured: Callable[[Looking, str], Updates],
    ) -> None:
        self.context = context
        self.slot = context.backend
        self.parts = parts
        self.looking_of = looking_of
        self.pictured = pictured

    def connect(self, inputs: list[Any], selected: Any) -> None:
        """Connects the components.

        Args:
            inputs: visit, question, model, language.
            selected: the event after which an answer may have arrived from another tab.
        """
        parts = self.parts
        shown = [parts.answer, parts.answering, parts.trace, parts.cancel, parts.notice]
        shown += [parts.overlay, parts.sequence]
        parts.answering.click(self.ask, inputs, shown, **RUNNING)
        parts.channel.click(self.hear_of_answer, inputs, shown, **RUNNING)
        selected.then(self.take_up, inputs, shown, **RUNNING)

    # ---- what is done ----

    def ask(
        self, visit: Visit | None, question: str, model: str, language: str
    ) -> Iterator[Updates]:
        """Has the loaded model answer the question about the photos; looks into the answer."""
        if visit is None:
            return
        looking = self.looking_of(visit)
        if looking.running:  # a second press while something runs
            return
        if not looking.photos or model not in ("", LOADED):
            error = RequestError("answer_needs_weights" if looking.photos else "no_photo")
            yield {self.parts.notice: card(error_text(error, language), "", language)}
            return
        named = looking.numbers
        looking.answered = looking.asked(question or "")
        if looking.numbers != named:  # of an answer from Chat; this is another question
            yield self.pictured(looking, language)
        yield from self._run(visit, self._answer, language)

    def hear_of_answer(
        self,
        event: gr.EventData,
        visit: Visit | None,
        question: str,
        model: str,
        language: str,
    ) -> Iterator[Updates]:
        """Stop was pressed, or a method: it is shown, and run before if need be."""
        act, method = event._data.get("act"), event._data.get("method")
        looking = self.looking_of(visit) if visit is not None else None
        answered = looking.answered if looking is not None else None
        if looking is not None and act == "stop_looking":
            looking.cancel.set()
        wanted = act == "look" and method in answer_view.METHODS
        if visit is None or looking is None or answered is None or looking.running or not wanted:
            yield gr.skip()
            return
        answered.method, answered.error = method, None
        if method in answered.found:
            yield {self.parts.answer: answer_view.section(answered, language)}
            return
        yield from self._run(visit, self._look, language)

    def take_up(
        self, visit: Visit | None, question: str, model: str, language: str
    ) -> Iterator[Updates]:
        """Looks into an answer that has just arrived from another tab, if one has."""
        looking = self.looking_of(visit) if visit is not None else None
        answered = looking.answered if looking is not None else None
        if visit is None or answered is None or not answered.waiting:
            yield gr.skip()
            return
        answered.waiting = False
        yield from self._run(visit, self._look, language)

    # ---- one run ----

    def _run(self, visit: Visit, steps: Steps, language: str) -> Iterator[Updates]:
        """Works on the answer of a visit and shows every step; what fails is said there."""
        looking = self.looking_of(visit)
        answered = looking.answered
        assert answered is not None
        cancel = threading.Event()
        looking.cancel, looking.running = cancel, True
        answered.error, answered.progress = None, Progress("thinking")
        try:
            yield {**self._busy(), self.parts.answer: answer_view.section(answered, language)}
            for _ in steps(answered, cancel):
                if self.looking_of(visit).answered is not answered:  # another photo
                    break
                yield {**self._busy(), self.parts.answer: answer_view.section(answered, language)}
        except VLMError as error:
            answered.error = in_tab(error)
        except Exception as error:
            log.exception("looking into an answer failed")
            answered.error = RequestError("unexpected", detail=type(error).__name__)
        finally:
            cancel.set()
            looking.running, answered.progress = False, None
        if self.looking_of(visit).answered is answered:
            yield self._at_rest(looking, answered, language)

    def _answer(self, answered: Answered, cancel: threading.Event) -> Iterator[None]:
        """The answer as it is written, then where the model looked for it."""
        yield from self._ready(answered, cancel)
        for event in self.slot.stream(answered.messages, answered.options, cancel):
            if isinstance(event, TextDelta):
                answered.text += event.text
            elif isinstance(event, Progress):
                answered.progress = event
            elif isinstance(event, Finished):
                answered.origin = event.model
            yield
        yield from self._look(answered, cancel)

    def _look(self, answered: Answered, cancel: threading.Event) -> Iterator[None]:
        """Where the model looked, by the chosen method."""
        yield from self._ready(answered, cancel)
        explanation = yield from self._explained(answered, cancel)
        able = self.slot.capabilities()
        names = model_names(self.slot.settings, able.details)
        foreign = bool(answered.origin) and dict(answered.origin) != names
        answered.keep(explanation, " · ".join([able.name, *able.details]), foreign)
        yield

    def _explained(
        self, answered: Answered, cancel: threading.Event
    ) -> Generator[None, None, Explanation]:
        """What `ModelSlot.explain` gives; how far it is goes into the answer."""

        def work(tell: Callable[[Event], None]) -> Explanation:
            asked = answered.messages, answered.text, answered.options, answered.method
            return self.slot.explain(*asked, cancel, tell)

        working = in_background(work, cancel, "explain_cancelled")
        while True:
            try:
                event = next(working)
            except StopIteration as end:
                return end.value
            if isinstance(event, Progress):
                answered.progress = event
            yield

    def _ready(self, answered: Answered, cancel: threading.Event) -> Iterator[None]:
        """Waits for a model that explains.

        Raises:
            RequestError: the model runs elsewhere and shows only its answers; called off.
            VLMError: why there is no model.
        """
        if self.slot.state == "idle":
            self.slot.start()
        while self.slot.state == "loading" and not cancel.is_set():
            if answered.progress != Progress("loading"):
                answered.progress = Progress("loading")
                yield
            time.sleep(STEP)
        if cancel.is_set():
            raise RequestError("explain_cancelled")
        if not isinstance(self.slot.opened(), Explains):
            raise RequestError("no_trace", name=self.slot.capabilities().name)

    # ---- what is shown ----

    def _busy(self) -> Updates:
        hidden = gr.update(interactive=False)
        return {
            self.parts.answering: hidden,
            self.parts.trace: hidden,
            self.parts.cancel: gr.update(interactive=True),
        }

    def _at_rest(self, looking: Looking, answered: Answered, language: str) -> Updates:
        return {
            self.parts.answer: answer_view.section(answered, language),
            self.parts.answering: gr.update(interactive=not looking.bare),
            self.parts.trace: gr.update(interactive=True),
            self.parts.cancel: gr.update(interactive=False),
            self.parts.notice: "",
        }
