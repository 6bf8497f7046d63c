"""`python -m vlm chat`: the answer alone on stdout, Ctrl-C stops an answer, nothing is lost."""

import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fakes import PressCtrlC, ScriptedBackend, photo, photo_bytes
from vlm.backend import Finished, Progress, Usage, open_backend
from vlm.chat import ChatSession
from vlm.commands import chat
from vlm.errors import RequestError
from vlm.messages import user_message
from vlm.options import GenerationOptions, Preset
from vlm.settings import read_settings
from vlm.transcript import Conversation, to_zip

ROOT = Path(__file__).parents[2]
CAT = ROOT / "assets" / "examples" / "cat.jpg"


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


@pytest.mark.parametrize("streaming", [[], ["--no-stream"]])
def test_boxes_are_shown_as_numbers(streaming, run, scripted):
    scripted(["<|object_ref_start|>cat<|object_ref_end|><|box_", "start|>(1,2),(3,4)<|box_end|>."])
    ran = run("chat", "-p", "Where?", *streaming)
    assert ran.out == "cat [1, 2, 3, 4].\n"
    scripted(["A cat ", "<box>[[1, 2"])  # stopped half-way
    assert run("chat", "-p", "Where?", *streaming).out.rstrip() == "A cat"


def test_options_and_system_prompt_reach_the_backend(run, scripted):
    backend = scripted()
    options = ["--temperature", "0.5", "--stop", ".", "--stop", "!", "--seed", "7"]
    run("chat", "-p", "What?", "--system-prompt", "Be brief.", *options)
    (asked,) = backend.asked
    assert [message.text for message in asked.messages] == ["Be brief.", "What?"]
    assert (asked.options.temperature, asked.options.stop) == (0.5, (".", "!"))
    assert asked.options.seed == 7


PRESETS = (Preset(name="sure", values={"temperature": 0, "num_beams": 3}),)


def test_a_preset_of_the_model_is_used_and_flags_count_more(run, scripted):
    backend = scripted(["One."], ["Two."])
    backend.able = replace(backend.able, presets=PRESETS)
    run("chat", "-p", "What?", "--preset", "sure", "--num-beams", "2", "--seed", "7")
    run("chat", "--preset", "sure", "--seed", "8", typed="What?\n")
    wanted = [
        GenerationOptions(temperature=0, num_beams=2, seed=7),
        GenerationOptions(temperature=0, num_beams=3, seed=8),
    ]
    assert [asked.options for asked in backend.asked] == wanted


def test_an_unknown_preset_is_refused_before_anything_is_asked(run, scripted):
    backend = scripted()
    backend.able = replace(backend.able, presets=PRESETS)
    ran = run("chat", "-p", "What?", "--preset", "other")
    assert (ran.out, backend.asked, backend.closed) == ("", [], True)
    assert ran.status == run("chat", "-p", "What?", "--port", "x").status != 0
    assert "no options under the name 'other'; it has: sure." in ran.err


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


def test_each_repetition_is_what_its_seed_gives(run, checkpoints):
    common = ["chat", str(CAT), "-p", "What?", "--model", str(checkpoints["llava"])]
    common += ["--temperature", "1.5", "--max-new-tokens", "8", "--device", "cpu"]
    both = run(*common, "--seed", "4", "--repeat", "2").out
    one, other = (run(*common, "--seed", seed).out for seed in ("4", "5"))
    assert one != other
    assert both == one + other


# ---- a turn of an exported conversation ----


@pytest.fixture
def exported(tmp_path):
    """exported(session, ...) -> the file that the session is exported to."""

    def export(session: ChatSession, model: str = "Scripted") -> str:
        path = tmp_path / "talk.zip"
        conversation = Conversation(
            start=session.start,
            model=model,
            system_prompt=session.system_prompt,
            dropped=session.dropped,
        )
        path.write_bytes(to_zip(conversation))
        return str(path)

    return export


def talk(backend, *texts: str, options: GenerationOptions | None = None, **settings) -> ChatSession:
    """A conversation about one photo."""
    session = ChatSession(backend, **settings)
    for text in texts:
        list(session.send(text, [] if session.turns else [photo()], options))
    return session


def test_replay_asks_as_it_was_asked(run, scripted, exported):
    options = GenerationOptions(temperature=0.5, stop=("!",), image_detail={"tiles": 2})
    session = talk(
        first := ScriptedBackend(["A cat."]), "What?", "Sure?", options=options, system_prompt="Hm."
    )
    session.system_prompt = "Be brief."  # for the turn after those
    list(session.send("Why?", options=options))
    file = exported(session)
    for number, words in [(1, ["--turn", "1"]), (2, ["--turn", "2"]), (3, [])]:
        backend = scripted(["A dog", "."])
        ran = run("chat", "--replay", file, *words)
        assert (ran.status, ran.out) == (0, "A dog.\n")
        assert "the conversation is with" not in ran.err
        (asked,) = backend.asked
        assert asked.messages == first.asked[number - 1].messages
        assert asked.options == first.asked[number - 1].options
        assert asked.options.seed is not None
        assert backend.closed


def test_replay_with_other_options(run, scripted, exported):
    options = GenerationOptions(temperature=0.5, top_k=4, seed=7)
    file = exported(talk(ScriptedBackend(), "What?", options=options))
    backend = scripted(["One."], ["Two."])
    words = ["--temperature", "0", "--repeat", "2", "--no-stream"]
    assert run("chat", "--replay", file, *words).out == "One.\nTwo.\n"
    assert [asked.options for asked in backend.asked] == [
        GenerationOptions(temperature=0, top_k=4, seed=seed) for seed in (7, 8)
    ]
    assert backend.asked[0].messages == backend.asked[1].messages


def test_replay_leaves_out_what_was_no_longer_sent(run, scripted, exported):
    """Each turn adds 10 tokens; the third was asked when the first was already left out."""
    finished = [
        Finished("stop", Usage(prompt_tokens=count - 4, completion_tokens=4))
        for count in (10, 20, 20, 30)
    ]
    first = ScriptedBackend(*(["Yes.", each] for each in finished))
    session = talk(first, "One?", "Two?")
    session.drop_oldest(1)
    list(session.send("Three?"))
    list(session.send("Four?"))
    session.drop_oldest(3)
    file = exported(session)
    for number in (1, 2, 3, 4):
        backend = scripted()
        run("chat", "--replay", file, "--turn", str(number))
        assert backend.asked[0].messages == first.asked[number - 1].messages


def test_replay_gives_the_same_answer(run, exported, checkpoints):
    model = ["--model", str(checkpoints["llava"]), "--device", "cpu"]
    options = GenerationOptions(temperature=1.0, max_new_tokens=12)
    settings = read_settings({"model": str(checkpoints["llava"]), "device": "cpu"}, {})
    with closing(open_backend(settings)) as backend:
        session = talk(backend, "What?", "Sure?", options=options, system_prompt="Be brief.")
        file = exported(session, backend.capabilities().name)
    for number, turn in enumerate(session.turns, 1):
        ran = run("chat", "--replay", file, "--turn", str(number), *model)
        assert ran.out == turn.answer + "\n"
        assert "the conversation is with" not in ran.err
    answers = [turn.answer for turn in session.turns]
    assert answers[0] != answers[1]
    assert run("chat", "--replay", file, "--seed", "1", *model).out != answers[1] + "\n"


@pytest.mark.parametrize(
    ("model", "said"),
    [("Grand 7B", ["the conversation is with Grand 7B; Scripted answers now"]), ("", [])],
)
def test_replay_with_another_model_says_so(model, said, run, scripted, exported):
    file = exported(talk(ScriptedBackend(), "What?"), model)
    scripted(["A cat."])
    ran = run("chat", "--replay", file)
    assert ran.out == "A cat.\n"
    assert [line for line in ran.err.splitlines() if "the conversation" in line] == said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--turn", "1"], "--turn 1 names a turn of an exported conversation, but no file"),
        (["--replay", "none.zip"], "none.zip cannot be read as a file (No such file"),
        (["--replay", "."], ". cannot be read as a file (Is a directory)"),
        (["--replay", "FILE", "-p", ""], "--replay takes the question and its images from"),
        (["--replay", "FILE", "a.png"], "--replay takes the question and its images from"),
        (["--replay", "FILE", "--system-prompt", "x"], "--replay takes the question and its"),
        (["--replay", "FILE", "--turn", "3"], "There is no number 3 here, only 1 to 2."),
        (["--replay", "FILE", "--turn", "0"], "The setting --turn is '0'; it takes 1 …"),
        (["--replay", "FILE", "--max-side", "95"], "photo-0.png is 96 x 64 pixels"),
        (
            ["--replay", "FILE", "--max-conversation-megabytes", "0.05"],
            "The conversation needs more than 0.05 MB",
        ),
        (["--replay", str(CAT)], ""),
    ],
)
def test_replay_of_something_else_is_refused_before_the_model_is_loaded(
    words, sentence, run, monkeypatch, exported
):
    large = [photo(size=(300, 300), seed=seed) for seed in range(4)]
    session = ChatSession(ScriptedBackend())
    list(session.send("What?", [photo(), *large]))
    list(session.send("Sure?"))
    file = exported(session)
    monkeypatch.setattr(chat, "open_backend", lambda settings: pytest.fail("loaded"))
    ran = run("chat", *(file if word == "FILE" else word for word in words))
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(sentence.replace("FILE", file))
    assert ran.err.count("\n") == 1


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


# ---- as a process of its own ----


def test_interrupt_stops_the_answer_and_not_the_program():
    long = ["--min-new-tokens", "3000", "--max-new-tokens", "3000"]
    with subprocess.Popen(
        [sys.executable, "-m", "vlm", "chat", *long],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as process:
        try:
            process.stdin.write("Tell me a story.\n")
            assert process.stdout.read(1)  # the answer has begun
            process.send_signal(signal.SIGINT)
            process.stdin.close()
            assert process.wait(120) == 0
        finally:
            process.kill()


ENDLESS = """
import sys
from tests.support.fakes import ScriptedBackend
from vlm.__main__ import main
from vlm.commands import chat

backend = ScriptedBackend(["A line of words.\\n"] * 50_000)
chat.open_backend = lambda settings: backend
status = main(["chat", *sys.argv[1:]])
print(backend.closed, backend.asked[0].cancel.is_set(), len(backend.asked), file=sys.stderr)
sys.exit(status)
"""
"""More than a pipe holds, so that the program meets its end."""


@pytest.mark.parametrize(
    "words", [["-p", "What?", "--repeat", "2"], ["-p", "What?", "--no-stream"], []]
)
def test_nobody_reads_to_the_end(words):
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdin.write("What?\nWhat?\n")
        process.stdin.close()
        assert process.stdout.readline() == "A line of words.\n"
        process.stdout.close()
        said = process.stderr.read().splitlines()
        assert process.wait(60) == 128 + signal.SIGPIPE
    assert said[-1].removeprefix("> ") == "True True 1"
    assert [line for line in said if "Traceback" in line or "ignored" in line] == []
