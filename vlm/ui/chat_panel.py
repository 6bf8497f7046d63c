"""The Chat tab: drop photos, ask, read the answer as it is written, try again.

In: what a person types, attaches and presses. Out: the conversation of `vlm.chat.ChatSession`,
drawn. The panel holds no conversation of its own.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from vlm.backend import Progress
from vlm.chat import ChatSession
from vlm.errors import RequestError, VLMError
from vlm.messages import Image, user_message
from vlm.report import progress_words
from vlm.strings import error_text, say
from vlm.ui import chat_api, chat_view, frame
from vlm.ui.chat_display import Display
from vlm.ui.chat_parts import build_parts
from vlm.ui.composer import Composer
from vlm.ui.context import (
    QUIET,
    RUNNING,
    Context,
    Draft,
    Updates,
    Visit,
    escaped,
)
from vlm.ui.memory_ways import MemoryWays, inner
from vlm.ui.safely import gone_card
from vlm.ui.sending import connect_sending
from vlm.ui.transfer import Transfer, way_back

log = logging.getLogger(__name__)

Facts = dict[str, str]
"""What a button in HTML sends along."""


def build(context: Context) -> None:
    """Fills the tab."""
    ChatPanel(context)


class ChatPanel:
    """What happens when the components of the tab are used."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.parts = build_parts(context)
        self.composer = Composer(context, self.parts)
        self.display = Display(context, self.parts, self.composer)
        self.transfer = Transfer(context, self.parts, self.display.at_rest)
        self.memory_ways: MemoryWays
        self.acts: dict[str, Callable[[Draft, Facts], Iterator[Updates]]] = {
            "send": self.send,
            "example": self.example,
            "retry": self.retry,
            "continue": self.go_on,
            "edit": self.edit,
            "edit_end": self.edit_end,
            "undo": self.undo,
            "choose": self.choose,
            "drop": self.drop,
            "clear": self.clear,
            "load": self.load,
            "fit": lambda draft, facts: self.memory_ways.fit(draft, facts),
            "dismiss": lambda draft, facts: iter([{self.parts.notice: ""}]),
            **self.composer.acts,
            **self.transfer.acts,
        }
        self.memory_ways = MemoryWays(context, self.parts, self.acts, self._anew)
        self._connect()
        self.transfer.connect()
        chat_api.serve(context)

    def _connect(self) -> None:
        parts, visit, language = self.parts, self.context.visit, self.context.language
        inputs = [parts.box, visit, language, *parts.drawer.controls]
        shown, buttons = parts.shown, parts.buttons
        parts.box.submit(self.on("send"), inputs, shown, **RUNNING)
        for name, button in parts.example_buttons.items():
            button.click(self.on("example", name=name), inputs, shown, **RUNNING)
        for name in ("retry", "continue", "undo", "edit", "clear"):
            buttons[name].click(self.on(name), inputs, shown, **RUNNING)
        buttons["stop"].click(self.stop, [visit], None, **QUIET)
        buttons["settings"].click(None, js="() => window.diptych.drawer()")
        outputs = list(dict.fromkeys([*shown, *parts.drawer.outputs]))
        heard = [*outputs, self.context.model_status]
        parts.channel.click(self.hear, inputs, heard, **RUNNING)
        connect_sending(self.context, parts.channel)
        self.composer.connect(inputs)
        self.context.refreshers.append((self.display.refresh, [visit, language], outputs))

    # ---- from an event to what is done about it ----

    def on(self, act: str, **facts: str) -> Callable[..., Iterator[Updates]]:
        """A handler of Gradio that does `act`."""

        def handler(
            value: dict[str, Any], visit: Visit | None, language: str, *controls: Any
        ) -> Iterator[Updates]:
            if visit is None:
                yield {self.parts.notice: gone_card(language)}
                return
            yield from self._do(act, Draft(value or {}, visit, language, controls), facts)

        return handler

    def hear(
        self,
        event: gr.EventData,
        value: dict[str, Any],
        visit: Visit | None,
        language: str,
        *controls: Any,
    ) -> Iterator[Updates]:
        """A button in HTML was pressed."""
        if visit is None:
            yield {self.parts.notice: gone_card(language)}
            return
        facts = {name: str(fact) for name, fact in event._data.items()}
        draft = Draft(value or {}, visit, language, controls)
        yield from self._do(facts.get("act", ""), draft, facts)

    def _do(self, act: str, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Does it; what fails is said, and loses nothing."""
        try:
            if act not in self.acts:  # the page is older than the program
                raise RequestError("unexpected", detail=act[:40])
            if act in WHEN_AT_REST and draft.visit.busy:
                raise RequestError("busy")
            for updates in self.acts[act](draft, facts):
                yield self._with_images(updates, draft)
        except VLMError as error:
            yield from self._told(*inner(act, facts), draft, error)
        except Exception as error:
            log.exception("%s failed", act)
            unexpected = RequestError("unexpected", detail=type(error).__name__)
            yield self._with_images(self._failed(act, draft, facts, unexpected), draft)

    def _told(self, act: str, facts: Facts, draft: Draft, error: VLMError) -> Iterator[Updates]:
        """Why it failed; where memory ran out, then what would fit, which takes a moment."""
        language = draft.language
        if draft.visit.busy or not self.memory_ways.can_help(error):
            yield self._with_images(self._failed(act, draft, facts, error), draft)
            return
        waiting = f'<span class="pending">{escaped(say("memory.looking", language))}</span>'
        yield self._with_images(self._failed(act, draft, facts, error, waiting), draft)
        ways = None
        with contextlib.suppress(VLMError):  # what is loaded is no longer there to be read
            ways = self.memory_ways.ways(error, draft, _again(act, facts))
        yield {self.parts.notice: self._card(act, draft, facts, error, ways)}

    def _card(self, act: str, draft: Draft, facts: Facts, error: VLMError, ways: str | None) -> str:
        """Why it failed, with the ways on that are given, or else those of the error."""
        if ways is not None:
            return chat_view.card(error_text(error, draft.language), ways, draft.language)
        again = _again(act, facts)
        return chat_view.error_card(error, draft.visit.session, draft.language, again)

    def _failed(
        self, act: str, draft: Draft, facts: Facts, error: VLMError, ways: str | None = None
    ) -> Updates:
        """Why, with ways on; the conversation as it was, and the question back in the box."""
        visit, language = draft.visit, draft.language
        card = self._card(act, draft, facts, error, ways)
        if visit.busy:  # another answer runs: it is not touched
            return {self.parts.notice: card}
        failed = {**self.display.at_rest(visit, language), self.parts.notice: card}
        if act in ("send", "example"):
            failed[self.parts.box] = gr.update(value=_with_typed(draft), submit_btn=True)
        return failed

    def _with_images(self, updates: Updates, draft: Draft) -> Updates:
        """Draws the images of a box that is filled here, as Gradio tells only of new words."""
        box = updates.get(self.parts.box)
        if not box or not box.get("value"):
            return updates
        draft.visit.drawn = None
        drawn = self.composer.drawn(replace(draft, value=box["value"]))
        around = (self.parts.attached, self.parts.meter)
        return {**updates, **{part: drawn[part] for part in around if part in drawn}}

    # ---- turns ----

    def send(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Asks what is in the box: a new turn, or another version of the one being edited."""
        visit, language = draft.visit, draft.language
        session, at, kept = visit.session, visit.editing, visit.session.revision
        with visit.answering():
            system_prompt, options = self.parts.drawer.options(draft.controls)
            most = self.context.settings.max_images
            if len(draft.files) > most:  # told before any of them is decoded
                raise RequestError("too_many_images", got=len(draft.files), limit=most)
            said = self.display.rows(visit, language, at)
            visit.drawn, visit.typed = None, {}
            yield {
                **self.display.begun(),
                self.parts.box: gr.update(value=None, submit_btn=False),
                self.parts.attached: "",
                self.parts.chat: [
                    *said,
                    *self.display.question(user_message(draft.text), options, draft),
                ],
            }
            images: list[Image] = []
            for number, path in enumerate(draft.files, 1):
                waiting = progress_words(Progress("reading", number, len(draft.files)), language)
                shown = [*said, chat_view.pending(waiting)]
                yield {**self.display.running(), self.parts.chat: shown}
                images.append(visit.open(path, self.context.settings.image_limits))
            session.system_prompt = system_prompt
            events = session.send(draft.text, images, options, visit.cancel, at=at)
            asked = user_message(draft.text, images)
            before = [turn.question for turn in session.turns[:at]]
            ground = self.display.ground([*before, asked], options, draft)
            shown = [*said, *self.display.question(asked, options, draft)]
            replies = chat_view.replies(events, language, ground=ground)
            yield from self._stream(draft, session, shown, replies)
        ended: Updates = {}
        if visit.session is session and session.revision == kept:  # stopped before the first word
            ended = {self.parts.box: gr.update(value=_with_typed(draft), submit_btn=True)}
        elif visit.session is session:
            visit.editing = None
        yield self._ended(draft, ended)

    def example(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Asks the question of an example; what stands in the box stays there."""
        name = facts["name"]
        picture = str(self.context.assets / "examples" / f"{name}.jpg")
        question = {"text": say(f"example.{name}", draft.language), "files": [picture]}
        yield from self.send(replace(draft, value=question), facts)
        yield {self.parts.box: gr.update(value=_with_typed(draft))}

    def retry(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Asks a turn again, by default the last."""
        visit, language = draft.visit, draft.language
        session = visit.session
        with visit.answering():
            system_prompt, options = self.parts.drawer.options(draft.controls)
            index = int(facts.get("turn", len(session.turns) - 1))
            visit.editing = None  # what stands in the box is sent as a new turn then
            session.system_prompt = system_prompt
            events = session.retry(index, options, visit.cancel)
            # Empty where there is no such turn: the session will say so.
            asked = [turn.question for turn in session.turns[: index + 1]]
            there = 0 <= index < len(asked)
            question = self.display.question(asked[index], options, draft) if there else []
            shown = [*self.display.rows(visit, language, index), *question]
            yield {**self.display.begun(), self.parts.chat: shown}
            ground = self.display.ground(asked, options, draft)
            replies = chat_view.replies(events, language, ground=ground)
            yield from self._stream(draft, session, shown, replies)
        yield self._ended(draft)

    def go_on(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Goes on with the last answer where it was cut off."""
        visit, language = draft.visit, draft.language
        session = visit.session
        with visit.answering():
            shown = self.display.rows(visit, language)[:-1]
            turns = session.turns
            answer = turns[-1].answer if turns else ""
            yield {**self.display.begun()}
            asked = [turn.question for turn in turns]
            ground = self.display.ground(asked, turns[-1].options, draft) if turns else None
            replies = chat_view.replies(session.go_on(visit.cancel), language, answer, ground)
            yield from self._stream(draft, session, shown, replies)
        yield self._ended(draft)

    def _stream(
        self,
        draft: Draft,
        session: ChatSession,
        shown: list[chat_view.Row],
        replies: Iterator[chat_view.Row],
    ) -> Iterator[Updates]:
        """The answer below what is shown, as it grows."""
        for row in replies:
            if draft.visit.session is not session:  # cleared meanwhile, or another was opened
                return
            yield {**self.display.running(), self.parts.chat: [*shown, row]}

    def _ended(self, draft: Draft, more: Updates | None = None) -> Updates:
        """Everything at rest again; nothing where another answer has begun meanwhile.

        It is the last that an answer shows, so that the next press finds nothing under way.
        """
        if draft.visit.busy:
            return gr.skip()
        return {**self.display.at_rest(draft.visit, draft.language), **(more or {})}

    def edit(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Puts a question back into the box, with its images, to be asked otherwise."""
        visit, turns = draft.visit, draft.visit.session.turns
        index = int(facts.get("turn", len(turns) - 1))
        if not 0 <= index < len(turns):
            raise RequestError("no_such_turn", got=index + 1, limit=len(turns))
        if visit.editing is None:
            visit.set_aside = draft.value
        visit.editing = index
        yield {
            self.parts.editing: chat_view.editing_note(index, draft.language),
            **self.composer.put(visit, turns[index].question),
        }

    def edit_end(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Leaves the turn as it was, and the box as it was before."""
        visit = draft.visit
        before = {"text": "", "files": [], **visit.set_aside}
        visit.editing, visit.set_aside = None, {}
        yield {self.parts.editing: "", self.parts.box: gr.update(value=before)}

    def undo(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Takes the last question back into the box."""
        question = draft.visit.session.undo()
        draft.visit.editing = None
        yield {
            **self.display.at_rest(draft.visit, draft.language),
            **self.composer.put(draft.visit, question),
            self.parts.notice: "",
        }

    def choose(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Shows another version of a turn."""
        draft.visit.session.choose(int(facts["turn"]), int(facts["version"]))
        draft.visit.editing = None
        yield self.display.at_rest(draft.visit, draft.language)

    def drop(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Sends the oldest turns no longer."""
        draft.visit.session.drop_oldest(int(facts["count"]))
        draft.visit.editing = None
        yield {**self.display.at_rest(draft.visit, draft.language), self.parts.notice: ""}

    def clear(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """A new conversation; the one before can be brought back."""
        visit, language = draft.visit, draft.language
        visit.begin(self.context.new_session())
        words, back = say("clear.done", language), way_back(visit, language)
        card = chat_view.card(words, back, language, "note") if back else ""
        yield {**self.display.at_rest(visit, language), self.parts.notice: card}

    def load(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Tries once more to load the model."""
        self.context.backend.start()
        yield {self.parts.notice: ""}
        for words in frame.watch_model(self.context, draft.language):
            yield {self.context.model_status: words}
        yield self._anew(draft)

    def _anew(self, draft: Draft) -> Updates:
        """Everything for a model that has just come."""
        return self.display.refresh(draft.visit, draft.language)

    def stop(self, visit: Visit | None) -> None:
        """Ends the answer that runs; what is written of it stays."""
        if visit is not None:
            visit.cancel.set()


def _with_typed(draft: Draft) -> dict[str, Any]:
    """What was in the box when the answer began, and what came into it since."""
    since = draft.visit.typed
    typed = since.get("text") or ""
    if draft.text.startswith(typed):  # what was sent, told of late
        typed = ""
    later = [path for path in since.get("files") or [] if path not in draft.files]
    words = [words for words in (draft.text, typed) if words]
    return {"text": "\n\n".join(words), "files": [*draft.files, *later]}


REPEATED = ("example", "retry", "continue", "address_add")
"""What "Try again" repeats as it was; for everything else the box is sent again."""

WHEN_AT_REST = ("edit", "undo", "choose", "drop", "fit")
"""What is not done while an answer runs."""


def _again(act: str, facts: Facts) -> Facts:
    """What a button that tries again does, and its facts."""
    return {**facts, "act": act} if act in REPEATED else {"act": "send"}
