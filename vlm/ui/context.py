"""What the panels share: the backend, the settings, the visit, words, and buttons in HTML."""

import contextlib
import html
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import gradio as gr
from gradio.utils import get_upload_folder

from vlm.backend import ImageLayout
from vlm.chat import ChatSession
from vlm.errors import RequestError, VLMError
from vlm.grounding import Grounded
from vlm.images import ImageLimits, open_image, preview
from vlm.messages import Image
from vlm.model_slot import ModelSlot
from vlm.options import GenerationOptions
from vlm.settings import Settings
from vlm.strings import say
from vlm.ui.answered import Sent

PREVIEW_SIDE = 1024
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""How events are connected that are over in an instant.

A change that comes while its handler runs waits for it, by default ("always_last"). Of the
handlers of one event at most one may wait: the page repeats all of them for one that did, and two
never come to rest.
"""
RUNNING = {
    "concurrency_limit": None,
    "trigger_mode": "multiple",  # by default a press is lost while the one before still ends
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""How events are connected that take a while, each beside the others."""


class Words:
    """Which property of which component shows which words, so that one handler re-labels all."""

    def __init__(self) -> None:
        self._entries: list[tuple[Any, dict[str, str]]] = []

    def add(self, component: Any, **keys: str) -> Any:
        """Shows the words of `keys` (property=key) in a component. Returns the component."""
        for name, key in keys.items():
            setattr(component, name, say(key))
        self._entries.append((component, keys))
        return component

    @property
    def components(self) -> list[Any]:
        """All components with words."""
        return [component for component, _ in self._entries]

    def updates(self, language: str) -> list[Any]:
        """An update for each of `components`."""
        return [
            gr.update(**{name: say(key, language) for name, key in keys.items()})  # pyright: ignore
            for _, keys in self._entries
        ]


class Room(Protocol):
    """What a tab keeps for one visit."""

    @property
    def images(self) -> Sequence[Image]:
        """Images that it shows, which buttons may send elsewhere."""
        ...

    def leave(self) -> None:
        """Stops what runs in it and forgets everything."""
        ...


R = TypeVar("R", bound=Room)


@dataclass
class Visit:
    """What belongs to one open page and to nobody else.

    Attributes:
        session: its conversation.
        cancel: stops the answer that runs now.
        asking: the conversation in which one runs or is about to.
        before: the conversation before this one, which can be brought back.
        editing: index of the turn whose question is in the box again, if one is.
        set_aside: what stood in the box before that, to be put back.
        typed: what was typed while the answer runs.
        left_as_text: addresses that were offered as images and declined.
        layouts: what the model gets of an image, by its hash and the options for images.
        draft_tokens: visual tokens of the images in the box.
        files: what it has uploaded.
        folder: for what is made for it; nobody else can guess its name.
        drawn: what the strip of attached images was drawn for last.
        rooms: what other tabs keep, by their names.
        sent: what is on its way from one tab to another, by the name of the tab it goes to.
        grounded: places in answers, by the `id` of the turn, with the turn.
    """

    session: ChatSession
    cancel: threading.Event = field(default_factory=threading.Event)
    asking: ChatSession | None = None
    before: ChatSession | None = None
    editing: int | None = None
    set_aside: dict[str, Any] = field(default_factory=dict)
    typed: dict[str, Any] = field(default_factory=dict)
    left_as_text: set[str] = field(default_factory=set)
    layouts: dict[object, ImageLayout] = field(default_factory=dict)
    draft_tokens: int = 0
    drawn: object = None
    rooms: dict[str, Room] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    grounded: dict[int, tuple[object, tuple[Grounded, ...]]] = field(default_factory=dict)
    _opened: dict[str, Image] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    folder: Path = field(default_factory=lambda: Path(get_upload_folder()) / secrets.token_hex(20))
    _previews: dict[str, str] = field(default_factory=dict)
    _handed: set[str] = field(default_factory=set)
    _in_box: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether an answer runs, or its images are being read."""
        return self.session.busy or self.asking is self.session

    def room(self, name: str, make: Callable[[], R]) -> R:
        """What a tab keeps for this visit under a name; made when it is asked for first."""
        return cast(R, self.rooms.setdefault(name, make()))

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """One answer at a time, from the press of a button on. Raises RequestError."""
        session = self.session
        with self._lock:
            if self.busy:
                raise RequestError("busy")
            self.asking, self.cancel = session, threading.Event()
        try:
            yield
        finally:
            with self._lock:
                if self.asking is session:
                    self.asking = None

    def begin(self, session: ChatSession) -> None:
        """Goes over to another conversation; what runs in this one ends."""
        self.cancel.set()
        self.before, self.session, self.editing = self.session, session, None
        self.set_aside = {}
        self.grounded.clear()

    def open(self, path: str, limits: ImageLimits) -> Image:
        """The picture in a file of this visit, decoded once. Raises ImageError."""
        image = self._opened.get(path)
        if image is None:
            self.files.add(path)
            self._opened[path] = image = open_image(path, limits=limits)
        return image

    def put_down(self, path: str) -> None:
        """Forgets the decoded picture of a file, which `open` would decode again."""
        self._opened.pop(path, None)

    def path(self, image: Image) -> str:
        """A small copy without metadata, for the page. `open` of it gives the picture itself."""
        path = self._previews.get(image.sha256)
        if path is None or not Path(path).exists():  # old files are removed now and then
            self.folder.mkdir(parents=True, exist_ok=True)
            path = str(self.folder / f"{image.sha256[:16]}.webp")
            preview(image, PREVIEW_SIDE).save(path)
            self._previews[image.sha256] = path
        self._opened[path] = image
        return path

    def hand(self, image: Image) -> str:
        """As `path`, for a picture that is on its way into the box."""
        path = self.path(image)
        self._handed.add(path)
        return path

    def known(self, sha256: str) -> Image | None:
        """A picture of this visit by its digest: in a box, in the conversation or in a tab."""
        rooms = [image for room in self.rooms.values() for image in room.images]
        images = [*self.session.images, *self._opened.copy().values(), *rooms]
        return next((image for image in images if image.sha256 == sha256), None)

    def keep_only(self, paths: Sequence[str]) -> None:
        """Forgets pictures that are neither in these files of the box nor in a conversation."""
        self._handed -= self._in_box.difference(paths)  # there, and away again
        self._in_box = set(paths)
        sessions = [self.session, *([self.before] if self.before else [])]
        known = {image.sha256 for session in sessions for image in session.images}
        held = {*paths, *self._handed}
        previews = self._previews.copy()  # an answer may be reading images at this moment
        self._previews = {
            sha: path for sha, path in previews.items() if sha in known or path in held
        }
        kept = {*held, *self._previews.values()}
        opened = self._opened.copy()
        self._opened = {path: image for path, image in opened.items() if path in kept}

    def forget(self, others: Collection[str]) -> None:
        """Stops what runs and removes every file of this visit.

        Args:
            others: files that other visits use too: equal uploads are stored once.
        """
        self.cancel.set()
        for room in self.rooms.values():
            room.leave()
        self.rooms.clear()
        uploads = Path(get_upload_folder())
        for path in self.files.difference(others):
            if Path(path).is_relative_to(uploads):
                with contextlib.suppress(OSError):
                    Path(path).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.files.clear()
        self._handed.clear()
        self._opened.clear()
        self._previews.clear()
        self.layouts.clear()
        self.sent.clear()
        self.grounded.clear()


Updates = dict[Any, Any]
"""Component -> its new value, as handlers of Gradio yield it."""


@dataclass
class Draft:
    """What a handler is given: the visit, and what stands in the box and in the drawer.

    Attributes:
        value: of the box: {"text": ..., "files": [paths]}.
        controls: of the drawer, as `Drawer.options` takes them.
    """

    value: dict[str, Any]
    visit: Visit
    language: str
    controls: Sequence[Any]

    @property
    def text(self) -> str:
        """The words in the box."""
        return self.value.get("text") or ""

    @property
    def files(self) -> list[str]:
        """The files in the box."""
        return list(self.value.get("files") or [])


Refresh = tuple[Callable[..., Any], list[Any], list[Any]]


class Context:
    """Handed to every panel while the page is built.

    Attributes:
        backend: the place of the app's own model.
        others: name of every other backend -> the place of its model.
        refreshers: (handler, inputs, outputs) to run when the language changes or the model is
            ready.
        model_status: the part of the header that says what is loaded.
        tab: the one whose panel is being built.
        exchanges: events after which another model may be here; everything is refreshed then.
    """

    def __init__(
        self,
        page: gr.Blocks,
        backend: ModelSlot,
        settings: Settings,
        assets: Path,
        others: Mapping[str, ModelSlot],
    ) -> None:
        self.page = page
        self.backend = backend
        self.others = others
        self.settings = settings
        self.assets = assets
        self.words = Words()
        self.language = gr.State("en")
        self.visit = gr.State(None)
        self.refreshers: list[Refresh] = []
        self.exchanges: list[Any] = []
        self.model_status: Any = None  # the header is built first, and sets it
        self.tab: Any = None  # the one that is being filled
        self._open: weakref.WeakValueDictionary[str, Visit] = weakref.WeakValueDictionary()

    def new_session(self) -> ChatSession:
        """An empty conversation."""
        return ChatSession(self.backend, max_images=self.settings.max_images)

    def image_layout(
        self, visit: Visit, image: Image, options: GenerationOptions
    ) -> ImageLayout | None:
        """What the model gets of an image; None while there is no model that could say."""
        key = (self.backend.revision, image.sha256, *sorted(options.image_detail.items()))
        if key not in visit.layouts and self.backend.state == "ready":
            with contextlib.suppress(VLMError):  # said when the image is sent
                visit.layouts[key] = self.backend.image_layout(image, options)
        return visit.layouts.get(key)

    def arrive(self, request: gr.Request) -> Visit:
        """What a page gets when it is opened."""
        visit = Visit(self.new_session())
        self._open[request.session_hash or ""] = visit
        return visit

    def leave(self, request: gr.Request) -> None:
        """Stops what runs for a page that was closed or reloaded, and removes its files."""
        visit = self._open.pop(request.session_hash or "", None)
        if visit is not None:
            self.forget(visit)

    def forget(self, visit: Visit) -> None:
        """Stops what runs for a visit, and removes its files unless others use them too."""
        others = [other for other in self._open.values() if other is not visit]
        visit.forget({path for other in others for path in other.files})


def holder(name: str, value: str = "") -> gr.HTML:
    """A part that is drawn as HTML, which takes no room while it is empty."""
    return gr.HTML(value, elem_id=name, elem_classes="strip-holder", padding=False)


def channel(root: str) -> gr.HTML:
    """What hears of buttons made by `action_button` inside the element with the id `root`.

    Its `click` event carries the button's `act` and facts as `gr.EventData._data`; its `submit`
    event those of a button that sends images to another tab.
    """
    listen = f"window.diptych.listen({root!r}, trigger);"
    return gr.HTML("", js_on_load=listen, visible=True, padding=False, elem_classes="channel")


def action_button(act: str, words: str, label: str = "", style: str = "", **facts: object) -> str:
    """A button in HTML that `channel` hears of.

    Args:
        act: what it is for.
        words: what it shows.
        label: what a screen reader says, and a pointer that rests on it shows.
        style: class names.
        **facts: sent along.
    """
    data = "".join(f' data-{name}="{escaped(value)}"' for name, value in facts.items())
    named = f' aria-label="{escaped(label)}" title="{escaped(label)}"' if label else ""
    return (
        f'<button type="button" class="act {style}" data-act="{act}"{data}{named}>'
        f"{html.escape(words)}</button>"
    )


def copy_button(text: str, words: str, done: str, style: str = "") -> str:
    """A button in HTML that copies a text, and says so."""
    return (
        f'<button type="button" class="act {style}" data-copy="{escaped(text)}" '
        f'data-done="{escaped(done)}">{html.escape(words)}</button>'
    )


def escaped(value: object) -> str:
    """Words as they may stand in HTML, also in an attribute."""
    return html.escape(str(value))
