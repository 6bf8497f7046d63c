"""What the other sections may take: the images of "Two images", where other tabs send theirs.

In: a visit, and what a section has of it. Out: a line with a button whose act is "use"; where
neither has any, buttons of the example pairs, whose act is "example".
"""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from vlm.images import open_image, thumbnail
from vlm.messages import Image
from vlm.strings import say
from vlm.ui.compare_examples import PAIRS, example_pair
from vlm.ui.context import QUIET, Context, Updates, Visit, action_button, escaped, holder

ROOM = "compare"
"""The name of what "Two images" keeps of a visit."""
SIDE = 96
"""Longest side of the small copies, in pixels."""


@dataclass(frozen=True)
class Section:
    """A section of the Compare tab that is being built.

    Attributes:
        name: in `compare_panel.SECTIONS`.
        tab: its own.
        tabs: of all of them; `selected` is the `id` of one.
    """

    name: str
    tab: gr.Tab
    tabs: gr.Tabs


class Offer:
    """The line in a section, made where it stands."""

    def __init__(self, context: Context, name: str) -> None:
        self.context = context
        self.line = holder(f"{name}-offer")

    def connect(self, section: Section, arrive: Any, shown: list[Any]) -> None:
        """Runs `arrive` whenever the section comes into sight."""
        inputs = [self.context.visit, self.context.language]
        for tab in (self.context.tab, section.tab):
            tab.select(arrive, inputs, shown, **QUIET)

    def images(self, visit: Visit, taken: Collection[str]) -> list[Image]:
        """Those that the section does not have yet, and may: they stay decoded in memory.

        Args:
            taken: digests of those that it holds.
        """
        left = max(0, self.context.settings.max_images - len(taken))
        room = visit.rooms.get(ROOM)
        there = {image.sha256: image for image in room.images} if room is not None else {}
        return [image for digest, image in there.items() if digest not in taken][:left]

    @property
    def _may(self) -> bool:
        return self.context.settings.max_images >= 2  # a pair

    def example(self, name: str) -> list[Image]:
        """The images of an example; none of a name that is not offered."""
        return example_pair(self.context.assets, name) if self._may and name in PAIRS else []

    def _examples(self, language: str) -> str:
        """The pairs that "Two images" has to try, each with its photo."""
        folder = self.context.assets / "examples"
        buttons = "".join(
            f'<img src="{_copy(folder / f"{name}.jpg")}" alt="">'
            + action_button("example", say(f"pair.example.{name}", language), name=name)
            for name in PAIRS
        )
        words = escaped(say("offer.example", language))
        return f'<div class="offered"><span>{words}</span>{buttons}</div>'

    def drawn(self, visit: Visit, taken: Collection[str], language: str) -> Updates:
        """The line, empty where there is nothing to offer."""
        images = self.images(visit, taken)
        if not images:
            return {self.line: "" if taken or not self._may else self._examples(language)}
        key = "offer.one" if len(images) == 1 else "offer.several"
        button = action_button("use", say(key, language, count=len(images)))
        copies = "".join(f'<img src="{thumbnail(image, SIDE)}" alt="">' for image in images)
        return {self.line: f'<div class="offered">{copies}{button}</div>'}


@functools.cache
def _copy(path: Path) -> str:
    """An example photo, small, as an address."""
    return thumbnail(open_image(path), SIDE)
