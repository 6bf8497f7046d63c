"""What happened in words, the same on the page and in the terminal."""

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlm.backend import Finished, Progress, Timings, Usage
from vlm.chat import Turn
from vlm.settings import MODEL_SETTINGS, Settings, flag_words, option_words, setting_words
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.estimate import Advice
    from vlm.progress import LoadProgress
    from vlm.workload import Workload

NOTICED_WAIT = 0.05
"""Seconds in the queue that are worth telling."""

FIGURES = (
    *("queue", "first_token", "encode", "prefill", "decode"),
    *("tokens_in", "cached", "images", "tokens_out", "total", "memory", "seed"),
)
"""What can be told of an answer, in the order of reading."""

LINE = ("first_token", "decode", "tokens_in", "tokens_out", "memory", "total")
"""The figures of one line of numbers, in order."""

PARTS_OF_PROMPT = ("cached", "images")
"""The figures that the line puts in brackets after `tokens_in`."""


@dataclass(frozen=True)
class Figure:
    """One number about an answer.

    Attributes:
        name: what it measures, the same in every language.
        value: the number with its label and unit, such as "first token 0.24 s".
        why: a sentence that explains it to a newcomer.
    """

    name: str
    value: str
    why: str


def progress_words(event: Progress, language: str) -> str:
    """What is happening now, such as "reading image 2 of 3 …"."""
    return say(f"progress.{event.stage}", language, current=event.current, total=event.total)


def figures(finished: Finished, seed: int | None, language: str) -> list[Figure]:
    """All that is known about an answer; what a backend did not measure is left out."""
    usage, timings = finished.usage, finished.timings
    values = {
        **_times(usage, timings),
        **_speeds(usage, timings),
        **_counts(usage),
        "memory": byte_words(timings.peak_bytes) if timings.peak_bytes else "",
        "seed": "" if seed is None else str(seed),
    }
    return [
        Figure(
            name,
            say(f"figure.{name}", language, value=values[name]),
            say(f"why.{name}", language),
        )
        for name in FIGURES
        if values.get(name)
    ]


def _times(usage: Usage, timings: Timings) -> dict[str, str]:
    """Seconds. Without images there was nothing to encode, only a moment that passed."""
    seconds = {
        "queue": timings.queue if timings.queue > NOTICED_WAIT else 0.0,
        "first_token": timings.first_token,
        "encode": timings.encode if usage.image_tokens else 0.0,
        "total": timings.first_token + timings.decode,
    }
    return {name: f"{value:.2f}" for name, value in seconds.items() if value >= 0.005}


def _speeds(usage: Usage, timings: Timings) -> dict[str, str]:
    """Tokens a second. The first token of an answer belongs to the reading."""
    steps = {
        "prefill": (usage.prompt_tokens - usage.cached_tokens, timings.prefill),
        "decode": (usage.completion_tokens - 1, timings.decode),
    }
    return {
        name: f"{count / seconds:,.1f}"
        for name, (count, seconds) in steps.items()
        if count > 0 and seconds > 0
    }


def _counts(usage: Usage) -> dict[str, str]:
    counts = {
        "tokens_in": usage.prompt_tokens,
        "cached": usage.cached_tokens,
        "images": usage.image_tokens,
        "tokens_out": usage.completion_tokens,
    }
    return {name: f"{count:,}" for name, count in counts.items() if count > 0}


def stats_words(finished: Finished, language: str) -> str:
    """The line of numbers under an answer; empty where nothing is known."""
    words = {each.name: each.value for each in figures(finished, None, language)}
    parts = " · ".join(words[name] for name in PARTS_OF_PROMPT if name in words)
    if parts and "tokens_in" in words:
        words["tokens_in"] = say("stats.of_which", language, whole=words["tokens_in"], parts=parts)
    return " · ".join(words[name] for name in LINE if name in words)


def context_words(used: int, limit: int | None, language: str) -> str:
    """How much of the model's context a conversation takes: "1,234 of 8,192 tokens"."""
    if limit is None:
        return say("context.used_of_unknown", language, used=f"{used:,}")
    return say("context.used", language, used=f"{used:,}", limit=f"{limit:,}")


def byte_words(count: float) -> str:
    """Bytes for people: "50 kB", "812 MB", "1.4 GB"; thousands, not 1024."""
    if 0 < count < 999.5e3:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def end_words(event: Finished, language: str) -> str:
    """What to add to an answer that did not end by itself; empty if it did."""
    return {
        "cancelled": say("answer.stopped", language),
        "length": say("answer.length", language),
    }.get(event.reason, "")


def reproduce_command(
    turn: Turn, settings: Settings, *, number: int = 1, conversation: str = "conversation.zip"
) -> str:
    """The line for a shell that asks a turn again and gives the same answer.

    Args:
        turn: what to ask again. Its images are named as their files were.
        settings: of the program; what the turn knows of its model counts more.
        number: of the turn, from 1. One with turns before it is asked from an exported file.
        conversation: name of that file.
    """
    settings = replace(settings, **turn.finished.model)  # pyright: ignore[reportArgumentType]
    words = ["python", "-m", "vlm", "chat"]
    if number > 1:
        words += [*flag_words("--replay", conversation), "--turn", str(number)]
    else:
        # A name that begins like a flag is given as a path.
        names = [image.name for image in turn.question.images]
        words += [f"./{name}" if name.startswith("-") else name for name in names]
        words += flag_words("-p", turn.question.text)
        if turn.system_prompt:
            words += flag_words("--system-prompt", turn.system_prompt)
        words += option_words(turn.options)
    return shlex.join([*words, *setting_words(settings, MODEL_SETTINGS)])


def load_words(progress: "LoadProgress", language: str = "en") -> str:
    """What happens while a model is fetched, loaded or written."""
    done, total = progress.current, progress.total
    part = done / total if total else 0.0
    facts = {"done": done / 1e9, "total": total / 1e9, "part": part}
    return say(f"load.{progress.stage}", language, **facts)


def advice_words(advice: "Advice | None", wanted: "Workload", free: int, language: str) -> str:
    """The sentence with the largest setting that fits.

    Args:
        advice: as `vlm.estimate.advise` gives it.
        wanted: what was asked for.
        free: bytes.
        language: "en" or "zh".
    """
    if advice is None:
        return say("fit.nothing", language, free=free / 1e9)
    detail = advice.workload.detail
    fewer = "".join(f", {name} {value}" for name, value in detail.items())
    key = "fit.as_asked" if advice.workload == wanted else "fit.smaller"
    return say(
        key,
        language,
        precision=advice.estimate.precision,
        context=advice.workload.context,
        images=advice.workload.images,
        fewer=fewer,
        total=advice.estimate.total / 1e9,
    )
