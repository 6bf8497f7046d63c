"""Small multiples in a real browser: every control by mouse and keyboard, both files read back."""

import csv
import io
import threading

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.fakes import BREAKS_OFF, photo_bytes
from tests.ui.conftest import Tab
from vlm.backend import Finished, Timings, Usage
from vlm.ui.compare_grid import MOST_HOSTED

pytestmark = pytest.mark.browser

TEXT = {"name": "notes.png", "mimeType": "image/png", "buffer": b"a shopping list"}


def picture(name, seed=0, size=(96, 64)):
    return {"name": name, "mimeType": "image/png", "buffer": photo_bytes(seed=seed, size=size)}


THREE = [picture("b.png", 1), picture("a10.png", 2), picture("a9.png", 3)]


def go(tab: Tab, names=("Compare", "Many images")) -> None:
    for name in names:
        tab.page.get_by_role("tab", name=name, exact=True).click()
    tab.find("#grid-run").wait_for()


def cards(tab: Tab):
    return tab.find("#grid-cards article")


def add(tab: Tab, *files) -> None:
    before = cards(tab).count()
    tab.find("#grid-files input[type=file]").set_input_files(list(files))
    cards(tab).nth(before + len(files) - 1).wait_for()


def names(tab: Tab):
    return tab.find("#grid-cards article .name").all_inner_texts()


def ask(tab: Tab, question="What is this?") -> None:
    tab.find("#grid-question textarea").fill(question)
    tab.find("#grid-run").click()


def wait_for_end(tab: Tab) -> None:
    tab.find("#grid-progress p[role=status]").wait_for()
    tab.find("#grid-run").wait_for()


def notice(tab: Tab):
    return tab.find("#grid-notice .card")


def sort(tab: Tab, by: str) -> None:
    tab.find("#grid-sort input").click()
    tab.page.get_by_role("option", name=by, exact=True).click()


def download(tab: Tab, button: str, folder):
    with tab.page.expect_download() as downloading:
        tab.find(button).click()
    path = folder / downloading.value.suggested_filename
    downloading.value.save_as(path)
    return path.name, path.read_bytes()


@pytest.fixture
def grid(serve, open_tab):
    """`grid(*scripts, **settings)` opens the section over a backend with those scripts."""

    def start(*scripts, options=None, **settings):
        served = serve("Yes.", **settings)
        served.backend._scripts = scripts or (["Yes."],)
        tab = open_tab(served.address, accept_downloads=True, **(options or {}))
        go(tab)
        return served, tab

    return start


def test_each_image_is_asked_by_itself_one_after_another(grid):
    gate = threading.Event()
    served, tab = grid(["A cat."], ["A ", gate, "dog."], ["A bird."])
    add(tab, *THREE)
    ask(tab)
    expect(cards(tab).nth(0)).to_contain_text("A cat.")
    expect(cards(tab).nth(1).locator(".said")).to_have_text("A")  # streamed
    expect(cards(tab).nth(2)).to_contain_text("not asked yet")
    bar = tab.find("#grid-progress [role=progressbar]")
    expect(bar).to_contain_text("Image 2 of 3: a10.png")
    expect(bar).to_have_attribute("aria-valuenow", "1")
    expect(bar).to_have_attribute("aria-valuemax", "3")
    expect(tab.find("#grid-run")).to_be_hidden()
    gate.set()
    wait_for_end(tab)
    expect(tab.find("#grid-progress")).to_contain_text("3 of 3 images answered")
    expect(cards(tab).nth(1)).to_contain_text("A dog.")
    expect(cards(tab).nth(2)).to_contain_text("16 for images")
    asked = [each.messages[-1] for each in served.backend.asked]
    assert [len(message.images) for message in asked] == [1, 1, 1]
    assert [message.images[0].name for message in asked] == ["b.png", "a10.png", "a9.png"]
    assert {message.text for message in asked} == {"What is this?"}
    assert cards(tab).locator("img").count() == 3


@pytest.mark.parametrize("key", ["Enter", "Escape"])
def test_stop_keeps_what_is_done_and_can_go_on(grid, key):
    never = threading.Event()
    served, tab = grid(["One."], ["Two ", never], ["Two again."], ["Three."])
    add(tab, *THREE)
    expect(tab.find("#grid-go-on")).to_be_hidden()
    ask(tab)
    expect(cards(tab).nth(1).locator(".said")).to_have_text("Two")
    tab.find("#grid-stop").focus()
    tab.page.keyboard.press(key)
    expect(tab.find("#grid-progress")).to_contain_text("Stopped after 1 of 3")
    expect(cards(tab).nth(1)).to_contain_text("stopped")
    assert served.backend.asked[1].cancel.is_set()
    tab.find("#grid-go-on").click()
    wait_for_end(tab)
    expect(tab.find("#grid-progress")).to_contain_text("3 of 3")
    said = tab.find("#grid-cards .said").all_inner_texts()
    assert [words.strip() for words in said] == ["One.", "Two again.", "Three."]
    assert len(served.backend.asked) == 4
    expect(tab.find("#grid-go-on")).to_be_hidden()


def test_what_fails_says_so_on_its_card_and_the_rest_goes_on(grid):
    _, tab = grid(["One."], [BREAKS_OFF], ["Three."], ["Now."])
    add(tab, THREE[0], TEXT, *THREE[1:])
    expect(cards(tab).nth(1).locator("[role=alert]")).to_contain_text("holds text, not a picture")
    ask(tab)
    wait_for_end(tab)
    expect(tab.find("#grid-progress")).to_contain_text("2 of 3 images answered")
    expect(cards(tab).nth(2).locator("[role=alert]")).to_contain_text("broke off")
    expect(cards(tab).nth(3)).to_contain_text("Three.")
    tab.find("#grid-go-on").click()
    expect(cards(tab).nth(2)).to_contain_text("Now.")


@pytest.mark.parametrize(
    ("files", "question", "words"),
    [([], "What?", "no image to ask about"), ([TEXT], "What?", "no image"), (THREE, " ", "no que")],
)
def test_what_cannot_be_asked_is_told(grid, files, question, words):
    served, tab = grid()
    if files:
        add(tab, *files)
    ask(tab, question)
    expect(notice(tab)).to_contain_text(words)
    assert served.backend.asked == []
    expect(tab.find("#grid-run")).to_be_enabled()
    notice(tab).get_by_role("button", name="Dismiss").click()
    expect(notice(tab)).to_have_count(0)


def test_wrong_numbers_are_told_and_right_ones_are_used(grid):
    served, tab = grid()
    add(tab, THREE[0])
    tab.find("#grid-settings button").first.click()
    limit = tab.find("#grid-max-tokens textarea, #grid-max-tokens input")
    limit.fill("many")
    ask(tab)
    expect(notice(tab)).to_contain_text("Longest answer")
    limit.fill("12")
    tab.find("#grid-seed textarea, #grid-seed input").fill("5")
    tab.find("#grid-system-prompt textarea").fill("Be brief.")
    ask(tab)
    wait_for_end(tab)
    asked = served.backend.asked[0]
    assert (asked.options.max_new_tokens, asked.options.seed) == (12, 5)
    assert asked.messages[0].text == "Be brief."


def took(seconds, text):
    tokens = Usage(prompt_tokens=30, completion_tokens=len(text.split()))
    return [text, Finished("stop", tokens, Timings(first_token=0.5, decode=seconds - 0.5))]


def test_sorted_by_any_figure(grid):
    _, tab = grid(took(2, "one two three"), took(3, "x"), took(1, "medium size"))
    add(tab, *THREE)
    ask(tab)
    wait_for_end(tab)
    assert names(tab) == ["b.png", "a10.png", "a9.png"]
    for by, order in [
        ("name", ["a9.png", "a10.png", "b.png"]),
        ("time", ["a9.png", "b.png", "a10.png"]),
        ("tokens out", ["a10.png", "a9.png", "b.png"]),
        ("length of the answer", ["a10.png", "a9.png", "b.png"]),
        ("order added", ["b.png", "a10.png", "a9.png"]),
    ]:
        sort(tab, by)
        expect(tab.find("#grid-cards article .name")).to_have_text(order)
    tab.find("#grid-largest input").check()
    expect(tab.find("#grid-cards article .name")).to_have_text(["a9.png", "a10.png", "b.png"])


def test_cards_are_removed_one_by_one_and_all(grid):
    _, tab = grid()
    add(tab, *THREE)
    cards(tab).nth(1).get_by_role("button", name="Remove a10.png").press("Enter")
    expect(tab.find("#grid-cards article .name")).to_have_text(["b.png", "a9.png"])
    tab.find("#grid-clear").click()
    expect(cards(tab)).to_have_count(0)
    expect(tab.find("#grid-clear")).to_be_hidden()
    add(tab, THREE[0])
    expect(cards(tab)).to_have_count(1)


def test_images_that_are_added_while_it_runs_are_asked_too(grid):
    gate = threading.Event()
    _, tab = grid([gate, "Slow."], ["Next."])
    add(tab, THREE[0])
    ask(tab)
    tab.find("#grid-stop").wait_for()
    add(tab, THREE[1])
    gate.set()
    expect(cards(tab).nth(1)).to_contain_text("Next.")


def test_too_many_images(grid):
    _, tab = grid(hosted=True)
    expect(tab.find("#grid-intro")).to_contain_text(f"up to {MOST_HOSTED} images")
    many = [picture(f"{n}.png", n, (8, 8)) for n in range(MOST_HOSTED + 1)]
    tab.find("#grid-files input[type=file]").set_input_files(many)
    expect(notice(tab)).to_contain_text(f"{MOST_HOSTED + 1} images; at most {MOST_HOSTED}")
    expect(cards(tab)).to_have_count(0)


# ---- files ----


def test_saved_as_a_table(grid, tmp_path):
    _, tab = grid(["=1+1"], ["A dog, “big”."])
    add(tab, picture("cat.png", 1), TEXT, picture("dog.png", 2))
    expect(tab.find("#grid-csv")).to_be_visible()  # there is a failure to tell
    ask(tab, "What?")
    wait_for_end(tab)
    sort(tab, "name")
    tab.find("#grid-largest input").check()
    expect(tab.find("#grid-cards article .name").first).to_have_text("notes.png")
    name, data = download(tab, "#grid-csv", tmp_path)
    assert name == "answers.csv"
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert [row["file"] for row in rows] == ["notes.png", "dog.png", "cat.png"]
    assert rows[2]["answer"] == "'=1+1"
    assert rows[1]["answer"] == "A dog, “big”."
    assert "holds text" in rows[0]["error"]
    assert rows[1]["question"] == "What?"


def test_saved_as_a_page_that_stands_alone(grid, open_tab, browser, tmp_path):
    _, tab = grid(["A <b>bold</b> <script>document.title='no'</script> cat."])
    add(tab, THREE[0], TEXT)
    ask(tab, "What <i>is</i> it?")
    wait_for_end(tab)
    name, data = download(tab, "#grid-page", tmp_path)
    assert name == "answers.html"
    page = browser.new_page()
    asked_for = []
    page.on("request", lambda request: asked_for.append(request.url))
    page.goto((tmp_path / name).as_uri())
    assert page.title() == "What <i>is</i> it?"
    expect(page.locator("article")).to_have_count(2)
    expect(page.locator("article").first).to_contain_text("A <b>bold</b>")
    width = page.locator("img").evaluate("image => image.naturalWidth")
    assert width == 96
    assert [url for url in asked_for if not url.startswith(("file:", "data:"))] == []
    assert b"<script" not in data
    page.close()


# ---- everyone ----


def test_by_keyboard_alone(grid):
    served, tab = grid(["One."], ["Two."])
    add(tab, *THREE[:2])
    question = tab.find("#grid-question textarea")
    question.focus()
    tab.page.keyboard.type("What is it?")
    tab.page.keyboard.press("Tab")  # past the settings to the button
    for _ in range(6):
        if tab.page.evaluate("document.activeElement.id") == "grid-run":
            break
        tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.id") == "grid-run"
    tab.page.keyboard.press("Enter")
    wait_for_end(tab)
    assert len(served.backend.asked) == 2
    tab.find("#grid-largest input").focus()
    tab.page.keyboard.press("Space")
    expect(tab.find("#grid-cards article .name").first).to_have_text("a10.png")
    tab.find("#grid-sort input").focus()
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")


def test_nobody_else_sees_the_cards(grid, open_tab):
    served, tab = grid(["Secret."])
    add(tab, THREE[0])
    ask(tab)
    wait_for_end(tab)
    other = open_tab(served.address)
    go(other)
    expect(cards(other)).to_have_count(0)


def test_a_page_that_is_closed_stops_its_run(grid):
    never = threading.Event()
    served, tab = grid(["One ", never])
    add(tab, THREE[0])
    ask(tab)
    expect(cards(tab).first).to_contain_text("One")
    tab.page.close()
    asked = served.backend.asked[0]
    assert asked.cancel.wait(20)


def test_in_chinese_and_back(grid):
    _, tab = grid(["一只猫。"])
    add(tab, THREE[0])
    ask(tab)
    wait_for_end(tab)
    tab.find("#language").get_by_text("简体中文").click()
    expect(tab.find("#grid-run")).to_have_text("逐张提问")
    expect(tab.find("#grid-intro")).to_contain_text("最多 64 张")
    expect(tab.find("#grid-progress")).to_contain_text("1 张图片中已回答 1 张")
    expect(cards(tab).first).to_contain_text("输入 36 词元")
    expect(tab.find("#grid-sort")).to_contain_text("排序")
    expect(tab.find("#grid-files > label")).to_have_text("图片：拖到这里或点击选择")
    browsers_own = tab.find("#grid-files button .wrap")  # which follow the browser
    assert browsers_own.evaluate("each => getComputedStyle(each).fontSize") == "0px"


def test_on_a_phone_nothing_scrolls_sideways(grid):
    _, tab = grid(["word " * 40], options={"viewport": {"width": 390, "height": 844}})
    add(tab, picture("a-name-that-is-rather-long-for-so-narrow-a-screen.png"), TEXT)
    ask(tab)
    wait_for_end(tab)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_no_accessibility_violations(grid):
    _, tab = grid(["One."])
    add(tab, *THREE[:1], TEXT)
    ask(tab)
    wait_for_end(tab)
    found = Axe().run(tab.page)
    assert found.violations_count == 0, found.generate_report()


def test_an_answer_cannot_make_markup_or_buttons(grid):
    _, tab = grid(['<button data-act="remove" data-number="1">x</button><img src="http://x/">'])
    add(tab, THREE[0])
    ask(tab)
    wait_for_end(tab)
    said = cards(tab).first.locator(".said")
    expect(said).to_contain_text("<button")
    expect(said.locator("button, img")).to_have_count(0)


# ---- images of the other section ----


def offer(tab: Tab):
    return tab.find("#grid-offer [data-act=use]")


def compared(tab: Tab, *files) -> None:
    """Puts images into the section of two."""
    tab.page.get_by_role("tab", name="Two images", exact=True).click()
    before = tab.find("#compare-strip figure").count()
    tab.find("#compare-right input[type=file]").set_input_files(list(files))
    tab.find("#compare-strip figure").nth(before + len(files) - 1).wait_for()
    tab.page.get_by_role("tab", name="Many images", exact=True).click()


def test_images_of_compare_are_used_by_one_press(grid):
    served, tab = grid(["A cat."], ["A dog."], ["A bird."])
    expect(offer(tab)).to_have_count(0)
    large = picture("large.png", 5, size=(1400, 900))
    compared(tab, THREE[0], large)
    expect(offer(tab)).to_have_text("Use the 2 pictures of “Two images”")
    expect(tab.find("#grid-offer img")).to_have_count(2)
    add(tab, THREE[2])
    offer(tab).press("Enter")
    expect(cards(tab)).to_have_count(3)
    expect(offer(tab)).to_have_count(0)
    assert names(tab) == ["a9.png", "b.png", "large.png"]
    tab.page.get_by_role("tab", name="Two images", exact=True).click()
    tab.find("#compare-clear").click()
    tab.find("#compare-welcome").wait_for()
    tab.page.get_by_role("tab", name="Many images", exact=True).click()
    ask(tab)  # they are here now, whatever becomes of them there
    wait_for_end(tab)
    expect(tab.find("#grid-progress")).to_contain_text("3 of 3 images answered")
    images = [each.messages[-1].images[0] for each in served.backend.asked]
    assert [image.name for image in images] == ["a9.png", "b.png", "large.png"]
    assert images[2].pixels.size == (1400, 900)


def test_the_example_pairs_are_offered_while_there_is_nothing_else(grid):
    served, tab = grid(["A full cup."], ["An empty cup."])
    examples = tab.find("#grid-offer [data-act=example]")
    expect(examples).to_have_count(2)
    examples.first.press("Enter")
    expect(cards(tab)).to_have_count(2)
    expect(examples).to_have_count(0)
    ask(tab)
    wait_for_end(tab)
    asked = [each.messages[-1].images[0].name for each in served.backend.asked]
    assert asked == ["coffee.jpg", "coffee-later.jpg"]
    tab.find("#grid-clear").click()
    expect(examples).to_have_count(2)


def test_what_was_removed_or_is_new_is_offered_again(grid):
    _, tab = grid()
    compared(tab, *THREE[:2])
    offer(tab).click()
    expect(cards(tab)).to_have_count(2)
    tab.page.get_by_role("button", name="Remove b.png").click()
    expect(offer(tab)).to_have_text("Use the picture of “Two images”")
    compared(tab, THREE[2])
    expect(offer(tab)).to_have_text("Use the 2 pictures of “Two images”")
    tab.find("#grid-clear").click()
    expect(offer(tab)).to_have_text("Use the 3 pictures of “Two images”")
    tab.find("#language").get_by_text("简体中文").click()
    expect(offer(tab)).to_have_text("使用“两张图片”中的 3 张图片")


def test_clearing_all_data_empties_the_section(grid):
    _, tab = grid()
    compared(tab, *THREE[:2])
    offer(tab).click()
    expect(cards(tab)).to_have_count(2)
    tab.page.get_by_role("tab", name="Chat", exact=True).click()
    tab.find("#settings-toggle").click()
    tab.find("#forget").click()
    tab.find("#settings-close").click()
    expect(tab.notice).to_contain_text("Everything of this visit is gone")
    tab.page.get_by_role("tab", name="Compare", exact=True).click()
    tab.find("#grid-run").wait_for()
    expect(cards(tab)).to_have_count(0)
    expect(offer(tab)).to_have_count(0)
