"""How an inspection is drawn: the merged sequence, the stages, pictures that explain.

In: values of `vlm.inspection` and a language. Out: HTML. What belongs together carries the same
`data-span`; assets/inspect.js lights it up.
"""

import html
from collections.abc import Mapping, Sequence

from PIL import Image as pillow

from vlm.backend import Stage
from vlm.images import data_address
from vlm.inspection import Figure, Inspection, Piece, TileSpan, tile_spans
from vlm.messages import Pixels
from vlm.report import byte_words
from vlm.stage_pictures import figure_picture, form, is_marked, numbers, picture
from vlm.strings import say
from vlm.ui.context import escaped
from vlm.ui.image_numbers import Numbered
from vlm.ui.inspect_photos import Place, approximate, named_apart
from vlm.ui.stage_words import axis_words, is_about, joined, named_axes, stage_words

LARGEST = 640
"""Longest side of the picture of a stage, in pixels."""
SHOWN_OF_TEXT = 400
"""Letters of a stretch of words that are written out: instructions can be long."""


# ---- the merged sequence ----


def sequence(inspection: Inspection, numbers: Sequence[Numbered], language: str) -> str:
    """The prompt as one bar in which tiles are marked, and as it is written, folded.

    Args:
        inspection: of the run.
        numbers: what its images are called.
        language: of the page.
    """
    spans = tile_spans(inspection.layouts, inspection.pieces)
    total = inspection.tokens
    about = inspection.byte_words
    key = "inspect.sequence.about" if about else "inspect.sequence.words"
    counted = say(key, language, count=total, image=inspection.image_tokens)
    if inspection.context_length:
        share = f"{100 * total / inspection.context_length:.1f}"
        limit = inspection.context_length
        key = "inspect.share.about" if about else "inspect.share"
        counted += " · " + say(key, language, share=share, limit=limit)
    notes = f'<p class="quiet">{escaped(say("inspect.byte_words", language))}</p>' if about else ""
    bar = "".join(_segments(inspection.pieces, spans, numbers, about, language))
    written = "".join(_written(each) for each in inspection.pieces)
    return (
        f"<h3>{escaped(say('inspect.sequence', language))}</h3>"
        f'<p class="quiet">{escaped(counted)}</p>{notes}'
        f'<div class="sequence">{bar}</div>'
        f'<p class="quiet">{escaped(say("inspect.hover", language))}</p>'
        f"<h3>{escaped(say('inspect.prompt', language))}</h3>"
        f'<pre class="prompt" tabindex="0">{written}</pre>'
    )


def _segments(
    pieces: Sequence[Piece],
    spans: Sequence[TileSpan],
    numbers: Sequence[Numbered],
    about: bool,
    language: str,
) -> list[str]:
    """(HTML) of each stretch in order: words in grey, tiles as buttons."""
    found, several = list[tuple[int, str]](), named_apart(numbers)
    for piece in pieces:
        if not piece.placeholder or not spans:
            ends = {"first": piece.start, "last": piece.stop - 1}
            words = say("inspect.words_span", language, **approximate(ends, about, language))
            kind = "image" if piece.placeholder else "words"
            grow = piece.stop - piece.start
            found.append(
                (
                    piece.start,
                    f'<span class="{kind}" style="flex-grow:{grow}" title="{escaped(words)}">'
                    "</span>",
                )
            )
    for span in spans:
        place = Place(span.image, numbers[span.image - 1], several, about, language)
        label = escaped(place.tile_words(span.tile, span.shown, span))
        for start, stop in span.ranges:
            found.append(
                (
                    start,
                    f'<button type="button" class="span" style="flex-grow:{stop - start}" '
                    f'data-span="{span.image}-{span.tile}" aria-label="{label}" title="{label}">'
                    f"{escaped(place.mark(span.tile))}</button>",
                )
            )
    return [drawn for _, drawn in sorted(found, key=lambda each: each[0])]


def _written(piece: Piece) -> str:
    if piece.placeholder:
        count = piece.stop - piece.start
        return f"<mark>{escaped(piece.text)} × {count}</mark>"
    text = piece.text
    if len(text) > SHOWN_OF_TEXT:
        half = SHOWN_OF_TEXT // 2
        text = f"{text[:half]} … {text[-half:]}"
    return html.escape(text)


# ---- the stages ----


def stages(inspection: Inspection, language: str) -> str:
    """The way through the model, a row a stage, and what comes after it."""
    head = f"<h3>{escaped(say('inspect.stages', language))}</h3>"
    notes = [*_notes(inspection, language)]
    rows, before = [], 0.0
    for number, stage in enumerate(inspection.stages):
        took = max(stage.seconds - before, 0.0)
        before = max(before, stage.seconds)
        rows.append(_row(number, stage, took, inspection, language))
    table = f'<ol class="stage-list">{"".join(rows)}</ol>'
    told = "".join(f'<p class="{kind}">{escaped(words)}</p>' for kind, words in notes)
    return head + told + table + words(inspection, language)


def _notes(inspection: Inspection, language: str) -> list[tuple[str, str]]:
    if inspection.weightless:
        sizes = {name: byte_words(size) for name, size in inspection.memory.items()}
        return [
            ("bare", say("inspect.no_weights", language)),
            ("quiet", say("inspect.no_weights.why", language)),
            ("quiet", say("inspect.memory", language, **sizes)),
        ]
    notes = []
    if not inspection.complete:
        reached = {"count": len(inspection.stages), "total": len(inspection.names)}
        notes.append(("bare", say("inspect.stopped", language, **reached)))
    spent = _duration(inspection.seconds, language)
    return [*notes, ("quiet", say("inspect.pixels_ready", language, seconds=spent))]


def _row(number: int, stage: Stage, took: float, inspection: Inspection, language: str) -> str:
    drawn = picture(stage, inspection.stages, inspection.pixel_scale, inspection.of_images)
    source = address(_small(drawn)) if drawn is not None else ""
    small = f'<img class="tiny {form(stage)}" src="{source}" alt="">' if source else ""
    time = "" if inspection.weightless else _duration(took, language)
    unfold = escaped(say("inspect.unfold", language, name=stage.name))
    return (
        f'<li class="stage-row"><div class="line"><button type="button" class="unfold" '
        f'aria-expanded="false" aria-controls="stage-{number}" aria-label="{unfold}">'
        f"{escaped(stage.name)}</button>{_shape(stage, inspection, language)}"
        f'<span class="dtype">{escaped(stage.dtype)}</span>{small}'
        f'<span class="time">{escaped(time)}</span></div>'
        f'<div class="unfolded" id="stage-{number}" hidden>'
        f"{_details(stage, source, inspection, language)}</div></li>"
    )


def _sizes(stage: Stage, inspection: Inspection, language: str) -> list[tuple[str, str]]:
    """(number, what it counts) of each axis of a stage."""
    found = []
    for size, axis in zip(stage.array.shape, named_axes(stage), strict=True):
        about = is_about(stage, axis, inspection)
        shown = say("inspect.about", language, count=size) if about else str(size)
        found.append((shown, axis_words(stage, axis, inspection, language)))
    return found


def _shape(stage: Stage, inspection: Inspection, language: str) -> str:
    """ "1 × 16 × 576", each number with what it counts."""
    parts = [
        f'<span class="axis" tabindex="0" data-why="{escaped(why)}">{size}</span>'
        for size, why in _sizes(stage, inspection, language)
    ]
    label = escaped(say("inspect.shape", language))
    return f'<span class="shape" role="group" aria-label="{label}">{" × ".join(parts)}</span>'


def _details(stage: Stage, source: str, inspection: Inspection, language: str) -> str:
    why = stage_words(stage, inspection, language)
    meaning = "".join(
        f'<tr><th scope=row class="number">{size}</th><td>{escaped(what)}</td></tr>'
        for size, what in _sizes(stage, inspection, language)
    )
    facts = "".join(
        f"<tr><th scope=row>{escaped(say(f'number.{name}', language))}</th>"
        f'<td class="number">{value:.4g}</td></tr>'
        for name, value in numbers(stage).items()
    )
    large = _large(stage, source, inspection, language) if source else ""
    place = "" if stage.device in ("", "meta") else f" · {stage.device}"
    return (
        f"<p>{escaped(why)}</p>{large}"
        f'<table class="parts">{meaning}</table>'
        f'<p class="quiet">{escaped(stage.dtype)}{escaped(place)}</p>'
        f'<table class="parts">{facts}</table>'
    )


def _large(stage: Stage, source: str, inspection: Inspection, language: str) -> str:
    """The picture of a stage once more, and how it is read."""
    drawn = form(stage)
    parts = [] if drawn == "pixels" else [say(f"inspect.{drawn}", language)]
    if drawn == "strip" and is_marked(stage, inspection.of_images):
        parts.append(say("inspect.strip.images", language))
    how = f'<p class="quiet">{escaped(joined(parts, language))}</p>' if parts else ""
    kind = "large strip" if drawn == "strip" else "large"
    return f'<img class="{kind}" src="{source}" alt="{escaped(stage.name)}">{how}'


def words(inspection: Inspection, language: str) -> str:
    """The likeliest next tokens with their probabilities as bars."""
    if not inspection.words:
        return ""
    rows = "".join(
        f"<tr><th scope=row><code>{escaped(repr(each.text)[1:-1])}</code></th>"
        f'<td class="wide"><span class="filled" style="width:{100 * each.probability:.1f}%">'
        f'</span></td><td class="number">{100 * each.probability:.1f} %</td></tr>'
        for each in inspection.words
    )
    why = [say("inspect.next.why", language)]
    if inspection.rounded:
        why.append(say("rounding", language))
    return (
        f"<h3>{escaped(say('inspect.next', language))}</h3>"
        f'<p class="quiet">{escaped(joined(why, language))}</p>'
        f'<table class="parts next">{rows}</table>'
    )


def figures(shown: Sequence[Figure], language: str) -> str:
    """What pictures explain about the model."""
    if not shown:
        return ""
    drawn = "".join(
        f'<figure class="drawing"><img src="{address(_small(figure_picture(each)))}" '
        f'alt=""><figcaption>{escaped(_caption(each, language))}</figcaption></figure>'
        for each in shown
    )
    head = escaped(say("inspect.figures", language))
    return f'<h3>{head}</h3><div class="drawings">{drawn}</div>'


def _caption(figure: Figure, language: str) -> str:
    facts: Mapping[str, object] = figure.facts
    if figure.name in ("positions", "table"):
        fits = "same" if facts["stored"] == facts["side"] else "resized"
        return say(f"drawing.{figure.name}.{fits}", language, **facts)
    return say(f"drawing.{figure.name}", language, **facts)


def _duration(seconds: float, language: str) -> str:
    if seconds < 1:
        return say("inspect.milliseconds", language, value=f"{1000 * seconds:.0f}")
    return say("inspect.seconds", language, value=f"{seconds:.1f}")


def _small(drawn: Pixels) -> Pixels:
    """No more pixels than a square of `LARGEST`; what has fewer is drawn large as it is."""
    if drawn.width * drawn.height <= LARGEST**2:  # strips are long and low
        return drawn
    scale = LARGEST / max(drawn.size)
    size = tuple(max(1, round(side * scale)) for side in drawn.size)
    return drawn.resize((size[0], size[1]), pillow.Resampling.BOX)


def address(pixels: Pixels) -> str:
    """A drawing inside an address, to the last pixel."""
    return data_address(pixels, "PNG", optimize=True)
