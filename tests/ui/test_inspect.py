"""The Inspect tab in a browser: tiles, sequence, stages, cancelling, images from Chat."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import huggingface_hub
import numpy
import pytest
from axe_playwright_python.sync_playwright import Axe
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, photo_bytes
from tests.ui.conftest import Tab
from vlm.backend import Event, ImageLayout, Progress, Stage, Tile
from vlm.inspection import Figure, Inspection, Piece, Word
from vlm.messages import Image, Message, images_of
from vlm.options import GenerationOptions
from vlm.strings import LANGUAGES

PHOTO = {"name": "photo.png", "mimeType": "image/png", "buffer": photo_bytes(size=(300, 200))}
SECOND = {"name": "second.png", "mimeType": "image/png", "buffer": photo_bytes(size=(120, 90))}
BROKEN = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}


class LookedInto(ScriptedBackend):
    """A backend of two tiles and a thumbnail that can be looked into.

    Args:
        gate: what a run waits for half-way.
    """

    def __init__(self, gate: threading.Event | None = None) -> None:
        super().__init__()
        self.gate = gate
        self.questions: list[str] = []

    def image_layout(self, image: Image, options: GenerationOptions) -> ImageLayout:
        width, height = image.original_size
        half = (Tile(box=(0, 0, width / 2, height), rows=2, columns=2),)
        other = (Tile(box=(width / 2, 0, width, height), rows=2, columns=2),)
        return replace(
            super().image_layout(image, options),
            sent_size=(512, 256),
            tiles=half + other,
            thumbnail=Tile(box=(0, 0, width, height), rows=2, columns=2),
            placeholders=12,
        )

    def inspect(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event | Inspection]:
        self.questions.append(messages[-1].text)
        yield Progress("tracing", 1, 3)
        stopped = False
        while self.gate is not None and not self.gate.wait(0.02):
            if cancel.is_set():
                stopped = True
                break
        end = 5 + 12 * len(images_of(messages))
        random = numpy.random.default_rng(0)
        stages = (
            Stage(
                "pixel_values",
                random.random((3, 3, 8, 8), numpy.float32),
                ("images", "channels", "height", "width"),
                "float32",
                "cpu",
                0.01,
            ),
            Stage(
                "projector",
                random.random((3, 4, 16), numpy.float32),
                ("images", "positions", "width"),
                "bfloat16",
                "cpu",
                0.25,
            ),
            Stage(
                "logits",
                random.random((1, 1, 99), numpy.float32),
                ("batch", "tokens", "words"),
                "bfloat16",
                "cpu",
                1.5,
            ),
        )
        yield Inspection(
            model="Scripted",
            layouts=tuple(self.image_layout(each, options) for each in images_of(messages)),
            pieces=(
                Piece("<b>user</b>", 0, 5),
                Piece("<image>", 5, end, True),
                Piece("What?", end, end + 3),
            ),
            tokens=end + 3,
            context_length=2000,
            stages=stages[:2] if stopped else stages,
            names=("pixel_values", "projector", "logits"),
            words=() if stopped else (Word(" cat", 7, 0.5), Word("<i>", 8, 0.25)),
            figures=(
                Figure(
                    "gathered",
                    numpy.arange(16).reshape(4, 4),
                    {"side": 4, "tokens": 4, "each": 4},
                ),
            ),
            complete=not stopped,
        )


@pytest.fixture
def open_inspect(serve, open_tab):
    """`open_inspect(backend, **options)` opens the tab."""

    def start(backend: ScriptedBackend | None = None, max_images: int = 8, **options) -> Tab:
        served = serve(backend=backend or LookedInto(), max_images=max_images).address
        tab = open_tab(served, **options)
        tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
        tab.find("#inspect-examples [data-name=cat]").wait_for()
        return tab

    return start


def choose(tab: Tab, file=PHOTO) -> None:
    tab.find("#inspect-image input[type=file]").set_input_files(file)


def test_the_box_of_files_keeps_no_photo_that_is_not_shown(open_inspect):
    tab = open_inspect()
    choose(tab)
    tab.find(".picture .tile").first.wait_for()
    expect(tab.find("#inspect-table")).to_contain_text("Press Trace")
    expect(tab.find("#inspect-image")).not_to_contain_text(PHOTO["name"])
    tab.find("#inspect-examples [data-name=coffee]").click()
    expect(tab.find(".picture img")).to_be_visible()
    expect(tab.find("#inspect-image")).not_to_contain_text(PHOTO["name"])


def traced(tab: Tab) -> None:
    choose(tab)
    tab.find(".picture .tile").nth(1).wait_for()
    tab.find("#trace").click()
    tab.find(".stage-row").nth(2).wait_for()


def lit(tab: Tab) -> set[str]:
    found = tab.page.evaluate(
        "[...document.querySelectorAll('#inspect .lit')].map(each => each.dataset.span)"
    )
    return set(found)


pytestmark = pytest.mark.browser


def test_the_tiles_are_there_before_anything_runs(open_inspect):
    backend = LookedInto()
    tab = open_inspect(backend)
    choose(tab)
    expect(tab.find(".picture .tile")).to_have_count(2)
    box = tab.find(".picture .tile").nth(1).bounding_box()
    picture = tab.find(".picture").bounding_box()
    assert box["x"] == pytest.approx(picture["x"] + picture["width"] / 2, abs=2)
    assert box["height"] == pytest.approx(picture["height"], abs=2)
    expect(tab.find(".facts")).to_contain_text("300 × 200 → 512 × 256 pixels")
    expect(tab.find(".facts")).to_contain_text("12 visual tokens")
    expect(tab.find(".facts li")).to_contain_text(["2 tiles and a thumbnail", "4 each"])
    assert backend.questions == []


def test_an_example_is_one_click_and_trace_shows_every_stage(open_inspect):
    backend = LookedInto()
    tab = open_inspect(backend)
    tab.find("#inspect-examples [data-name=coffee]").click()
    tab.find(".picture .tile").first.wait_for()
    tab.find("#inspect-question textarea").fill("How many?")
    tab.find("#trace").click()
    expect(tab.find(".stage-row .unfold")).to_have_text(["pixel_values", "projector", "logits"])
    expect(tab.find(".stage-row .shape").nth(1)).to_have_text("3 × 4 × 16")
    expect(tab.find(".stage-row .time")).to_have_text(["10 ms", "240 ms", "1.2 s"])
    expect(tab.find(".next")).to_contain_text("50.0 %")
    expect(tab.find("#inspect-table")).to_contain_text("between them are rounding")  # bfloat16
    expect(tab.find(".prompt")).to_contain_text("<b>user</b><image> × 12What?")  # as text
    expect(tab.find("#inspect-sequence")).to_contain_text("1.0 % of a context of 2000")
    assert backend.questions == ["How many?"]


def test_a_tile_and_its_tokens_light_up_both_ways(open_inspect):
    tab = open_inspect()
    traced(tab)
    tab.find(".picture .tile").nth(1).hover()
    expect(tab.find(".sequence .span.lit")).to_have_text("2")
    assert lit(tab) == {"1-2"}
    tab.find(".sequence .span").first.hover()
    expect(tab.find(".picture .tile.lit span")).to_have_text("1")
    tab.find(".thumbnail").hover()
    expect(tab.find(".sequence .span.lit")).to_have_text("T")
    tab.find("#inspect-sequence h3").first.hover()
    expect(tab.find("#inspect .lit")).to_have_count(0)


def wait_for_photos(tab: Tab, count: int) -> None:
    expect(tab.find("#inspect .seen")).to_have_count(count)


def test_several_photos_stand_in_one_prompt(open_inspect):
    tab = open_inspect()
    choose(tab, [PHOTO, SECOND])
    wait_for_photos(tab, 2)
    expect(tab.find("#inspect .seen .named")).to_have_text(
        ["Image 1 · photo.png", "Image 2 · second.png"]
    )
    expect(tab.find("#inspect .facts").nth(1)).to_contain_text("120 × 90")
    tab.find("#trace").click()
    expect(tab.find(".sequence .span")).to_have_text(["1·1", "1·2", "1·T", "2·1", "2·2", "2·T"])
    expect(tab.find("#inspect-sequence")).to_contain_text("24 of them of images")
    tab.find(".seen").nth(1).locator(".tile").first.hover()
    assert lit(tab) == {"2-1"}
    expect(tab.find(".sequence .span.lit")).to_have_attribute(
        "title", "Image 2 · Tile 1: 4 tokens, 17 to 20 of the prompt"
    )


def test_photos_are_added_and_taken_out(open_inspect):
    tab = open_inspect(max_images=3)
    choose(tab)
    wait_for_photos(tab, 1)
    expect(tab.find("#inspect .seen .named")).to_have_count(0)
    tab.find("#inspect-examples [data-name=coffee]").click()
    expect(tab.find(".picture img")).to_have_attribute("alt", "coffee.jpg")  # in its place
    tab.find("#inspect-keep input").check()
    tab.find("#inspect-examples [data-name=cat]").click()
    wait_for_photos(tab, 2)
    choose(tab)
    wait_for_photos(tab, 3)
    tab.find("#inspect-examples [data-name=cat]").click()
    expect(tab.find("#inspect-notice .card")).to_contain_text("3")
    choose(tab, SECOND)
    expect(tab.find("#inspect-notice .card")).to_contain_text("4 photos for one question")
    wait_for_photos(tab, 3)
    tab.find("#inspect").get_by_role("button", name="Take image 2 out").click()
    expect(tab.find(".picture img")).to_have_count(2)
    assert [each.get_attribute("alt") for each in tab.find(".picture img").all()] == [
        "coffee.jpg",
        "photo.png",
    ]
    tab.find("#inspect").get_by_role("button", name="Take image 1 out").click()
    wait_for_photos(tab, 1)


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_picture_that_is_a_line_can_be_seen(open_inspect, size, width):
    tab = open_inspect(viewport={"width": width, "height": 844})
    choose(tab, {**PHOTO, "buffer": photo_bytes(size=size)})
    tab.find(".picture .tile").nth(1).wait_for()
    picture = tab.find(".picture").bounding_box()
    assert min(picture["width"], picture["height"]) >= 40
    image = tab.find(".picture img").bounding_box()
    assert (image["width"], image["height"]) == (picture["width"], picture["height"])
    expect(tab.find(".seen")).to_contain_text("drawn thicker")
    below = tab.find("[data-region=mark]").bounding_box()
    for badge in tab.find(".picture .tile").all():  # nothing of it lies on what is below
        box = badge.bounding_box()
        assert box["y"] + box["height"] <= below["y"]
    on_top = "([x, y]) => document.elementFromPoint(x, y).closest('button')?.dataset.region"
    at = [below["x"] + 8, below["y"] + 4]
    assert tab.page.evaluate(on_top, at) == "mark"


@pytest.mark.parametrize("language", LANGUAGES)
def test_too_many_photos_for_a_model_are_told_in_words_of_the_tab(open_inspect, language):
    tab = open_inspect(locale={"en": "en-US", "zh": "zh-CN"}[language])
    tab.find("#inspect-model input").click()
    tab.page.get_by_role("option", name="MiniMind2-V 104M").click()
    choose(tab, [PHOTO, SECOND, {**SECOND, "name": "third.png"}])
    wait_for_photos(tab, 3)
    tab.find("#trace").click()
    card = tab.find("#inspect-notice .card")
    expect(card).to_contain_text({"en": "3 photos are here", "zh": "这里有 3 张照片"}[language])
    expect(card).not_to_contain_text({"en": "conversation", "zh": "对话"}[language])


def test_of_several_photos_the_broken_one_is_told(open_inspect):
    tab = open_inspect()
    choose(tab, [BROKEN, SECOND])
    wait_for_photos(tab, 1)
    expect(tab.find("#inspect-notice .card")).to_contain_text("broken.png")
    choose(tab, BROKEN)
    expect(tab.find(".picture img")).to_have_attribute("alt", "second.png")


def test_keys_do_all_of_it(open_inspect):
    tab = open_inspect()
    traced(tab)
    tab.page.mouse.move(1, 1)
    tab.find(".picture .tile").first.focus()
    assert lit(tab) == {"1-1"}
    tab.page.keyboard.press("Tab")
    assert lit(tab) == {"1-2"}
    tab.find(".sequence .span").nth(2).focus()
    expect(tab.find(".thumbnail.lit")).to_have_count(1)
    tab.find(".unfold").nth(1).focus()
    assert lit(tab) == set()
    tab.page.keyboard.press("Enter")
    expect(tab.find("#stage-1")).to_be_visible()
    expect(tab.find(".unfold").nth(1)).to_have_attribute("aria-expanded", "true")
    expect(tab.find("#stage-1")).to_contain_text("as wide as the language model's words")
    expect(tab.find("#stage-1")).to_contain_text("like colours are like features")
    counts = tab.find("#stage-1 .parts").first.locator("tr")
    expect(counts.locator("th")).to_have_text(["3", "4", "16"])
    for row in counts.all():  # number and meaning side by side
        number, meaning = (row.locator(kind).bounding_box() for kind in ("th", "td"))
        assert number["x"] + number["width"] <= meaning["x"]
        assert abs(number["y"] - meaning["y"]) < 3
    tab.page.keyboard.press("Enter")
    expect(tab.find("#stage-1")).to_be_hidden()
    tab.page.keyboard.press("Tab")  # the first axis of its shape
    why = tab.page.evaluate("document.activeElement.dataset.why")
    assert why == "pictures: tiles and thumbnail"


@pytest.mark.parametrize("key", ["Enter", "Escape"])
def test_a_run_is_left_half_way(open_inspect, key):
    tab = open_inspect(LookedInto(gate=threading.Event()))
    choose(tab)
    tab.find(".picture .tile").first.wait_for()
    tab.find("#trace").click()
    expect(tab.find("#inspect-notice")).to_contain_text("1 of 3 stages")
    tab.find("#cancel-trace").focus()
    tab.page.keyboard.press(key)
    expect(tab.find("#inspect-table")).to_contain_text("Stopped half-way: 2 of 3 stages")
    expect(tab.find(".stage-row")).to_have_count(2)
    expect(tab.find("#trace")).to_be_enabled()


def test_a_broken_file_and_none_are_told(open_inspect):
    tab = open_inspect()
    tab.find("#trace").click()
    expect(tab.find("#inspect-notice .card")).to_contain_text("no photo yet")
    choose(tab, BROKEN)
    expect(tab.find("#inspect-notice .card")).to_contain_text("broken.png")
    tab.find("#inspect-notice .dismiss").click()
    expect(tab.find("#inspect-notice .card")).to_have_count(0)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "LA"])
def test_pictures_of_every_mode(open_inspect, mode):
    tab = open_inspect()
    buffer = photo_bytes(mode, size=(40, 600))
    choose(tab, {"name": "photo.png", "mimeType": "image/png", "buffer": buffer})
    expect(tab.find(".facts")).to_contain_text("40 × 600")
    said = tab.find(".facts").inner_text()
    assert ("transparen" in said.lower()) == (mode in ("RGBA", "LA"))


def test_a_model_without_weights(open_inspect):
    tab = open_inspect()
    choose(tab)
    tab.find(".picture .tile").nth(1).wait_for()
    tab.find("#inspect-model input").click()
    tab.page.get_by_role("option", name="Mini-InternVL Chat V1.5 2B (no weights)").click()
    expect(tab.find(".facts")).to_contain_text("1344 × 896")  # 3 x 2 tiles of 448
    expect(tab.find(".picture .tile")).to_have_count(6)
    tab.find("#trace").click()
    expect(tab.find("#inspect-table .bare")).to_have_text("No weights: shapes only")
    expect(tab.find(".stage-row .shape")).to_contain_text(["7 × 256 × 4096"])
    expect(tab.find(".sequence .span")).to_have_count(7)
    expect(tab.find("#inspect-figures")).to_contain_text("It gathers")
    expect(tab.find("#inspect-sequence")).to_contain_text("counted in bytes")
    expect(tab.find("#inspect-sequence")).to_contain_text("exactly 1792 of them of images")
    expect(tab.find("#inspect-figures")).to_contain_text("used as it is stored")
    tab.find(".unfold").get_by_text("vision_tower", exact=True).click()
    expect(tab.find(".unfolded:visible")).to_contain_text("32 × 32 places for 32 × 32 patches")
    tab.find(".unfold").get_by_text("input_ids", exact=True).click()
    strip = tab.find(".large.strip:visible")
    expect(strip).to_have_css("height", "64px")
    assert strip.bounding_box()["width"] > 320


def test_it_is_said_which_models_need_the_hub(open_inspect, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--Qwen--Qwen3-VL-2B-Instruct"
    snapshot = repository / "snapshots" / "abc"
    for path in (snapshot, repository / "refs"):
        path.mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        (snapshot / name).write_text("{}")
    (repository / "refs" / "main").write_text("abc")
    tab = open_inspect()
    tab.find("#inspect-model input").click()
    listed = tab.page.get_by_role("option").all_inner_texts()
    words = [each.strip().removeprefix("✓").strip() for each in listed]
    first = words.index("Qwen3-VL 2B (no weights, files here)")
    assert all("hub" not in each for each in words[:first])
    assert all(each.endswith("(no weights, needs the hub)") for each in words[first + 1 :])
    assert "SmolVLM2 256M (no weights, needs the hub)" in words


def test_images_come_from_chat(open_inspect, serve, open_tab):
    served = serve(backend=LookedInto())
    tab = open_tab(served.address)
    tab.attach(PHOTO)
    tab.attached.first.get_by_role("button", name="Inspect image 1").click()
    expect(tab.find("#inspect .facts")).to_contain_text("300 × 200")
    tab.find("#tabs button[role=tab][data-tab-id=chat]").click()
    tab.ask("What?")
    tab.wait_for_answer()
    tab.find("#chat .sent").get_by_role("button", name="Inspect image 1").click()
    expect(tab.find("#inspect .picture")).to_be_visible()


def test_the_language_changes_all_of_it(open_inspect):
    tab = open_inspect()
    traced(tab)
    tab.find("#language").get_by_text("简体中文").click()
    expect(tab.find("#inspect-table h3").first).to_have_text("模型内部的各个阶段")
    expect(tab.find("#inspect-sequence h3").first).to_have_text("合并后的序列")
    expect(tab.find("#inspect-question textarea")).to_have_value("图里有什么？")
    expect(tab.find("#trace")).to_have_text("开始追踪")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier(open_inspect, scheme):
    tab = open_inspect(color_scheme=scheme)
    traced(tab)
    tab.find(".unfold").nth(1).click()
    tab.find(".picture .tile").first.hover()
    found = Axe().run(
        tab.page,
        context="#inspect",
        options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]},
    )
    assert found.violations_count == 0, found.generate_report()


def test_a_phone(open_inspect):
    tab = open_inspect(viewport={"width": 390, "height": 844}, has_touch=True)
    traced(tab)
    tab.find(".unfold").first.click()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    for cell in tab.find("#inspect .parts :is(th, td):visible").all():  # cut off without a bar
        box = cell.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    tab.find(".picture .tile").first.tap()
    expect(tab.find(".sequence .span.lit")).to_have_text("1")


# ---- for programs ----


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(photo_bytes(size=(300, 200)))
    return handle_file(path)


def test_the_endpoint_tells_what_the_tab_shows(serve, picture):
    client = Client(serve(backend=LookedInto()).address, verbose=False)
    found = client.predict([picture], "What?", "loaded", api_name="/inspect")
    assert found["images"][0]["tiles"][1]["tokens"] == [[9, 13]]
    assert found["images"][0]["thumbnail"]["tokens"] == [[13, 17]]
    assert [stage["shape"] for stage in found["stages"]][1] == [3, 4, 16]
    assert found["likeliest"][0] == {"text": " cat", "id": 7, "probability": 0.5}
    assert found["prompt"] == "<b>user</b><image> × 12What?"


def test_the_endpoint_takes_several_photos(serve, picture):
    client = Client(serve(backend=LookedInto(), max_images=2).address, verbose=False)
    found = client.predict([picture, picture], "What?", "pocket", api_name="/inspect")
    assert [image["tokens"] for image in found["images"]] == [16, 16]
    assert found["image_tokens"] == 32
    with pytest.raises(AppError, match="3"):
        client.predict([picture] * 3, "What?", "pocket", api_name="/inspect")


def test_the_endpoint_without_weights(serve, picture):
    client = Client(serve(backend=LookedInto()).address, verbose=False)
    found = client.predict([picture], "What?", "pocket", api_name="/inspect")
    assert (found["weights"], found["image_tokens"]) == (False, 16)
    assert found["stages"][-1]["shape"] == [1, 1, 49152]


def test_a_hosted_page_opens_no_name_that_it_does_not_know(serve, picture):
    client = Client(serve(backend=LookedInto(), hosted=True).address, verbose=False)
    with pytest.raises(AppError, match="shared server"):
        client.predict([picture], "", "someone/something", api_name="/inspect")
    with pytest.raises(AppError, match="photo"):
        client.predict(None, "", "loaded", api_name="/inspect")
