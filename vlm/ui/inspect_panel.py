"""The Inspect tab: how a model cuts a photo up, and its way from pixels to the first word.

In: a photo, a question, and a model: the loaded one, or any other without its weights. Out: an
`Inspection`, drawn by `inspect_view`. What was found belongs to the visit.
"""

import functools
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from vlm import families
from vlm.backend import ImageLayout, Progress
from vlm.errors import RequestError, VLMError
from vlm.images import open_image
from vlm.inspection import Inspection, tile_spans
from vlm.messages import Image, user_message
from vlm.options import GenerationOptions
from vlm.report import progress_words
from vlm.strings import error_text, say
from vlm.ui import answer_view, inspect_api, inspect_view, region
from vlm.ui.answered import Answered, Sent
from vlm.ui.chat_view import card
from vlm.ui.context import QUIET, RUNNING, Context, Updates, Visit, channel, escaped, holder
from vlm.ui.inspect_answer import AnswerSection
from vlm.ui.shelf import Shelf

log = logging.getLogger(__name__)

LOADED = "loaded"
EXAMPLES = ("cat", "coffee", "astronaut", "photographer")
EXAMPLE_SIDE = 120


def build(context: Context) -> None:
    """Fills the tab."""
    InspectPanel(context)


@dataclass(eq=False)
class Looking:
    """What one visit looks into.

    Attributes:
        image: that was chosen.
        layout: what the chosen model makes of it; None while none can say.
        found: of the last run with this image and model.
        cancel: ends the run that goes on.
        running: whether one does.
        answered: an answer about it that is looked into.
    """

    image: Image | None = None
    layout: ImageLayout | None = None
    found: Inspection | None = None
    answered: Answered | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    running: bool = False

    @property
    def images(self) -> list[Image]:
        """See `vlm.ui.context.Room`."""
        more = self.answered.images if self.answered is not None else []
        return list(dict.fromkeys([*([self.image] if self.image is not None else []), *more]))

    def leave(self) -> None:
        """See `vlm.ui.context.Room`."""
        self.cancel.set()
        self.image = self.layout = self.found = self.answered = None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The components of the tab."""

    file: gr.File
    question: gr.Textbox
    model: gr.Dropdown
    trace: gr.Button
    answering: gr.Button
    cancel: gr.Button
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
                self.notice,
            ),
            *(self.overlay, self.table, self.answer, self.sequence, self.figures),
        ]


class InspectPanel:
    """What happens when the components of the tab are used."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.slot = context.backend
        self.shelf = Shelf()
        self.parts = self._build()
        self.answers = AnswerSection(context, self.parts, self._of, LOADED)
        self._connect()
        inspect_api.serve(context, self.shelf, LOADED)

    # ---- the components ----

    def _build(self) -> Parts:
        words = self.context.words
        with gr.Column(elem_id="inspect"):
            with gr.Row(elem_id="inspect-top"):
                with gr.Column(scale=2, min_width=320):
                    made = self._controls()
                with gr.Column(scale=3, min_width=320):
                    table = holder("inspect-table")
            answer = holder("inspect-answer")
            sequence, figures = holder("inspect-sequence"), holder("inspect-figures")
        words.add(made["file"], label="inspect.image")
        words.add(made["question"], label="inspect.question")
        words.add(made["model"], label="inspect.model", info="inspect.model.info")
        words.add(made["trace"], value="inspect.trace")
        words.add(made["answering"], value="inspect.answer")
        words.add(made["cancel"], value="inspect.cancel")
        hears = channel("inspect")
        below = {"answer": answer, "sequence": sequence, "figures": figures}
        return Parts(table=table, channel=hears, **below, **made)

    def _controls(self) -> dict[str, Any]:
        overlay = holder("inspect-overlay")
        file = gr.File(elem_id="inspect-image", type="filepath", height=88)
        gr.HTML(_examples(self.context.assets / "examples"), elem_id="inspect-examples")
        question = gr.Textbox(
            say("inspect.question.default"), elem_id="inspect-question", max_lines=4
        )
        model = gr.Dropdown(
            self._models("en"),
            value=LOADED,
            elem_id="inspect-model",
            allow_custom_value=not self.context.settings.hosted,
        )
        with gr.Row():
            trace = gr.Button(elem_id="trace", variant="primary", size="sm")
            answering = gr.Button(elem_id="inspect-ask", size="sm")
            cancel = gr.Button(elem_id="cancel-trace", variant="stop", size="sm", interactive=False)
        return {
            "overlay": overlay,
            "file": file,
            "question": question,
            "model": model,
            "trace": trace,
            "answering": answering,
            "cancel": cancel,
            "notice": holder("inspect-notice"),
        }

    def _models(self, language: str) -> list[tuple[str, str]]:
        """The loaded one, what is known here without the network, what the hub would tell."""
        known = families.published()
        here = [(say("inspect.model.bare", language, title=p.title), p.name) for p in known]
        names = {each.name for each in known}
        others = [each for each in families.catalogue() if each.name not in names]
        if self.context.settings.hosted:  # visitors fetch nothing
            others = []
        hub = [(say("inspect.model.hub", language, title=o.title), o.name) for o in others]
        return [(say("inspect.model.loaded", language), LOADED), *here, *hub]

    def _connect(self) -> None:
        parts, context = self.parts, self.context
        inputs = [context.visit, parts.question, parts.model, context.language]
        shown = parts.shown
        parts.file.upload(self.upload, [parts.file, *inputs], shown, **RUNNING)
        parts.trace.click(self.trace, inputs, shown, **RUNNING)
        parts.question.submit(self.trace, inputs, shown, **RUNNING)
        parts.cancel.click(self.cancel, [context.visit], None, **QUIET)
        parts.model.input(self.choose_model, inputs, shown, **RUNNING)
        parts.channel.click(self.hear, inputs, shown, **RUNNING)
        region.connect(context, parts.channel, parts.notice)
        self.answers.connect(inputs, context.tab.select(self.arrive, inputs, shown, **QUIET))
        context.refreshers.append((self.redraw, inputs, shown))

    # ---- what is done ----

    def upload(
        self, path: str | None, visit: Visit | None, question: str, model: str, language: str
    ) -> Updates:
        """A photo was chosen."""
        if visit is None or not path:
            return gr.skip()
        try:
            image = visit.open(path, self.context.settings.image_limits)
        except VLMError as error:
            return {self.parts.notice: card(error_text(error, language), "", language)}
        return self._take(visit, image, model, language)

    def hear(
        self, event: gr.EventData, visit: Visit | None, question: str, model: str, language: str
    ) -> Updates:
        """An example was pressed, or a card put away."""
        name = str(event._data.get("name", ""))
        if event._data.get("act") == "dismiss":
            return {self.parts.notice: ""}
        if visit is None or name not in EXAMPLES:
            return gr.skip()
        image = open_image(self.context.assets / "examples" / f"{name}.jpg")
        return self._take(visit, image, model, language)

    def arrive(self, visit: Visit | None, question: str, model: str, language: str) -> Updates:
        """The tab was opened, perhaps with an image or an answer from another."""
        if visit is None:
            return gr.skip()
        sent = visit.sent.pop("inspect", Sent())
        if sent.answered is not None and sent.answered.images:
            asked = sent.answered.messages[-1]
            image = (asked.images or sent.answered.images)[0]
            taken = self._take(visit, image, LOADED, language, sent.answered)
            return {**taken, self.parts.model: LOADED, self.parts.question: asked.text}
        if sent.images:
            return self._take(visit, sent.images[0], model, language)
        looking = self._of(visit)
        came = looking.layout is None and not looking.running
        if looking.image is not None and came:  # the model came meanwhile
            return self._take(visit, looking.image, model, language, looking.answered)
        return self._drawn(looking, language)

    def choose_model(
        self, visit: Visit | None, question: str, model: str, language: str
    ) -> Updates:
        """Another model: what it makes of the photo."""
        if visit is None or (image := self._of(visit).image) is None:
            return gr.skip()
        return self._take(visit, image, model, language, self._of(visit).answered)

    def trace(
        self, visit: Visit | None, question: str, model: str, language: str
    ) -> Iterator[Updates]:
        """Runs the model once and shows every stage."""
        if visit is None:
            return
        looking = self._of(visit)
        if looking.running:  # a second press while it runs
            return
        looking.cancel, looking.running = threading.Event(), True
        error: Exception | None = None
        try:
            if looking.image is None:
                raise RequestError("no_photo")
            yield self._busy(say("inspect.begun", language))
            for found in self._run(looking, question, model):
                if isinstance(found, Inspection):
                    looking.found = found
                    looking.layout = found.layouts[0] if found.layouts else None
                elif isinstance(found, Progress):
                    yield self._busy(progress_words(found, language))
        except Exception as raised:
            error = raised
        finally:
            looking.running = False
        if self._of(visit) is not looking:  # another photo meanwhile
            return
        yield {**self._drawn(looking, language), **self._failed(error, language)}

    def _run(self, looking: Looking, question: str, model: str) -> Iterator[Any]:
        assert looking.image is not None
        messages = [user_message(question or "", [looking.image])]
        if model in ("", LOADED):
            yield from self.slot.inspect(messages, GenerationOptions(), looking.cancel)
        else:
            bare = self.shelf.open(self._allowed(model))
            yield bare.inspect(messages, should_stop=looking.cancel.is_set)

    def _allowed(self, model: str) -> str:
        """A name that a visitor may have opened. Raises RequestError."""
        if self.context.settings.hosted and model not in self.shelf.names:
            raise RequestError("hosted_model")
        return model.strip()

    def _failed(self, error: Exception | None, language: str) -> Updates:
        if error is None:
            return {self.parts.notice: ""}
        if not isinstance(error, VLMError):
            log.error("inspecting failed", exc_info=error)
            error = RequestError("panel_unexpected", detail=type(error).__name__)
        return {self.parts.notice: card(error_text(error, language), "", language)}

    def cancel(self, visit: Visit | None) -> None:
        """Ends the run at its next layer."""
        if visit is not None:
            self._of(visit).cancel.set()

    def _take(
        self,
        visit: Visit,
        image: Image,
        model: str,
        language: str,
        answered: Answered | None = None,
    ) -> Updates:
        """Another image or model: how it is cut up is known at once, the rest by a run."""
        looking = self._of(visit)
        looking.cancel.set()
        looking = visit.rooms["inspect"] = Looking(image=image, answered=answered)
        error: Exception | None = None
        try:
            if model in ("", LOADED):
                looking.layout = self.context.image_layout(visit, image, GenerationOptions())
            else:
                looking.layout = self.shelf.open(self._allowed(model)).image_layout(image)
        except Exception as raised:
            error = raised
        shown = {**self._drawn(looking, language), **self._failed(error, language)}
        return {**shown, self.parts.file: None}  # the photo may come from elsewhere

    def _of(self, visit: Visit) -> Looking:
        return visit.room("inspect", Looking)

    # ---- what is shown ----

    def redraw(self, visit: Visit | None, question: str, model: str, language: str) -> Updates:
        """In another language, or with another model loaded."""
        standing = {say("inspect.question.default", each) for each in ("en", "zh")}
        asked = say("inspect.question.default", language) if question in standing else question
        updates: Updates = {
            self.parts.model: gr.update(choices=self._models(language)),
            self.parts.question: asked,
        }
        return updates if visit is None else {**updates, **self._drawn(self._of(visit), language)}

    def _busy(self, words: str) -> Updates:
        return {
            self.parts.notice: f'<p class="pending" role="status">{escaped(words)}</p>',
            self.parts.trace: gr.update(interactive=False),
            self.parts.answering: gr.update(interactive=False),
            self.parts.cancel: gr.update(interactive=True),
        }

    def _drawn(self, looking: Looking, language: str) -> Updates:
        """Everything as it is while nothing runs."""
        parts, found, image = self.parts, looking.found, looking.image
        spans = tile_spans(found.layouts, found.pieces) if found else []
        hint = "inspect.empty" if image is None else "inspect.ready"
        empty = f'<p class="quiet">{escaped(say(hint, language))}</p>'
        drawn: Updates = {
            parts.overlay: inspect_view.photo(image, looking.layout, spans, language)
            if image
            else "",
            parts.table: inspect_view.stages(found, language) if found else empty,
            parts.answer: answer_view.section(looking.answered, language),
            parts.sequence: inspect_view.sequence(found, language) if found else "",
            parts.figures: inspect_view.figures(found.figures, language) if found else "",
        }
        if not looking.running:
            drawn[parts.trace] = gr.update(interactive=True)
            drawn[parts.answering] = gr.update(interactive=True)
            drawn[parts.cancel] = gr.update(interactive=False)
        return drawn


@functools.cache
def _examples(folder: Path) -> str:
    """The example photos as buttons, small and inside the page."""
    buttons = []
    for name in EXAMPLES:
        image = open_image(folder / f"{name}.jpg")
        source = inspect_view.address(inspect_view.preview(image, EXAMPLE_SIDE), photo=True)
        buttons.append(
            f'<button type="button" class="act pick" data-act="example" data-name="{name}" '
            f'aria-label="{name}"><img src="{source}" alt=""></button>'
        )
    return f'<div class="picks">{"".join(buttons)}</div>'
