"""Running `python -m vlm ...` inside the test, with words of our own as input."""

import io
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.support.fakes import ScriptedBackend
from vlm.__main__ import main
from vlm.backend import Capabilities
from vlm.commands import chat, describe


class Ran(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Ran]:
    """run("chat", "a.png", typed="What?") -> Ran. The environment holds no settings."""
    for name in [name for name in os.environ if name.startswith(("VLM_", "LC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")

    def run_here(*words: str, typed: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        return Ran(main(list(words)), *capsys.readouterr())

    return run_here


@pytest.fixture
def scripted(monkeypatch) -> Callable[..., ScriptedBackend]:
    """scripted(["A cat."]) -> the backend that answers `chat` and `describe` from now on."""

    def use(*scripts: list, able: Capabilities | None = None) -> ScriptedBackend:
        backend = ScriptedBackend(*scripts, able=able)
        for command in (chat, describe):
            monkeypatch.setattr(command, "open_backend", lambda settings: backend)
        return backend

    return use
