"""The Chat tab in a real browser, over a backend that says what the test tells it to, on cue."""

import threading

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.fakes import photo_bytes
from vlm.backend import Finished, Progress
from vlm.errors import RequestError

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}
OTHER = {"name": "blue.png", "mimeType": "image/png", "buffer": photo_bytes(seed=2)}

PASTE = """([name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'}));
    const box = document.querySelector('#message textarea');
    box.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));
}"""
DROP = """([name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'}));
    const box = document.querySelector('#message textarea');
    for (const kind of ['dragenter', 'dragover', 'drop'])
        box.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true}));
}"""


def sent_images(served, turn=-1):
    """Names of the images in the last message of a request."""
    return [image.name for image in served.backend.asked[turn].messages[-1].images]


def test_an_attached_photo_and_a_question_get_a_streamed_answer(serve, open_tab):
    gate = threading.Event()
    served = serve("A red ", gate, "photo.")
    tab = open_tab(served.address)
    tab.attach(PNG)
    tab.ask("What is this?")
    expect(tab.answers.last).to_have_text("A red")  # there before the answer has ended
    gate.set()
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("A red photo.")
    expect(tab.stats).to_contain_text("36 tokens in · 16 for images")
    expect(tab.find("#chat [data-testid=user] img")).to_have_attribute("alt", "red.png")
    assert served.backend.asked[0].messages[-1].text == "What is this?"
    assert sent_images(served) == ["red.png"]


@pytest.mark.parametrize("gesture", [PASTE, DROP], ids=["paste", "drop"])
def test_an_image_can_be_pasted_and_dropped(serve, open_tab, gesture):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.page.evaluate(gesture, ["pasted.png", list(PNG["buffer"])])
    tab.attached.wait_for()
    tab.ask("And this?")
    tab.wait_for_answer()
    assert sent_images(served) == ["pasted.png"]


def test_several_images_in_one_turn_and_across_turns(serve, open_tab):
    served = serve("Two.")
    tab = open_tab(served.address)
    tab.attach(PNG, OTHER)
    tab.ask("Compare.")
    tab.wait_for_answer()
    assert sent_images(served) == ["red.png", "blue.png"]
    tab.attach(OTHER)
    tab.ask("And this one?")
    tab.wait_for_answer(2)
    roles = [message.role for message in served.backend.asked[1].messages]
    assert roles == ["user", "assistant", "user"]
    assert [len(message.images) for message in served.backend.asked[1].messages] == [2, 0, 1]
    expect(tab.find("#chat [data-testid=user] img")).to_have_count(3)


def test_stop_keeps_the_partial_answer_and_the_conversation_goes_on(serve, open_tab):
    never = threading.Event()
    served = serve("Half of ", never, "the answer.")
    tab = open_tab(served.address)
    tab.ask("Tell me a lot.")
    expect(tab.answers.last).to_have_text("Half of")
    expect(tab.find("#message .submit-button")).to_have_count(0)  # Stop stands in its place
    tab.find("#stop").click()
    tab.wait_for_answer()
    assert served.backend.asked[0].cancel.is_set()
    expect(tab.answers.last).to_contain_text("Half of")
    expect(tab.answers.last).to_contain_text("stopped")
    expect(tab.find("span.error")).to_have_count(0)
    never.set()
    tab.ask("Go on.")
    tab.wait_for_answer(2)
    assert [message.text for message in served.backend.asked[1].messages] == [
        "Tell me a lot.",
        "Half of ",
        "Go on.",
    ]


def test_a_question_stopped_before_the_first_word_comes_back_into_the_box(serve, open_tab):
    tab = open_tab(serve(threading.Event(), "never").address)
    tab.attach(PNG)
    tab.ask("Wait.")
    tab.find("#stop").click()
    expect(tab.box).to_have_value("Wait.")
    expect(tab.attached).to_have_count(1)
    expect(tab.find("#chat [data-testid=user]")).to_have_count(0)


def test_an_answer_without_a_word_says_so(serve, open_tab):
    tab = open_tab(serve(Finished("stop")).address)
    tab.ask("Nothing?")
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("The model ended without a word.")


def test_progress_is_told_in_words_until_the_first_word(serve, open_tab):
    queued, reading = threading.Event(), threading.Event()
    served = serve(Progress("queued", 2, 2), queued, Progress("reading", 1, 3), reading, "Done.")
    tab = open_tab(served.address)
    tab.ask("Well?")
    expect(tab.find("#chat .pending")).to_have_text("waiting, 2 ahead …")
    queued.set()
    expect(tab.find("#chat .pending")).to_have_text("reading image 1 of 3 …")
    reading.set()
    tab.wait_for_answer()
    expect(tab.find("#chat .pending")).to_have_count(0)


def test_a_failed_turn_comes_back_into_the_box_and_is_no_answer(serve, open_tab):
    served = serve("Never kept ", RequestError("context_full", got=9000, limit=8192))
    tab = open_tab(served.address)
    tab.attach(PNG)
    tab.ask("Too long?")
    expect(tab.find("#notice [role=alert]")).to_contain_text("9000 tokens")
    expect(tab.box).to_have_value("Too long?")
    expect(tab.attached).to_have_count(1)
    expect(tab.answers).to_have_count(0)
    expect(tab.find("#chat [data-testid=user]")).to_have_count(0)  # as empty as before
    tab.find("#message .submit-button").click()  # the same turn can be sent again as it stands
    expect(tab.find("#notice [role=alert]")).to_be_visible()
    assert sent_images(served) == ["red.png"]


def test_a_bug_is_not_shown_as_an_answer_either(serve, open_tab, caplog):
    tab = open_tab(serve(ZeroDivisionError("secret/path")).address)
    tab.ask("Break.")
    expect(tab.find("#notice [role=alert]")).to_contain_text("ZeroDivisionError")
    expect(tab.find("#notice [role=alert]")).not_to_contain_text("secret")
    expect(tab.box).to_have_value("Break.")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("note.png", b"hello, this is text", "text"),
        ("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("half.png", photo_bytes()[:200], "half.png"),
        ("empty.png", b"", "empty.png"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_lost(serve, open_tab, name, content, words):
    served = serve("First answer.")
    tab = open_tab(served.address)
    tab.ask("First.")
    tab.wait_for_answer()
    tab.attach({"name": name, "mimeType": "image/png", "buffer": content})
    tab.ask("What is it?")
    expect(tab.find("#notice [role=alert]")).to_contain_text(words)
    expect(tab.box).to_have_value("What is it?")
    expect(tab.answers).to_have_count(1)
    assert len(served.backend.asked) == 1


def test_thirty_images_are_refused_with_both_numbers(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.attach(*({**PNG, "name": f"{number}.png"} for number in range(30)))
    expect(tab.attached.nth(7)).to_contain_text("16 tokens")
    expect(tab.attached.nth(8)).to_contain_text("One too many: a message takes 8 images")
    tab.ask("All of these?")
    expect(tab.find("#notice [role=alert]")).to_contain_text("30 images in one message; at most 8")
    expect(tab.attached).to_have_count(30)
    assert served.backend.asked == []


def test_an_empty_message_says_what_to_do(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.ask("   ")
    expect(tab.find("#notice [role=alert]")).to_contain_text("empty")
    assert served.backend.asked == []


def test_a_long_paste_stays_text(serve, open_tab):
    served = serve("Read.")
    tab = open_tab(served.address)
    tab.page.evaluate(
        """text => {
            const data = new DataTransfer();
            data.setData('text/plain', text);
            const box = document.querySelector('#message textarea');
            box.dispatchEvent(new ClipboardEvent('paste',
                {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        "word " * 1000,
    )
    expect(tab.attached).to_have_count(0)
    tab.ask("word " * 1000)
    tab.wait_for_answer()
    assert served.backend.asked[0].messages[-1].text.count("word") == 1000


def test_clear_forgets_the_conversation(serve, open_tab):
    served = serve("One.")
    tab = open_tab(served.address)
    tab.ask("First.")
    tab.wait_for_answer()
    tab.find("#clear").click()
    expect(tab.answers).to_have_count(0)
    expect(tab.find("#examples")).to_be_visible()
    expect(tab.stats).to_have_count(0)
    tab.ask("Second.")
    tab.wait_for_answer()
    assert [message.text for message in served.backend.asked[1].messages] == ["Second."]


def test_an_example_sends_its_photo_and_question(serve, open_tab):
    served = serve("A cat.")
    tab = open_tab(served.address)
    tab.find(".example").first.click()
    tab.wait_for_answer()
    assert sent_images(served) == ["cat.jpg"]
    assert served.backend.asked[0].messages[-1].text.startswith("What animal")


def test_pictures_in_an_answer_are_never_fetched(serve, open_tab):
    leak = "Look: ![chart](https://example.com/?q=secret) <img src='https://example.com/x'> end"
    tab = open_tab(serve(leak).address)
    tab.ask("Show me.")
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("Look: chart  end")
    expect(tab.find("#chat [data-testid=bot] img")).to_have_count(0)


def test_two_visitors_never_see_each_other(serve, open_tab):
    gate = threading.Event()
    served = serve("Slow ", gate, "answer.")
    first, second = open_tab(served.address), open_tab(served.address)
    first.ask("Mine.")
    expect(first.answers.last).to_have_text("Slow")
    expect(second.answers).to_have_count(0)
    second.ask("Theirs.")
    expect(second.answers.last).to_have_text("Slow")
    second.find("#stop").click()
    second.wait_for_answer()
    assert [asked.cancel.is_set() for asked in served.backend.asked] == [False, True]
    gate.set()
    first.wait_for_answer()
    expect(first.answers.last).to_have_text("Slow answer.")
    assert [message.text for message in served.backend.asked[1].messages] == ["Theirs."]


def test_a_closed_tab_ends_its_answer(serve, open_tab):
    served = serve("Begun ", threading.Event(), "never read.")
    tab = open_tab(served.address)
    tab.ask("Hello?")
    expect(tab.answers.last).to_have_text("Begun")
    tab.page.close()
    assert served.backend.asked[0].cancel.wait(15)


def test_language_and_theme_switches(serve, open_tab):
    tab = open_tab(serve("Ja.").address, locale="zh-CN")
    expect(tab.find("#welcome")).to_contain_text("照片")
    tab.page.get_by_text("English", exact=True).click()
    expect(tab.find("#welcome")).to_contain_text("Drop a photo")
    expect(tab.box).to_have_attribute(
        "placeholder", "Ask about your photos: drop, paste or attach them here"
    )
    tab.page.reload(wait_until="domcontentloaded")
    expect(tab.find("#welcome")).to_contain_text("Drop a photo")  # it is remembered
    tab.find("#theme").click()
    expect(tab.find("body")).to_have_class("dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways_on_a_phone(serve, open_tab, scheme):
    served = serve("A long answer with anextremelylongwordthatdoesnotbreakanywhere " * 5)
    size = {"width": 390, "height": 800}
    tab = open_tab(served.address, viewport=size, color_scheme=scheme)
    width = "document.documentElement.scrollWidth"
    assert tab.page.evaluate(width) <= 390
    tab.attach(PNG, OTHER)
    tab.ask("What are these?")
    tab.wait_for_answer()
    assert tab.page.evaluate(width) <= 390
    expect(tab.box).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_finding(serve, open_tab, scheme):
    tab = open_tab(serve("A photo.").address, color_scheme=scheme)
    severe = [*_severe_findings(tab)]
    tab.attach(PNG)
    tab.ask("What is this?")
    tab.wait_for_answer()
    severe += _severe_findings(tab)
    assert severe == []


def _severe_findings(tab):
    found = Axe().run(tab.page).response["violations"]
    return [
        (each["id"], node["html"][:200])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
