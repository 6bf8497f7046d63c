"""`python -m vlm describe`: every image of a folder, kept as it goes, gone on with if ended."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.fakes import BREAKS_OFF, PressCtrlC, ScriptedBackend, photo_bytes
from vlm.backend import Capabilities, Finished, ImageKnob
from vlm.commands import describe
from vlm.errors import RequestError
from vlm.families import families
from vlm.strings import say

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "assets" / "examples"
NAMES = ["img1.png", "img2.png", "img10.png"]


@pytest.fixture
def folder(tmp_path):
    """Three photos, each with another content."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        (folder / name).write_bytes(photo_bytes(seed=seed))
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "answers.jsonl"


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def asked_about(backend: ScriptedBackend) -> list[list[str]]:
    return [[image.name for image in asked.messages[-1].images] for asked in backend.asked]


# ---- one run ----


def test_the_embedded_model_answers_as_in_a_chat(run, tmp_path, out):
    for name in ("cat.jpg", "coffee.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / name).symlink_to(EXAMPLES / name)
    common = ["--device", "cpu", "--max-new-tokens", "12"]
    ran = run("describe", str(tmp_path / "photos"), "--out", str(out), *common)
    question = ["-p", "Describe the image.", "--seed", "0", *common]
    cat, coffee = (
        run("chat", str(EXAMPLES / name), *question).out for name in ("cat.jpg", "coffee.jpg")
    )
    assert ran.out == f"cat.jpg\n{cat}\ncoffee.jpg\n{coffee}"
    assert ran.status == 0
    assert "cat" in cat.lower()
    assert [row["image_tokens"] for row in rows(out)] == [16, 16]


def test_names_and_answers_on_stdout_and_the_rest_on_stderr(folder, run, scripted):
    backend = scripted(["A ", "cat."], ["A dog.\n"], ["A cup."])
    ran = run("describe", str(folder), "-p", "What?")
    assert ran.status == 0
    assert ran.out == "img1.png\nA cat.\n\nimg2.png\nA dog.\n\n\nimg10.png\nA cup.\n"
    said = ran.err.splitlines()
    assert said[0] == "loading the model …"
    assert [line.partition(",")[0] for line in said[1:4]] == [
        f"{count} of 3 images" for count in (1, 2, 3)
    ]
    assert said[4:] == ["3 of 3 images done, 0 failed"]
    assert asked_about(backend) == [[name] for name in NAMES]
    assert [asked.messages[0].text for asked in backend.asked] == ["What?"] * 3
    assert [len(asked.messages) for asked in backend.asked] == [1, 1, 1]
    assert backend.closed


def test_pieces_are_written_as_they_come(folder, run, scripted, monkeypatch):
    scripted(["A ", "cat."])
    flushed = []

    def note(*words, end="\n", file=sys.stdout, flush=False, **_):
        if file is sys.stdout and flush:
            flushed.append("".join(words) + end)

    monkeypatch.setattr("builtins.print", note)
    run("describe", str(folder))
    assert flushed[:4] == ["img1.png\n", "A ", "cat.", "\n"]


MARKED = ["A <ref>c", "at</ref><box>[[100,", "200,500,600]]</box> sits."]


def test_places_are_readable_and_kept_as_numbers(folder, run, scripted, out):
    scripted(MARKED, ["<think>at <box>[[1,2,3,4]]</box></think>A dog."])
    ran = run("describe", str(folder), "--out", str(out))
    assert ran.out.startswith("img1.png\nA cat [100, 200, 500, 600] sits.\n\nimg2.png\n")
    first, second, _ = rows(out)
    assert first["answer"] == "".join(MARKED)
    (place,) = first["places"]
    assert (place["phrase"], place["coordinates"]) == ("cat", [0.1, 0.2, 0.5, 0.6])
    assert first["answer"][place["start"] : place["end"]] == "".join(MARKED)[2:-6]
    assert "places" not in second  # a thought names none


def test_folders_in_the_folder(folder, run, scripted):
    (folder / "more").mkdir()
    (folder / "img2.png").rename(folder / "more" / "img2.png")
    scripted(["Yes."])
    assert run("describe", str(folder)).out.splitlines()[::3] == ["img1.png", "img10.png"]
    ran = run("describe", str(folder), "--recursive")
    assert ran.out.splitlines()[::3] == ["img1.png", "img10.png", "more/img2.png"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_usual_question_is_in_the_language_of_the_terminal(language, folder, run, scripted):
    backend = scripted(["Yes."])
    run("describe", str(folder), "--language", language)
    run("describe", str(folder), "--language", language, "--together")
    questions = [asked.messages[0].text for asked in backend.asked]
    assert questions[2] == say("describe.prompt", language)
    assert questions[3] == say("describe.prompt_together", language)


def test_options_and_system_prompt_reach_the_backend(folder, run, scripted):
    backend = scripted(["Yes."])
    options = ["--temperature", "0.5", "--stop", ".", "--system-prompt", "Be brief."]
    run("describe", str(folder), *options)
    run("describe", str(folder), *options, "--seed", "7")
    assert [asked.options.seed for asked in backend.asked] == [0, 0, 0, 7, 7, 7]
    for asked in backend.asked:
        assert (asked.options.temperature, asked.options.stop) == (0.5, (".",))
        assert [message.role for message in asked.messages] == ["system", "user"]


def test_no_answer_depends_on_those_before(folder, run, scripted):
    backend = scripted(["Yes."])
    forgotten = []
    backend.forget = lambda: forgotten.append(len(backend.asked))
    run("describe", str(folder))
    assert forgotten == [0, 1, 2]


# ---- what is kept ----


def test_what_is_kept_of_an_answer(folder, run, scripted, out):
    scripted(["这是猫。"], ["A dog", Finished("length")])
    ran = run("describe", str(folder), "-p", "What?", "--top-k", "5", "--out", str(out))
    assert ran.status == 0
    first, second, _ = rows(out)
    seconds = first.pop("seconds")
    assert seconds >= 0
    digest = subprocess.run(["sha256sum", folder / "img1.png"], capture_output=True, text=True)
    assert first == {
        "file": "img1.png",
        "sha256": digest.stdout.split()[0],
        "prompt": "What?",
        "system_prompt": "",
        "model": "pocket",
        "settings": {
            "tokenizer": "",
            "quantization": "auto",
            "dtype": "auto",
            "device": "auto",
            "backend": "local",
        },
        "options": {"top_k": 5, "seed": 0},
        "answer": "这是猫。",
        "reason": "stop",
        "prompt_tokens": 36,
        "image_tokens": 16,
        "completion_tokens": 1,
    }
    assert (second["answer"], second["reason"]) == ("A dog", "length")


class Look(threading.Event):
    """A gate that notes what a file holds, and opens."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.seen = path, []

    def wait(self, timeout: float | None = None) -> bool:
        self.seen.append(self.path.read_text().count("\n"))
        return True


def test_each_answer_is_kept_before_the_next(folder, run, scripted, out):
    scripted([look := Look(out), "Yes."])
    run("describe", str(folder), "--out", str(out))
    assert look.seen == [0, 1, 2]


def test_what_has_an_answer_is_not_asked_again(folder, run, scripted, out):
    words = ["describe", str(folder), "--out", str(out)]
    scripted(["One."])
    run(*words)
    whole = out.read_bytes()
    out.write_bytes(b"".join(line for line in whole.splitlines(True) if b"img2" not in line))
    backend = scripted(["Two."])
    ran = run(*words)
    assert ran.out == "img2.png\nTwo.\n"
    assert ran.err.startswith(f"2 of 3 images have their answer in {out} already\n")
    assert "3 of 3 images," in ran.err
    assert asked_about(backend) == [["img2.png"]]
    backend = scripted(["Three."])
    ran = run(*words)
    assert (ran.status, ran.out, backend.asked) == (0, "", [])
    assert ran.err == (
        f"3 of 3 images have their answer in {out} already\n3 of 3 images done, 0 failed\n"
    )


@pytest.mark.parametrize(
    "other",
    [
        "--prompt=Why?",
        "--seed=1",
        "--model=grand",
        "--dtype=float32",
        "--system-prompt=x",
        "--image-detail=tiles=2",
    ],
)
def test_another_question_or_model_is_asked_beside(other, folder, run, scripted, out):
    able = Capabilities(name="x", image_knobs=(ImageKnob(name="tiles", default=1, low=1, high=4),))
    scripted(["One."], able=able)
    run("describe", str(folder), "--out", str(out))
    before = out.read_bytes()
    run("describe", str(folder), "--out", str(out), other)
    assert out.read_bytes().startswith(before)
    assert len(rows(out)) == 6
    assert "have their answer" in run("describe", str(folder), "--out", str(out)).err


def test_the_file_of_answers_may_lie_in_the_folder(folder, run, scripted):
    scripted(["One."])
    for _ in range(2):
        ran = run("describe", str(folder), "--out", str(folder / "answers.jsonl"))
        assert ran.status == 0
    assert len(rows(folder / "answers.jsonl")) == 3


def test_a_half_written_line_is_told_and_asked_again(folder, run, scripted, out):
    words = ["describe", str(folder), "--out", str(out)]
    scripted(["One."], ["Two."], ["Three."], ["Three."])
    run(*words)
    whole = out.read_bytes()
    out.write_bytes(whole[:-30])
    ran = run(*words)
    assert ran.out == "img10.png\nThree.\n"
    assert ran.err.startswith(f"the last line of {out} was only half written")
    kept = [{**row, "seconds": 0} for row in rows(out)]
    assert kept == [{**json.loads(line), "seconds": 0} for line in whole.splitlines()]


# ---- Ctrl-C, and worse ----


def test_ctrl_c_drops_the_running_answer(folder, run, scripted, out):
    backend = scripted(["One."], ["A ", PressCtrlC(), "dog."])
    ran = run("describe", str(folder), "--out", str(out))
    assert (ran.status, ran.out) == (130, "img1.png\nOne.\n\nimg2.png\nA \n")
    assert ran.err.endswith(
        "Stopped with 1 of 3 images done. Run the same command again to go on.\n"
    )
    assert [row["file"] for row in rows(out)] == ["img1.png"]
    assert (len(backend.asked), backend.closed) == (2, True)
    scripted(["Two."], ["Three."])
    assert run("describe", str(folder), "--out", str(out)).status == 0
    assert [row["answer"] for row in rows(out)] == ["One.", "Two.", "Three."]


def test_ctrl_c_without_a_file(folder, run, scripted):
    scripted(["One."], [PressCtrlC(), "dog."])
    ran = run("describe", str(folder))
    assert ran.status == 130
    assert ran.err.endswith(
        "1 of 3 images done. With --out FILE.jsonl a run can be gone on with.\n"
    )


def test_ctrl_c_while_the_model_is_loaded(folder, run, monkeypatch, out):
    monkeypatch.setattr(describe, "open_backend", lambda settings: PressCtrlC().wait())
    ran = run("describe", str(folder), "--out", str(out))
    assert (ran.status, ran.out) == (130, "")
    assert ran.err.endswith(
        "Stopped with 0 of 3 images done. Run the same command again to go on.\n"
    )


@pytest.fixture(scope="module")
def long_answers(checkpoints):
    """Arguments for answers that take some seconds each, none like another."""
    length = ["--max-new-tokens", "1200", "--min-new-tokens", "1200"]
    return ["--model", str(checkpoints["llava"]), "--device", "cpu", "-p", "?", *length]


def start_and_wait_for_the_second_answer(folder: Path, out: Path, words: list[str]):
    """A real process in the middle of its second answer."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("VLM_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vlm", "describe", str(folder), "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**environment, "LANG": "C.UTF-8"},
    )
    assert process.stdout is not None
    said = b""
    while b"\nimg2.png\n" not in said or not said.split(b"\nimg2.png\n")[1]:
        more = process.stdout.read1(64)
        assert more, process.communicate()[1].decode()
        said += more
    return process


def answers(out: Path) -> list[tuple]:
    return [(row["file"], row["answer"], row["reason"]) for row in rows(out)]


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_real_run_is_ended_and_gone_on_with(ends, folder, run, long_answers, tmp_path, out):
    process = start_and_wait_for_the_second_answer(folder, out, long_answers)
    process.send_signal(ends)
    _, said = process.communicate()
    assert [row["file"] for row in rows(out)] == ["img1.png"]
    if ends == signal.SIGINT:
        assert process.returncode == 130
        assert said.decode().endswith(
            "Stopped with 1 of 3 images done. Run the same command again to go on.\n"
        )
    else:
        assert process.returncode == -signal.SIGKILL
        with open(out, "ab") as file:
            file.write(b'{"file": "img2.png", "sha256": "27')
    ran = run("describe", str(folder), "--out", str(out), *long_answers)
    assert ran.status == 0
    assert f"1 of 3 images have their answer in {out} already\n" in ran.err
    assert ("half written" in ran.err) == (ends == signal.SIGKILL)
    at_once = tmp_path / "at_once.jsonl"
    run("describe", str(folder), "--out", str(at_once), *long_answers)
    assert answers(out) == answers(at_once)
    assert len({answer for _, answer, _ in answers(out)}) == 3


# ---- failures ----


def test_what_is_no_image_does_not_stop_the_others(folder, run, scripted, out):
    (folder / "img2.png").write_bytes(photo_bytes()[:200])
    (folder / "img3.txt").write_text("text")
    words = ["describe", str(folder), "--out", str(out)]
    backend = scripted(["One."], ["Ten."])
    ran = run(*words)
    assert (ran.status, ran.out) == (1, "img1.png\nOne.\n\nimg10.png\nTen.\n")
    assert "img2.png is damaged or incomplete. Save or download it again.\n" in ran.err
    assert "img3.txt holds text, not a picture;" in ran.err
    assert "\n4 of 4 images, " in ran.err
    assert ran.err.endswith("2 of 4 images done, 2 failed\n")
    kept = rows(out)
    assert [row["file"] for row in kept] == ["img1.png", "img2.png", "img3.txt", "img10.png"]
    assert [row.get("error", "")[:19] for row in kept] == [
        "",
        "img2.png is damaged",
        "img3.txt holds text",
        "",
    ]
    assert len(backend.asked) == 2

    (folder / "img2.png").write_bytes(photo_bytes(seed=1))
    backend = scripted(["Two."])
    ran = run(*words)
    assert (ran.status, ran.out) == (1, "img2.png\nTwo.\n")
    assert ran.err.endswith("3 of 4 images done, 1 failed\n")
    assert [row["file"] for row in rows(out)][4:] == ["img2.png"]


def test_a_failed_answer_does_not_stop_the_others(folder, run, scripted, out):
    scripted(["A ", RequestError("out_of_memory")], ["B ", BREAKS_OFF], ["Ten."])
    ran = run("describe", str(folder), "--out", str(out))
    assert (ran.status, ran.out) == (1, "img1.png\nA \n\nimg2.png\nB \n\nimg10.png\nTen.\n")
    assert "\nimg1.png: Memory ran out" in ran.err
    assert ["error" in row for row in rows(out)] == [True, True, False]
    assert all("answer" not in row for row in rows(out)[:2])
    scripted(["One."], ["Two."])
    ran = run("describe", str(folder), "--out", str(out))
    assert (ran.status, ran.out) == (0, "img1.png\nOne.\n\nimg2.png\nTwo.\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "There is no folder nowhere."),
        (["photos/img1.png"], "photos/img1.png is a file; a folder with images is expected."),
        (["empty"], "There are no files in empty."),
        (["texts"], "None of the 1 files in texts is an image."),
        (["photos", "--out", "texts/a.txt"], "Line 1 of texts/a.txt is no answer of this command;"),
        (["photos", "--out", "no/a.jsonl"], "no/a.jsonl cannot be used for answers (No such file"),
        (["photos", "--seed", "-1"], "seed is -1; it must be from 0"),
        (["photos", "--together", "0"], "The setting --together is '0'; it takes 1 …"),
        (["photos", "--together", "3", "--max-images", "2"], "3 images in one prompt; at most 2"),
        (["photos", "--together", "--max-images", "2"], "3 images in one prompt; at most 2"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_model_is_loaded(
    words, sentence, folder, run, monkeypatch
):
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("text")
    monkeypatch.setattr(describe, "open_backend", lambda settings: pytest.fail("loaded"))
    ran = run("describe", *words)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(sentence)
    assert ran.err.count("\n") == 1
    assert Path("texts/a.txt").read_text() == "text"


@pytest.mark.parametrize(
    ("words", "able", "sentence"),
    [
        (["--image-detail", "tiles=2"], {}, "This model has no"),
        (["--system-prompt", "x"], {"roles": ("user", "assistant")}, ""),
        (["--together", "3"], {"images_per_turn": 2}, "3 images in one prompt; at most 2 are"),
        (["--together"], {"context_length": 48}, "3 images in one prompt take 48 tokens, and"),
    ],
)
def test_what_the_model_cannot_take_is_refused_before_anything_is_asked(
    words, able, sentence, folder, run, scripted, out
):
    backend = scripted(["Yes."], able=Capabilities(name="x", **able))
    ran = run("describe", str(folder), "--out", str(out), *words)
    assert (ran.status, ran.out, backend.asked) == (1, "", [])
    assert ran.err.splitlines()[-1].startswith(sentence)
    assert (backend.closed, rows(out)) == (True, [])


def test_nobody_reads(folder):
    """As in `python -m vlm describe FOLDER | head -1`."""
    command = [sys.executable, "-m", "vlm", "describe", str(folder), "--device", "cpu"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    )
    process.stdout.close()
    assert "Traceback" not in process.communicate()[1]
    assert process.returncode == 141


# ---- several in one prompt ----


def test_groups_in_natural_order(folder, run, scripted, out):
    words = ["describe", str(folder), "--out", str(out), "--together", "2"]
    backend = scripted(["Two."], ["One."])
    ran = run(*words)
    assert (ran.status, ran.out) == (0, "img1.png, img2.png\nTwo.\n\nimg10.png\nOne.\n")
    assert asked_about(backend) == [["img1.png", "img2.png"], ["img10.png"]]
    assert [line.partition(",")[0] for line in ran.err.splitlines()[1:3]] == [
        "2 of 3 images",
        "3 of 3 images",
    ]
    first, second = rows(out)
    assert first["file"] == ["img1.png", "img2.png"]
    assert (len(first["sha256"]), second["file"]) == (2, "img10.png")
    backend = scripted(["No."])
    run(*words)
    assert backend.asked == []
    run("describe", str(folder), "--out", str(out), "--together", "3", "-p", "Describe the image.")
    assert asked_about(backend) == [NAMES]


def test_all_together(folder, run, scripted):
    backend = scripted(["Three."])
    ran = run("describe", str(folder), "--together")
    assert ran.out == "img1.png, img2.png, img10.png\nThree.\n"
    assert asked_about(backend) == [NAMES]


def test_what_is_not_readable_is_left_out_of_its_group(folder, run, scripted, out):
    (folder / "img2.png").write_bytes(photo_bytes()[:200])
    backend = scripted(["Two."])
    ran = run("describe", str(folder), "--together", "2", "--out", str(out))
    assert (ran.status, ran.out) == (1, "img1.png, img10.png\nTwo.\n")
    assert asked_about(backend) == [["img1.png", "img10.png"]]
    assert "img2.png is damaged" in ran.err
    assert ran.err.endswith("2 of 3 images done, 1 failed\n")
    assert [row["file"] for row in rows(out)] == ["img2.png", ["img1.png", "img10.png"]]


def test_two_images_for_a_real_model(folder, run, checkpoints, out):
    model = ["--model", str(checkpoints["smolvlm"]), "--device", "cpu", "--max-new-tokens", "4"]
    ran = run("describe", str(folder), "--together", "2", "--out", str(out), *model)
    assert ran.status == 0
    both, one = rows(out)
    assert both["image_tokens"] == 2 * one["image_tokens"] > 0


def test_as_many_together_as_a_real_model_takes(folder, run, tmp_path, out):
    """Two, of the first generation: a third is refused before anything is asked."""
    (tmp_path / "model").mkdir()
    source = families()["minimind_v"].tiny(tmp_path / "model")
    model = ["--model", source, "--device", "cpu", "--dtype", "float32", "--max-new-tokens", "4"]
    asked = ["describe", str(folder), "--out", str(out), *model]
    ran = run(*asked, "--together", "3")
    assert (ran.status, ran.out, rows(out)) == (1, "", [])
    sentence = "3 images in one prompt; at most 2 are taken. Give --together 2 or less."
    assert ran.err.count(sentence) == 1
    assert run(*asked, "--together", "2").status == 0
    both, one = rows(out)
    assert both["image_tokens"] == 2 * one["image_tokens"] > 0
