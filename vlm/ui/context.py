"""What the panels share: the backend, the settings, and the words that change with the language."""

import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from vlm.backend import DeferredBackend
from vlm.chat import ChatSession
from vlm.settings import Settings
from vlm.strings import say


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


@dataclass
class Visit:
    """What belongs to one open page and to nobody else.

    Attributes:
        session: its conversation.
        cancel: stops the answer that runs now.
        previews: where the small copies of its images lie, by hash.
    """

    session: ChatSession
    cancel: threading.Event = field(default_factory=threading.Event)
    previews: dict[str, str] = field(default_factory=dict)


class Context:
    """Handed to every panel while the page is built."""

    def __init__(
        self, page: gr.Blocks, backend: DeferredBackend, settings: Settings, assets: Path
    ) -> None:
        self.page = page
        self.backend = backend
        self.settings = settings
        self.assets = assets
        self.words = Words()
        self.language = gr.State("en")
        self.visit = gr.State(None)
        self._open: weakref.WeakValueDictionary[str, Visit] = weakref.WeakValueDictionary()

    def new_session(self) -> ChatSession:
        """An empty conversation."""
        return ChatSession(self.backend, max_images=self.settings.max_images)

    def arrive(self, request: gr.Request) -> Visit:
        """What a page gets when it is opened."""
        visit = Visit(self.new_session())
        self._open[request.session_hash or ""] = visit
        return visit

    def leave(self, request: gr.Request) -> None:
        """Stops what runs for a page that was closed or reloaded."""
        visit = self._open.pop(request.session_hash or "", None)
        if visit is not None:
            visit.cancel.set()
