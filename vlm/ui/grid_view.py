"""Small multiples as HTML: a card for each image, and how far a run is.

In: values. Out: strings.
"""

from vlm.markup import split_thinking
from vlm.multiples import Card, Multiples
from vlm.report import end_words, progress_words, stats_words
from vlm.strings import error_text, say
from vlm.transcript.page import folded_thoughts, markdown_html
from vlm.ui.context import action_button, escaped


def card(card: Card, language: str, model: str = "") -> str:
    """One image: picture, name, answer as far as it has come, numbers.

    Args:
        model: what answered, where not all cards were answered by the same.
    """
    label = escaped(say("grid.card", language, number=card.number, name=card.name))
    picture = f'<img src="{escaped(card.thumbnail)}" alt="">' if card.thumbnail else ""
    removable = card.state != "running"
    words = say("grid.remove", language, name=card.name)
    remove = action_button("remove", "×", words, number=card.number) if removable else ""
    width, height = card.size
    size = say("image.size", language, width=width, height=height) if card.is_picture else ""
    busy = ' aria-busy="true"' if card.state == "running" else ""
    told = f'<p class="quiet">{escaped(model)}</p>' if model else ""
    return (
        f'<article class="multiple {card.state}" aria-label="{label}"{busy}>'
        f'<div class="picture">{picture}</div>'
        f'<header><span class="name">{escaped(card.name)}</span> '
        f'<span class="quiet">{escaped(size)}</span>{remove}</header>'
        f'<div class="said">{_said(card, language)}</div>{told}{_notes(card, language)}</article>'
    )


def _said(card: Card, language: str) -> str:
    if card.error is not None:
        return f'<p class="broken" role="alert">{escaped(error_text(card.error, language))}</p>'
    if card.state == "waiting":
        return f'<p class="quiet">{escaped(say("grid.waiting", language))}</p>'
    if not card.answer and card.state == "running":
        key = "progress.thinking"
        words = progress_words(card.progress, language) if card.progress else say(key, language)
        return f'<p class="pending">{escaped(words)}</p>'
    thoughts, answer = split_thinking(card.answer)
    folded = folded_thoughts(thoughts, language)
    if not answer.strip() and card.state == "done":
        return folded + f'<p class="quiet">{escaped(say("answer.empty", language))}</p>'
    return folded + markdown_html(answer)


def _notes(card: Card, language: str) -> str:
    """How it ended, where that was not by itself, and the numbers."""
    if card.finished is None:
        return ""
    words = [end_words(card.finished, language), stats_words(card.finished, language)]
    return "".join(f'<p class="stats">{escaped(each)}</p>' for each in words if each)


def progress(multiples: Multiples, language: str) -> str:
    """A bar while a run is under way, then how it ended; empty before the first."""
    pictures = [card for card in multiples.cards if card.is_picture]
    if multiples.asked is None or not pictures:
        return ""
    total, done = len(pictures), sum(card.state in ("done", "failed") for card in pictures)
    now = next((card for card in pictures if card.state == "running"), None)
    if now is not None:
        place = {"count": min(done + 1, total), "total": total}
        words = say("grid.progress", language, name=now.name, **place)
        return bar(words, done, total)
    answered = sum(card.state == "done" for card in pictures)
    key = (
        "grid.stopped" if any(card.is_left and not card.error for card in pictures) else "grid.done"
    )
    words = say(key, language, count=answered, total=total)
    return f'<p class="quiet" role="status">{escaped(words)}</p>'


def bar(words: str, done: int, total: int) -> str:
    """Words over a bar that is filled so far."""
    share = done / total if total else 0.0
    return (
        f'<div class="loading" role="progressbar" aria-valuemin="0" aria-valuemax="{total}" '
        f'aria-valuenow="{done}" aria-label="{escaped(words)}"><p>{escaped(words)}</p>'
        f'<span class="stage"><span style="width:{100 * share:.0f}%"></span></span></div>'
    )
