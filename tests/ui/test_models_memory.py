"""What is loaded now, with all it takes of memory: a real engine behind the page."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.ui.conftest import Served, Tab
from tests.ui.test_chat_turns import converse
from tests.ui.test_models import go_to
from vlm.backend import Capabilities, Held
from vlm.engine import Engine
from vlm.ui import models_view

pytestmark = pytest.mark.browser


@pytest.fixture
def engine(checkpoints: Mapping[str, Path]) -> Iterator[Engine]:
    engine = Engine.load(str(checkpoints["llava"]), quantization="none", dtype="float32")
    engine.model.generation_config.max_new_tokens = 8
    yield engine
    engine.close()


def line(tab: Tab, words: str):
    return tab.find("#models-now .parts tr").filter(has_text=words)


def test_what_answers_leave_behind_is_shown_and_can_be_dropped(
    engine: Engine, serve: Callable[..., Served], open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(serve(backend=engine).address)
    go_to(tab)
    expect(line(tab, "language model")).to_have_count(1)
    expect(line(tab, "program and libraries")).to_contain_text(re.compile("[MG]B"))
    expect(line(tab, "in memory now")).to_contain_text("B")
    expect(line(tab, "kept for the next turn")).to_have_count(0)
    drop = tab.find("#models-now").get_by_role("button", name="Drop what is kept")
    expect(drop).to_have_count(0)
    go_to(tab, "Chat")
    converse(tab, "Who are you?")
    go_to(tab)
    expect(line(tab, "context kept for the next turn")).to_contain_text("kB")
    drop.press("Enter")
    expect(line(tab, "kept for the next turn")).to_have_count(0)
    expect(drop).to_have_count(0)
    assert engine.held().besides["states"] == 0


def test_on_a_shared_server_nobody_drops_what_is_kept(
    engine: Engine, serve: Callable[..., Served], open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(serve(backend=engine, hosted=True).address)
    converse(tab, "Who are you?")
    go_to(tab)
    expect(line(tab, "context kept for the next turn")).to_have_count(1)
    expect(tab.find("#models-now button")).to_have_count(0)


def test_what_lies_only_in_files_is_taken_off_the_sum() -> None:
    held = Held(weights={"tower": 3_000_000}, besides={"runtime": 0}, total=2_000_000, away=10**6)
    drawn = models_view.now(Capabilities(name="One"), held, True, True, "en")
    rows = ("tower", "3 MB", "of it only in its files", "− 1 MB", "in memory now", "2 MB")
    places = [drawn.index(f">{each}<") for each in rows]
    assert places == sorted(places)
    assert "read again when they are needed" in drawn
