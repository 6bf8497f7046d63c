"""Compare images: two of up to eight pictures seen in one frame, what changed, and a question.

In: pictures from files, examples or other tabs. Out: their differences as people and as the model
see them, then an answer about all of them. What is kept of a visit is `vlm.ui.compare_room.Room`.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence

import gradio as gr

from vlm.errors import ImageError, RequestError
from vlm.messages import Image
from vlm.strings import LANGUAGES, error_text, say
from vlm.ui import compare_api, compare_view
from vlm.ui.answered import Sent
from vlm.ui.background import in_background
from vlm.ui.chat_view import card
from vlm.ui.compare_asking import Asking
from vlm.ui.compare_examples import PAIRS, example_pair
from vlm.ui.compare_offer import ROOM, Section
from vlm.ui.compare_parts import build_parts
from vlm.ui.compare_room import Result, Room, compared, looked_at, prepare
from vlm.ui.context import (
    QUIET,
    RUNNING,
    Context,
    Updates,
    Visit,
    action_button,
)
from vlm.ui.safely import safely
from vlm.ui.sending import connect_sending

Facts = dict[str, str]
TAB = "compare"


def build(context: Context, section: Section) -> None:
    """Fills the section."""
    CompareImages(context, section)


def room_of(visit: Visit) -> Room:
    """What the section keeps of a visit."""
    return visit.room(ROOM, Room)


class CompareImages:
    """What happens when the components of the section are used."""

    def __init__(self, context: Context, section: Section) -> None:
        self.context = context
        self.section = section
        self.parts = build_parts(context)
        self.answer = Asking(context, self.parts)
        self.limit = context.settings.max_images
        self.acts: dict[str, Callable[[Visit, str, Facts], Iterator[Updates]]] = {
            "example": self.example,
            "swap": self.swap,
            "clear": self.clear,
            "choose": self.choose,
            "remove": self.remove,
            "cancel": self.cancel,
            "again": self.again,
            "dismiss": lambda visit, language, facts: iter([{self.parts.notice: ""}]),
            "arrive": self.arrive,
        }
        self._connect()
        compare_api.serve(context)

    def _connect(self) -> None:
        parts, context = self.parts, self.context
        place, shown = [context.visit, context.language], parts.shown
        for side in ("left", "right"):
            box = getattr(parts, side)
            box.upload(self.taking(side), [box, *place], shown, **RUNNING)
        for name, button in parts.examples.items():
            button.click(self.on("example", name=name), place, shown, **RUNNING)
        parts.swap.click(self.on("swap"), place, shown, **RUNNING)
        parts.clear.click(self.on("clear"), place, shown, **RUNNING)
        parts.align.input(self.realign, [parts.align, *place], shown, **RUNNING)
        parts.channel.click(self.hear, place, shown, **RUNNING)
        connect_sending(context, parts.channel)
        opened = [*shown, self.section.tabs]
        context.tab.select(self.on("arrive"), place, opened, **RUNNING)
        asked = [parts.question, parts.crops, *place]
        parts.question.submit(self.asking, asked, shown, **RUNNING)
        parts.stop.click(self.stop, [context.visit], None, **QUIET)
        context.refreshers.append((self.refresh, [parts.question, *place], shown))

    # ---- from an event to what is done about it ----

    def on(self, act: str, **facts: str) -> Callable[..., Iterator[Updates]]:
        """A handler of Gradio that does `act`."""

        def handler(visit: Visit | None, language: str) -> Iterator[Updates]:
            yield from self._do(lambda room: self.acts[act](room, language, facts), visit, language)

        return handler

    def hear(self, event: gr.EventData, visit: Visit | None, language: str) -> Iterator[Updates]:
        """A button in HTML was pressed."""
        facts = {name: str(fact) for name, fact in event._data.items()}
        act = self.acts.get(facts.get("act", ""))
        if act is not None:
            yield from self._do(lambda there: act(there, language, facts), visit, language)

    def taking(self, side: str) -> Callable[..., Iterator[Updates]]:
        """A handler for files that were dropped into a half, or chosen."""

        def handler(
            files: Sequence[str] | None, visit: Visit | None, language: str
        ) -> Iterator[Updates]:
            yield from self._do(
                lambda there: self.take(there, language, list(files or []), side), visit, language
            )

        return handler

    def realign(self, aligned: bool, visit: Visit | None, language: str) -> Iterator[Updates]:
        """With or without looking for how the second lies on the first."""

        def act(there: Visit) -> Iterator[Updates]:
            room_of(there).aligned = aligned
            yield from self.look(there, language)

        yield from self._do(act, visit, language)

    def asking(
        self, question: str, closer: bool, visit: Visit | None, language: str
    ) -> Iterator[Updates]:
        """The question was sent."""
        yield from self._do(
            lambda there: self.answer.run(room_of(there), language, question or "", closer),
            visit,
            language,
        )

    def _do(
        self,
        act: Callable[[Visit], Iterator[Updates]],
        visit: Visit | None,
        language: str,
    ) -> Iterator[Updates]:
        """Does it; what fails is said, and loses nothing."""

        def comparing(there: Visit, _: str) -> Iterator[Updates]:
            yield from act(there)

        work = safely(comparing, self.parts.notice, self.at_rest, _ways)
        yield from work(visit, language)

    # ---- which pictures ----

    def take(
        self, visit: Visit, language: str, files: Sequence[str], side: str
    ) -> Iterator[Updates]:
        """Pictures from files. Those that cannot be opened are named, the others are taken."""
        room, opened, problems = room_of(visit), [], []
        yield {
            getattr(self.parts, side): gr.update(value=None),
            self.parts.notice: "",
            self.parts.progress: compare_view.progress("reading", language),
        }
        for path in files[: self.limit]:
            try:
                opened.append(visit.open(path, self.context.settings.image_limits))
            except ImageError as error:
                problems.append(error_text(error, language))
        extra = room.add(opened, self.limit, first=side == "left")
        yield from self._taken(visit, language, extra + len(files[self.limit :]), problems)

    def _taken(
        self, visit: Visit, language: str, extra: int, problems: Sequence[str] = ()
    ) -> Iterator[Updates]:
        """New pictures are there; what is wrong with them stays in sight meanwhile."""
        room, problems = room_of(visit), list(problems)
        if extra:
            got = len(room.images) + extra
            problems.append(say("pair.too_many", language, got=got, limit=self.limit))
        notice = card(" ".join(problems), "", language) if problems else ""
        yield {**self.answer.forgotten(room), self.parts.notice: notice}
        yield from self.look(visit, language)

    def example(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """A pair to try."""
        name = facts["name"] if facts["name"] in PAIRS else next(iter(PAIRS))
        yield {self.parts.progress: compare_view.progress("reading", language)}
        images = example_pair(self.context.assets, name)
        yield from self._taken(visit, language, room_of(visit).replace(images, self.limit))

    def arrive(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """The tab was opened, perhaps with pictures from another one."""
        prepare()
        room, sent = room_of(visit), list(visit.sent.pop(TAB, Sent()).images)
        if not sent:
            yield self.at_rest(visit, language)
            return
        yield {self.section.tabs: gr.update(selected=self.section.tab.id)}
        if len(sent) == 1:  # to compare it with what is here
            here = [image for image in room.images if image != sent[0]]
            extra = room.replace([*here, *sent], self.limit)
            room.chosen = (0, len(room.images) - 1) if len(room.images) > 1 else (0, 1)
        else:
            extra = room.replace(sent, self.limit)
        yield from self._taken(visit, language, extra)

    def swap(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """Left goes right."""
        room = room_of(visit)
        room.chosen = (room.chosen[1], room.chosen[0])
        yield from self.look(visit, language)

    def choose(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """Another picture left or right."""
        room_of(visit).choose(int(facts["number"]) - 1, facts["side"])
        yield from self.look(visit, language)

    def remove(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """A picture out of the strip."""
        room = room_of(visit)
        room.remove(int(facts["number"]) - 1)
        yield {**self.answer.forgotten(room), self.parts.notice: ""}
        yield from self.look(visit, language)

    def clear(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """Everything away."""
        room = room_of(visit)
        room.begin_anew()
        question = gr.update(value=say("pair.question.first", language))
        yield {
            **self.drawn(room, language),
            **self.answer.at_rest(room, language),
            self.parts.notice: "",
            self.parts.question: question,
        }

    # ---- what changed ----

    def again(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """Compares once more what was called off."""
        yield {self.parts.notice: ""}
        yield from self.look(visit, language)

    def look(self, visit: Visit, language: str) -> Iterator[Updates]:
        """Compares the two that are chosen: their pixels, then what the model sees of them."""
        room = room_of(visit)
        cancel, pair = room.begin(), room.pair
        if pair is None or room.result is not None:
            yield self.drawn(room, language)
        else:  # the pictures before stay until the new ones are there
            yield self.row(room, language)
        if pair is None:
            return
        try:
            if room.result is None:
                yield from self._compare(pair, visit, cancel, language)
            result = room.result
            if result is not None and not result.looked and room.cancel is cancel:
                yield from self._show_model(pair, result, visit, cancel, language)
        except RequestError as error:
            if error.key != "compare_cancelled":
                raise
            if room.cancel is cancel:  # by hand, not by another comparison
                again = action_button("again", say("pair.again", language))
                note = card(say("pair.cancelled", language), again, language, "note")
                yield {**self.found(room, language), self.parts.notice: note}

    def _compare(
        self, pair: tuple[Image, Image], visit: Visit, cancel: threading.Event, language: str
    ) -> Iterator[Updates]:
        """What changed in pixels."""
        room, key, aligned = room_of(visit), room_of(visit).key, room_of(visit).aligned

        def work(tell: Callable[[str], None]) -> Result:
            return compared(pair, aligned, visit.folder, tell, cancel)

        result = yield from self._followed(work, room, cancel, language)
        room.keep(key, result)
        if room.cancel is cancel:
            yield self.drawn(room, language)

    def _show_model(
        self,
        pair: tuple[Image, Image],
        result: Result,
        visit: Visit,
        cancel: threading.Event,
        language: str,
    ) -> Iterator[Updates]:
        """What changed to the model."""
        room, key, model = room_of(visit), room_of(visit).key, self.context.backend

        def work(tell: Callable[[str], None]) -> Result:
            return looked_at(model, pair, result, visit.folder, tell, cancel)

        result = yield from self._followed(work, room, cancel, language)
        room.keep(key, result)
        if room.cancel is cancel:
            yield self.found(room, language)

    def _followed(
        self,
        work: Callable[[Callable[[str], None]], Result],
        room: Room,
        cancel: threading.Event,
        language: str,
    ) -> Generator[Updates, None, Result]:
        """Shows the stages of work, and returns what comes of it."""
        stages = in_background(work, cancel, "compare_cancelled")
        try:
            while True:
                stage = next(stages)
                if room.cancel is cancel:
                    room.stage = stage
                    yield {self.parts.progress: compare_view.progress(stage, language)}
        except StopIteration as ended:
            return ended.value
        finally:
            if room.cancel is cancel:
                room.stage = ""

    def cancel(self, visit: Visit, language: str, facts: Facts) -> Iterator[Updates]:
        """Ends the comparison that runs; it says so itself."""
        room_of(visit).cancel.set()
        yield gr.skip()

    def stop(self, visit: Visit | None) -> None:
        """Ends the answer that is written; what there is of it stays."""
        if visit is not None:
            room_of(visit).stop.set()

    # ---- what is shown ----

    def refresh(self, question: str, visit: Visit | None, language: str) -> Updates:
        """Everything anew: the words are in another language."""
        if visit is None:
            return gr.skip()
        updates = self.at_rest(visit, language)
        if question in [say("pair.question.first", each) for each in LANGUAGES]:
            updates[self.parts.question] = gr.update(value=say("pair.question.first", language))
        return updates

    def at_rest(self, visit: Visit, language: str) -> Updates:
        """Everything as it stands; an answer that is being written draws itself."""
        room = room_of(visit)
        answer = {} if room.asking else self.answer.at_rest(room, language)
        return {**self.drawn(room, language), **answer}

    def row(self, room: Room, language: str) -> Updates:
        """The pictures that are there."""
        one = room.images[0] if len(room.images) == 1 else None
        return {
            self.parts.strip: compare_view.strip(room.images, room.chosen, language),
            self.parts.half: compare_view.waiting_for_second(one, language) if one else "",
            self.parts.align: room.aligned,
        }

    def drawn(self, room: Room, language: str) -> Updates:
        """The pictures, and what is known of the two that are looked at."""
        pair = room.shown()
        return {
            **self.row(room, language),
            self.parts.viewer: compare_view.viewer(pair, language) if pair else "",
            **self.found(room, language),
        }

    def found(self, room: Room, language: str) -> Updates:
        """What is said beside the pictures, which stay as they are."""
        pair = room.shown()
        return {
            self.parts.side: compare_view.side(pair, language) if pair else "",
            self.parts.progress: compare_view.progress(room.stage, language) if room.stage else "",
        }


def _ways(visit: Visit, language: str) -> str:
    """A comparison that came to nothing can be tried again."""
    room = room_of(visit)
    if room.pair is None or room.result is not None:
        return ""
    return action_button("again", say("pair.again", language))
