"""Two models, or two settings, side by side in the Compare tab, also blind with a vote.

In: images, a prompt, what each side is to be. Out: two frames that fill one after the other. What
happens to the models is `vlm.versus_runner.Runner`'s.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from vlm import families
from vlm.backend import Capabilities
from vlm.errors import ImageError, RequestError
from vlm.messages import Image
from vlm.strings import error_text, say
from vlm.ui import frame as page_frame
from vlm.ui import versus_view
from vlm.ui.chat_view import card
from vlm.ui.compare_offer import Offer, Section
from vlm.ui.context import QUIET, RUNNING, Context, Updates, Visit, channel, holder
from vlm.ui.drawer import Drawer
from vlm.ui.models_panel import PRECISIONS
from vlm.ui.safely import Handler, safely
from vlm.ui.section_rooms import Versus
from vlm.versus import Side, compare
from vlm.versus_runner import Runner

LOADED, AS_NOW = "loaded", "as_now"
"""In the pickers: the model that is loaded, and its precision."""
SIDES = ("a", "b")


def build(context: Context, section: Section) -> None:
    """Fills the section."""
    ModelsSection(context, section)


class ModelsSection:
    """What happens when the components of the section are used."""

    def __init__(self, context: Context, section: Section) -> None:
        self.context = context
        self.section = section
        self.slot = context.backend
        self.others = context.others
        self.may_exchange = not context.settings.hosted
        with gr.Column(elem_id="versus"):
            self._build()
        self._connect()

    # ---- the components ----

    def _build(self) -> None:
        words = self.context.words
        intro = "versus.intro" if self.may_exchange else "versus.hosted"
        words.add(gr.Markdown(elem_classes="quiet"), value=intro)
        with gr.Row(elem_classes="asking"):
            self.files = gr.File(
                elem_id="versus-files", file_count="multiple", file_types=["image"], height=104
            )
            words.add(self.files, label="versus.files")
            self.prompt = gr.Textbox(elem_id="versus-prompt", lines=3, max_lines=8)
            words.add(self.prompt, label="versus.prompt", placeholder="versus.prompt.placeholder")
        self.images, self.offer = holder("versus-images"), Offer(self.context, "versus")
        with gr.Row(elem_id="versus-sides"):
            self.backends, self.pickers, self.precisions, self.drawers = [], [], [], []
            for side in SIDES:
                with gr.Column(min_width=280):
                    self._build_side(side)
        with gr.Row(elem_classes="doing"):
            self.run_button = gr.Button(elem_id="versus-run", variant="primary")
            self.stop_button = gr.Button(elem_id="versus-stop", variant="stop", interactive=False)
            self.blind = gr.Checkbox(elem_id="versus-blind", container=False)
            self.back = gr.Checkbox(
                value=True, elem_id="versus-back", container=False, visible=self.may_exchange
            )
        words.add(self.run_button, value="versus.run")
        words.add(self.stop_button, value="versus.stop")
        words.add(self.blind, label="versus.blind")
        words.add(self.back, label="versus.back", info="versus.back.info")
        self.status, self.notice = holder("versus-status"), holder("versus-notice")
        self.frames = holder("versus-frames")
        self.voting, self.tally = holder("versus-vote"), holder("versus-tally")
        self.channel = channel("versus")

    def _build_side(self, side: str) -> None:
        words = self.context.words
        words.add(gr.Markdown(elem_classes="heading"), value=f"versus.{side}")
        here = self.context.settings.backend
        backend = gr.Dropdown(
            [here, *self.others],
            value=here,
            elem_id=f"versus-backend-{side}",
            visible=self.may_exchange and bool(self.others),
        )
        words.add(backend, label=f"versus.backend_{side}", info="versus.backend.info")
        with gr.Row(visible=self.may_exchange):
            picker = gr.Dropdown(
                _models("en"),
                value=LOADED,
                allow_custom_value=True,
                elem_id=f"versus-model-{side}",
                scale=2,
                min_width=200,
            )
            precision = gr.Dropdown(
                _precisions("en"), value=AS_NOW, elem_id=f"versus-precision-{side}", min_width=144
            )
        words.add(picker, label=f"versus.model_{side}")
        words.add(precision, label=f"versus.precision_{side}")
        accordion = gr.Accordion(open=False, elem_id=f"versus-settings-{side}")
        words.add(accordion, label=f"versus.settings_{side}")
        with accordion:
            drawer = Drawer(self.context, prefix=f"versus-{side}-")
        self.backends.append(backend)
        self.pickers.append(picker)
        self.precisions.append(precision)
        self.drawers.append(drawer)

    def _connect(self) -> None:
        visit, language = self.context.visit, self.context.language
        inputs = [visit, language]
        shown = [
            *(self.images, self.status, self.notice, self.frames, self.voting, self.tally),
            *(self.run_button, self.stop_button, self.offer.line),
        ]
        controls = [control for drawer in self.drawers for control in drawer.controls]
        asking = [*inputs, self.prompt, self.blind, self.back]
        asking += [*self.backends, *self.pickers, *self.precisions, *controls]
        told = [drawer.problem for drawer in self.drawers]
        self.files.upload(
            self.safely(self.add), [*inputs, self.files], [*shown, self.files], **RUNNING
        )
        for event in (self.run_button.click, self.prompt.submit):
            begun = event(
                self.safely(self.run),
                asking,
                [*shown, *told, self.context.model_status],
                **RUNNING,
            )
            if self.may_exchange:
                self.context.exchanges.append(begun)
        self.stop_button.click(self.stop, [visit], None, **QUIET)
        self.channel.click(self.hear, inputs, shown, **RUNNING)
        self.offer.connect(self.section, self.arrive, shown)
        for asked, drawer in zip(self._asked(), self.drawers, strict=True):
            show, which = self.knobs_of(drawer), [visit, language, *asked]
            for field in asked:
                field.change(show, which, drawer.outputs, **QUIET)
        refreshed = [*shown, *self.pickers, *self.precisions]
        refreshed += [each for drawer in self.drawers for each in drawer.outputs]
        which = [*self.backends, *self.pickers]
        self.context.refreshers.append((self.refresh, [*inputs, *which], refreshed))

    def _asked(self) -> Iterator[tuple[Any, Any]]:
        """The fields of each side that say who is asked: backend and model."""
        return zip(self.backends, self.pickers, strict=True)

    def safely(self, work: Handler) -> Handler:
        """See `vlm.ui.safely`."""
        return safely(work, self.notice, self.at_rest)

    def work(self, visit: Visit) -> Versus:
        """What is kept for a visit."""
        return visit.room("versus", Versus)

    # ---- what is done ----

    def add(self, visit: Visit, language: str, files: list[str] | None) -> Iterator[Updates]:
        """Takes images in; those that are none say why."""
        work, paths = self.work(visit), list(files or [])
        visit.files.update(paths)
        yield {self.files: None, self.notice: ""}
        self._check_count(work, len(paths))
        broken: list[str] = []
        for path in paths:
            try:
                image = visit.open(path, self.context.settings.image_limits)
            except ImageError as error:
                broken.append(error_text(error, language))
                continue
            work.add(image)
            yield self._images(visit, language)
        if broken:
            words = say("versus.image_failed", language, reason=" ".join(broken))
            yield {self.notice: card(words, "", language)}

    def use(self, visit: Visit, language: str) -> Iterator[Updates]:
        """Takes in the images that another section has."""
        yield from self._take(visit, language, self.offer.images(visit, self.work(visit).pictures))

    def _take(self, visit: Visit, language: str, images: Sequence[Image]) -> Iterator[Updates]:
        work = self.work(visit)
        self._check_count(work, len(images))
        for image in images:
            work.add(image)
        yield {**self._images(visit, language), self.notice: ""}

    def _check_count(self, work: Versus, more: int) -> None:
        """Raises RequestError where so many more images are too many."""
        got, most = len(work.pictures) + more, self.context.settings.max_images
        if got > most:
            raise RequestError("too_many_images", got=got, limit=most)

    def run(
        self,
        visit: Visit,
        language: str,
        prompt: str,
        blind: bool,
        back: bool,
        *rest: Any,
    ) -> Iterator[Updates]:
        """Asks both sides."""
        work = self.work(visit)
        with work.running():
            sides = self._sides(work, rest)
            images = work.images
            comparison = compare(sides, images, prompt or "", blind=blind)
            work.comparison = comparison
            runner = Runner(
                self.slot, may_exchange=self.may_exchange, bring_back=back, others=self.others
            )
            stage, since = "", time.monotonic()
            yield {self.notice: "", **self._running(work, language, 0.0)}
            for _ in runner.run(comparison):
                now = next((f.loading.progress[0] for f in comparison.frames if f.loading), "")
                if now != stage:
                    stage, since = now, time.monotonic()
                yield self._running(work, language, time.monotonic() - since)
            for frame in comparison.frames:
                if frame.able is not None:
                    backend = frame.side.backend or self.context.settings.backend
                    work.known[backend, frame.side.model] = frame.able
        yield {
            **self.at_rest(visit, language),
            self.context.model_status: page_frame.model_words(self.context, language),
        }

    def _sides(self, work: Versus, values: Sequence[Any]) -> tuple[Side, Side]:
        """Both sides as they stand in the fields. Raises RequestError."""
        backends, models, precisions, controls = values[:2], values[2:4], values[4:6], values[6:]
        count = len(self.drawers[0].controls)
        sides = []
        for place, drawer in enumerate(self.drawers):
            given = controls[place * count : (place + 1) * count]
            system_prompt, options = drawer.options(given)
            model = (models[place] or "").strip()
            model = "" if model == LOADED else model
            able = self._able(work, backends[place], model)
            names = {knob.name for knob in able.image_knobs} if able else set()
            # A field that was filled for another model is out of sight now.
            detail = {name: each for name, each in options.image_detail.items() if name in names}
            options = replace(options, image_detail=detail)
            precision = precisions[place] if precisions[place] in PRECISIONS else ""
            sides.append(
                Side(
                    model=model,
                    quantization=precision,
                    backend=backends[place] if backends[place] in self.others else "",
                    system_prompt=system_prompt,
                    options=options,
                )
            )
        return sides[0], sides[1]

    def _able(self, work: Versus, backend: str, model: str) -> Capabilities | None:
        """What a model can do, where that is known without loading it."""
        place = self.others.get(backend, self.slot)
        if model in ("", LOADED, place.settings.model):
            return place.able
        return work.known.get((backend, model))

    def stop(self, visit: Visit | None) -> None:
        """Ends the phase that is under way; what was answered stays."""
        if visit is not None and (comparison := self.work(visit).comparison) is not None:
            comparison.stop()

    def hear(self, event: gr.EventData, visit: Visit | None, language: str) -> Iterator[Updates]:
        """A button in HTML was pressed."""
        facts = {name: str(fact) for name, fact in event._data.items()}
        yield from self.safely(self._heard)(visit, language, facts)

    def _heard(self, visit: Visit, language: str, facts: dict[str, str]) -> Iterator[Updates]:
        work = self.work(visit)
        if facts.get("act") == "remove":
            work.pictures.pop(facts.get("digest", ""), None)
            yield self._images(visit, language)
        elif facts.get("act") == "use":
            yield from self.use(visit, language)
        elif facts.get("act") == "example" and not work.pictures:
            yield from self._take(visit, language, self.offer.example(facts.get("name", "")))
        elif facts.get("act") == "vote":
            if work.comparison is None:
                raise RequestError("versus_no_vote")
            work.tally.vote(work.comparison, facts.get("vote", ""))
            yield self._drawn(work, language)
        elif facts.get("act") == "dismiss":
            yield {self.notice: ""}

    # ---- what is shown ----

    def knobs_of(self, drawer: Drawer) -> Callable[..., Updates]:
        """A handler that shows what a model lets one choose."""

        def show(visit: Visit | None, language: str, backend: str, model: str) -> Updates:
            if visit is None:
                return gr.skip()
            return self._knobs(visit, drawer, backend, model, language)

        return show

    def _knobs(
        self, visit: Visit, drawer: Drawer, backend: str, model: str, language: str
    ) -> Updates:
        able = self._able(self.work(visit), backend, (model or "").strip())
        if able is not None:
            return drawer.show_defaults(able, language)
        note = f"<p>{say('versus.unknown_knobs', language)}</p>"
        return {
            **drawer.show_defaults(Capabilities(name=model or ""), language),
            drawer.image_note: note,
        }

    def refresh(self, visit: Visit | None, language: str, *asked: str) -> Updates:
        """In another language, or for another model."""
        if visit is None:
            return gr.skip()
        updates: Updates = {}
        for drawer, backend, model in zip(self.drawers, asked[:2], asked[2:], strict=True):
            updates |= self._knobs(visit, drawer, backend, model, language)
        updates |= {picker: gr.update(choices=_models(language)) for picker in self.pickers}
        updates |= {each: gr.update(choices=_precisions(language)) for each in self.precisions}
        still = {} if self.work(visit).busy else self.at_rest(visit, language)
        return {**updates, **still}

    def at_rest(self, visit: Visit, language: str) -> Updates:
        """Everything as it is while nothing runs."""
        work = self.work(visit)
        return {
            **self._drawn(work, language),
            **self._images(visit, language),
            self.run_button: gr.update(interactive=not work.busy),
            self.stop_button: gr.update(interactive=work.busy),
        }

    def arrive(self, visit: Visit | None, language: str) -> Updates:
        """The section is opened; where the visit was cleared meanwhile, so is the section."""
        if visit is None:
            return gr.skip()
        if self.work(visit).busy:
            return self._images(visit, language)
        return self.at_rest(visit, language)

    def _running(self, work: Versus, language: str, seconds: float) -> Updates:
        return {
            **self._drawn(work, language, seconds),
            self.run_button: gr.update(interactive=False),
            self.stop_button: gr.update(interactive=True),
        }

    def _drawn(self, work: Versus, language: str, seconds: float = 0.0) -> Updates:
        """The comparison and the votes."""
        comparison = work.comparison
        votes = {self.tally: versus_view.tally(work.tally, language)}
        if comparison is None:
            return {**votes, self.frames: "", self.status: "", self.voting: ""}
        return {
            **votes,
            self.frames: versus_view.frames(comparison, language, seconds),
            self.status: versus_view.status(comparison, language),
            self.voting: versus_view.voting(comparison, language),
        }

    def _images(self, visit: Visit, language: str) -> Updates:
        """Those that both sides get, and those that are offered."""
        work = self.work(visit)
        entries = [(sha, image.name, work.copies[sha]) for sha, image in work.pictures.items()]
        offer = self.offer.drawn(visit, work.pictures, language)
        return {self.images: versus_view.images(entries, language), **offer}


def _models(language: str) -> list[tuple[str, str]]:
    listed = [(each.title, each.name) for each in families.catalogue()]
    return [(say("versus.loaded", language), LOADED), *listed]


def _precisions(language: str) -> list[tuple[str, str]]:
    named = [(say(f"precision.{name}", language), name) for name in PRECISIONS]
    return [(say("versus.as_now", language), AS_NOW), *named]
