"""The camera, with Chromium's pretended one; and everything around the box on a small screen."""

import os

import pytest
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend
from tests.ui.conftest import CHROMIUM, Tab
from tests.ui.test_composer import ABLE, NOTE, picture, sent_images, severe_findings

pytestmark = pytest.mark.browser

DEVICE = "--use-fake-device-for-media-stream"
WATCH = """
    window.tracks = [];
    const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (what) => {
        const stream = await ask(what);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
"""
LIVE = "() => window.tracks.filter((track) => track.readyState === 'live').length"
WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture
def open_with_camera(browser):
    """`open_with_camera(address, flags)`: a tab of a browser that has a camera, or none."""
    opened, tabs = [], []

    def start(address, *flags, **options):
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *flags]
        other = browser.browser_type.launch(executable_path=CHROMIUM, args=arguments)
        opened.append(other)
        options.setdefault("locale", "en-US")
        context = other.new_context(reduced_motion="reduce", **options)
        context.add_init_script(WATCH)
        tabs.append(Tab(context, address))
        return tabs[-1]

    assert os.path.exists(CHROMIUM)
    yield start
    for each in opened:
        each.close()
    assert [tab.page_errors for tab in tabs] == [[] for _ in tabs]


def test_a_photo_lands_in_the_box_and_the_camera_is_let_go(serve, open_with_camera):
    served = serve("A green picture.")
    tab = open_with_camera(served.address, DEVICE, "--use-fake-ui-for-media-stream")
    tab.attach(picture("first.png"))
    tab.box.fill("What do you see?")
    tab.find("#camera").click()
    tab.find("#webcam video").wait_for()
    expect(tab.notice).to_have_count(0)
    tab.page.wait_for_function("document.querySelector('#webcam video').videoWidth > 0")
    assert tab.page.evaluate(LIVE) >= 1
    tab.find("#webcam .capture-button").first.click()
    expect(tab.attached).to_have_count(2)
    expect(tab.find("#webcam")).to_have_count(0)
    tab.page.wait_for_function(f"({LIVE})() === 0")
    expect(tab.box).to_have_value("What do you see?")
    tab.box.press("Enter")
    tab.wait_for_answer()
    photo = served.backend.asked[0].messages[-1].images[1]
    assert sent_images(served)[0] == "first.png"
    assert min(photo.original_size) > 100


def test_pressing_camera_again_closes_it_and_stops_the_stream(serve, open_with_camera):
    tab = open_with_camera(serve("Yes.").address, DEVICE, "--use-fake-ui-for-media-stream")
    for _ in range(2):
        tab.find("#camera").click()
        tab.page.wait_for_function("document.querySelector('#webcam video')?.videoWidth > 0")
        tab.find("#camera").click()
        expect(tab.find("#webcam")).to_have_count(0)
        tab.page.wait_for_function(f"({LIVE})() === 0")
    expect(tab.attached).to_have_count(0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [([DEVICE, "--deny-permission-prompts"], "does not let"), ([], "No camera was found")],
    ids=["denied", "missing"],
)
def test_without_a_camera_the_page_says_why(serve, open_with_camera, flags, words):
    tab = open_with_camera(serve("Yes.").address, *flags)
    tab.box.fill("Kept words")
    tab.find("#camera").click()
    expect(tab.find("#notice [role=alert]")).to_contain_text(words)
    expect(tab.find("#webcam")).to_have_count(0)
    expect(tab.box).to_have_value("Kept words")


# ---- on a small screen, in light and dark ----


def show_everything(tab):
    """Images, one of them broken, prompts, chips, an offer, and the camera."""
    tab.attach(*(picture(f"photo-number-{n}.png") for n in range(5)), NOTE)
    tab.find("#settings-toggle").click()
    for name in ("temperature", "top-p"):
        tab.find(f"#{name} input, #{name} textarea").fill("0.5")
    tab.find("#seed input, #seed textarea").fill("12345678")
    tab.find("#system-prompt textarea").fill("Answer in one sentence and be kind to everybody")
    tab.find("#settings-close").click()
    tab.box.fill("https://pictures.example/" + "a-long-path/" * 9)
    tab.find("#offer .offer").wait_for()
    expect(tab.find("#changed .chip")).to_have_count(4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_on_a_phone_rows_scroll_within_themselves_only(serve, open_with_camera, scheme, locale):
    tab = open_with_camera(
        serve(backend=ScriptedBackend(["Yes."], able=ABLE)).address,
        *(DEVICE, "--use-fake-ui-for-media-stream"),
        viewport={"width": 390, "height": 800},
        color_scheme=scheme,
        locale=locale,
    )
    show_everything(tab)
    for row in (".strip", ".presets", ".chips"):
        wide, seen = tab.find(f"#composer {row}").evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert seen <= 390
        assert wide > seen or row == ".presets"  # seven short words in Chinese fit
    assert tab.page.evaluate(WIDTH) <= 390
    expect(tab.box).to_be_in_viewport()
    expect(tab.find("#settings-toggle")).to_be_in_viewport(ratio=1)
    tab.find("#camera").click()
    tab.find("#webcam .capture-button").wait_for()
    assert tab.page.evaluate(WIDTH) <= 390
    assert severe_findings(tab) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_around_the_box_is_hard_to_reach(serve, open_tab, scheme):
    tab = open_tab(serve(backend=ScriptedBackend(["Yes."], able=ABLE)).address, color_scheme=scheme)
    show_everything(tab)
    assert severe_findings(tab) == []
    expect(tab.find("#message .submit-button")).to_be_in_viewport(ratio=1)
