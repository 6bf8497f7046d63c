"""What the sections of many images and of two models keep for a visit, each as a `Room`."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from vlm.backend import Capabilities
from vlm.errors import RequestError
from vlm.images import thumbnail
from vlm.messages import Image
from vlm.multiples import FIGURES, Card, Multiples, arranged
from vlm.versus import Comparison, Tally


@dataclass
class Grid:
    """What the section keeps for a visit.

    Attributes:
        order: numbers of the cards as they are shown; a run does not move them until its end.
        held: images that came from another section, by digest, which is the path of their cards.
    """

    multiples: Multiples
    order: list[int] = field(default_factory=list)
    held: dict[str, Image] = field(default_factory=dict)

    @property
    def images(self) -> list[Image]:
        """Those that came from another section: files are opened one by one and not kept."""
        return list(self.held.values())

    def leave(self) -> None:
        """See `vlm.ui.context.Room`."""
        self.multiples.forget()
        self.held.clear()

    def let_go(self) -> None:
        """Forgets images whose cards are gone."""
        there = {card.path for card in self.multiples.cards}
        self.held = {digest: image for digest, image in self.held.items() if digest in there}

    def arrange(self, by: str, largest_first: bool) -> None:
        """Sorts what is shown."""
        cards = arranged(self.multiples.cards, by if by in FIGURES else "number", largest_first)
        self.order = [card.number for card in cards]

    @property
    def shown(self) -> list[Card]:
        """The cards in the order in which they are shown; new ones at the end."""
        places = {number: place for place, number in enumerate(self.order)}
        return sorted(self.multiples.cards, key=lambda card: places.get(card.number, len(places)))


@dataclass(eq=False)
class Versus:
    """What the section keeps for a visit.

    Attributes:
        pictures: that both sides get, by digest.
        copies: a small copy of each, as an address.
        known: what models that were loaded here can do, by backend and the name that was asked for.
    """

    pictures: dict[str, Image] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    tally: Tally = field(default_factory=Tally)
    known: dict[tuple[str, str], Capabilities] = field(default_factory=dict)
    _busy: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether a comparison runs."""
        return self._busy.locked()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """One comparison at a time. Raises RequestError."""
        if not self._busy.acquire(blocking=False):
            raise RequestError("versus_busy")
        try:
            yield
        finally:
            self._busy.release()

    def add(self, image: Image) -> None:
        """Takes an image in."""
        self.pictures[image.sha256] = image
        self.copies[image.sha256] = thumbnail(image, 160)

    @property
    def images(self) -> list[Image]:
        """See `vlm.ui.context.Room`."""
        return list(self.pictures.values())

    def leave(self) -> None:
        """See `vlm.ui.context.Room`."""
        if self.comparison is not None:
            self.comparison.stop()
        self.pictures.clear()
        self.copies.clear()
