"""What stands around the message box: attached images, prompts, addresses, the camera."""

import re
import threading

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests import test_fetch
from tests.support.fakes import ScriptedBackend, photo_bytes
from tests.ui.conftest import free_port
from vlm import fetch
from vlm.backend import Capabilities, ImageKnob
from vlm.model_slot import ModelSlot
from vlm.settings import Settings
from vlm.strings import LANGUAGES, say
from vlm.ui import build_ui, launch
from vlm.ui.composer import PRESETS, addresses, presets, rearranged, without

certificate, pictures = test_fetch.certificate, test_fetch.asked
"""A TLS server that answers for pictures.example; see tests/test_fetch.py."""

TILES = ImageKnob(name="tiles", default=1, low=1, high=12)
ABLE = Capabilities(name="Scripted", context_length=8192, image_knobs=(TILES,))


def picture(name, mode="RGB", size=(96, 64)):
    """A file for the box; each name has a picture of its own."""
    data = photo_bytes(mode, size, seed=sum(name.encode()))
    return {"name": name, "mimeType": "image/png", "buffer": data}


NOTE = {"name": "note.png", "mimeType": "image/png", "buffer": b"hello, this is text"}


def severe_findings(tab):
    found = Axe().run(tab.page).response["violations"]
    return [
        (each["id"], node["html"][:200])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def sent_images(served, turn=-1):
    return [image.name for image in served.backend.asked[turn].messages[-1].images]


def act(tab, kind, **facts):
    """A button that is drawn around the box."""
    data = "".join(f'[data-{key}="{value}"]' for key, value in facts.items())
    return tab.find(f'#conversation button[data-act="{kind}"]{data}')


def set_tiles(tab, count):
    """In the drawer, which is open only for this."""
    tab.find("#settings-toggle").click()
    tab.find("#image-tiles input, #image-tiles textarea").fill(str(count))
    tab.find("#settings-close").click()


# ---- pure ----


@pytest.mark.parametrize(
    ("act", "number", "expected"),
    [
        ("earlier", 1, "abc"),
        ("earlier", 2, "bac"),
        ("earlier", 3, "acb"),
        ("later", 1, "bac"),
        ("later", 3, "abc"),
        ("remove", 1, "bc"),
        ("remove", 3, "ab"),
        ("remove", 4, "abc"),
        ("later", 0, "abc"),
    ],
)
def test_rearranging(act, number, expected):
    assert "".join(rearranged("abc", act, number)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no address", []),
        ("http://a.example/x.png ftp://a.example", []),
        ("see https://a.example/x.png.", ["https://a.example/x.png"]),
        ("(https://a.example/x.png), or?", ["https://a.example/x.png"]),
        ("<https://a.example/?q=1&r=2>", ["https://a.example/?q=1&r=2"]),
        ("看 https://a.example/x.png，好吗？", ["https://a.example/x.png"]),
        ("https://a.example/x https://b.example/", ["https://a.example/x", "https://b.example/"]),
    ],
)
def test_addresses_in_a_text(text, expected):
    assert addresses(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example/x", ""),
        ("What is at https://a.example/x ?", "What is at ?"),
        ("https://a.example/xy and https://a.example/x.", "https://a.example/xy and ."),
        ("nothing", "nothing"),
    ],
)
def test_only_the_address_itself_leaves_the_text(text, expected):
    assert without(text, "https://a.example/x") == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_preset_has_a_button_and_a_prompt(language):
    drawn = presets(language)
    prompts = {say(f"preset.{name}.prompt", language) for name in PRESETS}
    assert len(prompts) == len(PRESETS)
    assert all(len(prompt) > 15 for prompt in prompts)
    assert [name in drawn for name in PRESETS] == [True] * len(PRESETS)
    assert all(say(f"preset.{name}", language) in drawn for name in PRESETS)


# ---- attached images ----


@pytest.mark.browser
def test_each_image_says_what_the_model_gets_of_it(serve, open_tab):
    served = serve(backend=ScriptedBackend(["Yes."], able=ABLE))
    tab = open_tab(served.address)
    tab.attach(picture("cat.png"), picture("logo.png", "RGBA"))
    chips = tab.attached.locator("figcaption")
    expect(chips.nth(0)).to_have_text("1 · cat.png · 96 × 64 → 256 × 256 · 16 tokens")
    expect(chips.nth(1)).to_have_text(
        "2 · logo.png · 96 × 64 → 256 × 256 · 16 tokens · transparency dropped"
    )
    set_tiles(tab, 3)
    expect(chips.nth(0)).to_have_text("1 · cat.png · 96 × 64 → 768 × 256 · 3 tiles · 48 tokens")
    act(tab, "reset", name="tiles").click()
    expect(chips.nth(0)).to_have_text("1 · cat.png · 96 × 64 → 256 × 256 · 16 tokens")
    tab.ask("Well?")
    expect(tab.attached).to_have_count(0)
    tab.wait_for_answer()


@pytest.mark.browser
def test_until_the_model_is_there_only_the_size_is_known(browser):
    gate, backend = threading.Event(), ScriptedBackend(["Yes."], able=ABLE)
    options = Settings(port=free_port())
    app = build_ui(ModelSlot(lambda *_: gate.wait(30) and backend, options), options)
    launch(app, options, prevent_thread_lock=True, quiet=True)
    page = browser.new_page(locale="en-US")
    try:
        page.goto(f"http://127.0.0.1:{options.port}", wait_until="domcontentloaded")
        expect(page.locator(".status.loading")).to_contain_text("Loading")
        page.locator("#message input[type=file]").set_input_files([picture("cat.png")])
        chip = page.locator("#token-chip figcaption")
        expect(chip).to_have_text("1 · cat.png · 96 × 64")
        gate.set()
        expect(chip).to_have_text("1 · cat.png · 96 × 64 → 256 × 256 · 16 tokens")
    finally:
        gate.set()
        page.close()
        app.close()


@pytest.mark.browser
def test_a_broken_file_says_so_at_once_and_can_be_removed(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.attach(picture("cat.png"), NOTE)
    expect(tab.attached.nth(1).locator("[role=alert]")).to_contain_text("note.png holds text")
    tab.ask("Both?")
    act(tab, "remove_broken").click()
    expect(tab.attached).to_have_count(1)
    expect(tab.notice).to_have_count(0)
    expect(tab.box).to_have_value("Both?")
    tab.box.press("Enter")
    tab.wait_for_answer()
    assert sent_images(served) == ["cat.png"]


@pytest.mark.browser
def test_images_are_put_in_order_by_buttons_that_keep_the_focus(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.attach(picture("a.png"), picture("b.png"), picture("c.png"), picture("d.png"))
    names = tab.attached.locator("figcaption")
    tab.box.fill("Kept words")
    expect(act(tab, "earlier", number=1)).to_have_count(0)
    expect(act(tab, "later", number=4)).to_have_count(0)
    act(tab, "earlier", number=3).press("Enter")
    expect(names).to_contain_text(["1 · a.png", "2 · c.png", "3 · b.png", "4 · d.png"])
    expect(act(tab, "earlier", number=3)).to_be_focused()
    act(tab, "later", number=1).press("Enter")
    expect(names).to_contain_text(["1 · c.png", "2 · a.png", "3 · b.png", "4 · d.png"])
    act(tab, "remove", number=4).press("Enter")
    expect(names).to_contain_text(["1 · c.png", "2 · a.png", "3 · b.png"])
    expect(act(tab, "remove", number=3)).to_be_focused()  # the one before it
    act(tab, "remove", number=2).press("Enter")
    expect(names).to_contain_text(["1 · c.png", "2 · b.png"])
    expect(tab.box).to_have_value("Kept words")
    tab.box.press("Enter")
    tab.wait_for_answer()
    assert sent_images(served) == ["c.png", "b.png"]


@pytest.mark.browser
def test_the_focus_goes_to_the_box_when_the_last_image_is_removed(serve, open_tab):
    tab = open_tab(serve("Yes.").address)
    tab.attach(picture("a.png"))
    act(tab, "remove", number=1).press("Enter")
    expect(tab.attached).to_have_count(0)
    expect(tab.box).to_be_focused()


@pytest.mark.browser
def test_images_attached_while_an_answer_runs_stay_for_the_next(serve, open_tab):
    gate = threading.Event()
    served = serve("Slow ", gate, "answer.")
    tab = open_tab(served.address)
    tab.attach(picture("a.png"))
    tab.ask("First?")
    expect(tab.answers.last).to_have_text("Slow")
    expect(tab.attached).to_have_count(0)
    tab.attach(picture("b.png"))
    tab.box.fill("Next?")
    gate.set()
    tab.wait_for_answer()
    expect(tab.attached.locator("figcaption")).to_contain_text(["1 · b.png"])
    expect(tab.box).to_have_value("Next?")
    tab.box.press("Enter")
    tab.wait_for_answer(2)
    assert sent_images(served, 0) == ["a.png"]
    assert sent_images(served, 1) == ["b.png"]


@pytest.mark.browser
def test_the_meter_counts_the_images_in_the_box(serve, open_tab):
    tab = open_tab(serve(backend=ScriptedBackend(["Yes."], able=ABLE)).address)
    tab.ask("Hello.")
    tab.wait_for_answer()
    meter = tab.find("#context-meter")
    expect(meter).to_contain_text("of 8,192 tokens")
    before = int(re.match(r"\d+", meter.inner_text().strip())[0])
    tab.attach(picture("a.png"), picture("b.png"))
    expect(meter).to_contain_text(f"{before + 32} of 8,192 tokens")
    act(tab, "remove", number=1).click()
    expect(meter).to_contain_text(f"{before + 16} of 8,192 tokens")


# ---- prompts ----


@pytest.mark.browser
def test_prompts_come_with_an_image_and_fill_the_box(serve, open_tab):
    served = serve("A table.")
    tab = open_tab(served.address)
    expect(act(tab, "preset")).to_have_count(0)
    tab.attach(picture("a.png"))
    expect(act(tab, "preset")).to_have_count(len(PRESETS))
    act(tab, "preset", name="table").click()
    expect(tab.box).to_have_value(say("preset.table.prompt"))
    expect(tab.attached).to_have_count(1)
    tab.page.get_by_text("简体中文", exact=True).click()
    expect(act(tab, "preset", name="table")).to_have_text(say("preset.table", "zh"))
    act(tab, "preset", name="table").click()
    expect(tab.box).to_have_value(say("preset.table.prompt", "zh"))
    tab.box.press("Enter")
    tab.wait_for_answer()
    assert sent_images(served) == ["a.png"]


@pytest.mark.browser
def test_prompts_stay_as_long_as_there_is_a_conversation(serve, open_tab):
    tab = open_tab(serve("Yes.").address)
    tab.ask("No picture at all.")
    tab.wait_for_answer()
    expect(act(tab, "preset")).to_have_count(len(PRESETS))
    tab.find("#clear").click()
    expect(act(tab, "preset")).to_have_count(0)


# ---- addresses ----


@pytest.mark.browser
def test_the_picture_at_an_address_is_added_in_its_place(serve, open_tab, pictures):
    served = serve("A picture.")
    tab = open_tab(served.address)
    tab.box.fill("What is at https://pictures.example/a/cat.png?")
    expect(tab.find("#offer")).to_contain_text("https://pictures.example/a/cat.png")
    assert pictures == []  # nothing is fetched before somebody says so
    act(tab, "address_add").click()
    expect(tab.attached).to_contain_text(["1 · cat.png · 40 × 30"])
    expect(tab.box).to_have_value("What is at ?")
    expect(tab.find("#offer button")).to_have_count(0)
    tab.box.press("Enter")
    tab.wait_for_answer()
    assert pictures == [("pictures.example", "/a/cat.png")]
    assert sent_images(served) == ["cat.png"]


@pytest.mark.browser
def test_an_address_left_as_text_is_not_offered_again(serve, open_tab, pictures):
    served = serve("Words.")
    tab = open_tab(served.address)
    tab.box.fill("https://pictures.example/a.png")
    act(tab, "address_leave").press("Enter")
    expect(act(tab, "address_add")).to_have_count(0)
    expect(tab.box).to_be_focused()
    tab.box.fill("https://pictures.example/a.png and https://pictures.example/b.png")
    expect(act(tab, "address_add")).to_have_attribute(
        "data-address", "https://pictures.example/b.png"
    )
    act(tab, "address_leave").click()
    expect(act(tab, "address_add")).to_have_count(0)
    tab.box.press("Enter")
    tab.wait_for_answer()
    message = served.backend.asked[0].messages[-1]
    assert message.text == "https://pictures.example/a.png and https://pictures.example/b.png"
    assert pictures == []


@pytest.mark.browser
def test_words_typed_while_a_picture_is_fetched_are_kept(serve, open_tab, pictures, monkeypatch):
    gate, resolve = threading.Event(), fetch.resolve
    monkeypatch.setattr(fetch, "resolve", lambda host: gate.wait(9) and resolve(host))
    tab = open_tab(serve("Yes.").address)
    tab.box.fill("See https://pictures.example/cat.png")
    act(tab, "address_add").click()
    expect(tab.find("#offer")).to_contain_text("Fetching")
    tab.box.fill("See https://pictures.example/cat.png and tell me more")
    tab.attach(picture("mine.png"))
    gate.set()
    expect(tab.attached).to_contain_text(["1 · mine.png", "2 · cat.png"])
    expect(tab.box).to_have_value("See and tell me more")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://inside.example/c.png", "inside.example"),
        ("https://pictures.example/to?http://pictures.example/c.png", "https"),
        ("https://pictures.example/to?https://inside.example/c.png", "inside.example"),
        ("https://pictures.example/claims", "20"),
        ("https://pictures.example/page", "picture"),
        ("https://pictures.example/missing", "404"),
        ("https://dead.example/c.png", "dead.example"),
    ],
)
def test_a_refused_address_says_why_and_loses_nothing(serve, open_tab, pictures, address, words):
    tab = open_tab(serve("Yes.").address)
    tab.attach(picture("mine.png"))
    tab.box.fill(f"Look: {address}")
    act(tab, "address_add").click()
    expect(tab.find("#notice [role=alert]")).to_contain_text(words)
    expect(tab.box).to_have_value(f"Look: {address}")
    expect(tab.attached).to_have_count(1)
    expect(tab.find("#offer button[data-act=address_leave]")).to_be_visible()


@pytest.mark.browser
def test_a_slow_address_can_be_tried_again(serve, open_tab, pictures, monkeypatch):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.box.fill("Look: https://pictures.example/dawdles")
    with monkeypatch.context() as patched:
        patched.setattr(fetch, "SECONDS", 0.4)
        act(tab, "address_add").click()
        expect(tab.find("#notice [role=alert]")).to_contain_text("0.4")
    tab.find("#notice button[data-act=address_add]").click()
    expect(tab.attached).to_contain_text(["1 · dawdles"])
    expect(tab.notice).to_have_count(0)
    expect(tab.box).to_have_value("Look:")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("hosted", "address", "words"),
    [
        (True, "https://pictures.example/c.png", "shared server"),
        (False, "http://pictures.example/c.png", "https"),
        (False, "file:///etc/passwd", "https"),
    ],
)
def test_the_server_itself_refuses_what_the_page_does_not_offer(
    serve, open_tab, pictures, hosted, address, words
):
    """A page can be made to send anything: here by a button that the app never draws."""
    tab = open_tab(serve("Yes.", hosted=hosted).address)
    tab.box.fill(f"Look: {address}")
    tab.attach(picture("mine.png"))  # the box has been looked at by now
    expect(act(tab, "address_add")).to_have_count(0)
    tab.page.evaluate(
        """address => {
            const button = document.createElement('button');
            Object.assign(button.dataset, {act: 'address_add', address});
            document.querySelector('#conversation').append(button);
            button.click();
            button.remove();
        }""",
        address,
    )
    expect(tab.find("#notice [role=alert]")).to_contain_text(words)
    expect(tab.attached).to_have_count(1)
    assert pictures == []


@pytest.mark.browser
def test_a_photo_put_in_while_the_page_is_drawn_anew_stays(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    config = served.page.get_config_file()
    redraw = next(
        part["id"] for part in config["components"] if part["props"].get("elem_id") == "redraw"
    )
    anew = {event["id"] for event in config["dependencies"] if redraw in event["outputs"]}
    held = []

    def hold(route):
        if route.request.post_data_json["fn_index"] in anew:
            held.append(route)
        else:
            route.continue_()

    tab.page.route("**/run/predict", hold)
    with tab.page.expect_request(
        lambda request: (request.post_data_json or {}).get("fn_index") in anew
    ):
        tab.page.get_by_role("radio", name="简体中文").check()
    tab.attach(picture("cat.png"))
    with tab.page.expect_response(lambda response: response.request == held[0].request):
        for route in held:
            route.continue_()
    expect(tab.find("#token-chip figure")).to_have_count(1)
    tab.page.wait_for_timeout(500)
    expect(tab.find("#token-chip figure")).to_have_count(1)
