"""The Inspect tab: how a model cuts photos up, and their way from pixels to the first word.

In: photos, a question, and a model: the loaded one, or any other without its weights. Out: an
`Inspection`, drawn by `inspect_view`. What was found belongs to the visit.
"""

import functools
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from vlm import families
from vlm.backend import ImageLayout, Progress
from vlm.errors import RequestError, VLMError
from vlm.images import open_image, thumbnail
from vlm.inspection import Inspection, tile_spans
from vlm.messages import Image, user_message
from vlm.options import GenerationOptions
from vlm.report import progress_words
from vlm.strings import error_text, say
from vlm.ui import answer_view, inspect_api, inspect_photos, inspect_view, region
from vlm.ui.answered import Answered, Sent
from vlm.ui.chat_view import card
from vlm.ui.context import QUIET, RUNNING, Context, Updates, Visit, channel, escaped, holder
from vlm.ui.inspect_answer import AnswerSection
from vlm.ui.inspect_parts import LOADED, Looking, Parts, in_tab
from vlm.ui.shelf import Shelf

log = logging.getLogger(__name__)

EXAMPLES = ("cat", "coffee", "astronaut", "photographer")
EXAMPLE_SIDE = 120
FILE_HEIGHT = 112
"""Pixels; in a lower box its words are cut off."""


def build(context: Context) -> None:
    """Fills the tab."""
    InspectPanel(context)


class InspectPanel:
    """What happens when the components of the tab are used."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.slot = context.backend
        self.shelf = Shelf()
        self.parts = self._build()
        self.answers = AnswerSection(context, self.parts, self._of, self._pictured)
        self._connect()
        inspect_api.serve(context, self.shelf)

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
        words.add(made["keep"], label="inspect.keep")
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
        file = gr.File(
            elem_id="inspect-image", type="filepath", file_count="multiple", height=FILE_HEIGHT
        )
        gr.HTML(_examples(self.context.assets / "examples"), elem_id="inspect-examples")
        keep = gr.Checkbox(elem_id="inspect-keep")
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
            "keep": keep,
            "question": question,
            "model": model,
            "trace": trace,
            "answering": answering,
            "cancel": cancel,
            "why": holder("inspect-why"),
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
        there = {each.name: families.common.is_described_here(each.name) for each in others}
        others.sort(key=lambda each: not there[each.name])
        more = [
            (
                say(f"inspect.model.{'disk' if there[o.name] else 'hub'}", language, title=o.title),
                o.name,
            )
            for o in others
        ]
        return [(say("inspect.model.loaded", language), LOADED), *here, *more]

    def _connect(self) -> None:
        parts, context = self.parts, self.context
        inputs = [context.visit, parts.question, parts.model, context.language]
        shown = parts.shown
        parts.file.upload(self.upload, [parts.file, parts.keep, *inputs], shown, **RUNNING)
        parts.trace.click(self.trace, inputs, shown, **RUNNING)
        parts.question.submit(self.trace, inputs, shown, **RUNNING)
        parts.cancel.click(self.cancel, [context.visit], None, **QUIET)
        parts.model.input(self.choose_model, inputs, shown, **RUNNING)
        parts.channel.click(self.hear, [parts.keep, *inputs], shown, **RUNNING)
        region.connect(context, parts.channel, parts.notice)
        self.answers.connect(inputs, context.tab.select(self.arrive, inputs, shown, **QUIET))
        context.refreshers.append((self.redraw, inputs, shown))

    # ---- what is done ----

    def upload(
        self,
        paths: Sequence[str] | None,
        keep: bool,
        visit: Visit | None,
        question: str,
        model: str,
        language: str,
    ) -> Updates:
        """Photos were chosen. One that cannot be opened is told; the others are there."""
        if visit is None or not paths:
            return gr.skip()
        before = self._of(visit).photos if keep else []
        opened, error = list[Image](), None
        for path in paths:
            try:
                self._check_count(len(before) + len(opened) + 1)
                opened.append(visit.open(path, self.context.settings.image_limits))
            except VLMError as raised:
                error = error or raised
        taken = self._take(visit, [*before, *opened], model, language) if opened else {}
        return {**taken, self.parts.file: None, **(self._failed(error, language) if error else {})}

    def _check_count(self, count: int) -> None:
        """Raises RequestError for more photos than a question may have."""
        if count > (most := self.context.settings.max_images):
            raise RequestError("too_many_images", got=count, limit=most)

    def hear(
        self,
        event: gr.EventData,
        keep: bool,
        visit: Visit | None,
        question: str,
        model: str,
        language: str,
    ) -> Updates:
        """An example was pressed, a photo taken out, or a card put away."""
        act, name = event._data.get("act"), str(event._data.get("name", ""))
        if act == "dismiss":
            return {self.parts.notice: ""}
        if visit is None:
            return gr.skip()
        photos = self._of(visit).photos
        if act == "take_out":
            left = [each for number, each in enumerate(photos, 1) if str(number) != name]
            return self._take(visit, left, model, language)
        if name not in EXAMPLES:
            return gr.skip()
        before = photos if keep else []
        try:
            self._check_count(len(before) + 1)
        except RequestError as error:
            return self._failed(error, language)
        image = open_image(self.context.assets / "examples" / f"{name}.jpg")
        return self._take(visit, [*before, image], model, language)

    def arrive(self, visit: Visit | None, question: str, model: str, language: str) -> Updates:
        """The tab was opened, perhaps with images or an answer from another."""
        if visit is None:
            return gr.skip()
        sent = visit.sent.pop("inspect", Sent())
        if sent.answered is not None and sent.answered.images:
            asked = sent.answered.messages[-1]
            taken = self._take(visit, sent.answered.images, LOADED, language, sent.answered)
            return {**taken, self.parts.model: LOADED, self.parts.question: asked.text}
        if sent.images:
            return self._take(visit, sent.images, model, language)
        looking = self._of(visit)
        if None in looking.layouts and not looking.running:  # the model came meanwhile
            return self._take(visit, looking.photos, model, language, looking.answered)
        return self._drawn(looking, language)

    def choose_model(
        self, visit: Visit | None, question: str, model: str, language: str
    ) -> Updates:
        """Another model: what it makes of the photos."""
        if visit is None:
            return gr.skip()
        return self._take(visit, self._of(visit).photos, model, language, self._of(visit).answered)

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
            if not looking.photos:
                raise RequestError("no_photo")
            yield self._busy(say(self._begun(model), language))
            for found in self._run(looking, question, model):
                if isinstance(found, Inspection):
                    looking.found = found
                    looking.layouts = list(found.layouts)
                elif isinstance(found, Progress):
                    yield self._busy(progress_words(found, language))
        except Exception as raised:
            error = raised
        finally:
            looking.running = False
        if self._of(visit) is not looking:  # another photo meanwhile
            return
        yield {**self._drawn(looking, language), **self._failed(error, language)}

    def _begun(self, model: str) -> str:
        """The key of what is said first: some models are fetched, as far as they are shown."""
        known = model in ("", LOADED) or model in self.shelf.names
        if known or families.common.is_described_here(model):
            return "inspect.begun"
        return "inspect.fetching"

    def _run(self, looking: Looking, question: str, model: str) -> Iterator[Any]:
        if model in ("", LOADED):
            asked = looking.asked(question or "")
            yield from self.slot.inspect(asked.messages, asked.options, looking.cancel)
        else:
            bare = self.shelf.open(self._allowed(model))
            messages = [user_message(question or "", looking.photos)]
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
        return {self.parts.notice: card(error_text(in_tab(error), language), "", language)}

    def cancel(self, visit: Visit | None) -> None:
        """Ends the run at its next layer."""
        if visit is not None:
            self._of(visit).cancel.set()

    def _take(
        self,
        visit: Visit,
        photos: Sequence[Image],
        model: str,
        language: str,
        answered: Answered | None = None,
    ) -> Updates:
        """Other photos or another model: how they are cut up is known at once, more by a run."""
        looking = self._of(visit)
        looking.cancel.set()
        looking = visit.rooms["inspect"] = Looking(list(photos), answered=answered, model=model)
        error: Exception | None = None
        options = answered.options if answered is not None else GenerationOptions()
        for image in photos:
            layout: ImageLayout | None = None
            try:
                if model in ("", LOADED):
                    layout = self.context.image_layout(visit, image, options)
                else:
                    layout = self.shelf.open(self._allowed(model)).image_layout(image)
            except Exception as raised:
                error = raised
            looking.layouts.append(layout)
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
        parts, found = self.parts, looking.found
        hint = "inspect.ready" if looking.photos else "inspect.empty"
        empty = f'<p class="quiet">{escaped(say(hint, language))}</p>'
        drawn: Updates = {
            **self._pictured(looking, language),
            parts.table: inspect_view.stages(found, language) if found else empty,
            parts.answer: answer_view.section(looking.answered, language),
            parts.figures: inspect_view.figures(found.figures, language) if found else "",
        }
        why = error_text(RequestError("answer_needs_weights"), language) if looking.bare else ""
        drawn[parts.why] = f'<p class="quiet">{escaped(why)}</p>' if why else ""
        if not looking.running:
            drawn[parts.trace] = gr.update(interactive=True)
            drawn[parts.answering] = gr.update(interactive=not looking.bare)
            drawn[parts.cancel] = gr.update(interactive=False)
        return drawn

    def _pictured(self, looking: Looking, language: str) -> Updates:
        """The photos and their places in the prompt, called by their numbers."""
        found, numbers = looking.found, looking.numbers
        spans = tile_spans(found.layouts, found.pieces) if found else []
        about = found is not None and found.byte_words
        photos = looking.photos, numbers, looking.layouts
        return {
            self.parts.overlay: inspect_photos.photos(*photos, spans, about, language),
            self.parts.sequence: (inspect_view.sequence(found, numbers, language) if found else ""),
        }


@functools.cache
def _examples(folder: Path) -> str:
    """The example photos as buttons, small and inside the page."""
    buttons = []
    for name in EXAMPLES:
        image = open_image(folder / f"{name}.jpg")
        source = thumbnail(image, EXAMPLE_SIDE)
        buttons.append(
            f'<button type="button" class="act pick" data-act="example" data-name="{name}" '
            f'aria-label="{name}"><img src="{source}" alt=""></button>'
        )
    return f'<div class="picks">{"".join(buttons)}</div>'
