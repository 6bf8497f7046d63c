"""Events in words, the same on the page and in the terminal."""

from vlm.backend import Finished, Progress
from vlm.strings import say


def progress_words(event: Progress, language: str) -> str:
    """What is happening now, such as "reading image 2 of 3 …"."""
    return say(f"progress.{event.stage}", language, current=event.current, total=event.total)


def stats_words(event: Finished, language: str) -> str:
    """The line of numbers under an answer."""
    usage, timings = event.usage, event.timings
    steps = max(usage.completion_tokens - 1, 0)  # the first token belongs to the prefill
    speed = steps / timings.decode if timings.decode else 0.0
    return say(
        "stats.line",
        language,
        first_token=f"{timings.first_token:.2f}",
        speed=f"{speed:.1f}",
        prompt=usage.prompt_tokens,
        image=usage.image_tokens,
        answer=usage.completion_tokens,
        memory=byte_words(timings.peak_bytes),
        total=f"{timings.first_token + timings.decode:.2f}",
    )


def byte_words(count: float) -> str:
    """Bytes for people: "812 MB", "1.4 GB"; thousands, not 1024."""
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def end_words(event: Finished, language: str) -> str:
    """What to add to an answer that did not end by itself; empty if it did."""
    return {
        "cancelled": say("answer.stopped", language),
        "length": say("answer.length", language),
    }.get(event.reason, "")
