"""Sides of different backends: at the same time, each in its own place, and apart in failure.

What sides of one backend do, one after the other, is in test_versus.
"""

import threading
from dataclasses import replace

import pytest

from tests.support.fakes import photo
from tests.test_versus import A, Opening, settle, states
from vlm.errors import ModelError, RequestError
from vlm.model_slot import ModelSlot
from vlm.versus import Side, compare
from vlm.versus_runner import Runner, together

ELSEWHERE = replace(A, model="gamma", backend="elsewhere")
HERE, THERE = Side(), Side(backend="elsewhere")


@pytest.fixture
def opening():
    return Opening()


@pytest.fixture
def elsewhere():
    return Opening()


@pytest.fixture
def places(opening, elsewhere):
    here, there = ModelSlot(opening, A), ModelSlot(elsewhere, ELSEWHERE)
    here.opened()
    yield here, there
    here.close()
    there.close()


def runner(places, **options):
    here, there = places
    options = {"may_exchange": True, **options}
    return Runner(here, others={"elsewhere": there}, **options)


def run(places, *sides, **options):
    comparison = compare(sides, [photo()], "What?")
    for _ in runner(places, **options).run(comparison):
        pass
    return comparison


def test_both_write_at_the_same_time(places, opening, elsewhere):
    gate = threading.Event()
    opening.scripts["alpha"][:] = ["I am ", gate, "alpha."]
    elsewhere.scripts["gamma"] = ["I am ", gate, "gamma."]
    comparison = compare((HERE, THERE), [photo()], "What?")
    for _ in runner(places).run(comparison):
        if all(frame.answer == "I am " for frame in comparison.frames):
            gate.set()  # neither ends before both have begun
    assert states(comparison) == ["done", "done"]
    assert [frame.answer for frame in comparison.frames] == ["I am alpha.", "I am gamma."]
    assert (opening.asked, elsewhere.asked) == ([("alpha", "auto")], [("gamma", "auto")])
    assert comparison.over


def test_two_sides_of_the_other_backend_take_turns_in_its_place(places, opening, elsewhere):
    comparison = run(places, THERE, replace(THERE, model="delta"))
    assert [frame.answer for frame in comparison.frames] == ["I am gamma.", "I am delta."]
    assert [model for model, _ in elsewhere.asked] == ["gamma", "delta", "gamma"]
    assert opening.backends["alpha"].asked == []


def test_both_places_get_their_models_back(places, opening, elsewhere):
    comparison = run(places, Side(model="beta"), replace(THERE, model="delta"))
    assert [frame.answer for frame in comparison.frames] == ["I am beta.", "I am delta."]
    assert [place.settings for place in places] == [A, ELSEWHERE]
    assert comparison.restored == "Alpha, Gamma"


@pytest.mark.parametrize("step", ["opening", "answering"])
def test_what_fails_in_one_place_leaves_the_other(places, elsewhere, step):
    failure = ModelError("cannot_load", source="gamma", detail="gone")
    if step == "opening":
        elsewhere.failures["gamma"] = failure
    else:
        elsewhere.scripts["gamma"] = ["I am ", failure]
    comparison = run(places, HERE, THERE)
    assert states(comparison) == ["done", "failed"]
    assert comparison.frames[1].error is failure
    assert comparison.frames[0].answer == "I am alpha."


def test_where_visitors_share_models_neither_place_is_given_another(places, opening, elsewhere):
    comparison = run(places, HERE, replace(THERE, model="delta"), may_exchange=False)
    assert states(comparison) == ["done", "failed"]
    assert comparison.frames[1].error.key == "hosted_model"
    assert elsewhere.asked == [("gamma", "auto")]


def test_stop_ends_both(places, opening, elsewhere):
    opening.scripts["alpha"][:] = ["I am ", threading.Event()]
    elsewhere.scripts["gamma"] = ["I am ", threading.Event()]
    comparison = compare((HERE, THERE), [photo()], "What?")
    for _ in runner(places).run(comparison):
        if all(frame.answer for frame in comparison.frames):
            comparison.stop()
    assert states(comparison) == ["stopped", "stopped"]
    assert [frame.answer for frame in comparison.frames] == ["I am ", "I am "]


def test_a_listener_that_leaves_ends_both_and_the_models_come_back(places, opening, elsewhere):
    opening.scripts["beta"] = ["I am ", threading.Event()]
    elsewhere.scripts["gamma"] = ["I am ", threading.Event()]
    comparison = compare((Side(model="beta"), THERE), [photo()], "What?")
    running = runner(places).run(comparison)
    for _ in running:
        if all(frame.answer for frame in comparison.frames):
            break
    running.close()
    assert states(comparison) == ["stopped", "stopped"]
    restoring = [each for each in threading.enumerate() if each.name == "restore-model"]
    for thread in restoring:
        thread.join(20)
    settle(places[0])
    assert [place.settings for place in places] == [A, ELSEWHERE]


def test_a_backend_that_nobody_knows_is_the_apps_own(places):
    comparison = run(places, HERE, Side(backend="unheard of"))
    assert [frame.answer for frame in comparison.frames] == ["I am alpha.", "I am alpha."]


def test_a_bug_in_one_ends_the_other_and_is_raised():
    cancel = threading.Event()

    def waits():
        yield
        assert cancel.wait(20)

    def breaks():
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(together([waits(), breaks()], cancel))
    assert cancel.is_set()


def test_the_same_model_of_two_backends_is_counted_apart(places, elsewhere):
    first, second = run(places, HERE, replace(THERE, model="alpha")).frames
    assert first.able.name == second.able.name
    assert first.key != second.key


def test_a_side_without_a_model_keeps_the_reason_of_the_one_place(places):
    with pytest.raises(RequestError) as raised:
        run(places, HERE, Side(model="beta"), may_exchange=False)
    assert raised.value.key == "hosted_model"
