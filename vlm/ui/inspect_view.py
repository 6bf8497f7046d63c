"""How an inspection is drawn: the merged sequence, the stages, pictures that explain.

In: values of `vlm.inspection` and a language. Out: HTML. What belongs together carries the same
`data-span`; assets/inspect.js lights it up.
"""

import html
from collections.abc import Mapping, Sequence

from PIL import Image as pillow

from vlm.backend import Stage
from vlm.images import data_address
from vlm.inspection import Figure, Inspection, Piece, TileSpan, Word, tile_spans
from vlm.messages import Pixels
from vlm.report import byte_words
from vlm.stage_pictures import figure_picture, numbers, picture
from vlm.strings import TABLE, say
from vlm.ui.context import escaped
from vlm.ui.inspect_photos import Place

LARGEST = 640
"""Longest side of the picture of a stage, in pixels."""
SHOWN_OF_TEXT = 400
"""Letters of a stretch of words that are written out: instructions can be long."""

STAGE_WORDS = (
    "input_ids",
    "pixel_values",
    "tgt_sizes",
    "patch_positions",
    "vision_tower",
    "selected",
    "pixel_shuffle",
    "projector",
    "inputs_embeds",
    "attention_mask",
    "position_ids",
    "final_hidden",
    "logits",
)
"""Stages that are explained; a family may name others, which then stand by themselves."""
AXES = (
    *("images", "channels", "height", "width", "pixel_width", "positions", "queries", "batch"),
    *("tokens", "words", "sides", "patches", "values", "rows", "columns"),
)
NUMBERS = ("min", "mean", "max", "spread", "not_finite")


# ---- the merged sequence ----


def sequence(inspection: Inspection, language: str) -> str:
    """The prompt as one bar in which tiles are marked, and as it is written, folded."""
    spans = tile_spans(inspection.layouts, inspection.pieces)
    total = inspection.tokens
    counted = say("inspect.sequence.words", language, count=total, image=inspection.image_tokens)
    if inspection.context_length:
        share = f"{100 * total / inspection.context_length:.1f}"
        limit = inspection.context_length
        counted += " · " + say("inspect.share", language, share=share, limit=limit)
    notes = say("inspect.byte_words", language) if inspection.byte_words else ""
    several = len(inspection.layouts) > 1
    bar = "".join(_segments(inspection.pieces, spans, several, language))
    written = "".join(_written(each) for each in inspection.pieces)
    return (
        f"<h3>{escaped(say('inspect.sequence', language))}</h3>"
        f'<p class="quiet">{escaped(counted)}</p>'
        f'<div class="sequence">{bar}</div>'
        f'<p class="quiet">{escaped(say("inspect.hover", language))} {escaped(notes)}</p>'
        f"<h3>{escaped(say('inspect.prompt', language))}</h3>"
        f'<pre class="prompt" tabindex="0">{written}</pre>'
    )


def _segments(
    pieces: Sequence[Piece], spans: Sequence[TileSpan], several: bool, language: str
) -> list[str]:
    """(HTML) of each stretch in order: words in grey, tiles as buttons."""
    found: list[tuple[int, str]] = []
    for piece in pieces:
        if not piece.placeholder or not spans:
            words = say("inspect.words_span", language, first=piece.start, last=piece.stop - 1)
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
        place = Place(span.image, several, language)
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
    return head + told + table + words(inspection.words, language)


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
    drawn = picture(stage, inspection.stages)
    source = address(_small(drawn)) if drawn is not None else ""
    small = f'<img class="tiny" src="{source}" alt="">' if source else ""
    time = "" if inspection.weightless else _duration(took, language)
    unfold = escaped(say("inspect.unfold", language, name=stage.name))
    return (
        f'<li class="stage-row"><div class="line"><button type="button" class="unfold" '
        f'aria-expanded="false" aria-controls="stage-{number}" aria-label="{unfold}">'
        f"{escaped(stage.name)}</button>{_shape(stage, language)}"
        f'<span class="dtype">{escaped(stage.dtype)}</span>{small}'
        f'<span class="time">{escaped(time)}</span></div>'
        f'<div class="unfolded" id="stage-{number}" hidden>{_details(stage, source, language)}'
        "</div></li>"
    )


def _shape(stage: Stage, language: str) -> str:
    """ "1 × 16 × 576", each number with what it counts."""
    parts = []
    for size, axis in zip(stage.array.shape, named_axes(stage), strict=True):
        why = say(f"axis.{axis}", language) if axis in AXES else axis
        parts.append(f'<span class="axis" tabindex="0" data-why="{escaped(why)}">{size}</span>')
    label = escaped(say("inspect.shape", language))
    return f'<span class="shape" role="group" aria-label="{label}">{" × ".join(parts)}</span>'


def named_axes(stage: Stage) -> tuple[str, ...]:
    """The axes of a stage; the width of a picture is another one than that of features."""
    if stage.axes[-2:] == ("height", "width"):
        return (*stage.axes[:-1], "pixel_width")
    return stage.axes


def _details(stage: Stage, source: str, language: str) -> str:
    said = f"stage.{stage.name}"
    why = say(said, language) if stage.name in STAGE_WORDS and said in TABLE else ""
    meaning = " × ".join(
        f"{size} {say(f'axis.{axis}', language) if axis in AXES else axis}"
        for size, axis in zip(stage.array.shape, named_axes(stage), strict=True)
    )
    facts = "".join(
        f"<tr><th scope=row>{escaped(say(f'number.{name}', language))}</th>"
        f'<td class="number">{value:.4g}</td></tr>'
        for name, value in numbers(stage).items()
    )
    large = f'<img class="large" src="{source}" alt="{escaped(stage.name)}">' if source else ""
    place = "" if stage.device in ("", "meta") else f" · {stage.device}"
    return (
        f"<p>{escaped(why)}</p>{large}"
        f'<p class="quiet">{escaped(meaning)} · {escaped(stage.dtype)}{escaped(place)}</p>'
        f'<table class="parts">{facts}</table>'
    )


def words(likeliest: Sequence[Word], language: str) -> str:
    """The likeliest next tokens with their probabilities as bars."""
    if not likeliest:
        return ""
    rows = "".join(
        f"<tr><th scope=row><code>{escaped(repr(each.text)[1:-1])}</code></th>"
        f'<td class="wide"><span class="filled" style="width:{100 * each.probability:.1f}%">'
        f'</span></td><td class="number">{100 * each.probability:.1f} %</td></tr>'
        for each in likeliest
    )
    return (
        f"<h3>{escaped(say('inspect.next', language))}</h3>"
        f'<p class="quiet">{escaped(say("inspect.next.why", language))}</p>'
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
    return say(f"drawing.{figure.name}", language, **facts)


def _duration(seconds: float, language: str) -> str:
    if seconds < 1:
        return say("inspect.milliseconds", language, value=f"{1000 * seconds:.0f}")
    return say("inspect.seconds", language, value=f"{seconds:.1f}")


def _small(drawn: Pixels) -> Pixels:
    """At most `LARGEST` pixels long; what is small stays as it is and is drawn large."""
    if max(drawn.size) <= LARGEST or min(drawn.size) == 1:
        return drawn
    scale = LARGEST / max(drawn.size)
    size = tuple(max(1, round(side * scale)) for side in drawn.size)
    return drawn.resize((size[0], size[1]), pillow.Resampling.BOX)


def address(pixels: Pixels) -> str:
    """A drawing inside an address, to the last pixel."""
    return data_address(pixels, "PNG", optimize=True)
