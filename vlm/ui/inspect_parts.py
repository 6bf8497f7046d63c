"""What the Inspect tab is made of: its components, and what it keeps for one visit."""

import threading
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from vlm.backend import ImageLayout
from vlm.errors import RequestError, VLMError
from vlm.inspection import Inspection
from vlm.messages import Image, user_message
from vlm.options import GenerationOptions
from vlm.ui.answered import Answered
from vlm.ui.image_numbers import Numbered, in_a_row

LOADED = "loaded"
"""In the list of models: the one that is loaded."""


IN_TAB = {"images_in_all": "photos_for_model", "too_many_images": "photos_at_once"}
"""Errors that speak of messages and conversations -> the same in words of this tab."""


def in_tab(error: VLMError) -> VLMError:
    """An error as it is said in Inspect, where there are photos and no conversation to begin."""
    key = IN_TAB.get(error.key)
    return RequestError(key, **error.facts) if key else error


@dataclass(eq=False)
class Looking:
    """What one visit looks into.

    Attributes:
        photos: that were chosen, in the order in which the model is shown them.
        layouts: what the chosen model makes of each; None while none can say.
        found: of the last run with these photos and model.
        cancel: ends the run that goes on.
        running: whether one does.
        answered: an answer about them that is looked into.
        model: that is chosen.
    """

    photos: list[Image] = field(default_factory=list)
    layouts: list[ImageLayout | None] = field(default_factory=list)
    found: Inspection | None = None
    answered: Answered | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    running: bool = False
    model: str = LOADED

    @property
    def bare(self) -> bool:
        """Whether the chosen model is shown without its weights, so that it cannot answer."""
        return self.model not in ("", LOADED)

    @property
    def images(self) -> list[Image]:
        """See `vlm.ui.context.Room`."""
        more = self.answered.images if self.answered is not None else []
        return list(dict.fromkeys([*self.photos, *more]))

    @property
    def numbers(self) -> list[Numbered]:
        """What each of the photos is called: as Chat does where they are those of an answer."""
        if self.answered is not None and self.photos == self.answered.images:
            return self.answered.numbers
        return in_a_row(len(self.photos))

    def asked(self, question: str) -> Answered:
        """A question about the photos, to be answered or read.

        While it is that of the answer which is looked into, all that was said before it in Chat
        belongs to it: without that the model would get another prompt, and say something else.
        """
        before = self.answered
        known = before is not None and self.photos == before.images
        if before is None or not known or question != before.messages[-1].text:
            return Answered([user_message(question, self.photos)])
        options = GenerationOptions(image_detail=before.options.image_detail)
        return Answered(before.messages, options, before=before.before)

    def leave(self) -> None:
        """See `vlm.ui.context.Room`."""
        self.cancel.set()
        self.photos, self.layouts = [], []
        self.found = self.answered = None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The components of the tab."""

    file: gr.File
    keep: gr.Checkbox
    question: gr.Textbox
    model: gr.Dropdown
    trace: gr.Button
    answering: gr.Button
    cancel: gr.Button
    why: gr.HTML
    notice: gr.HTML
    overlay: gr.HTML
    table: gr.HTML
    answer: gr.HTML
    sequence: gr.HTML
    figures: gr.HTML
    channel: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What handlers update."""
        return [
            *(
                self.file,
                self.question,
                self.model,
                self.trace,
                self.answering,
                self.cancel,
                self.why,
                self.notice,
            ),
            *(self.overlay, self.table, self.answer, self.sequence, self.figures),
        ]
