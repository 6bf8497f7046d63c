"""Several visitors at one model: each waits its turn, stops its own answer, sees nobody else."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, photo_bytes
from tests.ui.test_chat_turns import converse, said
from vlm.backend import Event, Finished, TextDelta
from vlm.messages import Message
from vlm.options import GenerationOptions
from vlm.streaming import Emit, Worker

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}
LEFT_WITHIN = 20.0
"""Seconds after which an answer that goes on for nobody fails the test."""


class OneAtATime(ScriptedBackend):
    """Answers on one thread, as a model does; a gate opens each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.worker = Worker("one-at-a-time")
        self.gates: dict[str, threading.Event] = {}
        self.ended: dict[str, str] = {}

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        words = messages[-1].text
        gate = self.gates.setdefault(words, threading.Event())

        def work(emit: Emit, should_stop, waited: float) -> None:
            emit(TextDelta(f"To {words}: "))
            while not gate.wait(0.01) and not should_stop():
                pass
            self.ended[words] = "stop" if gate.is_set() else "cancelled"
            emit(TextDelta("done.") if gate.is_set() else TextDelta("cut."))
            emit(Finished("stop" if gate.is_set() else "cancelled"))

        return self.worker.run(work, cancel)


def test_each_visitor_has_a_place_in_the_queue_and_a_stop_of_its_own(serve, open_tab):
    backend = OneAtATime()
    served = serve(backend=backend)
    first, second, third = (open_tab(served.address) for _ in range(3))
    first.ask("A")
    expect(first.answers.last).to_have_text("To A:")
    second.ask("B")
    expect(second.find("#chat .pending")).to_have_text("waiting, 1 ahead …")
    third.ask("C")
    expect(third.find("#chat .pending")).to_have_text("waiting, 2 ahead …")
    second.find("#stop").click()  # while it waits: at once, and its question comes back
    expect(second.box).to_have_value("B")
    expect(third.find("#chat .pending")).to_have_text("waiting, 1 ahead …")
    assert backend.ended == {}
    backend.gates["A"].set()
    first.wait_for_answer()
    expect(first.answers).to_have_text(["To A: done."])
    expect(third.answers.last).to_have_text("To C:")
    third.box.press("Escape")
    third.wait_for_answer()
    assert backend.ended == {"A": "stop", "C": "cancelled"}
    backend.worker.close()


def test_nothing_of_one_visitor_is_shown_to_another(serve, open_tab):
    gate = threading.Event()
    served = serve(backend=ScriptedBackend(["Secret one ", gate], ["Two."]))
    first, second = open_tab(served.address), open_tab(served.address)
    first.find("#settings-toggle").click()
    first.find("#system-prompt textarea").fill("Be brief.")
    first.find("#settings-close").click()
    first.attach(PNG)
    first.ask("Mine?")
    expect(first.answers.last).to_contain_text("Secret one")
    expect(second.find("#examples")).to_be_visible()
    expect(second.attached).to_have_count(0)
    converse(second, "Theirs?")
    assert said(served) == [("user", "Theirs?", [])]  # nor the system prompt
    assert served.backend.asked[0].messages[0].text == "Be brief."
    expect(second.find("body")).not_to_contain_text("Secret one")
    expect(second.find("#changed .chip")).to_have_count(0)
    gate.set()
    first.wait_for_answer()
    expect(first.answers).to_have_text(["Secret one"])
    second.find("#clear").click()
    expect(second.answers).to_have_count(0)
    expect(first.answers).to_have_count(1)


@pytest.mark.parametrize("way", ["closed", "reloaded"])
def test_a_page_that_is_left_ends_its_answer(serve, open_tab, way):
    served = serve("Begun ", threading.Event(), "never read.")
    tab = open_tab(served.address)
    tab.ask("Hello?")
    expect(tab.answers.last).to_have_text("Begun")
    began = time.monotonic()
    if way == "closed":
        tab.page.close()
    else:
        tab.page.reload(wait_until="commit")
    assert served.backend.asked[0].cancel.wait(LEFT_WITHIN)
    print(f"{way}: {time.monotonic() - began:.2f} s")
    if way == "reloaded":
        tab.find(".status.ready").wait_for()
        expect(tab.answers).to_have_count(0)
        tab.ask("Again?")
        expect(tab.answers.last).to_have_text("Begun")
