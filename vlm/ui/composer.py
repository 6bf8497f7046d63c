"""What is in the message box besides words: attached images, prompts to choose, addresses.

In: the box and the drawer as they stand. Out: what is drawn around the box, and the box itself
when images in it are moved or removed.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from vlm.backend import ImageLayout
from vlm.errors import ImageError, RequestError
from vlm.fetch import fetch_image
from vlm.images import thumbnail
from vlm.messages import Image, Message
from vlm.settings import Settings
from vlm.strings import error_text, say
from vlm.ui import chat_view
from vlm.ui.answered import Sent
from vlm.ui.chat_parts import Parts
from vlm.ui.chat_view import compare_button, image_words
from vlm.ui.context import QUIET, Context, Draft, Updates, Visit, action_button, escaped
from vlm.ui.drawer import chips, problem_words, shortened

PRESETS = ("caption", "alt_text", "read_text", "describe", "table", "find", "compare")
"""`preset.NAME` is the button, `preset.NAME.prompt` what it puts into the box."""

ADDRESS = re.compile(r"https://[^\s<>\"')\]，。；！？、）》”]+")
SENTENCE_END = ".,;:!?"
"""What ends a sentence or a clause rather than an address."""
THUMBNAIL_SIDE = 160


class Composer:
    """What happens around the box before anything is sent."""

    def __init__(self, context: Context, parts: Parts) -> None:
        self.context = context
        self.parts = parts
        self.limits = context.settings.image_limits
        self.acts: dict[str, Callable[[Draft, dict[str, str]], Iterator[Updates]]] = {
            "reset": self.reset,
            "options": self.options,
            "preset": self.preset,
            "earlier": self.rearrange,
            "later": self.rearrange,
            "remove": self.rearrange,
            "remove_broken": self.remove_broken,
            "keep_first": self.keep_first,
            "address_add": self.add_address,
            "address_leave": self.leave_address,
        }

    def connect(self, inputs: list[Any]) -> None:
        """Draws anew whenever the box or the drawer changes; takes photos from the camera."""
        parts = self.parts
        camera = parts.buttons["camera"]
        found = gr.Textbox(visible="hidden")
        camera.click(
            self.toggle_camera,
            [found, self.context.language],
            [parts.webcam, parts.notice],
            js="async (_, language) => [await window.diptych.findCamera(), language]",
            **QUIET,
        ).then(None, js="() => window.diptych.startCamera()")
        around = [
            *(parts.attached, parts.presets, parts.offer, parts.changed, parts.meter),
            parts.drawer.problem,
        ]
        filled = [parts.box, parts.webcam, *around]
        arrived = self.context.tab.select(self.put_sent, inputs, filled, **QUIET)
        arrived.then(None, js="() => window.diptych.region.arrived()")
        parts.fetched.change(self.put_fetched, [parts.fetched, *inputs], filled, **QUIET)
        parts.webcam.change(self.add_photo, [parts.webcam, *inputs], filled, **QUIET)
        gr.on(
            [
                parts.box.change,
                parts.stats.change,  # an answer is there, or none is there any more
                parts.redraw.change,
                *(control.change for control in parts.drawer.controls),
            ],
            self.look,
            inputs,
            around,
            trigger_mode="always_last",
            **QUIET,
        )

    # ---- drawing ----

    def look(
        self, value: dict[str, Any], visit: Visit | None, language: str, *controls: Any
    ) -> Updates:
        """The box or the drawer has changed."""
        if visit is None:  # the program was started anew; what is pressed next says so
            return gr.skip()
        visit.typed = value or {}  # an answer that fails gives its question back beside it
        return self.drawn(Draft(value or {}, visit, language, controls))

    def drawn(self, draft: Draft) -> Updates:
        """What stands around the box: changed options, images, prompts, an offer, the meter."""
        parts, visit, language = self.parts, draft.visit, draft.language
        system_prompt, options, wrong = parts.drawer.read(draft.controls)
        problems = [escaped(problem_words(error, language)) for error in wrong]
        changed = chips(system_prompt, options, language)
        updates: Updates = {
            parts.changed: "".join(map(_wrong(language), problems)) + changed,
            parts.drawer.problem: "".join(f'<p role="alert">{words}</p>' for words in problems),
        }
        subject = (*draft.files, *sorted(options.image_detail.items()), language)
        subject = (subject, self.context.backend.state, self.context.backend.revision)
        if subject != visit.drawn:
            visit.drawn = subject
            markup, visit.draft_tokens = attached(
                draft.files,
                visit,
                self.context.settings,
                language,
                lambda image: self.context.image_layout(visit, image, options),
            )
            updates[parts.attached] = markup
        # Always: an answer that has ended since is told by a later event only.
        updates[parts.meter] = self.meter(visit, language)
        if not visit.busy:  # it may be about to send what has just left the box
            visit.keep_only(draft.files)
        useful = bool(draft.files) or bool(visit.session.turns)
        updates[parts.presets] = presets(language) if useful else ""
        updates[parts.offer] = (
            "" if self.context.settings.hosted else offer(draft.text, visit, language)
        )
        return updates

    def meter(self, visit: Visit, language: str) -> str:
        """How much of the context is used, the images in the box included."""
        able = self.context.backend.able
        if able is None:
            return ""
        more = visit.draft_tokens
        if visit.editing is not None:  # the box takes the place of these turns
            more -= sum(turn.tokens for turn in visit.session.turns[visit.editing :])
        return chat_view.meter(visit.session, able.context_length, more, language)

    # ---- changing the box ----

    def put(self, visit: Visit, message: Message) -> Updates:
        """A message into the box, with its images."""
        files = [visit.hand(image) for image in message.images]
        return {self.parts.box: gr.update(value={"text": message.text, "files": files})}

    def reset(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """An option back to the model's own value."""
        yield self.parts.drawer.reset(facts["name"])

    def options(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """Options that the model was published with into their fields."""
        presets = self.context.backend.capabilities().presets
        yield self.parts.drawer.fill(facts["name"], presets)

    def preset(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """A prompt into the box, in place of the words there."""
        if facts["name"] in PRESETS:
            yield self._box(
                draft, say(f"preset.{facts['name']}.prompt", draft.language), draft.files
            )

    def rearrange(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """An image moved earlier or later, or removed."""
        files = rearranged(draft.files, facts["act"], int(facts["number"]))
        yield self._box(draft, draft.text, files)

    def remove_broken(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """Every file that is no picture, out of the box."""
        yield {
            **self._box(
                draft, draft.text, [path for path in draft.files if self._opens(path, draft)]
            ),
            self.parts.notice: "",
        }

    def _opens(self, path: str, draft: Draft) -> bool:
        try:
            draft.visit.open(path, self.limits)
        except ImageError:
            return False
        return True

    def keep_first(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """As many images as a message may have."""
        files = draft.files[: int(facts["count"])]
        yield {**self._box(draft, draft.text, files), self.parts.notice: ""}

    def add_address(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """The picture at an address into the box, in place of the address."""
        if self.context.settings.hosted:
            raise RequestError("address_when_hosted")
        address = facts["address"]
        waiting = escaped(say("address.fetching", draft.language, address=shortened(address, 72)))
        yield {
            self.parts.offer: f'<div class="offer" role="status">{waiting}</div>',
            self.parts.notice: "",
        }
        try:
            image = fetch_image(address, limits=self.limits)
        except ImageError:
            yield {self.parts.offer: offer(draft.text, draft.visit, draft.language)}
            raise
        fetched = (address, draft.visit.hand(image), secrets.token_hex(8))  # each one is news
        yield {self.parts.fetched: fetched}

    def put_fetched(
        self,
        fetched: tuple[str, str, str] | None,
        value: dict[str, Any],
        visit: Visit,
        language: str,
        *controls: Any,
    ) -> Updates:
        """A fetched picture into the box as it is by now: people type on while it is fetched."""
        if not fetched:
            return gr.skip()
        address, path, _ = fetched
        draft = Draft(value or {}, visit, language, controls)
        return self._box(draft, without(draft.text, address), [*draft.files, path])

    def put_sent(
        self, value: dict[str, Any], visit: Visit | None, language: str, *controls: Any
    ) -> Updates:
        """Images that another tab has sent here into the box, after those in it."""
        images = visit.sent.pop("chat", Sent()).images if visit is not None else ()
        if visit is None or not images:
            return gr.skip()
        draft = Draft(value or {}, visit, language, controls)
        return self._box(draft, draft.text, [*draft.files, *map(visit.hand, images)])

    def leave_address(self, draft: Draft, facts: dict[str, str]) -> Iterator[Updates]:
        """The address stays text."""
        draft.visit.left_as_text.add(facts["address"])
        yield {self.parts.offer: "", self.parts.notice: ""}

    def toggle_camera(self, found: str, language: str) -> Updates:
        """The camera's picture, or away with it, or why there is none.

        Args:
            found: by the page: "ready", "shown" already, "denied", "missing" or "insecure".
        """
        shown = gr.update(visible=found == "ready", value=None)
        if found in ("ready", "shown"):
            return {self.parts.webcam: shown, self.parts.notice: ""}
        reason = found if found in ("denied", "insecure") else "missing"
        card = chat_view.card(say(f"camera.{reason}", language), "", language)
        return {self.parts.webcam: shown, self.parts.notice: card}

    def add_photo(
        self,
        photo: str | None,
        value: dict[str, Any],
        visit: Visit,
        language: str,
        *controls: Any,
    ) -> Updates:
        """A photo from the camera into the box; the camera goes away."""
        if photo is None:
            return gr.skip()
        draft = Draft(value or {}, visit, language, controls)
        return {
            **self._box(draft, draft.text, [*draft.files, photo]),
            self.parts.webcam: gr.update(value=None, visible=False),
        }

    def _box(self, draft: Draft, text: str, files: Sequence[str]) -> Updates:
        """The box filled anew, and what stands around it: it does not always tell of a change."""
        value = {"text": text, "files": list(files)}
        return {self.parts.box: gr.update(value=value), **self.drawn(replace(draft, value=value))}


def attached(
    paths: Sequence[str],
    visit: Visit,
    settings: Settings,
    language: str,
    layout_of: Callable[[Image], ImageLayout | None],
) -> tuple[str, int]:
    """(HTML, visual tokens) of the images in the box: numbered as the model will see them."""
    chips, tokens, opened = [], 0, []
    for number, path in enumerate(paths, 1):
        ways = ""
        try:
            if number > settings.max_images:  # not even decoded: there may be hundreds
                raise ImageError("one_too_many", limit=settings.max_images)
            image = visit.open(path, settings.image_limits)
        except ImageError as error:
            words = escaped(error_text(error, language))
            inside = f'<span class="broken" role="alert">{words}</span>'
        else:
            opened.append(image)
            layout = layout_of(image)
            tokens += layout.placeholders if layout else 0
            ways = chat_view.inspect_button(number, image, language)
            inside = (
                f'<img src="{thumbnail(image, THUMBNAIL_SIDE)}" alt="">'
                f"<figcaption>{escaped(image_words(number, image, layout, language))}</figcaption>"
            )
        chips.append(
            f'<figure class="attached">{inside}{_buttons(number, len(paths), language, ways)}'
            "</figure>"
        )
    if not chips:
        return "", 0
    label = escaped(say("image.attached", language))
    chips.append(compare_button(opened, language))
    return f'<div class="strip" role="group" aria-label="{label}">{"".join(chips)}</div>', tokens


def _buttons(number: int, count: int, language: str, ways: str) -> str:
    """To another tab, earlier, later, remove."""
    offered = [("earlier", "←", number > 1), ("later", "→", number < count), ("remove", "×", True)]
    buttons = [
        action_button(act, sign, say(f"image.{act}", language, number=number), number=number)
        for act, sign, possible in offered
        if possible
    ]
    return f'<div class="bar">{ways}{"".join(buttons)}</div>'


def rearranged(paths: Sequence[str], act: str, number: int) -> list[str]:
    """The files after "earlier", "later" or "remove" of one of them, counted from 1."""
    files = list(paths)
    if not 1 <= number <= len(files):
        return files  # the box has changed since the button was drawn
    file = files.pop(number - 1)
    if act != "remove":
        files.insert(max(number - 2, 0) if act == "earlier" else number, file)
    return files


def presets(language: str) -> str:
    """A row of buttons that fill the box with a good prompt."""
    buttons = [
        action_button("preset", say(f"preset.{name}", language), name=name, style="preset")
        for name in PRESETS
    ]
    label = escaped(say("preset.list", language))
    return f'<div class="presets" role="group" aria-label="{label}">{"".join(buttons)}</div>'


def offer(text: str, visit: Visit, language: str) -> str:
    """Asks whether an address in the text is meant as an image; empty where there is none."""
    found = next((a for a in addresses(text) if a not in visit.left_as_text), None)
    if found is None:
        return ""
    shown = shortened(found, 72)
    buttons = action_button("address_add", say("address.add", language), address=found)
    buttons += action_button("address_leave", say("address.leave", language), address=found)
    words = escaped(say("address.offer", language, address=shown))
    ways = f'<span class="ways">{buttons}</span>'
    return f'<div class="offer" role="status"><span>{words}</span> {ways}</div>'


def addresses(text: str) -> list[str]:
    """The https addresses in a text, without the punctuation after them."""
    return [found.rstrip(SENTENCE_END) for found in ADDRESS.findall(text)]


def without(text: str, address: str) -> str:
    """The text without an address, once; longer addresses that begin like it stay."""
    for match in ADDRESS.finditer(text):
        if match.group().rstrip(SENTENCE_END) == address:
            before, after = text[: match.start()], text[match.start() + len(address) :]
            return f"{before.rstrip(' ')} {after.lstrip(' ')}".strip()
    return text


def _wrong(language: str) -> Callable[[str], str]:
    """Draws a sentence about a wrong number, with the way to it."""
    way = action_button("settings", say("way.settings", language))
    return lambda words: f'<div class="offer broken"><span>{words}</span> {way}</div>'
