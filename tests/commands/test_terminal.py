"""`python -m vlm` as a person uses it: processes of their own, with the embedded model."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CAT = str(ROOT / "assets/examples/cat.jpg")
LONG = ("--min-new-tokens", "3000", "--max-new-tokens", "3000")
QUESTION = "What animal is this? Answer with a word or short phrase."


def vlm(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "vlm", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "VLM_LANGUAGE": "en"},
        **options,
    )


@pytest.mark.parametrize("extra", [[], ["--no-stream"]])
def test_chat_prints_only_the_answer_on_stdout(extra):
    done = vlm("chat", CAT, "-p", QUESTION, *extra)
    assert (done.returncode, done.stdout) == (0, "Cat.\n")
    assert "first token" in done.stderr


def test_repeat_asks_again_with_the_next_seed():
    one = [CAT, "-p", "Describe the image.", "--temperature", "1.5", "--max-new-tokens", "8"]
    both = vlm("chat", *one, "--seed", "4", "--repeat", "2").stdout.splitlines()
    assert len(both) == 2
    assert vlm("chat", *one, "--seed", "5").stdout.splitlines() == both[1:]


def test_a_conversation_reads_questions_until_the_input_ends():
    done = vlm("chat", CAT, input=f"{QUESTION}\n\n{QUESTION}\n")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout.splitlines()[0] == "Cat."


def test_interrupt_stops_the_answer_and_not_the_program():
    process = subprocess.Popen(
        [sys.executable, "-m", "vlm", "chat", *LONG],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    try:
        process.stdin.write("Tell me a story.\n")
        assert process.stdout.read(1)  # the answer has begun
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.wait(120) == 0
    finally:
        process.kill()


def test_refusals_are_sentences_on_stderr(tmp_path):
    (tmp_path / "note.png").write_text("no picture")
    for source in (tmp_path / "note.png", tmp_path / "missing.png", "https://127.0.0.1/cat.png"):
        done = vlm("chat", str(source), "-p", "What?")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.strip()
        assert "Traceback" not in done.stderr
