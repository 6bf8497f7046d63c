"""The Models tab: what is loaded, what could be, what would fit; loading, cancelling, unloading.

In: a model that a person names and a precision. Out: the exchange in `vlm.model_slot`, drawn while
it goes on. There is one model for all visitors, so on a shared server nothing here loads.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from vlm import families
from vlm.errors import ModelError, RequestError, VLMError
from vlm.model_slot import Loading
from vlm.picker import Picker, Row, found
from vlm.report import advice_words
from vlm.settings import CHOICES, Settings
from vlm.strings import error_text, say
from vlm.ui import frame, loading_ways, models_api, models_view
from vlm.ui.chat_view import card
from vlm.ui.context import (
    QUIET,
    RUNNING,
    Context,
    Updates,
    channel,
    escaped,
    holder,
)

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "none", "int8", "nf4", "fp4")
STEP = 0.25
"""Seconds between two looks at a loading."""


def build(context: Context) -> None:
    """Fills the tab."""
    ModelsPanel(context)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The components of the tab."""

    now: gr.HTML
    progress: gr.HTML
    notice: gr.HTML
    picker: gr.Dropdown
    precision: gr.Radio
    dtype: gr.Dropdown
    load: gr.Button
    check: gr.Button
    cancel: gr.Button
    unload: gr.Button
    verdict: gr.HTML
    find: gr.Textbox
    table: gr.HTML
    redraw: gr.Textbox
    channel: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What handlers update; a new value in `redraw`, which is not seen, draws the table."""
        return [
            self.now,
            self.progress,
            self.notice,
            self.picker,
            self.precision,
            self.dtype,
            self.load,
            self.cancel,
            self.unload,
            self.verdict,
            self.redraw,
        ]


class ModelsPanel:
    """What happens when the components of the tab are used."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.slot = context.backend
        self.picker = Picker(context.settings)
        self.may_load = not context.settings.hosted
        self.parts = self._build()
        self._connect()

    # ---- the components ----

    def _build(self) -> Parts:
        words = self.context.words
        with gr.Column(elem_id="models"):
            words.add(gr.Markdown(elem_classes="heading"), value="models.now")
            now, progress, notice = (
                holder(name) for name in ("models-now", "load-progress", "models-notice")
            )
            with gr.Row():
                cancel = gr.Button(
                    elem_id="cancel-load", size="sm", interactive=False, variant="stop"
                )
                unload = gr.Button(elem_id="unload", size="sm", visible=self.may_load)
            words.add(cancel, value="models.cancel")
            words.add(unload, value="models.unload")
            choice = self._choice()
            find = gr.Textbox("", elem_id="find-model", max_lines=1)
            words.add(find, label="models.find", placeholder="models.find.example")
            table = holder("fit-table")
            hears = channel("models")
        return Parts(
            now=now,
            progress=progress,
            notice=notice,
            cancel=cancel,
            unload=unload,
            find=find,
            table=table,
            redraw=gr.Textbox(visible="hidden"),
            channel=hears,
            **choice,
        )

    def _choice(self) -> dict[str, Any]:
        """Which model, in which precision."""
        words, settings = self.context.words, self.context.settings
        head = "models.choose" if self.may_load else "models.hosted"
        words.add(gr.Markdown(elem_classes="heading"), value=head)
        with gr.Row(visible=self.may_load, elem_id="choice"):
            picker = gr.Dropdown(
                [(each.title, each.name) for each in families.catalogue()],
                value=settings.model,
                allow_custom_value=True,
                elem_id="model-picker",
            )
            precision = gr.Radio(
                _choices("precision", PRECISIONS),
                value=settings.quantization if settings.quantization in PRECISIONS else "nf4",
                elem_id="quantization",
            )
            dtype = gr.Dropdown(
                _choices("dtype", CHOICES["dtype"]),
                value=settings.dtype,
                elem_id="dtype",
            )
        words.add(picker, label="models.picker", info="models.picker.info")
        words.add(precision, label="models.precision", info="models.precision.info")
        words.add(dtype, label="models.dtype", info="models.dtype.info")
        with gr.Row(visible=self.may_load):
            load = words.add(gr.Button(elem_id="load", variant="primary"), value="models.load")
            check = words.add(gr.Button(elem_id="check-fit"), value="models.check")
        return {
            "picker": picker,
            "precision": precision,
            "dtype": dtype,
            "load": load,
            "check": check,
            "verdict": holder("verdict"),
        }

    def _connect(self) -> None:
        parts, context = self.parts, self.context
        chosen = [parts.picker, parts.precision, parts.dtype, context.language]
        shown = [*parts.shown, context.model_status]
        events = [
            parts.load.click(self.exchange, chosen, shown, **RUNNING),
            parts.channel.click(self.hear, chosen, shown, **RUNNING),
            parts.unload.click(self.unload, chosen, shown, **RUNNING),
        ]
        parts.check.click(self.check, chosen, shown, **RUNNING)
        parts.cancel.click(self.cancel, None, None, **QUIET)
        # By one handler, which one change after the other goes through: the table of a precision
        # that was chosen before could come last.
        gr.on(
            [parts.precision.input, parts.dtype.input, parts.find.change, parts.redraw.change],
            self.show,
            [parts.precision, parts.dtype, parts.find, context.language],
            parts.table,
            trigger_mode="always_last",
            **QUIET,
        )
        for event in events:  # the other tabs: the model's own options, tokens of images
            for refresh, inputs, outputs in context.refreshers:
                event.then(refresh, inputs, outputs, **QUIET)
        context.tab.select(self.arrive, chosen, shown, **RUNNING)
        context.refreshers.append((self.relabel, [context.language], parts.shown))
        models_api.serve(context, self.picker)

    # ---- what is done ----

    def arrive(self, model: str, precision: str, dtype: str, language: str) -> Iterator[Updates]:
        """The tab was opened; somebody may be loading a model."""
        yield self.at_rest(language)
        if (loading := self.slot.loading) is not None:
            yield from self.follow(loading, precision, dtype, language)

    def show(self, precision: str, dtype: str, wanted: str, language: str) -> str:
        """The list, in the precision that is chosen now; of it what somebody looks for."""
        rows = self._rows(precision, dtype)
        if wanted.strip() and not (rows := found(rows, wanted.strip())):
            return models_view.nothing_found(wanted.strip(), language)
        able = self.slot.able
        precision_here = next(iter(able.details), "") if able is not None else ""
        return models_view.table(
            rows,
            models_view.Here(self._here(), precision_here),
            self.may_load,
            say(f"precision.{precision}", language),
            language,
        )

    def exchange(self, model: str, precision: str, dtype: str, language: str) -> Iterator[Updates]:
        """Loads the chosen model in place of the one that is here."""
        settings = replace(
            self.slot.settings,
            model=(model or "").strip(),
            quantization=precision,
            dtype=dtype,
            tokenizer="",
        )
        try:
            if not self.may_load:
                raise RequestError("hosted_model")
            loading = self.slot.exchange(settings)
        except VLMError as error:
            yield {self.parts.notice: card(error_text(error, language), "", language)}
            return
        yield from self.follow(loading, precision, dtype, language)

    def follow(
        self, loading: Loading, precision: str, dtype: str, language: str
    ) -> Iterator[Updates]:
        """Draws a loading until it is over, then how it ended."""
        parts, name = self.parts, families.title(loading.settings.model)
        buttons = {each: gr.update(interactive=False) for each in (parts.load, parts.unload)}
        stage, since = "", time.monotonic()
        yield {
            parts.notice: "",
            parts.verdict: "",
            parts.cancel: gr.update(interactive=True),
            **buttons,
        }
        while not loading.over.wait(STEP):
            if loading.progress[0] != stage:
                stage, since = loading.progress[0], time.monotonic()
            seconds = time.monotonic() - since
            may_cancel = not loading.cancel.is_set()
            yield {
                parts.progress: models_view.loading(loading, name, seconds, language),
                parts.cancel: gr.update(interactive=may_cancel),
                **buttons,
            }
        yield {
            **self.at_rest(language),
            # a name that did not come stays there, to be corrected
            parts.picker: gr.update(value=(loading if loading.error else self.slot).settings.model),
            parts.notice: self._ended(loading, name, precision, dtype, language),
            self.context.model_status: frame.model_words(self.context, language),
        }

    def _ended(self, loading: Loading, name: str, precision: str, dtype: str, language: str) -> str:
        """The card that says how a loading ended."""
        error = loading.error
        if error is None:
            key = "models.cancelled" if loading.cancel.is_set() else "models.done"
            return card(say(key, language, name=name), "", language, "note")
        if not isinstance(error, VLMError):
            log.error("loading failed", exc_info=error)
            error = ModelError("cannot_load", source=name, detail=type(error).__name__)
        words = error_text(error, language)
        if self.slot.able is not None and self.slot.state == "ready":
            words += " " + say("models.kept", language, name=self.slot.able.name)
        return card(words, self._ways_on(error, loading.settings, dtype, language), language)

    def _ways_on(self, error: VLMError, settings: Settings, dtype: str, language: str) -> str:
        rows = self._rows("auto", dtype)
        return loading_ways.ways_on(error, settings, rows, self._here(), language)

    def cancel(self) -> None:
        """Ends the loading that goes on."""
        self.slot.cancel()

    def unload(self, model: str, precision: str, dtype: str, language: str) -> Iterator[Updates]:
        """Puts the model away."""
        notice = ""
        try:
            if not self.may_load:
                raise RequestError("hosted_model")
            self.slot.unload()
        except VLMError as error:
            notice = card(error_text(error, language), "", language)
        yield {
            **self.at_rest(language),
            self.parts.notice: notice,
            self.context.model_status: frame.model_words(self.context, language),
        }

    def check(self, model: str, precision: str, dtype: str, language: str) -> Iterator[Updates]:
        """What one model would take in every precision, part by part."""
        waiting = escaped(say("models.checking", language, name=families.title(model or "")))
        yield {self.parts.verdict: f'<p class="pending">{waiting}</p>', self.parts.notice: ""}
        try:
            checked = self.picker.check((model or "").strip(), dtype, self._freed())
        except VLMError as error:
            words = card(error_text(error, language), "", language)
            yield {self.parts.verdict: "", self.parts.notice: words}
            return
        free = checked.verdicts[0].free
        words = advice_words(checked.advice, checked.wanted, free, language)
        yield {
            self.parts.verdict: models_view.verdicts(checked, words, language),
            self.parts.redraw: str(time.monotonic_ns()),
        }

    def hear(
        self, event: gr.EventData, model: str, precision: str, dtype: str, language: str
    ) -> Iterator[Updates]:
        """A button in HTML was pressed."""
        facts = {name: str(fact) for name, fact in event._data.items()}
        if facts.get("act") == "load":
            yield from self.exchange(facts["model"], facts["quantization"], dtype, language)
        elif facts.get("act") == "forget":
            self.slot.forget()
            yield self.at_rest(language)
        elif facts.get("act") == "dismiss":
            yield {self.parts.notice: ""}

    # ---- what is shown ----

    def relabel(self, language: str) -> Updates:
        """In another language, or for another model; nothing where nobody has opened the tab."""
        if not self.picker.asked:
            return gr.skip()
        return self.at_rest(language)

    def at_rest(self, language: str) -> Updates:
        """Everything as it stands; how far a loading is, `follow` draws."""
        parts, slot = self.parts, self.slot
        here = slot.state == "ready"
        still = {
            parts.progress: "",
            parts.load: gr.update(interactive=True),
            parts.unload: gr.update(interactive=here),
            parts.cancel: gr.update(interactive=False),
        }
        return {
            parts.now: models_view.now(slot.able, slot.held(), here, self.may_load, language),
            **(still if slot.loading is None else {}),
            parts.redraw: str(time.monotonic_ns()),
            parts.precision: gr.update(choices=_choices("precision", PRECISIONS, language)),
            parts.dtype: gr.update(choices=_choices("dtype", CHOICES["dtype"], language)),
        }

    def _here(self) -> str:
        """The name in the list of the model that is loaded; empty where there is none."""
        if self.slot.state != "ready":
            return ""
        known = families.look_up(self.slot.settings.model)
        return known.name if known else self.slot.settings.model

    def _rows(self, precision: str, dtype: str) -> list[Row]:
        return self.picker.rows(precision, dtype, self._freed())

    def _freed(self) -> int:
        return self.picker.freed(self.slot)


def _choices(kind: str, names: Sequence[str], language: str = "en") -> list[tuple[str, str]]:
    return [(say(f"{kind}.{name}", language), name) for name in names]
