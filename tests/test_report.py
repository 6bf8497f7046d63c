"""Events in words, in both languages; and the command line that gives an answer again."""

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import photo_bytes
from tests.test_settings import any_options, exact
from vlm.__main__ import load_command
from vlm.backend import Finished, Progress, ProgressStage, Timings, Usage
from vlm.chat import Turn
from vlm.commands import NAMES
from vlm.images import open_image
from vlm.messages import user_message
from vlm.options import GenerationOptions
from vlm.report import (
    FIGURES,
    byte_words,
    context_words,
    end_words,
    figures,
    progress_words,
    reproduce_command,
    stats_words,
)
from vlm.settings import MODEL_SETTINGS, Settings, generation_options, parse_command
from vlm.strings import LANGUAGES

FINISHED = Finished(
    "stop",
    Usage(prompt_tokens=1030, image_tokens=16, cached_tokens=1000, completion_tokens=11),
    Timings(queue=9, encode=0.3, prefill=0.1, first_token=0.4, decode=0.5, peak_bytes=915_400_000),
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("stage", get_args(ProgressStage))
def test_every_stage_has_words(stage, language):
    assert progress_words(Progress(stage, 2, 3), language).endswith(" …")


def test_progress_names_its_numbers():
    assert progress_words(Progress("reading", 2, 3), "en") == "reading image 2 of 3 …"
    assert progress_words(Progress("queued", 2, 2), "zh") == "排队中，前面还有 2 个 …"


# ---- figures ----


def test_figures_of_an_answer():
    assert {each.name: each.value for each in figures(FINISHED, 7, "en")} == {
        "queue": "waited 9.00 s",
        "first_token": "first token 0.40 s",
        "encode": "images read in 0.30 s",
        "prefill": "prompt at 300.0 tokens/s",  # what was cached was not read
        "decode": "20.0 tokens/s",  # the first of 11 came before
        "tokens_in": "1,030 tokens in",
        "cached": "1,000 reused",
        "images": "16 for images",
        "tokens_out": "11 out",
        "total": "0.90 s",
        "memory": "915 MB memory",
        "seed": "seed 7",
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_figure_is_explained_in_a_sentence(language):
    explained = figures(FINISHED, 0, language)
    assert [each.name for each in explained] == list(FIGURES)
    assert all(each.why.endswith("。" if language == "zh" else ".") for each in explained)
    assert len({each.why for each in explained}) == len(FIGURES)


@pytest.mark.parametrize(
    ("usage", "timings", "names"),
    [
        (Usage(), Timings(), []),
        (Usage(prompt_tokens=5, completion_tokens=1), Timings(), ["tokens_in", "tokens_out"]),
        (Usage(completion_tokens=1), Timings(decode=1), ["tokens_out", "total"]),
        (Usage(), Timings(first_token=1, prefill=1, encode=1), ["first_token", "total"]),
        (Usage(5, 0, 5, 0), Timings(prefill=1), ["tokens_in", "cached"]),
        (Usage(5, 0, 0, 0), Timings(prefill=1), ["prefill", "tokens_in"]),
        (Usage(), Timings(queue=0.05), []),
        (Usage(), Timings(queue=0.06), ["queue"]),
    ],
)
def test_what_is_unknown_is_left_out(usage, timings, names):
    assert [each.name for each in figures(Finished("stop", usage, timings), None, "en")] == names


def test_line_of_figures():
    assert stats_words(FINISHED, "en") == (
        "first token 0.40 s · 20.0 tokens/s · 1,030 tokens in (1,000 reused · 16 for images) · "
        "11 out · 915 MB memory · 0.90 s"
    )
    assert stats_words(FINISHED, "zh") == (
        "首个词元 0.40 秒 · 20.0 词元/秒 · 输入 1,030 词元（沿用 1,000 词元 · 图片占 16 词元） · "
        "输出 11 · 内存 915 MB · 共 0.90 秒"
    )
    assert stats_words(Finished("stop", Usage(prompt_tokens=5)), "en") == "5 tokens in"
    assert stats_words(Finished("stop", Usage(image_tokens=5)), "en") == ""


def test_context():
    assert context_words(1234, 8192, "en") == "1,234 of 8,192 tokens"
    assert context_words(0, 8192, "zh") == "0 / 8,192 词元"
    assert context_words(1234, None, "en") == "1,234 tokens"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 MB"),
        (50_000, "50 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
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


# ---- the command that gives an answer again ----


def turn_of(
    text: str = "What?",
    images: tuple = (),
    options: GenerationOptions | None = None,
    system_prompt: str = "",
) -> Turn:
    question = user_message(text, images)
    return Turn(question, "Yes.", FINISHED, options or GenerationOptions(seed=7), system_prompt)


def parsed(command: str) -> tuple[Mapping[str, object], Settings]:
    """The arguments and settings of a command line, read as the program reads them."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "vlm", "chat"]
    _, arguments, settings = parse_command(NAMES, load_command, words[3:])
    return vars(arguments), settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith("VLM_")]:
        monkeypatch.delenv(name)


def test_command_holds_what_was_set():
    images = (open_image(photo_bytes(), name="my cat.png"), open_image(photo_bytes(), name="b.png"))
    options = GenerationOptions(
        temperature=0.7, seed=7, stop=(".",), image_detail={"tiles": 6, "thumbnail": False}
    )
    turn = turn_of("What's\nthis?", images, options, "Be brief.")
    settings = Settings(model="a/b", quantization="nf4", max_images=2, port=8000)
    assert reproduce_command(turn, settings) == (
        "python -m vlm chat 'my cat.png' b.png -p 'What'\"'\"'s\nthis?' "
        "--system-prompt 'Be brief.' "
        "--temperature 0.7 --stop . --seed 7 --image-detail tiles=6 --image-detail thumbnail=false "
        "--model a/b --quantization nf4"
    )
    assert reproduce_command(turn_of(), Settings()) == "python -m vlm chat -p 'What?' --seed 7"


def test_turn_with_turns_before_it_is_replayed():
    command = reproduce_command(
        turn_of(), Settings(device="cpu"), number=3, conversation="my talk.zip"
    )
    assert command == "python -m vlm chat --replay 'my talk.zip' --turn 3 --device cpu"
    arguments, _ = parsed(command)
    assert (arguments["replay"], arguments["turn"]) == ("my talk.zip", 3)


def test_the_model_that_answered_counts_more_than_the_one_that_is_here_now():
    who = {"model": "a/b", "quantization": "nf4"}
    turn = replace(turn_of(), finished=replace(FINISHED, model=who))
    command = reproduce_command(turn, Settings(model="c/d", quantization="int8", device="cpu"))
    assert command.endswith("--model a/b --quantization nf4 --device cpu")


# A shell takes no NUL; Python 3.11 loses a value that is only "--".
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(
    lambda text: text != "--"
)
awkward = st.sampled_from(["", "-5", "--seed", "a\nb", 'it\'s "so" $HOME `x` \\', "-", "=", "最"])


@given(
    texts | awkward,
    (texts | awkward).filter(bool),
    any_options,
    st.lists(st.sampled_from(["a b.png", "-x.png", "--seed", "it's.png", "猫.png"]), max_size=3),
)
def test_parser_reads_the_command_back(text, system_prompt, options, names):
    images = tuple(open_image(photo_bytes(), name=name) for name in names)
    settings = Settings(model="-m", dtype="float32", backend="local", device="cuda:1")
    arguments, read = parsed(
        reproduce_command(turn_of(text, images, options, system_prompt), settings)
    )
    assert arguments["prompt"] == text
    assert arguments["system_prompt"] == system_prompt
    assert exact(generation_options(arguments)) == exact(options)
    assert [os.path.normpath(name) for name in arguments["images"]] == names
    assert [getattr(read, name) for name in MODEL_SETTINGS] == [
        getattr(settings, name) for name in MODEL_SETTINGS
    ]


def test_shell_takes_the_command_apart_in_the_same_way():
    text = 'it\'s "so"\n$HOME `x` \\ !! *'
    command = reproduce_command(turn_of(text), Settings())
    words = command.replace("python -m vlm chat", "printf '%s\\0'", 1)
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True)
    assert done.stdout.split("\0") == ["-p", text, "--seed", "7", ""]
