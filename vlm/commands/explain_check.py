"""`python -m vlm explain --check`: whether maps lie where the object is, on made pictures.

Pictures come from a seed: a cut-out of an example photo that the embedded model has a name for, in
one quarter of a plain ground, elsewhere nothing. The answer "A cat." or "A man." is given, as the
model says other things besides; the map of the word counts as right if more of it lies in the
object's quarter than in any other. Counted are:

* one object: chance is 25 %;
* the same with the visual tokens shuffled before the language model reads them, which takes away
  where the object is but not that it is there: chance should be all that is left;
* the model's own answers, where they have the word;
* two objects in two quarters and the answer "A cat and a man.": the map of a word counts as right
  if more of it lies on its own object than on the other. Chance is 50 %. Once by the map itself,
  once by what it has more than the rest of the answer (`vlm.explain.contrast`).

Intervals are those of Wilson (1927) for a share, at 95 %. Seeds are others than those by which
layers were chosen.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy
from numpy.random import Generator, default_rng
from PIL import Image as pillow
from PIL import ImageDraw, ImageFilter
from PIL.Image import Resampling, Transpose

from vlm.commands.compare_pairs import PHOTOS
from vlm.commands.explain import ask
from vlm.commands.terminal import print_table
from vlm.explain import contrast, find_word, heat
from vlm.explanation import ExplainMethod, Explanation
from vlm.images import made_image, open_image
from vlm.messages import Image, Pixels, user_message
from vlm.options import GenerationOptions
from vlm.settings import Settings, terminal_language
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.engine import Engine

SEED = 20_261_121
SIDE = 512
PROMPT = "Describe the image."
OBJECTS = {
    "cat": ("cat", (60, 0, 400, 300)),
    "man": ("photographer", (0, 40, 400, 512)),
}
"""Name -> photo, and (left, top, right, bottom) of the cut-out."""
GROUNDS = ((70, 130, 50), (240, 240, 240), (200, 180, 140), (120, 170, 220), (128, 128, 128))
GRAIN = 10.0
"""Standard deviation of the ground's brightness, of 255."""
Z = 1.959964
"""Of the normal distribution, for 95 % on both sides."""


@dataclass(frozen=True, eq=False)
class Made:
    """A picture and what is where in it: name -> quarter, 0 to 3 in the order of reading."""

    image: Image
    objects: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often a map was right.

    Attributes:
        kind: of pictures and answers.
        found, pictures: right ones, of so many.
        chance: what would be right by chance.
    """

    kind: str
    found: int
    pictures: int
    chance: float

    def as_json(self) -> dict:
        """The row of the table."""
        low, high = wilson(self.found, self.pictures)
        return {
            "kind": self.kind,
            "pictures": self.pictures,
            "found": self.found,
            "rate": self.found / self.pictures if self.pictures else None,
            "low": low,
            "high": high,
            "chance": self.chance,
        }


def wilson(found: int, of: int, z: float = Z) -> tuple[float, float]:
    """The interval of a share. Source: Wilson, JASA 22 (1927)."""
    if of == 0:
        return 0.0, 1.0
    share, square = found / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return middle - half, middle + half


# ---- pictures ----


def make_picture(seed: int, objects: int = 1) -> Made:
    """A picture with so many objects, the same for the same seed."""
    random = default_rng([seed, objects])
    ground = numpy.array(GROUNDS[random.integers(len(GROUNDS))], float)
    noise = random.normal(0, GRAIN, (SIDE, SIDE, 1))
    picture = pillow.fromarray(numpy.clip(ground + noise, 0, 255).astype(numpy.uint8))
    quarters = random.permutation(4)[:objects].tolist()
    names = random.permutation(sorted(OBJECTS))[:objects].tolist()
    for name, quarter in zip(names, quarters, strict=True):
        _paste(picture, name, quarter, random)
    return Made(made_image(picture, "made"), dict(zip(names, quarters, strict=True)))


def _paste(picture: Pixels, name: str, quarter: int, random: Generator) -> None:
    """Puts an object somewhere into a quarter, softly cut, in one of many sizes."""
    photo, box = OBJECTS[name]
    part = open_image(PHOTOS / f"{photo}.jpg").pixels.convert("RGB").crop(box)
    half = SIDE // 2
    factor = random.uniform(0.6, 0.95) * half / max(part.size)
    width, height = (round(length * factor) for length in part.size)
    part = part.resize((width, height), Resampling.LANCZOS)
    if random.random() < 0.5:
        part = part.transpose(Transpose.FLIP_LEFT_RIGHT)
    outline = pillow.new("L", part.size, 0)
    ImageDraw.Draw(outline).rounded_rectangle((3, 3, width - 4, height - 4), width // 4, fill=255)
    left = quarter % 2 * half + int(random.integers(0, half - width + 1))
    top = quarter // 2 * half + int(random.integers(0, half - height + 1))
    picture.paste(part, (left, top), outline.filter(ImageFilter.GaussianBlur(2)))


# ---- measuring ----


def quarters(found: Explanation, word: str, beyond: bool = False) -> numpy.ndarray:
    """How much of the map of a word lies in each quarter of the image, (4,).

    Args:
        beyond: what it has more than the rest of the answer.
    """
    sight = contrast(found.sights[0]) if beyond else found.sights[0]
    return heat(sight, find_word(found, word), (2, 2)).ravel()


def look(engine: "Engine", image: Image, answer: str, method: ExplainMethod) -> Explanation:
    """Where the model looks for an answer to the question."""
    return engine.explain([user_message(PROMPT, [image])], answer, None, method)


def measure_one(
    engine: "Engine", pictures: int, method: ExplainMethod, shuffle: bool = False
) -> Rate:
    """One object; with the visual tokens in their order or shuffled."""
    right = 0
    for number in range(pictures):
        made = make_picture(SEED + number)
        ((word, quarter),) = made.objects.items()
        with shuffled(engine, made.image, number) if shuffle else nullcontext():
            found = quarters(look(engine, made.image, f"A {word}.", method), word)
        right += int(found.argmax()) == quarter
    kind = f"one object, {method}" + (", tokens shuffled" if shuffle else "")
    return Rate(kind=kind, found=right, pictures=pictures, chance=0.25)


def measure_own(engine: "Engine", pictures: int, method: ExplainMethod) -> Rate:
    """One object, by the model's own answers where they have the word."""
    right = named = 0
    options = GenerationOptions(temperature=0, max_new_tokens=16)
    for number in range(pictures):
        made = make_picture(SEED + number)
        ((word, quarter),) = made.objects.items()
        answer = ask(engine, [user_message(PROMPT, [made.image])], options)
        if word not in re.findall(r"\w+", answer.lower()):
            continue  # it says something else
        found = quarters(look(engine, made.image, answer, method), word)
        named += 1
        right += int(found.argmax()) == quarter
    kind = f"one object, {method}, named by the model itself"
    return Rate(kind=kind, found=right, pictures=named, chance=0.25)


def measure_two(engine: "Engine", pictures: int, method: ExplainMethod) -> list[Rate]:
    """Two objects: whether the map of a word lies on its own rather than on the other.

    Twice: by the map itself, and by what it has more than the rest of the answer.
    """
    right = [0, 0]
    for number in range(pictures):
        made = make_picture(SEED + number, 2)
        names = list(made.objects)
        found = look(engine, made.image, f"A {names[0]} and a {names[1]}.", method)
        for own, other in (names, names[::-1]):
            for way in (False, True):
                map_ = quarters(found, own, beyond=way)
                right[way] += bool(map_[made.objects[own]] > map_[made.objects[other]])
    kinds = (f"two objects, {method}", f"two objects, {method} beyond the rest of the answer")
    return [
        Rate(kind=kind, found=count, pictures=2 * pictures, chance=0.5)
        for kind, count in zip(kinds, right, strict=True)
    ]


@contextmanager
def shuffled(engine: "Engine", image: Image, seed: int) -> Iterator[None]:
    """While it is open the language model reads the image's tokens in another order."""
    import torch

    ids = engine.prepare([user_message(PROMPT, [image])])["input_ids"][0]
    places = (ids == engine.reader.placeholder_id).nonzero().flatten()  # (placeholders,)
    order = torch.from_numpy(default_rng(seed).permutation(len(places)))

    def shuffle(_: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        embeds = kwargs["inputs_embeds"].clone()  # (1, tokens, width)
        embeds[:, places] = embeds[:, places[order]]
        return args, {**kwargs, "inputs_embeds": embeds}

    hook = engine.model.get_decoder().register_forward_pre_hook(shuffle, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


# ---- the table ----


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Measures and prints the table."""
    from vlm.opening import open_engine  # torch takes seconds

    language = terminal_language(settings)
    count, method = arguments.pictures, arguments.method
    measures: Sequence[tuple[str, Callable[[Engine], list[Rate]]]] = (
        ("1", lambda engine: [measure_one(engine, count, method)]),
        ("1, shuffled", lambda engine: [measure_one(engine, count, method, shuffle=True)]),
        ("1, own answers", lambda engine: [measure_own(engine, count, method)]),
        ("2", lambda engine: measure_two(engine, count, method)),
    )
    rows = []
    with closing(open_engine(settings)) as engine:
        for name, measure in measures:
            print(say("explain.checking", language, kind=name), file=sys.stderr)
            rows += [rate.as_json() for rate in measure(engine)]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    heads = [say(f"explain.{name}", language) for name in rows[0]]
    print_table(heads, [map(_cell, row.values()) for row in rows])
    return 0


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if isinstance(value, float) else str(value)
