"""What the Chat tab shows of a visit: at rest, while an answer runs, and in another language.

In: a `Visit`. Out: updates of components. Nothing here changes a conversation.
"""

import time
from collections.abc import Sequence

import gradio as gr

from vlm.chat import ChatSession
from vlm.messages import Message
from vlm.options import GenerationOptions
from vlm.report import reproduce_command
from vlm.strings import say
from vlm.ui import chat_view, places_view
from vlm.ui.chat_parts import Parts
from vlm.ui.composer import Composer
from vlm.ui.context import Context, Draft, Updates, Visit

TURN_BUTTONS = ("continue", "retry", "edit", "undo", "clear")


class Display:
    """Draws the conversation of a visit into the components of the tab."""

    def __init__(self, context: Context, parts: Parts, composer: Composer) -> None:
        self.context = context
        self.parts = parts
        self.composer = composer

    def rows(self, visit: Visit, language: str, upto: int | None = None) -> list[chat_view.Row]:
        """The conversation, or its first turns, as the Chatbot takes it."""
        return chat_view.rows(visit, language, self._layouts(visit), upto)

    def question(
        self, message: Message, options: GenerationOptions, draft: Draft
    ) -> list[chat_view.Row]:
        """A question that is being asked, as the Chatbot takes it."""
        layouts = self._layouts(draft.visit)
        return chat_view.question(message, options, draft.visit, draft.language, layouts)

    def ground(
        self, questions: Sequence[Message], options: GenerationOptions, draft: Draft
    ) -> chat_view.Ground | None:
        """What finds places in the answer to the last question; None where there can be none."""
        seen = places_view.subject(questions, options, self._layouts(draft.visit))
        return seen.places if seen else None

    def _layouts(self, visit: Visit) -> chat_view.Layouts:
        return lambda image, options: self.context.image_layout(visit, image, options)

    def begun(self) -> Updates:
        """When an answer begins: what belongs to the one before goes."""
        gone = (self.parts.stats, self.parts.notice, self.parts.editing)
        return {**self.running(), **dict.fromkeys(gone, "")}

    def running(self) -> Updates:
        """While an answer runs: Stop in the place of Send, and nothing to get in its way.

        It goes with every word, as a page that is busy may see only the last of several updates.
        """
        buttons = self.parts.buttons
        hidden = {buttons[name]: gr.update(interactive=False) for name in TURN_BUTTONS}
        return {
            self.parts.examples: gr.update(visible=False),
            self.parts.box: gr.update(submit_btn=False),
            **hidden,
            buttons["stop"]: gr.update(interactive=True),
        }

    def at_rest(self, visit: Visit, language: str) -> Updates:
        """The conversation as it stands, and a box that can send."""
        session, parts = visit.session, self.parts
        turns = session.turns
        usable = {name: bool(turns) for name in TURN_BUTTONS}
        usable["continue"] = bool(turns) and turns[-1].unfinished and self._continues()
        editing = "" if visit.editing is None else chat_view.editing_note(visit.editing, language)
        return {
            parts.chat: self.rows(visit, language),
            parts.examples: gr.update(visible=not turns),
            parts.stats: self._stats(session, language),
            parts.meter: self.composer.meter(visit, language),
            parts.editing: editing,
            parts.box: gr.update(submit_btn=True),
            parts.buttons["stop"]: gr.update(interactive=False),
            **{parts.buttons[name]: gr.update(interactive=can) for name, can in usable.items()},
        }

    def _continues(self) -> bool:
        """Whether the model can go on with an answer."""
        able = self.context.backend.able
        return able is not None and able.continues

    def _stats(self, session: ChatSession, language: str) -> str:
        """The numbers of the last answer, and how to get it again."""
        if not session.turns:
            return ""
        number, turn = len(session.turns), session.turns[-1]
        command = reproduce_command(turn, self.context.backend.settings, number=number)
        note = say("stats.reproduce.export", language, name="conversation.zip")
        return chat_view.stats(turn, command, note if number > 1 else "", language)

    def refresh(self, visit: Visit | None, language: str) -> Updates:
        """Everything anew: the words are in another language, or the model is there now.

        What stands around the box follows by `Composer.look`, which one change after the other
        goes through: drawn here, it could be that of a box in which something has been put since.
        """
        if visit is None:  # the page has not arrived yet
            return gr.skip()
        still = {} if visit.busy else self.at_rest(visit, language)
        able = self.context.backend.able
        defaults = self.parts.drawer.show_defaults(able, language) if able else {}
        return {**still, **defaults, self.parts.redraw: str(time.monotonic_ns())}
