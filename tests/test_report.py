"""Events in words, in both languages."""

from typing import get_args

import pytest

from vlm.backend import Finished, Progress, Stage, Timings, Usage
from vlm.report import byte_words, end_words, progress_words, stats_words
from vlm.strings import LANGUAGES

FINISHED = Finished(
    "stop",
    Usage(prompt_tokens=30, image_tokens=16, completion_tokens=11),
    Timings(queue=9, encode=0.3, prefill=0.1, first_token=0.4, decode=0.5, peak_bytes=915_400_000),
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("stage", get_args(Stage))
def test_every_stage_has_words(stage, language):
    assert progress_words(Progress(stage, 2, 3), language).endswith(" …")


def test_progress_names_its_numbers():
    assert progress_words(Progress("reading", 2, 3), "en") == "reading image 2 of 3 …"
    assert progress_words(Progress("queued", 2, 2), "zh") == "排队中，前面还有 2 个 …"


def test_stats_of_an_answer():
    assert stats_words(FINISHED, "en") == (
        "first token 0.40 s · 20.0 tokens/s · 30 tokens in (16 for images) · 11 out · "
        "915 MB memory · 0.90 s"
    )
    assert stats_words(FINISHED, "zh").endswith(
        "（其中图片 16）· 输出 11 · 内存 915 MB · 共 0.90 秒"
    )


@pytest.mark.parametrize("tokens", [0, 1])
def test_stats_of_an_answer_too_short_for_a_speed(tokens):
    words = stats_words(Finished("stop", Usage(completion_tokens=tokens)), "en")
    assert f"0.0 tokens/s · 0 tokens in (0 for images) · {tokens} out" in words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 MB"),
        (812_345_678, "812 MB"),
        (999_400_000, "999 MB"),
        (999_600_000, "1.0 GB"),
        (1_000_000_000, "1.0 GB"),
        (15_960_000_000, "16.0 GB"),
    ],
)
def test_bytes(count, words):
    assert byte_words(count) == words


def test_ends_that_need_a_word():
    words = [end_words(Finished(reason), "en") for reason in ("stop", "cancelled", "length")]
    assert words == ["", "stopped", "stopped at the length limit"]
    assert end_words(Finished("cancelled"), "zh") == "已停止"
