"""`python -m vlm chat`: the answer alone on stdout, Ctrl-C stops an answer, nothing is lost."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.fakes import photo_bytes
from vlm.backend import Finished, Progress
from vlm.commands import chat
from vlm.errors import RequestError
from vlm.messages import user_message

ROOT = Path(__file__).parents[2]
CAT = ROOT / "assets" / "examples" / "cat.jpg"


class PressCtrlC(threading.Event):
    """A gate that sends this process what Ctrl-C sends, and never opens."""

    def wait(self, timeout: float | None = None) -> bool:
        signal.raise_signal(signal.SIGINT)
        return False


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(photo_bytes())
    return str(path)


# ---- one question ----


def test_the_embedded_model_answers():
    words = ["chat", str(CAT), "-p", "Describe the image.", "--temperature", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "vlm", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "cat" in done.stdout.lower()
    assert done.stdout.count("\n") == 1
    said = done.stderr.splitlines()
    assert said[:3] == ["loading the model …", "reading image 1 of 1 …", "thinking …"]
    assert "(16 for images)" in said[3]
    assert len(said) == 4


@pytest.mark.parametrize("streaming", [[], ["--no-stream"]])
def test_only_the_answer_is_on_stdout(streaming, run, scripted, picture):
    backend = scripted([Progress("reading", 1, 1), "A cat,\n", "asleep."])
    ran = run("chat", picture, picture, "-p", "What?", *streaming)
    assert (ran.status, ran.out) == (0, "A cat,\nasleep.\n")
    assert ran.err.startswith("loading the model …\nreading image 1 of 1 …\nfirst token 0.50 s")
    (asked,) = backend.asked
    assert [image.name for image in asked.messages[0].images] == ["cat.png"] * 2
    assert asked.messages[0].text == "What?"
    assert backend.closed


@pytest.mark.parametrize(
    ("streaming", "written"), [([], ["A ", "cat.", "\n"]), (["--no-stream"], ["A cat.\n"])]
)
def test_when_it_is_written(streaming, written, run, scripted, monkeypatch):
    scripted(["A ", "cat."])
    flushed = []

    def note(*words, end="\n", file=sys.stdout, **_):
        text = "".join(words) + end
        if file is sys.stdout and text:
            flushed.append(text)

    monkeypatch.setattr("builtins.print", note)
    run("chat", "-p", "What?", *streaming)
    assert flushed == written


def test_options_and_system_prompt_reach_the_backend(run, scripted):
    backend = scripted()
    options = ["--temperature", "0.5", "--stop", ".", "--stop", "!", "--seed", "7"]
    run("chat", "-p", "What?", "--system-prompt", "Be brief.", *options)
    (asked,) = backend.asked
    assert [message.text for message in asked.messages] == ["Be brief.", "What?"]
    assert (asked.options.temperature, asked.options.stop) == (0.5, (".", "!"))
    assert asked.options.seed == 7


@pytest.mark.parametrize(("seed", "seeds"), [(["--seed", "7"], [7, 8, 9]), ([], [0, 1, 2])])
def test_repeating_takes_the_next_seeds_and_begins_anew(seed, seeds, run, scripted):
    backend = scripted(["One."], ["Two."], ["Three."])
    assert run("chat", "-p", "What?", "--repeat", "3", *seed).out == "One.\nTwo.\nThree.\n"
    assert [asked.options.seed for asked in backend.asked] == seeds
    assert [len(asked.messages) for asked in backend.asked] == [1, 1, 1]


def test_why_an_answer_ended_early_is_told(run, scripted):
    scripted(["A cat", Finished("length")])
    assert "\nstopped at the length limit\n" in run("chat", "-p", "What?").err


def test_ctrl_c_stops_the_answer_and_the_repetitions(run, scripted):
    backend = scripted(["A ", PressCtrlC(), "cat."])
    ran = run("chat", "-p", "What?", "--repeat", "3")
    assert (ran.status, ran.out) == (130, "A \n")
    assert "\nstopped\n" in ran.err
    assert (len(backend.asked), backend.closed) == (1, True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- refusals ----


def test_failed_answer_ends_its_line_and_gives_the_reason(run, scripted):
    backend = scripted(["A ", RequestError("out_of_memory")])
    ran = run("chat", "-p", "What?")
    assert (ran.status, ran.out) == (1, "A \n")
    assert ran.err.splitlines()[-1].startswith("Memory ran out while answering.")
    assert backend.closed


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("no such.png", "There is no file no such.png."),
        ("https://127.0.0.1/cat.png", "127.0.0.1 is in a private network;"),
        ("http://example.org/cat.png", "http://example.org/cat.png does not begin with https://,"),
    ],
)
def test_bad_image_is_refused_before_the_model_is_loaded(source, sentence, run, monkeypatch):
    monkeypatch.setattr(chat, "open_backend", lambda settings: pytest.fail("loaded"))
    ran = run("chat", source, "-p", "What?")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(sentence)


def test_limits_of_the_settings_hold(run, scripted, picture):
    backend = scripted()
    assert "at most 40 million pixels and 95" in run("chat", picture, "--max-side", "95").err
    ran = run("chat", picture, picture, "-p", "What?", "--max-images", "1")
    assert (ran.status, ran.out) == (1, "")
    assert "2 images in one message; at most 1" in ran.err
    assert backend.asked == []


# ---- a conversation ----


def test_conversation(run, scripted, picture):
    backend = scripted(["A cat."], ["Grey."])
    ran = run("chat", picture, typed="What?\n\n  \nWhich colour?")
    assert (ran.status, ran.out) == (0, "A cat.\nGrey.\n")
    assert "Ctrl-D" in ran.err
    assert [message.text for message in backend.asked[1].messages] == [
        "What?",
        "A cat.",
        "Which colour?",
    ]
    assert [len(message.images) for message in backend.asked[1].messages] == [1, 0, 0]
    assert backend.closed


def test_ctrl_c_stops_the_answer_and_not_the_conversation(run, scripted):
    backend = scripted(["A ", PressCtrlC(), "cat."], ["Grey."])
    ran = run("chat", typed="What?\nWhich colour?\n")
    assert (ran.status, ran.out) == (0, "A \nGrey.\n")
    assert [message.text for message in backend.asked[1].messages][:2] == ["What?", "A "]


@pytest.mark.parametrize(
    "first", [[RequestError("out_of_memory")], [PressCtrlC(), "A "]], ids=["failed", "stopped"]
)
def test_images_wait_for_a_question_that_is_answered(first, run, scripted, picture):
    backend = scripted(first, ["A cat."], ["Grey."])
    assert run("chat", picture, typed="What?\nWhat?\nWhich colour?\n").out == "A cat.\nGrey.\n"
    image = backend.asked[0].messages[0].images
    assert backend.asked[1].messages == [user_message("What?", image)]
    assert [len(message.images) for message in backend.asked[2].messages] == [1, 0, 0]


def test_ctrl_c_at_an_empty_prompt_ends_the_conversation(run, scripted, monkeypatch):
    class Keyboard:
        def readline(self):
            raise KeyboardInterrupt

    scripted()
    monkeypatch.setattr("io.StringIO", lambda typed: Keyboard())
    assert run("chat").status == 0
