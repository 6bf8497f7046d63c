"""How an answer that is looked into is drawn: its words, a map over each image, its tokens.

In: an `Answered` and a language. Out: HTML. All maps are in it, so that assets/inspect.js draws
that of the word at which somebody points, without asking again.
"""

import base64
import math
from collections.abc import Mapping, Sequence

from numpy import ndarray

from vlm.explain import WordMaps, words
from vlm.explanation import ExplainMethod, Explanation, TokenChance
from vlm.images import thumbnail
from vlm.messages import Image
from vlm.occlusion import patch_tile
from vlm.report import progress_words
from vlm.strings import error_text, say
from vlm.ui.answered import Answered
from vlm.ui.context import action_button, escaped
from vlm.ui.inspect_photos import drawn_aspect

SIDE = 768
"""Longest side of an image as it is drawn, in pixels."""
METHODS: tuple[ExplainMethod, ...] = ("attention", "occlusion")
VIEWS = ("own", "beyond")
COARSE = {"tile": "looked.tile", "image": "looked.image_only"}
"""Grains at which a map has no places within a tile -> the sentence that says so."""
MOST_TIMES = 1_000_000
"""A word that becomes less likely by more than this is said to become so by this."""


def section(answered: Answered | None, language: str) -> str:
    """Everything about one answer; empty for none."""
    if answered is None:
        return ""
    found = answered.found.get(answered.method) if answered.progress is None else None
    parts = [f'<h3 id="looked-title">{escaped(say("looked.title", language))}</h3>']
    parts.append(f'<p class="quiet">{escaped(_asked(answered, language))}</p>')
    if answered.error is not None:
        parts.append(_problem(answered, language))
    if answered.progress is None and answered.text.strip():
        parts.append(_tools(answered, found, language))
    drawn = _growing(answered, language) if found is None else _explained(answered, found, language)
    state = "running" if answered.progress else "explained" if found else "resting"
    return (
        f'<section class="looked" data-state="{state}" data-method="{answered.method}" '
        f'aria-labelledby="looked-title">{"".join(parts)}{drawn}</section>'
    )


def _asked(answered: Answered, language: str) -> str:
    """Which model, and what it was asked."""
    question = answered.messages[-1].text
    facts = [say("looked.asked", language, question=question)] if question.strip() else []
    facts = [answered.model, *facts] if answered.model else facts
    if answered.foreign:
        facts.append(say("looked.foreign", language))
    return " · ".join(facts)


def _problem(answered: Answered, language: str) -> str:
    assert answered.error is not None
    words_ = escaped(error_text(answered.error, language))
    if answered.error.key == "explain_cancelled":
        return f'<p class="quiet" role="status">{words_}</p>'
    return f'<div class="card error" role="alert"><p>{words_}</p></div>'


def _growing(answered: Answered, language: str) -> str:
    """The answer while it is written or read again."""
    said = f'<p class="answer">{escaped(answered.text)}</p>' if answered.text else ""
    if answered.progress is None:
        return said
    doing = escaped(progress_words(answered.progress, language))
    stop = action_button("stop_looking", say("inspect.cancel", language), style="cancel")
    return f'{said}<p><span class="pending" role="status">{doing}</span> {stop}</p>'


# ---- how it is looked into ----


def _tools(answered: Answered, found: Explanation | None, language: str) -> str:
    """Which method; and which of a word's two maps."""
    tiles = [patch_tile(image) for image in answered.images]
    count = sum(tile.rows * tile.columns for tile in tiles)
    methods = "".join(
        f'<button type="button" class="segment" data-act="look" data-method="{name}" '
        f'aria-pressed="{str(found is not None and name == answered.method).lower()}" '
        f'aria-describedby="looked-why-{name}">'
        f"{escaped(say(f'looked.by.{name}', language))}</button>"
        for name in METHODS
    )
    why = f'<p class="quiet">{_whys("looked.by", METHODS, language, count=count)}</p>'
    label = escaped(say("looked.by", language))
    drawn = f'<div class="segments" role="group" aria-label="{label}">{methods}</div>'
    if found is not None and found.sights and answered.method == "attention":
        drawn += _views(language)
        # the style sheet shows that of the pressed button
        why += f'<p class="quiet looked-view">{_whys("looked", VIEWS, language)}</p>'
    return f'<div class="looked-tools">{drawn}</div>{why}'


def _views(language: str) -> str:
    buttons = "".join(
        f'<button type="button" class="segment" data-map="{name}" '
        f'aria-pressed="{str(name == VIEWS[0]).lower()}" aria-describedby="looked-why-{name}">'
        f"{escaped(say(f'looked.{name}', language))}</button>"
        for name in VIEWS
    )
    label = escaped(say("looked.view", language))
    return f'<div class="segments" role="group" aria-label="{label}">{buttons}</div>'


def _whys(key: str, names: Sequence[str], language: str, **facts: object) -> str:
    """What each of a group of buttons does, told after its name; the buttons point to it."""
    return " ".join(
        f'<span id="looked-why-{name}" data-of="{name}">'
        f"<b>{escaped(say(f'{key}.{name}', language))}</b> "
        f"{escaped(say(f'{key}.{name}.why', language, **facts))}</span>"
        for name in names
    )


# ---- what was found out ----


def _explained(answered: Answered, found: Explanation, language: str) -> str:
    maps = answered.maps(found.method)
    numbers = [each.words(language) for each in answered.numbers] if maps else []
    named = dict(zip(numbers, maps, strict=True))
    images = zip(named.items(), answered.images, found.sights, strict=bool(maps))
    figures = "".join(
        _figure(number, image, each, sight.grain in COARSE, len(maps), language)
        for (number, each), image, sight in images
    )
    left = f'<div class="sights">{figures}{_legend(language)}</div>' if maps else ""
    right = f'<div class="looked-words">{_words(found, named, language)}</div>'
    said = [*_notes(found, language), *([say("rounding", language)] if found.rounded else [])]
    notes = "".join(f'<p class="quiet">{escaped(each)}</p>' for each in said)
    return f'<div class="looked-stage">{left}{right}</div>{notes}'


def _figure(
    number: str, image: Image, maps: WordMaps, coarse: bool, count: int, language: str
) -> str:
    """An image in grey; the script lays the map of a word over it."""
    _, rows, columns = maps.own.shape
    facts = {
        "rows": rows,
        "columns": columns,
        "own": encoded(maps.own),
        "beyond": encoded(maps.beyond),
        "steps": str(coarse).lower(),
    }
    data = "".join(f' data-{name}="{value}"' for name, value in facts.items())
    named = say("looked.image", language, number=number, name=image.name)
    caption = f"<figcaption>{escaped(named)}</figcaption>" if count > 1 else ""
    return (
        f'<figure class="sight"{data}>'
        f'<div class="greyed" style="aspect-ratio:{drawn_aspect(image):.4f}">'
        f'<img src="{thumbnail(image, SIDE)}" alt="{escaped(image.name)}">'
        f'<canvas aria-hidden="true"></canvas></div>{caption}</figure>'
    )


def encoded(maps: ndarray) -> str:
    """Maps (words, rows, columns) of uint8 as base64, word by word, row by row."""
    return base64.b64encode(maps.tobytes()).decode()


def _legend(language: str) -> str:
    low, high = (escaped(say(f"looked.{end}", language)) for end in ("low", "high"))
    return (
        f'<p class="legend"><span>{low}</span><span class="ramp" aria-hidden="true"></span>'
        f"<span>{high}</span></p>"
    )


def _words(found: Explanation, maps: Mapping[str, WordMaps], language: str) -> str:
    """The answer as buttons, what is said of the one pointed at, and the tokens of each."""
    pieces = words(found)
    named = ["", *(text.strip() for text, _ in pieces)]
    said = [_said(found, maps, number, word, language) for number, word in enumerate(named)]
    whole = (
        f'<button type="button" class="word whole" data-word="0" data-said="{escaped(said[0])}" '
        f'aria-pressed="false" tabindex="0">{escaped(say("looked.whole", language))}</button>'
    )
    buttons = "".join(
        _word(number, text, [found.tokens[each] for each in tokens], said[number], language)
        for number, (text, tokens) in enumerate(pieces, 1)
    )
    chances = "".join(
        _chances(number, text, [found.tokens[each] for each in tokens], language)
        for number, (text, tokens) in enumerate(pieces, 1)
    )
    label = escaped(say("looked.words", language))
    hint = escaped(say("looked.hint", language))
    return (
        f'{whole}<p class="answer words" role="group" aria-label="{label}">{buttons}</p>'
        f'<p class="said" role="status">{escaped(said[0])}</p>'
        f'<p class="quiet hint">{hint}</p>{chances}'
    )


def _word(number: int, text: str, tokens: Sequence[TokenChance], said: str, language: str) -> str:
    """A word as a button, with a bar that says how likely the least likely of its tokens was."""
    shown = text.strip()
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    if not shown:  # a line break, say
        shown, before, after = "⏎" if "\n" in text else "␣", "", text if "\n" in text else ""
    least = min(token.probability for token in tokens)
    share = f"{100 * least:.1f}"
    label = say("looked.word", language, word=shown, share=share)
    return (
        f'{escaped(before)}<button type="button" class="word" data-word="{number}" tabindex="-1" '
        f'aria-pressed="false" aria-label="{escaped(label)}" data-said="{escaped(said)}" '
        f'style="--chance:{least:.3f}">{escaped(shown)}</button>{escaped(after)}'
    )


def _said(
    found: Explanation, maps: Mapping[str, WordMaps], number: int, word: str, language: str
) -> str:
    """How much of it each image gets, of a word or of the whole answer (0), in words."""
    if not maps:
        return say("looked.no_image", language)
    shares = {name: float(each.shares[number]) for name, each in maps.items()}
    said = _lost(shares, language) if found.method == "occlusion" else _given(shares, language)
    if number == 0:
        return say("looked.of.whole", language, said=said)
    return say("looked.of", language, word=word, said=said) if word else said


def _given(shares: Mapping[str, float], language: str) -> str:
    total = sum(shares.values())
    if len(shares) == 1:
        return say("looked.share", language, share=_percent(total))
    each = [
        say("looked.part", language, number=number, share=_percent(share / max(total, 1e-12)))
        for number, share in shares.items()
    ]
    return say("looked.shares", language, share=_percent(total), parts=" · ".join(each))


def _lost(nats: Mapping[str, float], language: str) -> str:
    number, most = max(nats.items(), key=lambda each: each[1])
    if most <= 0:
        return say("looked.lost.none", language)
    times = math.exp(min(most, math.log(MOST_TIMES)))
    facts = {"times": f"{times:,.1f}" if times < 10 else f"{times:,.0f}"}
    if len(nats) == 1:
        return say("looked.lost", language, **facts)
    return say("looked.lost.where", language, number=number, **facts)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if share < 0.1 else f"{100 * share:.0f}"


# ---- the tokens of a word ----


def _chances(number: int, text: str, tokens: Sequence[TokenChance], language: str) -> str:
    """The tokens of a word, and whose they are: the map may be that of another, pointed at."""
    whose = escaped(say("looked.tokens", language, word=text.strip() or visible(text)))
    drawn = "".join(_chance(each, language) for each in tokens)
    return (
        f'<div class="chances" data-of="{number}" hidden><p class="quiet whose">{whose}</p>'
        f"{drawn}</div>"
    )


def _chance(token: TokenChance, language: str) -> str:
    """A token, the likeliest ones in its place, and what the options left."""
    rows = [(text, value, False) for text, value in token.likeliest]
    own = (token.text, token.probability)
    at = next((n for n, row in enumerate(rows) if row[:2] == own), None)
    if at is None:
        rows.append((*own, True))
    else:
        rows[at] = (*own, True)
    drawn = "".join(_row(*row, language) for row in rows)
    way = "in" if token.possible else "out"
    key = f"looked.kept.one.{way}" if token.kept == 1 else f"looked.kept.{way}"
    kept = say(key, language, **({} if token.kept == 1 else {"count": f"{token.kept:,}"}))
    title = escaped(say("looked.token", language, share=f"{100 * token.probability:.1f}"))
    return (
        f"<h4><code>{escaped(visible(token.text))}</code> {title}</h4>"
        f'<table class="parts next"><tbody>{drawn}</tbody></table>'
        f'<p class="quiet">{escaped(kept)}</p>'
    )


def _row(text: str, probability: float, own: bool, language: str) -> str:
    mark = f' class="own" aria-label="{escaped(say("looked.token.own", language))}"' if own else ""
    share = f"{100 * probability:.1f}"
    return (
        f"<tr{mark}><th scope=row><code>{escaped(visible(text))}</code></th>"
        f'<td class="wide"><span class="filled" style="width:{share}%"></span></td>'
        f'<td class="number">{share} %</td></tr>'
    )


def visible(text: str) -> str:
    """A token so that its spaces and line breaks are seen."""
    return repr(text)[1:-1].replace(" ", "·") or "∅"


def _notes(found: Explanation, language: str) -> list[str]:
    """What the map is and is not."""
    if not found.sights:
        return []
    grains = {sight.grain for sight in found.sights}
    notes = [say(COARSE[grain], language) for grain in COARSE if grain in grains]
    if found.method == "occlusion":
        return [*notes, say("looked.why.occlusion", language)]
    first, last = found.layers[0] + 1, found.layers[-1] + 1
    return [*notes, say("looked.why.attention", language, first=first, last=last)]
