"""Turns that are asked again, edited, taken back, gone on with: in a browser, answers on cue."""

import re
import shlex
import threading
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, photo_bytes
from vlm.__main__ import load_command
from vlm.backend import Finished, Reason, Usage
from vlm.commands import NAMES
from vlm.errors import RequestError
from vlm.settings import generation_options, parse_command

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}
OTHER = {"name": "blue.png", "mimeType": "image/png", "buffer": photo_bytes(seed=2)}
THIRD = {"name": "grey.png", "mimeType": "image/png", "buffer": photo_bytes(seed=3)}
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}

PRESS_UNSEEN = """facts => {
    const button = document.createElement('button');
    Object.assign(button.dataset, facts);
    document.querySelector('#conversation').append(button);
    button.click();
    button.remove();
}"""
"""Presses a button that is not offered now, as a page that is behind its server might."""


def ended(reason: Reason = "stop", completion: int = 1, prompt: int = 20) -> Finished:
    return Finished(reason, Usage(prompt_tokens=prompt, completion_tokens=completion))


def converse(tab, *questions):
    """Asks one after the other."""
    for number, question in enumerate(questions, tab.answers.count() + 1):
        tab.ask(question)
        tab.wait_for_answer(number)


def act(tab, name, **facts):
    """A button drawn as HTML."""
    given = "".join(f'[data-{key}="{value}"]' for key, value in facts.items())
    return tab.find(f'#conversation button[data-act="{name}"]{given}')


def said(served, request=-1):
    """(role, text, names of images) of what the backend was given."""
    return [
        (message.role, message.text, [image.name for image in message.images])
        for message in served.backend.asked[request].messages
    ]


# ---- retry ----


def test_retry_makes_a_version_and_flipping_shows_what_followed_each(serve, open_tab):
    served = serve(backend=ScriptedBackend(["One."], ["After one."], ["Two."], ["Three."]))
    tab = open_tab(served.address)
    converse(tab, "First?", "Then?")
    act(tab, "retry", turn=0).click()  # the earlier turn, by its own button
    expect(tab.answers).to_have_text(["Two."])
    tab.wait_for_answer()
    assert said(served) == [("user", "First?", [])]
    expect(tab.find("#chat .versions")).to_have_text("2 of 2")
    tab.find("#retry").click()
    expect(tab.find("#chat .versions")).to_have_text("3 of 3")
    expect(tab.answers).to_have_text(["Three."])
    tab.page.get_by_label("Previous version of turn 1").click()
    expect(tab.answers).to_have_text(["Two."])
    expect(tab.find("#chat .versions")).to_have_text("2 of 3")
    tab.page.get_by_label("Previous version of turn 1").click()
    expect(tab.answers).to_have_text(["One.", "After one."])
    tab.page.get_by_label("Previous version of turn 1").click()  # round to the last
    expect(tab.answers).to_have_text(["Three."])


def test_a_failed_retry_loses_nothing_and_try_again_works(serve, open_tab):
    script = ["One."], ["Two."], [RequestError("out_of_memory")], ["Better."]
    served = serve(backend=ScriptedBackend(*script))
    tab = open_tab(served.address)
    tab.attach(PNG)
    converse(tab, "First?", "Second?")
    act(tab, "retry", turn=0).click()
    expect(tab.notice).to_contain_text("Memory ran out")
    expect(tab.answers).to_have_text(["One.", "Two."])
    expect(tab.box).to_have_value("")  # it was not sent from the box
    act(tab, "retry", turn=0).filter(has_text="Try again").click()
    expect(tab.answers).to_have_text(["Better."])
    expect(tab.notice).to_have_count(0)
    assert said(served) == [("user", "First?", ["red.png"])]


def test_a_second_request_says_busy_and_disturbs_nothing(serve, open_tab):
    gate = threading.Event()
    served = serve(backend=ScriptedBackend(["One."], ["Slow ", gate, "answer."], ["Never."]))
    tab = open_tab(served.address)
    converse(tab, "First?")
    tab.ask("Second?")
    expect(tab.answers.last).to_have_text("Slow")
    for name in ("retry", "edit", "undo", "continue"):
        tab.page.evaluate(PRESS_UNSEEN, {"act": name})
        expect(tab.notice).to_contain_text("still being written")
        act(tab, "dismiss").click()
        expect(tab.notice).to_have_count(0)
    tab.page.evaluate(PRESS_UNSEEN, {"act": "no such act"})
    expect(tab.notice).to_contain_text("fault of the program")
    gate.set()
    tab.wait_for_answer(2)
    expect(tab.answers).to_have_text(["One.", "Slow answer."])
    assert len(served.backend.asked) == 2
    assert not served.backend.asked[1].cancel.is_set()


def test_what_is_typed_while_an_answer_runs_stays(serve, open_tab):
    gate = threading.Event()
    served = serve("Slow ", gate, "answer.")
    tab = open_tab(served.address)
    tab.ask("First?")
    expect(tab.answers.last).to_have_text("Slow")
    tab.box.fill("My next ")
    tab.box.press("Enter")
    expect(tab.notice).to_contain_text("still being written")
    tab.page.get_by_text("简体中文", exact=True).click()
    expect(tab.find("#stop")).to_have_text("停止")
    tab.box.press_sequentially("question")
    gate.set()
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("Slow answer.")
    expect(tab.box).to_have_value("My next question")
    tab.find("#message .submit-button").click()
    tab.wait_for_answer(2)
    assert [message.text for message in served.backend.asked[1].messages] == [
        "First?",
        "Slow answer.",
        "My next question",
    ]


# ---- undo ----


def test_undo_puts_the_question_and_its_images_back(serve, open_tab):
    served = serve(backend=ScriptedBackend(["One."], ["Two."], ["Again."]))
    tab = open_tab(served.address)
    converse(tab, "First?")
    before = tab.stats.inner_text()
    tab.attach(PNG, OTHER)
    converse(tab, "Second?")
    tab.find("#undo").click()
    expect(tab.answers).to_have_text(["One."])
    expect(tab.box).to_have_value("Second?")
    expect(tab.attached).to_have_count(2)
    expect(tab.stats).to_have_text(before)  # of the turn that is the last now
    tab.find("#message .submit-button").click()
    tab.wait_for_answer(2)
    assert said(served)[-1] == ("user", "Second?", ["red.png", "blue.png"])
    for _ in range(2):
        tab.find("#undo").click()
        expect(tab.box).to_have_value(re.compile(".+"))
    expect(tab.answers).to_have_count(0)
    expect(tab.find("#examples")).to_be_visible()
    expect(tab.find("#undo")).to_be_hidden()


# ---- edit ----


def test_editing_the_last_turn_changes_its_images_and_branches(serve, open_tab):
    served = serve(backend=ScriptedBackend(["One."], ["Two."]))
    tab = open_tab(served.address)
    tab.attach(PNG, OTHER)
    converse(tab, "Old?")
    tab.find("#edit").click()
    expect(tab.box).to_have_value("Old?")
    expect(tab.attached).to_have_count(2)
    expect(tab.find("#editing")).to_contain_text("editing question 1")
    tab.page.get_by_label("Move image 2 forward").click()
    expect(tab.attached.first).to_contain_text("blue.png")
    tab.page.get_by_label("Remove image 2").click()
    expect(tab.attached).to_have_count(1)
    tab.attach(THIRD)
    tab.ask("New?")
    expect(tab.answers).to_have_text(["Two."])
    tab.wait_for_answer()
    expect(tab.find("#editing .offer")).to_have_count(0)
    assert said(served) == [("user", "New?", ["blue.png", "grey.png"])]
    expect(tab.find("#chat .versions")).to_have_text("2 of 2")
    tab.page.get_by_label("Previous version of turn 1").click()
    expect(tab.answers).to_have_text(["One."])
    expect(tab.find("#chat [data-testid=user]").first).to_be_visible()
    expect(tab.find("#chat")).to_contain_text("Old?")


def test_editing_an_earlier_turn_and_leaving_it(serve, open_tab):
    served = serve(backend=ScriptedBackend(["One."], ["Two."], ["Other one."]))
    tab = open_tab(served.address)
    converse(tab, "First?", "Second?")
    tab.box.fill("half a thought")
    tab.find("#token-chip").wait_for(state="attached")
    act(tab, "edit", turn=0).click()
    expect(tab.box).to_have_value("First?")
    expect(tab.find("#editing")).to_contain_text("editing question 1")
    act(tab, "edit_end").click()
    expect(tab.find("#editing .offer")).to_have_count(0)
    expect(tab.box).to_have_value("half a thought")  # as it was before
    expect(tab.answers).to_have_text(["One.", "Two."])
    act(tab, "edit", turn=0).click()
    expect(tab.box).to_have_value("First?")
    tab.ask("First, otherwise?")
    expect(tab.answers).to_have_text(["Other one."])
    tab.wait_for_answer()
    assert said(served) == [("user", "First, otherwise?", [])]
    expect(tab.find("#chat .versions")).to_have_text("2 of 2")


def test_an_edit_that_fails_or_is_stopped_stays_an_edit(serve, open_tab):
    script = ["One."], ["Two."], [RequestError("out_of_memory")], [threading.Event()], ["New."]
    served = serve(backend=ScriptedBackend(*script))
    tab = open_tab(served.address)
    converse(tab, "First?", "Second?")
    act(tab, "edit", turn=0).click()
    expect(tab.box).to_have_value("First?")
    tab.ask("Otherwise?")
    expect(tab.notice).to_contain_text("Memory ran out")
    expect(tab.find("#editing")).to_contain_text("editing question 1")
    expect(tab.answers).to_have_text(["One.", "Two."])
    act(tab, "send").click()
    expect(tab.find("#stop")).to_be_visible()
    tab.find("#stop").click()
    expect(tab.box).to_have_value("Otherwise?")
    expect(tab.find("#editing")).to_contain_text("editing question 1")
    expect(tab.answers).to_have_text(["One.", "Two."])
    tab.box.press("Enter")
    expect(tab.answers).to_have_text(["New."])
    expect(tab.find("#chat .versions")).to_have_text("2 of 2")


def test_a_turn_whose_picture_file_was_removed_can_be_edited(serve, open_tab):
    served = serve(backend=ScriptedBackend(["One."], ["Two."]))
    tab = open_tab(served.address)
    before = _upload_files()
    tab.attach(PNG)
    converse(tab, "First?")
    for path in _upload_files() - before:
        path.unlink()
    tab.box.press("ArrowUp")  # in an empty box, as good as the button
    expect(tab.box).to_have_value("First?")
    expect(tab.attached.locator("img")).to_have_count(1)
    tab.ask("Second?")
    expect(tab.answers).to_have_text(["Two."])
    assert said(served) == [("user", "Second?", ["red.png"])]
    picture = served.backend.asked[-1].messages[0].images[0]
    assert (
        picture.pixels.tobytes() == served.backend.asked[0].messages[0].images[0].pixels.tobytes()
    )


def _upload_files():
    return {path for path in Path(get_upload_folder()).rglob("*") if path.is_file()}


# ---- continue ----


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "length"])
def test_an_answer_that_was_cut_off_is_gone_on_with(serve, open_tab, stopped):
    cut = threading.Event() if stopped else ended("length")
    served = serve(backend=ScriptedBackend(["Half ", cut], ["an answer."]))
    tab = open_tab(served.address)
    tab.ask("Tell me.")
    expect(tab.answers.last).to_contain_text("Half")
    if stopped:
        tab.box.press("Escape")
    tab.wait_for_answer()
    expect(tab.answers.last).to_contain_text("stopped" if stopped else "length limit")
    tab.find("#continue").click()
    expect(tab.answers).to_have_text(["Half an answer."])
    tab.wait_for_answer()
    assert said(served) == [("user", "Tell me.", []), ("assistant", "Half ", [])]
    expect(tab.find("#continue")).to_be_hidden()  # nothing is missing now
    expect(tab.find("#chat .versions")).to_have_count(0)


def test_going_on_that_fails_leaves_the_answer_as_it_was(serve, open_tab):
    script = ["Half ", ended("length")], ["an ", RequestError("out_of_memory")], ["an answer."]
    tab = open_tab(serve(backend=ScriptedBackend(*script)).address)
    converse(tab, "Tell me.")
    tab.find("#continue").click()
    expect(tab.notice).to_contain_text("Memory ran out")
    expect(tab.answers.last).to_have_text(re.compile(r"^Half\s+stopped at the length limit\s*$"))
    act(tab, "continue").click()
    expect(tab.answers).to_have_text(["Half an answer."])


# ---- clear, copy, reproduce ----


def test_what_was_cleared_can_be_brought_back(serve, open_tab):
    gate = threading.Event()
    served = serve(backend=ScriptedBackend(["One."], ["Half ", gate], ["New."]))
    tab = open_tab(served.address)
    tab.attach(PNG)
    converse(tab, "First?")
    tab.find("#clear").click()
    expect(tab.answers).to_have_count(0)
    act(tab, "bring_back").click()
    expect(tab.answers).to_have_text(["One."])
    expect(tab.find("#chat [data-testid=user] img")).to_have_count(1)
    tab.ask("Second?")
    expect(tab.answers.last).to_have_text("Half")
    tab.page.evaluate(PRESS_UNSEEN, {"act": "clear"})  # also while an answer runs: it ends
    expect(tab.answers).to_have_count(0)
    assert served.backend.asked[1].cancel.wait(5)
    converse(tab, "Anew?")
    assert said(served) == [("user", "Anew?", [])]


def test_copying_takes_the_answer_as_markdown_without_thoughts_and_marks(serve, open_tab):
    answer = "A **cat** <box>[[1,2,3,4]]</box> & `x`"
    tab = open_tab(serve(f"<think>Hm.</think>{answer}").address, **CLIPBOARD)
    converse(tab, "First?")
    tab.find("#chat button[data-copy]").click()
    expect(tab.find("#chat button[data-copy]")).to_have_text("Copied")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert copied == "A **cat** [1, 2, 3, 4] & `x`"
    expect(tab.find("#chat button[data-copy]")).to_have_text("Copy")


def test_the_copied_command_line_is_one_that_the_program_reads(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address, **CLIPBOARD)
    tab.find("#settings-toggle").click()
    tab.find("#temperature input, #temperature textarea").fill("0.7")
    tab.find("#settings-close").click()
    tab.attach(PNG)
    question = 'What\'s "this" $HOME `ls`?'
    converse(tab, question)
    tab.find("#stats .reproduce").click()
    expect(tab.find("#stats .reproduce")).to_have_text("Command copied")
    words = shlex.split(tab.page.evaluate("navigator.clipboard.readText()"))
    assert words[:3] == ["python", "-m", "vlm"]
    _, arguments, _ = parse_command(NAMES, load_command, words[3:])
    assert arguments.prompt == question
    assert arguments.images == ["red.png"]
    options = generation_options(vars(arguments))
    assert options == served.backend.asked[0].options
    assert (options.temperature, options.seed is None) == (0.7, False)
