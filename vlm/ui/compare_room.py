"""What the Compare tab keeps of a visit's images, and the work that is done on a pair of them.

In: images and which two are looked at. Out: `Result`s with their pictures as files of the visit.
The work tells its stages while it runs.
"""

import hashlib
import importlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vlm.backend import Traces
from vlm.compare_ask import Plan, Reply
from vlm.difference_pictures import heat_map, laid_on
from vlm.errors import VLMError
from vlm.messages import Image, Pixels
from vlm.ui.compare_view import Pair, address

if TYPE_CHECKING:
    from vlm.compare import Comparison
    from vlm.feature_difference import FeatureDifference

SHOWN_SIDE = 1600
"""Longest side of the pictures in the page, in pixels."""
KEPT_RESULTS = 6
"""Pairs whose results are kept, so that going back to one is instant."""


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a pair.

    Attributes:
        found: regions marked by what the model sees, once it was asked.
        pictures: address of each picture of it, see `Pair`.
        looked: whether the model was asked, or need not be.
        seen: what it sees, once it was asked.
        unseen: why it could not be.
    """

    found: "Comparison"
    pictures: dict[str, str]
    looked: bool = False
    seen: "FeatureDifference | None" = None
    unseen: VLMError | None = None


@dataclass(eq=False)
class Room:
    """The images of a visit in this tab.

    Attributes:
        images: in the order of the strip.
        chosen: indices of the two that are looked at.
        aligned: whether the second is laid on the first.
        cancel: ends the comparison that runs.
        stage: where it is; empty while none runs.
        stop: ends the answer that is written.
        asking: whether one is.
        reply, how: the last answer, and how it was asked for.
    """

    images: list[Image] = field(default_factory=list)
    chosen: tuple[int, int] = (0, 1)
    aligned: bool = True
    cancel: threading.Event = field(default_factory=threading.Event)
    stage: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    asking: bool = False
    reply: Reply | None = None
    how: tuple[Plan, int, int, int | None] | None = None
    results: dict[tuple[object, ...], Result] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pair(self) -> tuple[Image, Image] | None:
        """The two that are looked at, once there are two."""
        if len(self.images) < 2:
            return None
        return self.images[self.chosen[0]], self.images[self.chosen[1]]

    @property
    def key(self) -> tuple[object, ...]:
        """Names what is compared, and how."""
        pair = self.pair
        return (*(image.sha256 for image in pair), self.aligned) if pair else ()

    @property
    def result(self) -> Result | None:
        """What came of the two that are looked at; None as long as nothing did."""
        return self.results.get(self.key)

    def keep(self, key: tuple[object, ...], result: Result) -> None:
        """Keeps what came of a pair; the oldest of too many goes."""
        self.results.pop(key, None)
        self.results[key] = result
        while len(self.results) > KEPT_RESULTS:
            del self.results[next(iter(self.results))]

    def add(self, images: Sequence[Image], limit: int, *, first: bool = False) -> int:
        """Takes images in; a new one is looked at. Returns how many were too many.

        Args:
            limit: of all.
            first: in front of those that are there.
        """
        with self.lock:
            there = len(self.images)
            joined = [*images, *self.images] if first else [*self.images, *images]
            self.images = joined[:limit]
            if there >= 2 and len(self.images) > there and not first:
                self.chosen = (self.chosen[0], there)
            else:
                self.chosen = (0, 1)
            return len(joined) - len(self.images)

    def replace(self, images: Sequence[Image], limit: int) -> int:
        """Other images in place of those that are there. Returns how many were too many."""
        self.begin_anew()
        return self.add(images, limit)

    def remove(self, index: int) -> None:
        """Takes an image out; of the pair the others move up."""
        if not 0 <= index < len(self.images):
            return  # the strip has changed since the button was drawn
        pair = [self.images[each] for each in self.chosen if each < len(self.images)]
        gone = self.images.pop(index)
        left = [image for image in pair if image is not gone]
        others = [image for image in self.images if not any(image is each for each in left)]
        wanted = [*left, *others][:2]
        if gone is pair[0]:
            wanted = [*others[:1], *left][:2] if len(left) == 1 and others else wanted
        places = [
            next(at for at, each in enumerate(self.images) if each is image) for image in wanted
        ]
        self.chosen = (places[0], places[1]) if len(places) == 2 else (0, 1)

    def choose(self, index: int, side: str) -> None:
        """Puts an image left ("first") or right ("second"); if it is the other, they swap."""
        if not 0 <= index < len(self.images):
            return
        first, second = self.chosen
        if side == "first":
            self.chosen = (index, first if index == second else second)
        else:
            self.chosen = (second if index == first else first, index)

    def begin(self) -> threading.Event:
        """Ends the comparison that runs. Returns what ends the next one."""
        with self.lock:
            self.cancel.set()
            self.cancel = threading.Event()
            return self.cancel

    def restart(self) -> threading.Event:
        """What stops the answer that begins now. Held: the lock."""
        self.stop = threading.Event()
        self.reply, self.how = None, None
        return self.stop

    def begin_anew(self) -> None:
        """Ends what runs and forgets everything."""
        self.cancel.set()
        self.stop.set()
        self.stop, self.stage = threading.Event(), ""
        self.images, self.chosen, self.aligned = [], (0, 1), True
        self.reply, self.how = None, None
        self.results.clear()

    def leave(self) -> None:
        """See `vlm.ui.context.Room`."""
        self.begin_anew()

    def shown(self) -> Pair | None:
        """What is to be drawn of the two that are looked at."""
        pair, result = self.pair, self.result
        if pair is None or result is None:
            return None
        numbers = (self.chosen[0] + 1, self.chosen[1] + 1)
        return Pair(numbers, pair, result.found, result.pictures, result.seen, result.unseen)


# ---- the work ----


def prepare(seconds: float = 0.0) -> threading.Timer:
    """Begins to import what comparing needs, so that the first comparison does not wait for it.

    That is scikit-image, of a second or, read from a disk for the first time, of several.

    Args:
        seconds: from now on, after which it begins.
    """

    def import_all() -> None:
        for name in ("vlm.compare", "vlm.feature_difference", "skimage.restoration.inpaint"):
            importlib.import_module(name)

    timer = threading.Timer(seconds, import_all)
    timer.daemon = True
    timer.start()
    return timer


def compared(
    pair: tuple[Image, Image],
    aligned: bool,
    folder: Path,
    progress: Callable[[str], None],
    cancel: threading.Event,
) -> Result:
    """Compares two images and writes the pictures of it into a folder.

    Raises:
        RequestError: it was cancelled.
    """
    from vlm.compare import compare  # see `prepare`

    first, second = pair
    found = compare(first, second, aligned=aligned, progress=progress, cancel=cancel)
    progress("drawing")
    under, over = laid_on(first, second, found, SHOWN_SIDE)
    key = _digest(first.sha256, second.sha256, str(aligned))
    pictures = {"first": under, "second": over, "heat": heat_map(first, found)}
    files = {name: _written(picture, folder, f"{key}-{name}") for name, picture in pictures.items()}
    return Result(found, files, looked=first == second)


def looked_at(
    model: Traces,
    pair: tuple[Image, Image],
    result: Result,
    folder: Path,
    progress: Callable[[str], None],
    cancel: threading.Event,
) -> Result:
    """The result with what a model sees: regions marked, one more picture; or why it is not known.

    Raises:
        RequestError: it was cancelled.
    """
    from vlm.feature_difference import feature_heat, look, marked

    first, second = pair
    found = result.found
    progress("looking")
    try:
        difference = look(model, first, second, found, cancel=cancel)
    except VLMError as error:
        if error.key == "compare_cancelled":
            raise
        return Result(found, result.pictures, looked=True, unseen=error)
    heat = feature_heat(difference, found.aligned.size, first.original_size)
    name = _digest(result.pictures["heat"], str(difference.floor))
    file = _written(heat_map(first, found, heat), folder, f"{name}-model")
    pictures = {**result.pictures, "model": file}
    return Result(marked(found, difference), pictures, looked=True, seen=difference)


def _written(picture: Pixels, folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.webp"
    picture.save(path, "WEBP", quality=88, method=2)
    return address(str(path))


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
