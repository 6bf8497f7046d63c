"""Work on a thread of its own: what it tells, leaving it, its errors."""

import threading

import pytest

from vlm.errors import RequestError
from vlm.ui.background import in_background


def test_work_tells_its_stages_and_can_be_left():
    def work(told):
        told("one")
        told("two")
        return 7

    heard, stages = [], in_background(work, threading.Event(), "compare_cancelled")
    try:
        while True:
            heard.append(next(stages))
    except StopIteration as ended:
        assert (heard, ended.value) == (["one", "two"], 7)
    cancel, gate = threading.Event(), threading.Event()
    left = in_background(lambda told: (told("begun"), gate.wait(20)), cancel, "compare_cancelled")
    assert next(left) == "begun"
    left.close()  # nobody listens any more
    assert cancel.is_set()
    gate.set()


def test_waiting_ends_at_once_where_the_work_does_not():
    cancel, gate = threading.Event(), threading.Event()
    stages = in_background(lambda told: gate.wait(20), cancel, "explain_cancelled")
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(RequestError) as raised:
        next(stages)
    assert raised.value.key == "explain_cancelled"
    assert not gate.is_set()
    gate.set()


def test_an_error_of_the_work_is_raised_where_it_is_awaited():
    def work(told):
        raise RequestError("empty_question")

    with pytest.raises(RequestError, match="no question"):
        next(in_background(work, threading.Event(), "compare_cancelled"))
