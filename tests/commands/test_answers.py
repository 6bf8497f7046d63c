"""Answers as JSON lines: what is there is known again, a half-written line is cut, nothing lost."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from vlm.commands.answers import AnswerFile, Group, digest
from vlm.commands.pictures import Picture
from vlm.errors import RequestError

ASKED = {"prompt": "What?", "model": "pocket", "options": {"seed": 0, "stop": ["."]}}


def group(name: str, content: str) -> Group:
    return Group((Picture(f"/photos/{name}", name),), (f"sha of {content}",))


A, B, C = (group(f"{name}.png", name) for name in "abc")
PAIR = Group(A.pictures + B.pictures, A.digests + B.digests)


def write(path: Path, *groups: Group, asked=ASKED, **result) -> bytes:
    with closing(AnswerFile.open(str(path), asked)) as answers:
        for each in groups:
            answers.add(each, result or {"answer": f"这是 {each.shown}\n"})
    return path.read_bytes()


def answered(path: Path, *groups: Group, asked=ASKED) -> set[int]:
    with closing(AnswerFile.open(str(path), asked)) as answers:
        assert not answers.cut
        return answers.answered(groups)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


def test_a_line_an_answer(path):
    lines = write(path, A, PAIR).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"file": "a.png", "sha256": "sha of a", **ASKED, "answer": "这是 a.png\n"},
        {
            "file": ["a.png", "b.png"],
            "sha256": ["sha of a", "sha of b"],
            **ASKED,
            "answer": "这是 a.png, b.png\n",
        },
    ]
    assert "这是" in lines[0]  # for people to read


def test_each_line_is_there_at_once(path):
    with closing(AnswerFile.open(str(path), ASKED)) as answers:
        for count, each in enumerate((A, B, C), 1):
            answers.add(each, {"answer": ""})
            assert path.read_bytes().count(b"\n") == count


def test_what_has_an_answer(path):
    write(path, A, C)
    assert answered(path, A, B, C) == {0, 2}
    assert answered(path, PAIR) == set()


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "Why?"},
        {"model": "grand"},
        {"options": {"seed": 1, "stop": ["."]}},
        {"options": {}},
        {"system_prompt": "Be brief."},
    ],
)
def test_another_question_stays_and_does_not_count(other, path):
    before = write(path, A)
    assert answered(path, A, asked={**ASKED, **other}) == set()
    after = write(path, A, asked={**ASKED, **other})
    assert after.startswith(before)
    assert answered(path, A) == answered(path, A, asked={**ASKED, **other}) == {0}


def test_a_picture_is_known_by_its_content(path):
    write(path, A)
    assert answered(path, group("renamed.png", "a")) == {0}
    assert answered(path, group("a.png", "changed")) == set()


def test_each_copy_of_a_picture_gets_an_answer_of_its_own(path):
    copies = [group(f"copy{number}.png", "a") for number in range(3)]
    write(path, copies[1])
    assert answered(path, *copies) == {1}
    write(path, copies[0])
    assert answered(path, *copies) == {0, 1}
    assert answered(path, *copies, A) == {0, 1}


def test_a_failure_is_no_answer_and_is_written_once(path):
    first = write(path, A, error="a.png is damaged.")
    assert answered(path, A) == set()
    assert write(path, A, error="a.png is damaged.") == first
    assert write(path, A, error="a.png is missing.").count(b"\n") == 2
    write(path, A)
    assert answered(path, A) == {0}


# ---- a process that was killed ----


def test_a_half_written_line_is_cut_wherever_it_ends(path):
    whole = write(path, A, B)
    start = whole.index(b"\n") + 1
    for end in range(start + 1, len(whole) - 1):  # the last byte but one completes the object
        path.write_bytes(whole[:end])
        with closing(AnswerFile.open(str(path), ASKED)) as answers:
            assert answers.cut
            assert answers.answered([A, B]) == {0}
            assert path.read_bytes() == whole[:start]
            answers.add(B, {"answer": "这是 b.png\n"})
        assert path.read_bytes() == whole


def test_a_whole_line_without_its_end_counts(path):
    whole = write(path, A, B)
    path.write_bytes(whole[:-1])
    assert answered(path, A, B) == {0, 1}
    assert path.read_bytes() == whole


def test_the_first_line_may_be_the_half_one(path):
    path.write_bytes(b'{"fi')
    with closing(AnswerFile.open(str(path), ASKED)) as answers:
        assert answers.cut
    assert path.read_bytes() == b""


# ---- files of other kinds ----


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"\x89PNG\r\n\x1a\n", 1),
        (b"some notes", 1),
        (b"[1, 2]\n", 1),
        (b'{"name": "x"}\n', 1),
        (b'{"file": "x", "size": 3}', 1),
        (b'{"file": "x", "answer": ""}\nnotes\n', 2),
        (b'{"file": "x", "answer": ""}\n{"file": "x", "ans\n', 2),
        (b'{"file": "x", "answer": ""}\n{"half": ', 2),
    ],
)
def test_a_file_of_another_kind_is_left_as_it_is(content, line, path):
    path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        AnswerFile.open(str(path), ASKED)
    assert caught.value.key == "answers_foreign"
    assert caught.value.facts == {"file": str(path), "line": line}
    assert path.read_bytes() == content


def test_a_place_where_nothing_can_be_written(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere" / "answers.jsonl"):
        with pytest.raises(RequestError, match="cannot be used for answers"):
            AnswerFile.open(str(path), ASKED)


def test_a_full_disk_is_told(path):
    answers = AnswerFile.open(str(path), ASKED)
    answers.close()
    answers._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with closing(answers), pytest.raises(RequestError, match="No space left"):
        answers.add(A, {"answer": "x"})


def test_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(str(tmp_path / "a")).startswith("ba7816bf8f01cfea")
    assert digest(str(tmp_path / "b")) == digest(str(tmp_path)) == ""


def test_names_of_models_that_are_no_text(path):
    asked = {**ASKED, "model": "/models/caf\udce9"}
    write(path, A, asked=asked)
    assert answered(path, A, asked=asked) == {0}
