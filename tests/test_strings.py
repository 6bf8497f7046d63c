"""The table of words: complete in both languages, and nothing in it that is never said."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from string import Formatter

import pytest

from vlm import errors
from vlm.options import GenerationOptions
from vlm.settings import Settings
from vlm.strings import LANGUAGES, TABLE, choose_language, error_text, say

ROOT = Path(__file__).parents[1]


def facts(sentence: str) -> list[tuple[str, str | None, str | None]]:
    """The places of a sentence: name, format and conversion."""
    return sorted({(name, *how) for _, name, *how in Formatter().parse(sentence) if name}, key=repr)


@pytest.mark.parametrize("key", TABLE)
def test_both_languages_are_there_and_name_the_same_facts(key):
    words = TABLE[key]
    assert len(words) == len(LANGUAGES) == 2
    assert all(sentence == sentence.strip() != "" for sentence in words)
    assert facts(words[0]) == facts(words[1])


def test_sentences_of_errors_end_and_can_be_read():
    for key, (english, chinese) in TABLE.items():
        if key.startswith("error."):
            assert english.endswith("."), key
            assert chinese.endswith("。"), key


# ---- the table against the code ----


FILES = [
    file for file in [*(ROOT / "vlm").rglob("*.py"), ROOT / "app.py"] if file.parent.name != "words"
]
"""Everything in the program but the table itself."""


def code() -> Iterator[ast.AST]:
    for file in FILES:
        yield from ast.walk(ast.parse(file.read_bytes()))


def texts_in(nodes: list[ast.AST]) -> set[str]:
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant)}


def composed(file: Path) -> Iterator[tuple[re.Pattern[str], set[str]]]:
    """The keys that a file puts together, as patterns, and what their first hole may hold.

    f"flag.{name}" may hold whatever the program says anywhere; where the hole comes first, as in
    f"{kind}.{name}", only what the file itself says.
    """
    nodes = list(ast.walk(ast.parse(file.read_bytes())))
    own = texts_in(nodes)
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            if any("." in part for part in parts if part):
                pattern = "".join("(.+)" if part is None else re.escape(part) for part in parts)
                yield re.compile(pattern), own if parts[0] is None else set()


def test_every_word_is_said_somewhere():
    """As a whole key, or put together of pieces that occur in the program."""
    names = {field.name for kind in (Settings, GenerationOptions) for field in fields(kind)}
    texts = texts_in(list(code())) | names
    patterns = [each for file in FILES for each in composed(file)]

    def is_said(key: str) -> bool:
        if key in texts:
            return True
        for pattern, own in patterns:
            found = pattern.fullmatch(key)
            if found and texts.issuperset(found.groups()) and (not own or found[1] in own):
                return True
        return False

    assert not is_said("grid.spoken_of_nowhere")
    assert [key for key in TABLE if not is_said(key)] == []


KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
RAISED = [
    node
    for node in code()
    if isinstance(node, ast.Call)
    and isinstance(node.func, ast.Name)
    and node.func.id in KINDS
    and isinstance(node.args[0], ast.Constant)
]


def test_errors_are_found():
    assert len(RAISED) > 50


@pytest.mark.parametrize("call", RAISED, ids=ast.unparse)
def test_every_error_has_its_sentence_and_its_facts(call):
    given = {keyword.arg for keyword in call.keywords}
    assert given == {name for name, *_ in facts(TABLE[f"error.{call.args[0].value}"][0])}


# ---- looking up ----


def test_say():
    assert say("progress.reading", current=2, total=3) == "reading image 2 of 3 …"
    assert say("progress.reading", "zh", current=2, total=3) == "正在读取第 2 张图片，共 3 张 …"
    with pytest.raises(KeyError):
        say("no.such.key")
    with pytest.raises(KeyError):
        say("progress.reading", current=2)


def test_facts_may_be_called_like_the_parameters():
    error = errors.VLMError("setting_not_understood", name="key", got="language", accepted="x")
    assert "key is 'language'" in error_text(error)


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh_TW.UTF-8", "zh"),
        (" ZH-Hans ", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de_DE", "en"),
        ("C.UTF-8", "en"),
        ("", "en"),
    ],
)
def test_language_of_a_tag(tag, language):
    assert choose_language(tag) == language
