"""Two answers side by side as HTML, the votes on them, and how far a comparison is.

In: values. Out: strings. As long as a comparison hides its names, nothing here tells them.
"""

import json
from collections.abc import Mapping, Sequence

from vlm import families
from vlm.markup import readable, split_thinking, without_marks
from vlm.report import Figure, byte_words, figures, progress_words
from vlm.strings import error_text, say
from vlm.ui import models_view
from vlm.ui.chat_view import explained
from vlm.ui.context import action_button, escaped
from vlm.ui.drawer import KNOBS, shortened
from vlm.versus import VOTES, Comparison, Frame, Side, Tally
from vlm.word_difference import Run, word_difference

PLACES = ("first", "second")
SHOWN = ("total", "first_token", "decode", "tokens_in", "cached", "tokens_out", "memory", "seed")
"""The figures under an answer, in order."""


def frames(comparison: Comparison, language: str, loading_seconds: float = 0.0) -> str:
    """Both sides in identical frames.

    Args:
        loading_seconds: since the stage of the loading that is under way began.
    """
    runs = _differences(comparison)
    drawn = [
        _frame(comparison, place, runs[place], language, loading_seconds) for place in range(2)
    ]
    return f'<div class="versus">{"".join(drawn)}</div>{_difference_note(comparison, language)}'


def _differences(comparison: Comparison) -> list[list[Run]]:
    """What each side says, its own words apart once both are there."""
    said = [without_marks(split_thinking(frame.answer)[1]) for frame in comparison.frames]
    if not comparison.complete:
        return [[Run("same", text)] for text in said]
    runs = word_difference(*said)
    return [[run for run in runs if run.kind in ("same", own)] for own in ("removed", "added")]


def _difference_note(comparison: Comparison, language: str) -> str:
    if not comparison.complete:
        return ""
    first, second = (split_thinking(frame.answer)[1] for frame in comparison.frames)
    key = "versus.same" if first == second else "versus.differ"
    return f'<p class="quiet">{escaped(say(key, language))}</p>'


def _frame(
    comparison: Comparison, place: int, runs: list[Run], language: str, loading_seconds: float
) -> str:
    frame = comparison.frames[place]
    title = _title(comparison, place, language)
    settings = "" if comparison.hidden else side_words(frame.side, language)
    said = _said(comparison, frame, runs, language, loading_seconds)
    cost = "" if comparison.hidden else _cost(frame, language)
    return (
        f'<section class="side {frame.state}" aria-label="{escaped(title)}">'
        f"<h2>{escaped(title)}</h2>"
        f'<p class="quiet set">{escaped(settings) or "&nbsp;"}</p>'
        f'<div class="said">{said}</div><div class="stats">{cost}</div></section>'
    )


def _title(comparison: Comparison, place: int, language: str) -> str:
    """Which answer it is, and whose, unless that is hidden."""
    frame = comparison.frames[place]
    number = say(f"versus.frame.{PLACES[place]}", language)
    if comparison.hidden:
        return f"{number} · {say('versus.hidden', language)}"
    letter = "A" if frame is comparison.a else "B"
    name = model_words(frame, language)
    return f"{number} = {letter} · {name}" if comparison.blind else f"{letter} · {name}"


def model_words(frame: Frame, language: str) -> str:
    """The model that answered, or the one that is to."""
    where = [frame.side.backend] if frame.side.backend else []
    if frame.able is not None:
        return " · ".join([frame.able.name, *frame.able.details, *where])
    if frame.wanted is None:
        return " · ".join([say("versus.loaded", language), *where])
    names = [families.title(frame.wanted.model)]
    if frame.wanted.quantization != "auto":
        names.append(say(f"precision.{frame.wanted.quantization}", language))
    return " · ".join([*names, *where])


def side_words(side: Side, language: str) -> str:
    """What was set on a side besides its model."""
    words = _option_words(side.system_prompt, side.options.to_json(), language)
    return words or say("versus.own", language)


def _option_words(system_prompt: str, options: Mapping[str, object], language: str) -> str:
    parts = [
        f"{say(f'option.{name}.label', language)} {value}"
        for name, value in options.items()
        if name != "image_detail"
    ]
    detail = options.get("image_detail")
    for name, value in detail.items() if isinstance(detail, dict) else ():
        switch = say(f"knob.{'on' if value else 'off'}", language)
        label = say(f"knob.{name}", language) if name in KNOBS else name
        parts.append(f"{label} {switch if isinstance(value, bool) else value}")
    if system_prompt:
        label = say("option.system_prompt.label", language)
        parts.append(f"{label}: {shortened(system_prompt, 60)}")
    return " · ".join(parts)


def _said(
    comparison: Comparison, frame: Frame, runs: list[Run], language: str, loading_seconds: float
) -> str:
    """What stands in the middle of a frame."""
    if comparison.hidden and not comparison.complete:
        return _quiet("versus.hidden_answer", language)
    if frame.error is not None:
        return f'<p class="broken" role="alert">{escaped(error_text(frame.error, language))}</p>'
    if frame.loading is not None:
        name = model_words(frame, language)
        return models_view.loading(frame.loading, name, loading_seconds, language)
    if frame.state in ("waiting", "loading"):
        return _quiet("versus.not_asked" if comparison.over else "versus.waiting", language)
    if frame.state == "answering" and not frame.answer:
        words = progress_words(frame.progress, language) if frame.progress else ""
        return f'<p class="pending">{escaped(words or say("progress.thinking", language))}</p>'
    thoughts, _ = split_thinking(frame.answer)
    folded = ""
    if thoughts:
        label = escaped(say("answer.thoughts", language))
        folded = f"<details><summary>{label}</summary>{escaped(thoughts)}</details>"
    ended = ""
    if frame.state == "stopped":
        ended = _quiet("answer.stopped" if frame.answer else "versus.not_asked", language)
    elif frame.finished is not None and frame.finished.reason == "length":
        ended = _quiet("answer.length", language)
    elif frame.state == "done" and not frame.answer.strip():
        ended = _quiet("answer.empty", language)
    text = "".join(map(_run, runs))
    return f'{folded}<p class="words">{text}</p>{ended}'


def _run(run: Run) -> str:
    words = escaped(readable(run.text) if run.kind == "same" else run.text)
    return words if run.kind == "same" else f'<u class="differs">{words}</u>'


def _quiet(key: str, language: str) -> str:
    return f'<p class="quiet">{escaped(say(key, language))}</p>'


def _cost(frame: Frame, language: str) -> str:
    """Time, tokens, memory of one side, each explained."""
    if frame.finished is None:
        return ""
    able = frame.able
    known = {each.name: each for each in figures(frame.finished, frame.seed, language)}
    if able is not None and "CPU" in able.details:
        # There it is the peak of the whole program so far, whichever side made it.
        known.pop("memory", None)
    shown = [known[name] for name in SHOWN if name in known]
    if frame.model_bytes:
        size = say("versus.weights", language, size=byte_words(frame.model_bytes))
        shown.append(Figure("weights", size, say("why.weights", language)))
    if frame.seconds:
        words = say("versus.load_time", language, seconds=frame.seconds)
        shown.append(Figure("load_time", words, say("why.load_time", language)))
    return " · ".join(map(explained, shown))


# ---- how far it is ----


def status(comparison: Comparison, language: str) -> str:
    """What is happening, and at the end what came of it."""
    if comparison.restoring is not None:
        name = families.title(comparison.restoring.settings.model)
        return _pending(say("versus.restoring", language, name=name))
    if not comparison.over:
        if all(each.state in ("loading", "answering") for each in comparison.frames):
            return _pending(say("versus.working_both", language))
        ended = sum(each.state in ("done", "failed", "stopped") for each in comparison.frames)
        return _pending(say("versus.working", language, number=min(ended + 1, 2)))
    words = [say(f"versus.{_outcome(comparison)}", language)]
    if comparison.restored:
        words.append(say("versus.is_back", language, name=comparison.restored))
    if comparison.kept:
        words.append(say("versus.kept", language, name=comparison.kept))
    return f'<p class="quiet" role="status">{escaped(" ".join(words))}</p>'


def _outcome(comparison: Comparison) -> str:
    if comparison.complete:
        return "done"
    failed = sum(frame.state == "failed" for frame in comparison.frames)
    if failed == 0:
        return "stopped"
    return "failed" if failed == 1 else "failed_both"


def _pending(words: str) -> str:
    return f'<p class="pending" role="status">{escaped(words)}</p>'


# ---- votes ----


def voting(comparison: Comparison, language: str) -> str:
    """The four buttons of a blind comparison; then what was voted."""
    if not comparison.blind or not comparison.complete:
        return ""
    if comparison.vote is not None:
        vote = say(f"versus.vote.{comparison.vote}", language)
        return f'<p role="status">{escaped(say("versus.voted", language, vote=vote))}</p>'
    label = say("versus.vote", language)
    buttons = "".join(
        action_button("vote", say(f"versus.vote.{vote}", language), vote=vote) for vote in VOTES
    )
    return (
        f'<div class="offer" role="group" aria-label="{escaped(label)}">'
        f"<strong>{escaped(label)}</strong> {buttons}</div>"
    )


def tally(votes: Tally, language: str) -> str:
    """The votes of the visit, the most often better one first; empty before the first vote."""
    if not votes.counts:
        return ""
    names = ("better", "worse", "ties", "both_bad")
    heads = [say("versus.tally.side", language)]
    heads += [say(f"versus.tally.{name}", language) for name in names]
    head = "".join(f"<th scope=col>{escaped(each)}</th>" for each in heads)
    ordered = sorted(
        votes.counts.items(), key=lambda each: (-each[1].better, each[1].worse, each[0])
    )
    body = ""
    for (name, system_prompt, options), count in ordered:
        words = _option_words(system_prompt, json.loads(options), language)
        cells = "".join(f"<td class=number>{getattr(count, each)}</td>" for each in names)
        about = f'<br><span class="quiet">{escaped(words)}</span>' if words else ""
        body += f"<tr><th scope=row>{escaped(name)}{about}</th>{cells}</tr>"
    caption = escaped(say("versus.tally", language))
    return (
        f'<div class="tally"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


# ---- images ----


def images(entries: Sequence[tuple[str, str, str]], language: str) -> str:
    """The images that both sides get.

    Args:
        entries: (digest, name, small copy as an address) of each.
    """
    if not entries:
        return ""
    figures = "".join(
        f'<figure class="attached"><img src="{escaped(copy)}" alt="">'
        f"<figcaption>{number} · {escaped(name)}</figcaption>"
        f'<div class="bar">{_remove(digest, name, language)}</div></figure>'
        for number, (digest, name, copy) in enumerate(entries, 1)
    )
    label = escaped(say("versus.images", language))
    return f'<div class="strip" role="group" aria-label="{label}">{figures}</div>'


def _remove(digest: str, name: str, language: str) -> str:
    return action_button("remove", "×", say("versus.remove", language, name=name), digest=digest)
