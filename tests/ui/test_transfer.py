"""Conversations out of the page and back in, in a real browser: files, the browser's own store."""

import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest
from gradio.utils import get_upload_folder
from playwright.sync_api import expect

from tests.support.fakes import photo_bytes
from vlm.options import GenerationOptions
from vlm.settings import Settings
from vlm.transcript import from_zip

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}
LIMITS = Settings().conversation_limits


def open_drawer(tab):
    tab.find("#settings-toggle").click()
    tab.find("#settings").wait_for()


def download(tab, button, folder):
    """What pressing the button downloads: (name, bytes)."""
    with tab.page.expect_download() as downloading:
        tab.find(button).click()
    path = folder / downloading.value.suggested_filename
    downloading.value.save_as(path)
    return path.name, path.read_bytes()


def import_file(tab, data, name="conversation.zip"):
    upload = {"name": name, "mimeType": "application/zip", "buffer": data}
    tab.find("input[type=file][accept='.zip']").set_input_files(upload)


def told(tab, words):
    expect(tab.notice).to_contain_text(words)


@pytest.fixture
def talked(serve, open_tab, tmp_path):
    """A page with one answered question about a photo, and the bytes of its export."""
    served = serve("A red ", "photo.")
    tab = open_tab(served.address, accept_downloads=True)
    tab.attach(PNG)
    tab.ask("What is this?")
    tab.wait_for_answer()
    open_drawer(tab)
    tab.find("#temperature input, #temperature textarea").fill("0.5")
    tab.find("#changed .chip").wait_for()
    _, data = download(tab, "#export", tmp_path)
    return served, tab, data


def test_an_export_opened_by_somebody_else_goes_on_where_it_ended(talked, open_tab):
    served, _, data = talked
    other = open_tab(served.address)
    import_file(other, data)
    told(other, "A conversation with Scripted is open again (turns: 1)")
    expect(other.answers.last).to_have_text("A red photo.")
    expect(other.find("#chat [data-testid=user] img")).to_have_attribute("alt", "red.png")
    other.ask("And now?")
    other.wait_for_answer(2)
    first, second = served.backend.asked
    said = [message.text for message in second.messages]
    assert said == ["What is this?", "A red photo.", "And now?"]
    assert second.messages[0].images == first.messages[0].images  # equal by content


def test_an_export_holds_settings_model_and_numbers_but_no_metadata(talked):
    served, _, data = talked
    kept = from_zip(data, limits=LIMITS)
    turn = kept.start.following[0].turn
    assert (kept.model, turn.answer) == ("Scripted", "A red photo.")
    assert turn.options == GenerationOptions(seed=served.backend.asked[0].options.seed)
    assert turn.finished.usage.prompt_tokens == 36
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["conversation.json", "images/01.png"]


def test_the_page_is_one_file_that_asks_for_nothing(talked, browser, tmp_path):
    _, tab, _ = talked
    name, data = download(tab, "#export-page", tmp_path)
    assert name == "conversation.html"
    context = browser.new_context()
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / name).as_uri())
    expect(page.locator("body")).to_contain_text("A red photo.")
    expect(page.locator("img")).to_have_attribute("alt", "red.png")
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    context.close()
    assert b"<script" not in data


def test_an_export_of_nothing_says_so(serve, open_tab):
    tab = open_tab(serve().address)
    open_drawer(tab)
    tab.find("#export").click()
    told(tab, "There is nothing to export yet.")


def changed(data, change):
    """The export with its JSON changed by `change(document)`."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "conversation.json":
                document = json.loads(content)
                change(document)
                content = json.dumps(document).encode()
            new.writestr(name, content)
    return file.getvalue()


def with_entry(data, name, content):
    """The export with one more file in it."""
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "tamper",
    [
        lambda data: b"no zip at all",
        lambda data: data[: len(data) // 2],
        lambda data: with_entry(data, "../../evil.png", b"x"),
        lambda data: with_entry(data, "images/99.png", b"\0" * 150_000_000),
        lambda data: changed(data, lambda document: document.update(version=99)),
        lambda data: changed(data, lambda document: document.update(format="other")),
        lambda data: changed(data, lambda document: document.clear()),
    ],
    ids=["no zip", "half", "path traversal", "bomb", "version", "format", "empty"],
)
def test_a_tampered_export_is_refused_and_nothing_is_lost(talked, tamper):
    _, tab, data = talked
    tab.box.fill("half a thought")
    import_file(tab, tamper(data))
    expect(tab.find("#notice [role=alert]")).to_be_visible()
    expect(tab.answers.last).to_have_text("A red photo.")
    expect(tab.box).to_have_value("half a thought")
    assert not list(Path(get_upload_folder()).rglob("evil.png"))


def test_the_conversation_before_an_import_can_be_brought_back(talked, open_tab):
    served, _, data = talked
    other = open_tab(served.address)
    other.ask("Mine.")
    other.wait_for_answer()
    import_file(other, data)
    told(other, "is open again")
    expect(other.find("#chat [data-testid=user]").last).not_to_contain_text("Mine.")
    other.find("#notice [data-act=bring_back]").click()
    expect(other.find("#chat [data-testid=user]").last).to_contain_text("Mine.")


def test_nothing_is_kept_in_the_browser_unless_asked_for(talked):
    _, tab, _ = talked
    assert tab.page.evaluate("window.diptych.list()") == []
    expect(tab.find("#keep input")).not_to_be_checked()


def test_a_kept_conversation_is_there_after_a_reload_and_goes_on(talked):
    served, tab, _ = talked
    tab.find("#keep input").check()
    expect(tab.find("#kept li")).to_have_count(1)
    tab.page.reload(wait_until="domcontentloaded")
    tab.find(".status.ready").wait_for()
    expect(tab.answers).to_have_count(0)
    open_drawer(tab)
    expect(tab.find("#keep input")).to_be_checked()
    tab.find("#kept [data-act=open_kept]").click()
    expect(tab.answers.last).to_have_text("A red photo.")
    tab.ask("Go on.")
    tab.wait_for_answer(2)
    assert [message.text for message in served.backend.asked[1].messages][-1] == "Go on."
    assert len(served.backend.asked[1].messages[0].images) == 1
    open_drawer(tab)
    expect(tab.find("#kept li")).to_have_count(1)  # the same conversation, now longer


def test_two_tabs_that_go_on_with_one_kept_conversation_keep_both(talked):
    served, tab, _ = talked
    tab.find("#keep input").check()
    expect(tab.find("#kept li")).to_have_count(1)
    second = type(tab)(tab.page.context, served.address)
    open_drawer(second)
    second.find("#kept [data-act=open_kept]").click()
    expect(second.answers).to_have_count(1)
    second.ask("From the second tab.")
    second.wait_for_answer(2)
    tab.page.keyboard.press("Escape")
    tab.ask("From the first tab.")
    tab.wait_for_answer(2)
    expect(tab.find("#kept li")).to_have_count(2)


def test_a_kept_conversation_can_be_deleted(talked):
    _, tab, _ = talked
    tab.find("#keep input").check()
    tab.find("#kept [data-act=delete_kept]").click()
    expect(tab.find("#kept li")).to_have_count(0)
    tab.page.wait_for_function("async () => (await window.diptych.list()).length === 0")


def test_clear_my_data_leaves_nothing(talked):
    _, tab, _ = talked
    tab.find("#keep input").check()
    expect(tab.find("#kept li")).to_have_count(1)
    before = set(Path(get_upload_folder()).rglob("*red.png"))
    assert before
    tab.find("#forget").click()
    told(tab, "Everything of this visit is gone")
    expect(tab.answers).to_have_count(0)
    expect(tab.find("#kept li")).to_have_count(0)
    expect(tab.find("#changed .chip")).to_have_count(0)
    expect(tab.find("#keep input")).not_to_be_checked()
    tab.page.wait_for_function("async () => (await window.diptych.list()).length === 0")
    names = tab.page.evaluate("Object.keys(localStorage)")
    assert [name for name in names if name.startswith("diptych-")] == []
    assert not [path for path in before if path.exists()]


def stored(tab):
    """What lies in the browser: title -> how often."""
    titles = [record["title"] for record in tab.page.evaluate("window.diptych.list()")]
    return {title: titles.count(title) for title in titles}


def keep_one(tab):
    tab.find("#keep input").check()
    expect(tab.find("#kept li")).to_have_count(1)


def ask_about_something_else(tab):
    """Another question and its answer, so that whatever was to be kept by now is kept."""
    tab.page.keyboard.press("Escape")
    tab.ask("Something else?")
    tab.wait_for_answer()


def test_what_was_cleared_is_not_kept_again(talked):
    _, tab, _ = talked
    keep_one(tab)
    tab.find("#forget").click()
    told(tab, "Everything of this visit is gone")
    tab.page.wait_for_function("async () => (await window.diptych.list()).length === 0")
    tab.find("#keep input").check()  # nothing has been said since
    tab.find("#keep input").uncheck()
    ask_about_something_else(tab)
    assert stored(tab) == {}


def test_a_new_conversation_is_kept_beside_the_old_one(talked):
    _, tab, _ = talked
    keep_one(tab)
    tab.page.keyboard.press("Escape")
    tab.find("#clear").click()
    expect(tab.answers).to_have_count(0)
    tab.find("#notice [data-act=bring_back]").click()
    expect(tab.answers).to_have_count(1)
    tab.find("#clear").click()
    expect(tab.answers).to_have_count(0)
    ask_about_something_else(tab)
    expect(tab.find("#kept li")).to_have_count(2)
    assert stored(tab) == {"What is this?": 1, "Something else?": 1}


def test_an_import_leaves_the_kept_conversation_alone(talked, open_tab):
    served, _, data = talked
    tab = open_tab(served.address)
    tab.ask("Mine.")
    tab.wait_for_answer()
    open_drawer(tab)
    keep_one(tab)
    import_file(tab, data)
    told(tab, "is open again")
    expect(tab.find("#kept li")).to_have_count(2)
    assert stored(tab) == {"Mine.": 1, "What is this?": 1}


def test_nothing_more_is_kept_once_it_is_switched_off(talked):
    _, tab, _ = talked
    keep_one(tab)
    tab.find("#kept [data-act=delete_kept]").click()
    expect(tab.find("#kept li")).to_have_count(0)
    tab.find("#keep input").uncheck()
    ask_about_something_else(tab)
    assert stored(tab) == {}


def test_one_visitor_who_leaves_takes_no_picture_from_another(serve, open_tab):
    served = serve("A cat.")
    first, second = open_tab(served.address), open_tab(served.address)
    for tab in (first, second):
        tab.find(".example").first.click()
        tab.wait_for_answer()
    second.attach("assets/examples/cat.jpg")  # the same bytes and name as the example's own
    picture = first.find("#chat [data-testid=user] img").get_attribute("src")
    open_drawer(second)
    second.find("#forget").click()
    told(second, "Everything of this visit is gone")
    assert httpx.get(picture).status_code == 200
    example = open_tab(served.address).find(".example img").first.get_attribute("src")
    assert httpx.get(example).status_code == 200


def test_clear_my_data_takes_exported_files_along(talked):
    _, tab, _ = talked
    exported = set(Path(get_upload_folder()).glob("*/conversation.zip"))
    assert exported
    tab.find("#forget").click()
    told(tab, "Everything of this visit is gone")
    assert len(exported & set(Path(get_upload_folder()).glob("*/conversation.zip"))) < len(exported)
