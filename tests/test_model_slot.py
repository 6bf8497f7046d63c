"""The place of the model: filled in the background, exchanged, emptied when idle."""

import contextlib
import threading
import time
from dataclasses import replace

import pytest

from tests.support.fakes import ScriptedBackend, photo
from vlm.backend import Finished, Progress, TextDelta
from vlm.errors import ModelError, RequestError
from vlm.messages import user_message
from vlm.model_slot import ModelSlot
from vlm.options import GenerationOptions
from vlm.settings import Settings

QUESTION = [user_message("What?")]
NO_SUCH = ModelError("not_a_folder", source="x")
FIRST, SECOND = Settings(model="first"), Settings(model="second")


class Opening:
    """Opens a backend when the test says so, or fails; notes what it was asked for."""

    def __init__(self, *results):
        self.results = list(results)
        self.go = threading.Event()
        self.asked = []

    def __call__(self, settings, report, cancel):
        report("reading", 1, 4)
        result = self.results[len(self.asked)]
        self.asked.append(settings.model)
        assert self.go.wait(30)
        if isinstance(result, BaseException):
            raise result
        return result


def opens(*results):
    """A slot whose opening has nothing to wait for."""
    opening = Opening(*results)
    opening.go.set()
    return ModelSlot(opening, FIRST), opening


def ask(slot, cancel=None):
    return slot.stream(QUESTION, GenerationOptions(), cancel or threading.Event())


def until(true):
    """Waits for another thread."""
    while not true():
        time.sleep(0.01)


def settle(slot):
    """Waits until opening is over, however it ended."""
    with contextlib.suppress(ModelError):
        slot.opened()


# ---- opened in the background ----


def test_states_of_one_that_opens():
    opening = Opening(ScriptedBackend())
    slot = ModelSlot(opening, FIRST)
    assert (slot.state, slot.error, slot.able) == ("idle", None, None)
    slot.start()
    slot.start()
    assert (slot.state, slot.error) == ("loading", None)
    opening.go.set()
    assert slot.opened() is opening.results[0]
    slot.start()
    assert (slot.state, slot.error, opening.asked) == ("ready", None, ["first"])
    assert slot.capabilities().name == slot.able.name == "Scripted"


def test_early_request_waits_and_says_so():
    opening = Opening(ScriptedBackend(["A cat."]))
    events = ask(ModelSlot(opening, FIRST))
    assert next(events) == Progress("loading")
    opening.go.set()
    assert next(events) == TextDelta("A cat.")


def test_later_request_has_nothing_to_say_about_loading():
    slot, _ = opens(ScriptedBackend())
    slot.opened()
    assert next(ask(slot)) == TextDelta("Yes.")


def test_request_can_be_cancelled_while_the_model_loads():
    opening, cancel = Opening(ScriptedBackend()), threading.Event()
    slot = ModelSlot(opening, FIRST)
    events = ask(slot, cancel)
    assert next(events) == Progress("loading")
    cancel.set()
    assert list(events) == [Finished("cancelled")]
    assert slot.state == "loading"
    opening.go.set()
    slot.opened()
    assert opening.results[0].asked == []


def test_failure_is_raised_by_every_request_until_started_again():
    slot, opening = opens(NO_SUCH, ScriptedBackend(["A cat."]))
    layout = lambda: slot.image_layout(photo(), GenerationOptions())  # noqa: E731
    for request in (lambda: list(ask(slot)), slot.opened, slot.capabilities, layout):
        with pytest.raises(ModelError) as caught:
            request()
        assert caught.value is NO_SUCH
    assert (slot.state, slot.error, opening.asked) == ("failed", NO_SUCH, ["first"])
    slot.start()
    settle(slot)
    assert (slot.state, slot.error, opening.asked) == ("ready", None, ["first", "first"])
    assert TextDelta("A cat.") in list(ask(slot))


def test_request_that_waits_gets_the_failure():
    opening = Opening(NO_SUCH)
    events = ask(ModelSlot(opening, FIRST))
    next(events)
    opening.go.set()
    with pytest.raises(ModelError):
        next(events)


def test_close():
    ModelSlot(Opening(), FIRST).close()  # never opened
    slot, opening = opens(NO_SUCH, ScriptedBackend(), ScriptedBackend())
    settle(slot)
    slot.close()
    slot, opening = opens(ScriptedBackend())
    slot.opened()
    slot.close()
    assert opening.results[0].closed


def test_close_while_loading_drops_what_comes():
    opening = Opening(ScriptedBackend())
    slot = ModelSlot(opening, FIRST)
    slot.start()
    until(lambda: opening.asked)  # called off before, it would not be opened at all
    closing = threading.Thread(target=slot.close)
    closing.start()
    opening.go.set()
    closing.join()
    assert opening.results[0].closed


# ---- exchanged ----


def test_another_model_takes_the_place():
    one, two = ScriptedBackend(["one"]), ScriptedBackend(["two"])
    slot, opening = opens(one, two)
    slot.opened()
    loading = slot.exchange(SECOND)
    assert loading.over.wait(30)
    assert (slot.settings, slot.state, slot.revision) == (SECOND, "ready", 2)
    assert (one.closed, two.closed, loading.error) == (True, False, None)
    assert TextDelta("two") in list(ask(slot))
    assert opening.asked == ["first", "second"]


def test_what_fails_before_the_exchange_leaves_the_model_where_it_is():
    def prepare(settings, report, cancel):
        if settings is SECOND:
            raise NO_SUCH

    one, opening = ScriptedBackend(), Opening(ScriptedBackend())
    opening.go.set()
    opening.results[0] = one
    slot = ModelSlot(opening, FIRST, prepare)
    slot.opened()
    loading = slot.exchange(SECOND)
    assert loading.over.wait(30)
    assert (loading.error, slot.last, slot.error) == (NO_SUCH, loading, None)
    assert (slot.settings, slot.state, slot.revision) == (FIRST, "ready", 1)
    assert not one.closed


def test_questions_are_answered_while_another_model_is_made_ready():
    here, go = threading.Event(), threading.Event()

    def prepare(settings, report, cancel):
        if settings is SECOND:
            report("downloading", 3, 9)
            here.set()
            assert go.wait(30)

    opening = Opening(ScriptedBackend(["one"]), ScriptedBackend(["two"]))
    opening.go.set()
    slot = ModelSlot(opening, FIRST, prepare)
    slot.opened()
    loading = slot.exchange(SECOND)
    assert here.wait(30)
    assert (slot.state, slot.loading, loading.progress) == ("ready", loading, ("downloading", 3, 9))
    assert next(ask(slot)) == TextDelta("one")
    go.set()
    assert loading.over.wait(30)
    assert next(ask(slot)) == TextDelta("two")


def test_what_fails_in_the_exchange_brings_the_model_back():
    slot, opening = opens(ScriptedBackend(), NO_SUCH, ScriptedBackend(["back"]))
    slot.opened()
    loading = slot.exchange(SECOND)
    assert loading.over.wait(30)
    assert (loading.error, slot.error, slot.settings) == (NO_SUCH, None, FIRST)
    assert opening.asked == ["first", "second", "first"]
    assert TextDelta("back") in list(ask(slot))


def test_a_model_that_cannot_come_back_is_told():
    worse = ModelError("not_a_folder", source="y")
    slot, _ = opens(ScriptedBackend(), NO_SUCH, worse)
    slot.opened()
    loading = slot.exchange(SECOND)
    assert loading.over.wait(30)
    assert (loading.error, slot.error, slot.state) == (worse, worse, "failed")


def test_answers_end_before_the_exchange_and_questions_wait_for_it():
    gate = threading.Event()
    one, two = ScriptedBackend(["one ", gate, "more"]), ScriptedBackend(["two"])
    slot, _ = opens(one, two)
    slot.opened()
    running = ask(slot)
    assert next(running) == TextDelta("one ")
    loading = slot.exchange(SECOND)
    waiting = ask(slot)
    until(lambda: slot.state == "loading")
    assert next(waiting) == Progress("loading")
    assert not loading.over.is_set()
    gate.set()
    assert [event for event in running if isinstance(event, TextDelta)] == [TextDelta("more")]
    assert next(waiting) == TextDelta("two")
    assert one.closed


@pytest.mark.parametrize("raises", [True, False])
def test_cancelled_loading_brings_the_model_back(raises):
    opening = Opening(ScriptedBackend(), ScriptedBackend(), ScriptedBackend(["back"]))
    if raises:
        opening.results[1] = RuntimeError("ended")
    opening.go.set()
    slot = ModelSlot(opening, FIRST)
    slot.opened()
    opening.go.clear()
    loading = slot.exchange(SECOND)
    until(lambda: len(opening.asked) == 2)
    slot.cancel()
    opening.go.set()
    assert loading.over.wait(30)
    assert (loading.error, slot.state, slot.settings) == (None, "ready", FIRST)
    assert raises or opening.results[1].closed
    assert TextDelta("back") in list(ask(slot))


def test_cancelled_while_an_answer_runs_nothing_was_put_away():
    gate = threading.Event()
    one = ScriptedBackend(["one ", gate, "more"])
    slot, _ = opens(one, ScriptedBackend())
    slot.opened()
    running = ask(slot)
    next(running)
    loading = slot.exchange(SECOND)
    until(lambda: slot.state == "loading")
    slot.cancel()
    assert loading.over.wait(30)
    gate.set()
    assert TextDelta("more") in list(running)
    assert (one.closed, slot.state) == (False, "ready")


def test_without_a_model_before_it_a_cancelled_one_is_told():
    opening = Opening(ScriptedBackend(), ScriptedBackend())
    slot = ModelSlot(opening, FIRST)
    slot.start()
    until(lambda: opening.asked)
    slot.cancel()
    opening.go.set()
    with pytest.raises(ModelError) as caught:
        slot.opened()
    assert caught.value.key == "loading_cancelled"
    slot.start()
    assert slot.opened() is opening.results[1]


def test_one_loading_at_a_time():
    opening = Opening(ScriptedBackend(), ScriptedBackend())
    slot = ModelSlot(opening, FIRST)
    slot.start()
    for act in (lambda: slot.exchange(SECOND), slot.unload):
        with pytest.raises(RequestError) as caught:
            act()
        assert caught.value.key == "already_loading"
    opening.go.set()
    slot.opened()


# ---- put away ----


def test_a_model_that_was_put_away_comes_back_by_itself():
    slot, opening = opens(ScriptedBackend(), ScriptedBackend(["back"]))
    slot.opened()
    slot.unload()
    assert (slot.state, opening.results[0].closed) == ("idle", True)
    assert slot.capabilities().name == "Scripted"  # still known, so that no page wakes it up
    assert opening.asked == ["first"]
    assert TextDelta("back") in list(ask(slot))


def test_what_cannot_come_back_after_it_was_put_away_is_told():
    slot, _ = opens(ScriptedBackend(), NO_SUCH)
    slot.opened()
    slot.unload()
    with pytest.raises(ModelError) as caught:
        list(ask(slot))
    assert (caught.value, slot.error, slot.state) == (NO_SUCH, NO_SUCH, "failed")


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_fails_in_place_of_one_that_was_put_away_does_not_keep_it_away(cancelled):
    slot, opening = opens(ScriptedBackend(), NO_SUCH, ScriptedBackend(["back"]))
    slot.opened()
    slot.unload()
    opening.go.clear()
    loading = slot.exchange(SECOND)
    until(lambda: len(opening.asked) == 2)
    if cancelled:
        slot.cancel()
    opening.go.set()
    assert loading.over.wait(30)
    assert (slot.state, slot.error, slot.settings) == ("idle", None, FIRST)
    assert TextDelta("back") in list(ask(slot))
    assert opening.asked == ["first", "second", "first"]


def test_unloading_waits_for_answers():
    gate = threading.Event()
    one = ScriptedBackend(["one ", gate, "more"])
    slot, _ = opens(one)
    slot.opened()
    running = ask(slot)
    next(running)
    unloading = threading.Thread(target=slot.unload)
    unloading.start()
    assert not one.closed
    gate.set()
    assert TextDelta("more") in list(running)
    unloading.join()
    assert one.closed


def test_an_idle_model_is_put_away():
    gate, closed = threading.Event(), threading.Event()
    one = ScriptedBackend(["one ", gate, "more"])
    one.close = closed.set
    opening = Opening(one, ScriptedBackend(["back"]))
    opening.go.set()
    slot = ModelSlot(opening, FIRST, idle_seconds=0.05)
    events = ask(slot)
    while next(events) != TextDelta("one "):
        pass
    assert not closed.wait(0.5)  # it is in use
    gate.set()
    list(events)
    assert closed.wait(30)
    assert slot.state == "idle"
    assert TextDelta("back") in list(ask(slot))


def test_the_next_model_has_the_changed_settings():
    slot, opening = opens(ScriptedBackend(), ScriptedBackend())
    slot.opened()
    assert slot.exchange(replace(FIRST, quantization="nf4")).over.wait(30)
    assert slot.settings.quantization == "nf4"
    assert opening.asked == ["first", "first"]
