"""Small multiples in the Compare tab: the same question about each of many images, in a grid.

In: files, a question, presses of buttons. Out: cards that fill one after another, a table and a
page to save. The cards belong to `vlm.multiples.Multiples`, one for each visit.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from vlm.messages import Image
from vlm.multiples import FIGURES, Asked, Card, Multiples
from vlm.multiples_export import to_csv, to_page
from vlm.strings import say
from vlm.ui import grid_view
from vlm.ui.compare_offer import Offer, Section
from vlm.ui.context import (
    QUIET,
    RUNNING,
    Context,
    Updates,
    Visit,
    channel,
    escaped,
    holder,
)
from vlm.ui.drawer import Drawer
from vlm.ui.safely import Handler, safely
from vlm.ui.section_rooms import Grid

MOST, MOST_HOSTED = 64, 16
"""Cards of a visit: on one's own machine, and where others wait for the same model."""
SHELF = 8
"""Cards in one component: every component slows the whole page down, and is drawn as a whole."""

FILE_NAME = "answers"
DOWNLOAD = "() => setTimeout(() => document.querySelector('#grid-exported')?.click(), 100)"


def build(context: Context, section: Section) -> None:
    """Fills the section."""
    GridPanel(context, section)


class GridPanel:
    """What happens when the components of the section are used."""

    def __init__(self, context: Context, section: Section) -> None:
        self.context = context
        self.section = section
        self.most = MOST_HOSTED if context.settings.hosted else MOST
        with gr.Column(elem_id="grid"):
            self._build()
        self._connect()

    # ---- the components ----

    def _build(self) -> None:
        words = self.context.words
        self.intro = holder("grid-intro", self._intro("en"))
        with gr.Row(elem_classes="asking"):
            self.files = gr.File(
                elem_id="grid-files",
                file_count="multiple",
                file_types=["image"],
                height=104,
            )
            words.add(self.files, label="grid.files")
            self.question = gr.Textbox(elem_id="grid-question", lines=3, max_lines=8)
            words.add(self.question, label="grid.question", placeholder="grid.question.placeholder")
        self.offer = Offer(self.context, "grid")
        self.accordion = gr.Accordion(open=False, elem_id="grid-settings")
        words.add(self.accordion, label="grid.settings")
        with self.accordion:
            self.drawer = Drawer(self.context, prefix="grid-")
        with gr.Row(elem_classes="doing"):
            self.buttons = {name: self._button(name) for name in ("run", "go_on", "stop", "clear")}
        self.progress, self.notice = holder("grid-progress"), holder("grid-notice")
        with gr.Row(elem_classes="doing", elem_id="grid-tools"):
            self.sort = gr.Dropdown(_sorts("en"), value="number", elem_id="grid-sort", scale=0)
            words.add(self.sort, label="grid.sort")
            self.largest = gr.Checkbox(elem_id="grid-largest", container=False, scale=0)
            words.add(self.largest, label="grid.largest")
            self.buttons |= {name: self._button(name) for name in ("csv", "page")}
        self.file = gr.DownloadButton(elem_id="grid-exported", visible="hidden")
        with gr.Row(elem_id="grid-cards"):
            shelves = range(1, self.most // SHELF + 1)
            self.shelves = [holder(f"grid-shelf-{number}") for number in shelves]
        self.channel = channel("grid")

    def _intro(self, language: str) -> str:
        return f'<p class="quiet">{escaped(say("grid.intro", language, count=self.most))}</p>'

    def _button(self, name: str) -> gr.Button:
        variant: Any = {"run": "primary", "stop": "stop"}.get(name, "secondary")
        button = gr.Button(
            elem_id=f"grid-{name.replace('_', '-')}",
            variant=variant,
            size="md" if name in ("run", "go_on", "stop") else "sm",
            interactive=name == "run",
        )
        return self.context.words.add(button, value=f"grid.{name}")

    def _connect(self) -> None:
        visit, language = self.context.visit, self.context.language
        arranged_by = [self.sort, self.largest]
        inputs = [visit, language, *arranged_by]
        held = [*self.shelves, self.progress, self.notice, self.offer.line]
        shown = [*held, *self.buttons.values()]
        asking = [*inputs, self.question, *self.drawer.controls]
        run, problem = self.safely(self.run), self.drawer.problem
        self.files.upload(
            self.safely(self.add), [*inputs, self.files], [*shown, self.files], **RUNNING
        )
        self.buttons["run"].click(run, asking, [*shown, problem], **RUNNING)
        self.question.submit(run, asking, [*shown, problem], **RUNNING)
        self.buttons["go_on"].click(self.safely(self.go_on), inputs, shown, **RUNNING)
        self.buttons["stop"].click(self.stop, [visit], None, **QUIET)
        self.buttons["clear"].click(self.safely(self.clear), inputs, shown, **RUNNING)
        self.channel.click(self.hear, inputs, shown, **RUNNING)
        self.offer.connect(self.section, self.arrive, shown)
        for part in arranged_by:
            part.change(self.safely(self.arrange), inputs, shown, **RUNNING)
        for name, write in (("csv", self.as_csv), ("page", self.as_page)):
            self.buttons[name].click(
                self.safely(write), inputs, [*shown, self.file], **RUNNING
            ).success(None, js=DOWNLOAD)
        refreshed = [*shown, self.intro, self.sort, *self.drawer.outputs]
        self.context.refreshers.append((self.refresh, inputs, refreshed))

    def safely(self, work: Handler) -> Handler:
        """See `vlm.ui.safely`."""
        return safely(work, self.notice, self.at_rest)

    def grid(self, visit: Visit) -> Grid:
        """What is kept for a visit."""
        return visit.room("grid", lambda: Grid(Multiples(self.most)))

    # ---- what is done ----

    def add(
        self, visit: Visit, language: str, by: str, largest: bool, files: list[str] | None
    ) -> Iterator[Updates]:
        """Takes files in, a card each."""
        paths = list(files or [])
        visit.files.update(paths)
        yield {self.files: None, self.notice: ""}
        yield from self._take(visit, language, by, largest, paths)

    def use(self, visit: Visit, language: str, by: str, largest: bool) -> Iterator[Updates]:
        """Takes in the images that another section has."""
        images = self.offer.images(visit, self.grid(visit).held)
        yield from self._hold(visit, language, by, largest, images)

    def _hold(
        self, visit: Visit, language: str, by: str, largest: bool, given: Sequence[Image]
    ) -> Iterator[Updates]:
        """Takes in images that no file is kept of."""
        images = {each.sha256: each for each in given}
        self.grid(visit).held.update(images)
        yield {self.notice: ""}
        yield from self._take(visit, language, by, largest, list(images))

    def _take(
        self, visit: Visit, language: str, by: str, largest: bool, paths: Sequence[str]
    ) -> Iterator[Updates]:
        grid = self.grid(visit)
        adding = grid.multiples.add(paths, self._opener(visit), lambda path: Path(path).name)
        for count, card in enumerate(adding, 1):
            grid.order.append(card.number)
            place = {"count": count, "total": len(paths)}
            words = say("grid.reading", language, **place)
            told = (
                {}
                if grid.multiples.busy
                else {self.progress: grid_view.bar(words, *place.values())}
            )
            yield {**told, **self._card(grid, card, language)}
        if not grid.multiples.busy:
            grid.arrange(by, largest)
            yield self.at_rest(visit, language)

    def run(
        self,
        visit: Visit,
        language: str,
        by: str,
        largest: bool,
        question: str,
        *controls: Any,
    ) -> Iterator[Updates]:
        """Asks about each image anew."""
        system_prompt, options = self.drawer.options(controls)
        asked = Asked(question or "", options, system_prompt)
        grid = self.grid(visit)
        asking = grid.multiples.ask(self.context.backend, asked, self._opener(visit))
        yield from self._follow(visit, language, by, largest, asking)

    def go_on(self, visit: Visit, language: str, by: str, largest: bool) -> Iterator[Updates]:
        """Asks those that have no answer yet."""
        grid = self.grid(visit)
        asking = grid.multiples.go_on(self.context.backend, self._opener(visit))
        yield from self._follow(visit, language, by, largest, asking)

    def _follow(
        self, visit: Visit, language: str, by: str, largest: bool, asking: Iterator[Card]
    ) -> Iterator[Updates]:
        """Draws every change of a run, then everything at rest."""
        grid, begun = self.grid(visit), False
        for card in asking:
            if visit.rooms.get("grid") is not grid:  # everything was cleared meanwhile
                return
            updates: Updates = {} if begun else {**self._all(grid, language), self.notice: ""}
            begun = True
            yield {
                **updates,
                **self._card(grid, card, language),
                **self._buttons(grid),
                self.progress: grid_view.progress(grid.multiples, language),
            }
        grid.arrange(by, largest)
        yield self.at_rest(visit, language)

    def stop(self, visit: Visit | None) -> None:
        """Ends the run that is under way; what is answered stays."""
        if visit is not None:
            self.grid(visit).multiples.cancel.set()

    def clear(self, visit: Visit, language: str, *_: Any) -> Iterator[Updates]:
        """Takes all cards away."""
        grid = self.grid(visit)
        grid.multiples.clear()
        yield {**self.at_rest(visit, language), self.notice: ""}

    def arrange(self, visit: Visit, language: str, by: str, largest: bool) -> Iterator[Updates]:
        """Sorts the cards."""
        grid = self.grid(visit)
        grid.arrange(by, largest)
        yield self._all(grid, language)

    def hear(
        self, event: gr.EventData, visit: Visit | None, language: str, by: str, largest: bool
    ) -> Iterator[Updates]:
        """A button in HTML was pressed."""
        facts = {name: str(fact) for name, fact in event._data.items()}
        yield from self.safely(self._heard)(visit, language, by, largest, facts)

    def _heard(
        self, visit: Visit, language: str, by: str, largest: bool, facts: dict[str, str]
    ) -> Iterator[Updates]:
        grid = self.grid(visit)
        if facts.get("act") == "remove" and facts.get("number", "").isdecimal():
            grid.multiples.remove(int(facts["number"]))
            grid.let_go()
            offer = self.offer.drawn(visit, grid.held, language)
            yield {**self._all(grid, language), **self._buttons(grid), **offer}
        elif facts.get("act") == "use":
            yield from self.use(visit, language, by, largest)
        elif facts.get("act") == "example" and not grid.multiples.cards:
            images = self.offer.example(facts.get("name", ""))
            yield from self._hold(visit, language, by, largest, images)
        elif facts.get("act") == "dismiss":
            yield {self.notice: ""}

    # ---- files ----

    def as_csv(self, visit: Visit, language: str, by: str, largest: bool) -> Iterator[Updates]:
        """The answers as a table."""
        grid = self.grid(visit)
        yield self._write(visit, f"{FILE_NAME}.csv", to_csv(grid.multiples, grid.shown))

    def as_page(self, visit: Visit, language: str, by: str, largest: bool) -> Iterator[Updates]:
        """The answers as a page to read."""
        grid = self.grid(visit)
        page = to_page(grid.multiples, grid.shown, language)
        yield self._write(visit, f"{FILE_NAME}.html", page.encode("utf-8", "replace"))

    def _write(self, visit: Visit, name: str, data: bytes) -> Updates:
        visit.folder.mkdir(parents=True, exist_ok=True)
        path = visit.folder / name
        path.write_bytes(data)
        return {self.file: str(path), self.notice: ""}

    # ---- what is shown ----

    def refresh(self, visit: Visit | None, language: str, by: str, largest: bool) -> Updates:
        """In another language, or for another model."""
        if visit is None:
            return gr.skip()
        able = self.context.backend.able
        defaults = self.drawer.show_defaults(able, language) if able else {}
        sorts = {self.intro: self._intro(language), self.sort: gr.update(choices=_sorts(language))}
        grid = visit.rooms.get("grid")
        still = (
            {} if grid is None or self.grid(visit).multiples.busy else self.at_rest(visit, language)
        )
        return {**defaults, **sorts, **still}

    def arrive(self, visit: Visit | None, language: str) -> Updates:
        """The section is opened; where the visit was cleared meanwhile, so is the section."""
        if visit is None:
            return gr.skip()
        grid = self.grid(visit)
        if not grid.multiples.cards:
            return {**self.at_rest(visit, language), self.notice: ""}
        return self.offer.drawn(visit, grid.held, language)

    def at_rest(self, visit: Visit, language: str) -> Updates:
        """Everything as it is while nothing is asked."""
        grid = self.grid(visit)
        grid.let_go()
        return {
            **self.offer.drawn(visit, grid.held, language),
            **self._all(grid, language),
            **self._buttons(grid),
            self.progress: grid_view.progress(grid.multiples, language),
        }

    def _all(self, grid: Grid, language: str) -> Updates:
        """Every card in its place; the other places empty."""
        return {
            shelf: self._shelf(grid, number, language) for number, shelf in enumerate(self.shelves)
        }

    def _card(self, grid: Grid, card: Card, language: str) -> Updates:
        """One card in its place, with those on its shelf; nothing where it is gone."""
        for place, each in enumerate(grid.shown):
            if each is card:
                number = place // SHELF
                return {self.shelves[number]: self._shelf(grid, number, language)}
        return {}

    def _shelf(self, grid: Grid, number: int, language: str) -> str:
        cards, several = grid.shown[number * SHELF :][:SHELF], _several_models(grid)
        return "".join(
            grid_view.card(card, language, card.model if several else "") for card in cards
        )

    def _buttons(self, grid: Grid) -> Updates:
        """Which buttons can be used now; the style sheet hides the others."""
        multiples = grid.multiples
        busy, answered = multiples.busy, bool(multiples.answered)
        asked = any(card.is_picture for card in multiples.answered)
        usable = {
            "run": not busy,
            "go_on": not busy and asked and bool(multiples.left),
            "stop": busy,
            "clear": not busy and bool(multiples.cards),
            "csv": answered and not busy,
            "page": answered and not busy,
        }
        return {self.buttons[name]: gr.update(interactive=can) for name, can in usable.items()}

    def _opener(self, visit: Visit) -> Callable[[str], Image]:
        """Opens a file of the visit and keeps nothing: there may be many large ones."""
        limits, held = self.context.settings.image_limits, self.grid(visit).held

        def open_it(path: str) -> Image:
            if path in held:
                return held[path]
            try:
                return visit.open(path, limits)
            finally:
                visit.put_down(path)

        return open_it


def _several_models(grid: Grid) -> bool:
    """Whether the model was exchanged between the answers."""
    return len({card.model for card in grid.multiples.cards if card.model}) > 1


def _sorts(language: str) -> list[tuple[str, str]]:
    return [(say(f"grid.sort.{name}", language), name) for name in FIGURES]
