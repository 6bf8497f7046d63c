"""Turns that fail, and the ways on from there: every button of a card is pressed and works."""

import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.support.fakes import BREAKS_OFF, ScriptedBackend, photo_bytes
from tests.ui.conftest import Served, free_port
from tests.ui.test_chat_turns import act, converse, ended, said
from vlm.backend import Backend, Capabilities
from vlm.errors import ModelError, RequestError
from vlm.model_slot import ModelSlot
from vlm.settings import Settings
from vlm.ui import build_ui, launch

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}
SMALL = Capabilities(name="Scripted", details=("fp32", "CPU"), context_length=400)


def test_the_oldest_turns_can_be_left_out_of_a_full_context(serve, open_tab):
    full = RequestError("context_full", got=460, limit=400)
    kept = [[f"{number}.", ended(prompt=100 * number)] for number in (1, 2, 3)]
    script = *kept, [full], ["Four."]
    served = serve(backend=ScriptedBackend(*script, able=SMALL))
    tab = open_tab(served.address)
    converse(tab, "First?", "Second?", "Third?")
    tab.attach(PNG)
    tab.ask("Fourth?")
    expect(tab.notice).to_contain_text("460 tokens; this model reads 400")
    tab.notice.get_by_role("button", name="Leave out turns 1 to 2").click()
    expect(tab.notice).to_have_count(0)
    expect(tab.find("#chat").get_by_text("no longer sent to the model")).to_have_count(2)
    expect(tab.box).to_have_value("Fourth?")
    tab.find("#message .submit-button").click()
    tab.wait_for_answer(4)
    assert [words for _, words, _ in said(served)] == ["Third?", "3.", "Fourth?"]
    assert len(said(served, 3)) == 7  # before, every turn went along
    expect(tab.find("#chat").get_by_text("no longer sent to the model")).to_have_count(2)


def test_a_full_context_can_be_left_for_a_new_conversation(serve, open_tab):
    full = RequestError("context_full", got=460, limit=400)
    script = ["One.", ended(prompt=100)], [full], ["Anew."]
    served = serve(backend=ScriptedBackend(*script, able=SMALL))
    tab = open_tab(served.address)
    converse(tab, "First?")
    tab.ask("Second?")
    tab.notice.get_by_role("button", name="Start anew").click()
    expect(tab.answers).to_have_count(0)
    expect(tab.box).to_have_value("Second?")  # the question that did not fit
    tab.find("#message .submit-button").click()
    tab.wait_for_answer()
    assert said(served) == [("user", "Second?", [])]


def test_the_meter_tells_what_is_left_and_what_no_longer_fits(serve, open_tab):
    script = ["One.", ended(prompt=99)], ["Two.", ended(prompt=349)], ["Three."]
    served = serve(backend=ScriptedBackend(*script, able=SMALL))
    tab = open_tab(served.address)
    meter = tab.find("#context-meter")
    converse(tab, "First?")
    expect(meter).to_contain_text("100 of 400 tokens")
    expect(meter.locator("button")).to_have_count(0)
    converse(tab, "Second?")
    expect(meter).to_contain_text("350 of 400 tokens")
    expect(meter).to_contain_text("turn 1 no longer fits")
    tab.attach(PNG, {**PNG, "name": "other.png"})  # 32 tokens more
    expect(meter).to_contain_text("382 of 400 tokens")
    act(tab, "remove", number=1).click()
    expect(meter).to_contain_text("366 of 400 tokens")
    meter.get_by_role("button", name="Leave out turn 1").click()
    expect(meter).to_contain_text("266 of 400 tokens")
    expect(meter.locator("button")).to_have_count(0)


def test_too_many_images_can_be_cut_to_the_first(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.attach(*({**PNG, "name": f"{number}.png"} for number in range(10)))
    tab.ask("All?")
    act(tab, "keep_first").click()
    expect(tab.attached).to_have_count(8)
    expect(tab.box).to_have_value("All?")
    tab.find("#message .submit-button").click()
    tab.wait_for_answer()
    assert said(served) == [("user", "All?", [f"{number}.png" for number in range(8)])]


def test_what_is_no_picture_can_be_removed(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.attach(PNG, {"name": "note.png", "mimeType": "image/png", "buffer": b"only text"})
    tab.ask("Both?")
    act(tab, "remove_broken").click()
    expect(tab.attached).to_have_count(1)
    expect(tab.notice).to_have_count(0)
    tab.find("#message .submit-button").click()
    tab.wait_for_answer()
    assert said(served) == [("user", "Both?", ["red.png"])]


FAILURES = {
    "memory": (RequestError("out_of_memory"), "Memory ran out"),
    "bug": (ZeroDivisionError("secret"), "fault of the program (ZeroDivisionError)"),
    "end": (BREAKS_OFF, "broke off"),
    "closed": (RequestError("model_closed"), "unloaded"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_same_question_can_be_sent_again(serve, open_tab, name):
    failure, words = FAILURES[name]
    served = serve(backend=ScriptedBackend(["One."], ["Never kept ", failure], ["Two."]))
    tab = open_tab(served.address)
    converse(tab, "First?")
    before = tab.stats.inner_text()
    tab.attach(PNG)
    tab.ask("Second?")
    expect(tab.notice).to_contain_text(words)
    expect(tab.notice).not_to_contain_text("secret")
    expect(tab.answers).to_have_text(["One."])
    expect(tab.stats).to_have_text(before)
    act(tab, "send").click()
    expect(tab.answers).to_have_text(["One.", "Two."])
    expect(tab.notice).to_have_count(0)
    expect(tab.box).to_have_value("")
    assert said(served)[-1] == ("user", "Second?", ["red.png"])


def test_a_failure_keeps_what_was_typed_meanwhile(serve, open_tab):
    gate = threading.Event()
    served = serve(backend=ScriptedBackend(["Begun ", gate, RequestError("out_of_memory")]))
    tab = open_tab(served.address)
    tab.ask("First?")
    expect(tab.answers.last).to_have_text("Begun")
    typed = lambda request: "My next idea" in (request.post_data or "")  # noqa: E731
    with tab.page.expect_event("requestfinished", typed):
        tab.box.fill("My next idea")
    gate.set()
    expect(tab.notice).to_contain_text("Memory ran out")
    expect(tab.box).to_have_value("First?\n\nMy next idea")


def test_a_card_can_be_dismissed_and_is_in_the_language_of_the_page(serve, open_tab):
    tab = open_tab(serve(RequestError("out_of_memory")).address, locale="zh-CN")
    tab.ask("你好")
    expect(tab.notice).to_contain_text("内存不足")
    expect(act(tab, "send")).to_have_text("重新发送")
    tab.page.get_by_label("关闭提示").click()
    expect(tab.notice).to_have_count(0)
    expect(tab.box).to_have_value("你好")


# ---- a model that cannot be loaded ----


@pytest.fixture
def serve_opening() -> Iterator[Callable[..., Served]]:
    """`serve_opening(open)` serves a page whose model is loaded by `open`."""
    pages = []

    def start(open_backend: Callable[[], Backend], answers: ScriptedBackend) -> Served:
        options = Settings(port=free_port())
        pages.append(build_ui(ModelSlot(lambda *_: open_backend(), options), options))
        launch(pages[-1], options, prevent_thread_lock=True, quiet=True)
        return Served(f"http://127.0.0.1:{options.port}", answers, pages[-1])

    yield start
    for page in pages:
        page.close()


def test_a_model_that_failed_to_load_can_be_loaded_again(serve_opening, browser):
    answers, tries = ScriptedBackend(["Yes."]), []

    def opening() -> Backend:
        tries.append(1)
        if len(tries) == 1:
            raise ModelError("cannot_load", source="pocket", detail="no header")
        return answers

    served = serve_opening(opening, answers)
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(served.address, wait_until="domcontentloaded")
    expect(page.locator(".status.failed")).to_contain_text("could not be loaded")
    page.locator("#message textarea").fill("Hello?")
    page.locator("#message textarea").press("Enter")
    expect(page.locator("#notice .card")).to_contain_text("no header")
    expect(page.locator("#message textarea")).to_have_value("Hello?")
    page.get_by_role("button", name="Load the model again").click()
    expect(page.locator(".status.ready")).to_contain_text("Scripted")
    expect(page.locator("#notice .card")).to_have_count(0)
    page.locator("#message .submit-button").click()
    expect(page.locator("#chat [data-testid=bot] .md")).to_have_text("Yes.")
    context.close()
    assert len(tries) == 2


def test_a_page_older_than_the_program_says_so_and_keeps_what_it_shows(serve, open_tab):
    served = serve("An answer.")
    tab = open_tab(served.address)
    tab.ask("First?")
    tab.wait_for_answer()
    port = int(served.address.rpartition(":")[2])
    served.page.close()
    again = serve("Another.", port=port)
    tab.ask("Second?")
    expect(tab.notice).to_contain_text("The program was started anew")
    expect(tab.answers.last).to_have_text("An answer.")
    expect(tab.box).to_have_value("Second?")
    tab.find("#notice [data-act=reload]").click()
    tab.find(".status.ready").wait_for()
    expect(tab.answers).to_have_count(0)
    tab.ask("Third?")
    tab.wait_for_answer()
    assert [asked.messages[-1].text for asked in again.backend.asked] == ["Third?"]


def test_retrying_an_earlier_turn_ends_the_editing_of_a_later_one(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    for count, question in enumerate(["One?", "Two?"], 1):
        tab.ask(question)
        tab.wait_for_answer(count)
    tab.find("#edit").click()
    expect(tab.box).to_have_value("Two?")
    tab.find("#chat [data-act=retry]").first.click()
    expect(tab.find(".versions")).to_have_text("2 of 2")
    expect(tab.find("#editing .offer")).to_have_count(0)
    expect(tab.box).to_have_value("Two?")
    tab.find("#message .submit-button").click()
    tab.wait_for_answer(2)
    assert [message.text for message in served.backend.asked[-1].messages][-1] == "Two?"
