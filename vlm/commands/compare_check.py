"""`python -m vlm compare --check`: how well changes are found, on pairs with known edits.

How it is counted. The truth of a pair is the mask of what its edit touched; its parts (8-connected)
have boxes. A box that was found is right if its intersection over union with a box of the truth,
which no better one has taken, is at least 0.5. Precision is the share of boxes found that are
right, recall the share of true boxes that were found, both summed over all pairs of a kind; where
nothing was edited every box found is wrong and only their number is told. The same by pixels: the
pixels of regions against those of the mask, where both pictures show something. The error of an
alignment is the largest distance, over the first picture's corners, between where the matrix puts
them and where they are, in pixels of the second.

Pairs come from `compare_pairs` by a seed that no threshold was chosen on.
"""

import json
import math
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy
import psutil
from numpy import ndarray
from numpy.random import default_rng
from skimage.measure import label, regionprops

from vlm.arrays import farthest_corner, resized
from vlm.commands.compare_pairs import KINDS, Pair, large_pair, make_pair
from vlm.commands.terminal import print_table, processor_name
from vlm.compare import Comparison, compare
from vlm.settings import Settings, terminal_language
from vlm.strings import say

SEED = 20_261_121
LEAST_IOU = 0.5
LARGE = (4000, 3000)

Box = tuple[float, float, float, float]


@dataclass
class Score:
    """What was counted over the pairs of one kind.

    Attributes:
        right, found, true: boxes.
        common, marked, edited: pixels.
        errors: of the alignments, in pixels.
        seconds: of the comparisons.
    """

    kind: str
    pairs: int = 0
    right: int = 0
    found: int = 0
    true: int = 0
    common: int = 0
    marked: int = 0
    edited: int = 0
    errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def as_json(self) -> dict:
        """The row of the table; None where nothing was edited or nothing found."""
        return {
            "kind": self.kind,
            "pairs": self.pairs,
            "precision": _ratio(self.right, self.found),
            "recall": _ratio(self.right, self.true),
            "pixel_precision": _ratio(self.common, self.marked) if self.true else None,
            "pixel_recall": _ratio(self.common, self.edited),
            "edits": self.true,
            "regions": self.found,
            "largest_error": max(self.errors),
            "median_seconds": float(numpy.median(self.seconds)),
        }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def measure(kind: str, pairs: int, seed: int = SEED) -> Score:
    """Compares so many pairs of a kind and counts."""
    score = Score(kind)
    for number in range(pairs):
        pair = make_pair(kind, seed + number)
        start = time.perf_counter()
        found = compare(pair.first, pair.second)
        score.seconds.append(time.perf_counter() - start)
        count(score, pair, found)
    return score


def count(score: Score, pair: Pair, found: Comparison) -> None:
    """Adds one comparison to what was counted."""
    true = boxes(pair.edited)
    score.pairs += 1
    score.true += len(true)
    score.found += len(found.regions)
    score.right += matches([region.box for region in found.regions], true)
    edited = resized(pair.edited.astype(numpy.float32), found.changed.shape[::-1]) > 0.5
    score.common += int((edited & found.changed).sum())
    score.marked += int(found.changed.sum())
    score.edited += int((edited & found.seen).sum())
    score.errors.append(alignment_error(pair, found.alignment.matrix))


def boxes(mask: ndarray) -> list[Box]:
    """(left, top, right, bottom) of each connected part of a truth (height, width)."""
    parts = regionprops(label(mask, connectivity=2))
    return [(left, top, right, bottom) for top, left, bottom, right in (p.bbox for p in parts)]


def matches(found: Sequence[Box], true: Sequence[Box]) -> int:
    """How many boxes are right, each true one counting once, the best pairs first."""
    ranked = sorted(
        ((overlap(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(true)),
        reverse=True,
    )
    taken: set[int] = set()
    named: set[int] = set()
    for value, i, j in ranked:
        if value >= LEAST_IOU and i not in taken and j not in named:
            taken.add(i)
            named.add(j)
    return len(taken)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common)


def alignment_error(pair: Pair, matrix: ndarray) -> float:
    """The largest distance of a corner from where it should lie, in pixels of the second."""
    return farthest_corner(matrix, pair.matrix, pair.first.pixels.size)


# ---- time and memory ----


def measure_large() -> dict:
    """Seconds and memory above what the process had, for a pair of 12 megapixels each."""
    pair = large_pair(LARGE, SEED)
    process, peak, stop = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not stop.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        found = compare(pair.first, pair.second)
        seconds = time.perf_counter() - start
    finally:
        stop.set()
        watcher.join()
    return {
        "seconds": seconds,
        "megabytes": max(0, peak[0] - before) / 1e6,
        "error": alignment_error(pair, found.alignment.matrix),
    }


# ---- what a model sees ----


def measure_features(pairs: int, settings: Settings) -> list[dict]:
    """How many regions of each kind the model of the settings hardly sees.

    Where nothing was edited, boxes of the same sizes are laid at random places: those of
    recompressed pairs should be hardly seen.
    """
    from vlm.feature_difference import look
    from vlm.opening import open_engine  # torch takes seconds

    rows = []
    with closing(open_engine(settings)) as engine:
        for kind in ("recompressed", "removed", "moved", "recoloured"):
            ratios: list[float] = []
            for number in range(pairs):
                pair = make_pair(kind, SEED + number)
                found = compare(pair.first, pair.second)
                seen = look(engine, pair.first, pair.second, found)
                where = boxes(pair.edited) or _random_boxes(pair.first.pixels.size, number)
                ratios += [seen.within(box) / seen.floor for box in where]
            rows.append(
                {
                    "kind": kind,
                    "boxes": len(ratios),
                    "hardly_seen": float((numpy.array(ratios) <= 1).mean()),
                    "median_ratio": float(numpy.median(ratios)),
                }
            )
    return rows


def _random_boxes(size: tuple[int, int], seed: int, boxes: int = 4) -> list[Box]:
    """Boxes of 1.2 to 10 % of a picture's area."""
    random = default_rng(seed)
    found = []
    for _ in range(boxes):
        share = math.sqrt(math.exp(random.uniform(math.log(0.012), math.log(0.1))))
        left, top = random.uniform(0, 1 - share, 2) * size
        found.append((left, top, left + share * size[0], top + share * size[1]))
    return found


# ---- the table ----


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Measures and prints the tables."""
    language = terminal_language(settings)

    def tell(kind: str) -> None:
        print(say("compare.checking", language, kind=kind), file=sys.stderr)

    tell("12 Mpx")
    large = measure_large()
    rows = []
    for kind in KINDS:
        tell(kind)
        rows.append(measure(kind, arguments.pairs).as_json())
    features: list[dict] = []
    if arguments.features:
        tell("features")
        features = measure_features(arguments.pairs, settings)
    if arguments.json:
        print(json.dumps({"kinds": rows, "large": large, "features": features}))
        return 0
    _print_rows(rows, language)
    if features:
        print()
        _print_rows(features, language)
    numbers = {name: f"{value:.2f}" for name, value in large.items() if name != "megabytes"}
    megabytes = f"{large['megabytes']:.0f}"
    print()
    machine = f"{processor_name()}, {psutil.cpu_count()} cores"
    print(say("check.large", language, machine=machine, megabytes=megabytes, **numbers))
    return 0


def _print_rows(rows: Sequence[dict], language: str) -> None:
    """Rows of one form as a table."""
    heads = [say(f"check.{name}", language) for name in rows[0]]
    print_table(heads, [map(_cell, row.values()) for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
