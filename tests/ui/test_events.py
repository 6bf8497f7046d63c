"""What the page's events cost in the browser, and that none of them keeps another going."""

from collections import Counter
from typing import Any

import pytest

from tests.support.fakes import ScriptedBackend
from vlm.model_slot import ModelSlot
from vlm.settings import Settings
from vlm.ui import build_ui


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    """What the browser is told of every event."""
    settings = Settings()
    page = build_ui(ModelSlot(lambda *_: ScriptedBackend(), settings), settings)
    return page.get_config_file()["dependencies"]


def test_no_event_has_two_handlers_that_wait_for_their_turn(events):
    """The browser repeats the whole event for one that waited: two keep each other going."""
    waiting = Counter(
        (target, name)
        for event in events
        if event["trigger_mode"] == "always_last"
        for target, name in event["targets"]
    )
    assert waiting
    assert [key for key, count in waiting.items() if count > 1] == []


def test_all_events_mark_one_part_that_nobody_sees(events):
    """The browser goes through everything that was ever marked, at each step of each event."""
    assert len({tuple(event["show_progress_on"] or event["outputs"]) for event in events}) == 1


@pytest.mark.browser
def test_a_page_at_rest_asks_for_nothing(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    for count in range(1, 4):
        tab.ask("Is it?")
        tab.wait_for_answer(count)
    asked = []
    tab.page.wait_for_timeout(500)
    tab.page.on("request", lambda request: asked.append(request.post_data))
    tab.page.wait_for_timeout(2_000)
    assert len(asked) <= 1  # whether the model has changed, every few seconds
