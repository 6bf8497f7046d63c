"""Places that answers speak of: phrases as buttons, and images with boxes and points over them.

In: an answer and the images before it. Out: HTML. What belongs together has the same class
`place-TURN-NUMBER`, as a class is all that the page leaves to a button inside an answer;
assets/places.js lights it up. Everything that a model wrote is escaped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from vlm.backend import ImageLayout
from vlm.chat import Turn
from vlm.grounding import Grounded, grounded, in_text, to_json, with_phrases
from vlm.messages import Image, Message, images_of
from vlm.options import GenerationOptions
from vlm.strings import say
from vlm.ui.context import Visit, copy_button, escaped

Layouts = Callable[[Image, GenerationOptions], ImageLayout | None]
HUES = 7
"""Colours in the style sheet, `hue-0` to `hue-6`; the number beside it tells apart what they do
not."""
WIDE = 1000
"""Width of a drawing in its own units."""
DOT, AROUND_DOT = 12, 44
"""Radius of a point, and of the circle around it that can be pointed at, in those units."""


@dataclass(frozen=True)
class Subject:
    """What an answer may speak of.

    Attributes:
        images: of the conversation up to the question, in order.
        layouts: how each was sent.
        unsaid: which is taken where the answer does not say: the first of the latest question
            with images.
    """

    images: tuple[Image, ...]
    layouts: tuple[ImageLayout, ...]
    unsaid: int

    def places(self, answer: str) -> list[Grounded]:
        """The places in an answer, also in an unfinished one."""
        return grounded(answer, self.layouts, unsaid=self.unsaid)


def subject(
    questions: Sequence[Message], options: GenerationOptions, layouts: Layouts
) -> Subject | None:
    """What the answer to the last question may speak of; None while no model can say."""
    images = images_of(questions)
    sent = [layout for image in images if (layout := layouts(image, options)) is not None]
    if not images or len(sent) < len(images):
        return None
    latest = next(len(each.images) for each in reversed(questions) if each.images)
    return Subject(tuple(images), tuple(sent), len(images) - latest)


def of_turn(
    visit: Visit, index: int, layouts: Layouts
) -> tuple[Turn, Subject | None, tuple[Grounded, ...]]:
    """A turn with its places, as the model saw its images that gave the answer.

    They are found once: another model, loaded later, would have got the images in other sizes.
    """
    turns = visit.session.turns
    turn = turns[index]
    asked = [each.question for each in turns[: index + 1]]
    seen = subject(asked, turn.options, layouts)
    if seen is None:
        return turn, None, ()
    kept = visit.grounded.get(id(turn))
    if kept is None or kept[0] is not turn:
        kept = visit.grounded[id(turn)] = (turn, tuple(seen.places(turn.answer)))
    return turn, seen, kept[1]


# ---- in the text ----


def phrases(said: str, places: Sequence[Grounded], key: str, offset: int = 0) -> str:
    """An answer as Markdown, its phrases buttons.

    Args:
        said: the answer without its thoughts.
        places: in the whole answer.
        key: of the turn, in the names of classes.
        offset: where `said` begins in the whole answer.
    """
    moved = [replace(place, start=place.start - offset, end=place.end - offset) for place in places]
    return with_phrases(said, moved, lambda words, numbers: _phrase(key, words, numbers))


def _phrase(key: str, words: str, numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number + 1) for number in numbers)
    return (
        f'<button type="button" class="phrase {_classes(key, numbers)}">{_inert(words)}'
        f"<sup>{shown}</sup></button>"
    )


def _classes(key: str, numbers: Sequence[int]) -> str:
    """Which places something belongs to, and the colour of the first."""
    return " ".join([f"hue-{numbers[0] % HUES}", *(f"place-{key}-{each}" for each in numbers)])


def _inert(words: str) -> str:
    """Words that mean nothing to a reader of Markdown or HTML."""
    return "".join(
        char if char.isalnum() or char == " " or ord(char) > 127 else f"&#{ord(char)};"
        for char in " ".join(words.split())
    )


# ---- over the images ----


def figures(
    visit: Visit, places: Sequence[Grounded], seen: Subject | None, key: str, language: str
) -> str:
    """Each image that an answer speaks of, with what it says is there; empty without any."""
    if seen is None or not places:
        return ""
    drawn = [
        _figure(visit, number, places, seen, key, language)
        for number in sorted({place.image for place in places})
    ]
    text = to_json(places)
    copy = copy_button(text, say("places.copy", language), say("button.copied", language))
    save = (
        f'<a class="act" download="places.json" '
        f'href="data:application/json;charset=utf-8,{quote(text)}">'
        f"{escaped(say('places.save', language))}</a>"
    )
    return f'<div class="grounded">{"".join(drawn)}</div><div class="bar">{copy}{save}</div>'


def _figure(
    visit: Visit, image: int, places: Sequence[Grounded], seen: Subject, key: str, language: str
) -> str:
    """One image with the places on it."""
    shown = seen.images[image]
    here = [number for number, place in enumerate(places) if place.image == image]
    width, height = shown.original_size
    tall = WIDE * height / width
    # The largest first, so that what lies inside another can be pointed at.
    stacked = sorted(here, key=lambda number: _area(places[number]), reverse=True)
    shapes = "".join(_shape(key, number, places[number], tall) for number in stacked)
    tags = "".join(_tag(key, number, places[number]) for number in stacked)
    label = escaped(say("places.on", language, name=shown.name))
    return (
        f'<figure class="places"><div class="sight" style="--ratio:{width / height:.4f}">'
        f'<img src="gradio_api/file={escaped(visit.path(shown))}" alt="{escaped(shown.name)}">'
        f'<svg viewBox="0 0 {WIDE} {tall:.1f}" role="group" aria-label="{label}">{shapes}</svg>'
        f"{tags}</div>{_caption(image, here, places, seen, key, language)}</figure>"
    )


def _area(place: Grounded) -> float:
    if place.kind == "point":
        return 0.0
    left, top, right, bottom = place.coordinates
    return (right - left) * (bottom - top)


def _shape(key: str, number: int, place: Grounded, tall: float) -> str:
    """A box or point that can be pointed at and reached by keys."""
    if place.kind == "point":
        x, y = place.coordinates[0] * WIDE, place.coordinates[1] * tall
        at = f'cx="{x:.1f}" cy="{y:.1f}"'
        drawn = (
            f'<circle class="around" {at} r="{AROUND_DOT}"/>'
            f'<circle class="halo" {at} r="{DOT}"/><circle class="line" {at} r="{DOT}"/>'
        )
    else:
        left, top, right, bottom = place.coordinates
        at = (
            f'x="{left * WIDE:.1f}" y="{top * tall:.1f}" width="{(right - left) * WIDE:.1f}" '
            f'height="{(bottom - top) * tall:.1f}"'
        )
        drawn = f'<rect class="halo" {at}/><rect class="line" {at}/>'
    return (
        f'<g class="place {_classes(key, [number])}" tabindex="0" role="button" '
        f'aria-label="{escaped(_name(number, place))}">{drawn}</g>'
    )


def _tag(key: str, number: int, place: Grounded) -> str:
    """Its number, at its upper left corner or beside its point."""
    style = f"left:{100 * place.coordinates[0]:.2f}%;top:{100 * place.coordinates[1]:.2f}%"
    return (
        f'<span class="numeral at-{place.kind} {_classes(key, [number])}" style="{style}" '
        f'aria-hidden="true">{number + 1}</span>'
    )


def _name(number: int, place: Grounded) -> str:
    return f"{number + 1}: {place.phrase}" if place.phrase else str(number + 1)


def _caption(
    image: int,
    here: Sequence[int],
    places: Sequence[Grounded],
    seen: Subject,
    key: str,
    language: str,
) -> str:
    """Which image it is where there are several, and phrases that have no button in the text."""
    lines = []
    if len(seen.images) > 1:
        name = seen.images[image].name
        lines.append(escaped(say("places.image", language, number=image + 1, name=name)))
        if not all(places[number].said for number in here):
            lines.append(escaped(say("places.unsaid", language)))
    listed = [
        f"<li>{_phrase(key, places[number].phrase or '·', [number])}</li>"
        for number in here
        if not in_text(places[number])
    ]
    told = f"<p>{' '.join(lines)}</p>" if lines else ""
    rows = f'<ol class="phrases">{"".join(listed)}</ol>' if listed else ""
    return f"<figcaption>{told}{rows}</figcaption>" if told or rows else ""
