"""Where it looked, in a browser: words and their maps, tokens, methods, answers from Chat."""

import io
import re
import threading
from collections.abc import Callable, Sequence

import numpy
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, Step, photo_bytes
from tests.ui.conftest import Tab
from vlm.backend import Event, Progress, Tile
from vlm.commands.explain_check import PROMPT, SEED, make_picture
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.explanation import ExplainMethod, Explanation, Sight, TokenChance
from vlm.messages import Message, Pixels, images_of
from vlm.options import GenerationOptions

ANSWER = "A cat sits."
PIECES = ("A", " cat", " sits", ".")
CORNERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
"""The middle of the cell that each piece looks at, in parts of width and height."""


def file(number: int = 0, size: tuple[int, int] = (300, 200)) -> dict[str, object]:
    buffer = photo_bytes(size=size, seed=number)
    return {"name": f"photo-{number}.png", "mimeType": "image/png", "buffer": buffer}


class Explaining(ScriptedBackend):
    """Its n-th piece looks at the n-th quarter, three times as much in the last image.

    Args:
        gate: what it waits for while it looks.
        fails: methods that it cannot, and why.
    """

    def __init__(
        self,
        *script: Step,
        gate: threading.Event | None = None,
        fails: dict[ExplainMethod, Exception] | None = None,
    ) -> None:
        super().__init__(list(script) or ["A cat", " sits."])
        self.gate, self.fails = gate, fails or {}
        self.explained: list[tuple[list[Message], str, GenerationOptions | None, str]] = []

    def explain(
        self,
        messages: Sequence[Message],
        answer: str,
        options: GenerationOptions | None = None,
        method: ExplainMethod = "attention",
        cancel: threading.Event | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> Explanation:
        assert cancel is not None and tell is not None
        self.explained.append((list(messages), answer, options, method))
        tell(Progress("looking", 1, 2))
        while self.gate is not None and not self.gate.wait(0.02):
            if cancel.is_set():
                raise RequestError("explain_cancelled")
        if method in self.fails:
            raise self.fails[method]
        images = images_of(messages)
        sights = tuple(
            self._sight(image.original_size, 3 if number == len(images) else 1, method)
            for number, image in enumerate(images, 1)
        )
        return Explanation(
            answer=answer,
            tokens=tuple(_token(n) for n in range(len(PIECES))),
            method=method,
            sights=sights,
            layers=(1, 2) if method == "attention" else (),
        )

    def _sight(self, size: tuple[int, int], times: int, method: ExplainMethod) -> Sight:
        weights = 0.002 + 0.01 * times * numpy.eye(len(PIECES), dtype=numpy.float32)
        if method == "attention":  # something striking, for every word but the last
            weights[:3, 3] += 0.05 * times
        else:  # in nats
            weights = 100 * weights
        return Sight(
            original_size=size,
            grain="token" if method == "attention" else "patch",
            tiles=(Tile(box=(0, 0, *size), rows=2, columns=2),),
            weights=weights.astype(numpy.float32),
        )


def _token(number: int) -> TokenChance:
    text, start = PIECES[number], sum(map(len, PIECES[:number]))
    return TokenChance(
        text=text,
        start=start,
        end=start + len(text),
        probability=0.6 - 0.1 * number,
        likeliest=((text, 0.6 - 0.1 * number), ("<b>", 0.1), (" dog", 0.05)),
        kept=number + 1,
        possible=number != 2,
    )


@pytest.fixture
def open_inspect(serve, open_tab):
    """`open_inspect(backend, **options)` opens the tab with a photo in it."""

    def start(backend: ScriptedBackend | None = None, settings=(), **options) -> Tab:
        served = serve(backend=backend or Explaining(), **dict(settings))
        tab = open_tab(served.address, **options)
        tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
        tab.find("#inspect-examples [data-name=cat]").wait_for()
        tab.find("#inspect-image input[type=file]").set_input_files(file())
        tab.find(".picture .tile").first.wait_for()
        return tab

    return start


def answer(tab: Tab) -> None:
    tab.find("#inspect-ask").click()
    explained(tab)


def explained(tab: Tab, method: str = "attention") -> None:
    tab.find(f".looked[data-state=explained][data-method={method}]").wait_for()


def word(tab: Tab, text: str):
    return tab.find(".word").get_by_text(text, exact=True)


def map_of(tab: Tab, image: int = 0) -> numpy.ndarray:
    """How strongly the map that is shown covers each quarter of an image, 0 to 255."""
    found = tab.page.evaluate(
        """([image, corners]) => {
            const canvas = document.querySelectorAll('.sight canvas')[image];
            const drawing = canvas.getContext('2d');
            return corners.map(([x, y]) => drawing.getImageData(
                Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data[3]);
        }""",
        [image, [list(corner) for corner in CORNERS]],
    )
    return numpy.array(found)


pytestmark = pytest.mark.browser


def test_an_answer_comes_word_by_word_and_is_looked_into(open_inspect):
    gate, looked = threading.Event(), threading.Event()
    backend = Explaining("A cat", gate, " sits.", gate=looked)
    tab = open_inspect(backend)
    tab.find("#inspect-question textarea").fill("Who is it?")
    tab.find("#inspect-ask").click()
    expect(tab.find(".looked .answer")).to_have_text("A cat")
    expect(tab.find("#trace")).to_be_hidden()
    expect(tab.find("#inspect-ask")).to_be_hidden()
    gate.set()
    expect(tab.find(".looked .answer")).to_have_text(ANSWER)
    expect(tab.find(".looked .pending")).to_contain_text("1 of 2")
    looked.set()
    explained(tab)
    expect(tab.find(".looked .answer.words")).to_have_text(ANSWER)
    expect(tab.find(".looked")).to_contain_text("Scripted · fp32 · CPU · “Who is it?”")
    expect(tab.find("#inspect-ask")).to_be_visible()
    messages, text, _, method = backend.explained[0]
    assert (messages[0].text, text, method) == ("Who is it?", ANSWER, "attention")
    assert len(messages[0].images) == 1


def test_pointing_at_a_word_shows_its_map_and_leaving_the_one_before(open_inspect):
    tab = open_inspect()
    answer(tab)
    whole = map_of(tab)
    assert whole.argmax() == 3
    expect(tab.find(".said")).to_contain_text("Whole answer: ")
    tab.find("[data-map=beyond]").click()
    for number, text in enumerate(("A", "cat", "sits", ".")):
        word(tab, text).hover()
        expect(tab.find(".looked")).to_have_attribute("data-shown", str(number + 1))
        shown = map_of(tab)
        assert shown.argmax() == number
        assert shown[number] > 200 and sorted(shown)[-2] < 60
        expect(tab.find(".said")).to_contain_text(f"“{text}”: ")
    tab.find("#looked-title").hover()
    expect(tab.find(".looked")).to_have_attribute("data-shown", "0")
    assert map_of(tab).tolist() == whole.tolist()


def test_what_a_word_has_beyond_the_rest_is_another_map(open_inspect):
    tab = open_inspect()
    answer(tab)
    word(tab, "cat").click()
    tab.find("#looked-title").hover()
    assert map_of(tab).argmax() == 3  # what is striking
    tab.find("[data-map=beyond]").click()
    expect(tab.find("[data-map=beyond]")).to_have_attribute("aria-pressed", "true")
    expect(tab.find("[data-map=own]")).to_have_attribute("aria-pressed", "false")
    expect(tab.find(".looked-view span:visible")).to_contain_text(["tells two objects apart"])
    tab.find("#looked-title").hover()
    assert map_of(tab).argmax() == 1
    tab.find("[data-map=own]").click()
    tab.find("#looked-title").hover()
    assert map_of(tab).argmax() == 3


def test_a_pressed_word_stays_and_opens_its_tokens(open_inspect):
    tab = open_inspect()
    answer(tab)
    expect(tab.find(".chances:visible")).to_have_count(0)
    word(tab, "cat").click()
    tab.find("#looked-title").hover()
    expect(tab.find(".looked")).to_have_attribute("data-shown", "2")
    expect(word(tab, "cat")).to_have_attribute("aria-pressed", "true")
    opened = tab.find(".chances:visible")
    expect(opened).to_have_count(1)
    expect(opened.locator("tr code")).to_have_text(["·cat", "<b>", "·dog"])
    expect(opened.locator("tr .number")).to_have_text(["50.0 %", "10.0 %", "5.0 %"])
    expect(opened).to_contain_text("left 2 tokens to draw from, this one among them")
    widths = opened.locator(".filled").evaluate_all("all => all.map(each => each.offsetWidth)")
    assert widths[0] > 4 * widths[1] > widths[2] > 0
    word(tab, "sits").click()
    expect(tab.find(".chances:visible")).to_contain_text("but not this one")
    word(tab, "sits").click()
    expect(tab.find(".chances:visible")).to_have_count(0)


def test_tokens_are_those_of_the_pressed_word_whatever_map_is_shown(open_inspect):
    tab = open_inspect()
    answer(tab)
    word(tab, "cat").click()
    opened = tab.find(".chances:visible")
    expect(opened.locator(".whose")).to_have_text("Tokens of “cat”, the word that is pressed")
    expect(opened).not_to_have_class(re.compile("other"))
    word(tab, "sits").hover()
    expect(tab.find(".looked")).to_have_attribute("data-shown", "3")
    expect(opened).to_have_count(1)
    expect(opened).to_contain_text("“cat”")
    expect(opened).to_have_class(re.compile("other"))
    tab.find("#looked-title").hover()
    expect(tab.find(".looked")).to_have_attribute("data-shown", "2")
    expect(opened).not_to_have_class(re.compile("other"))
    word(tab, "sits").click()
    expect(opened.locator(".whose")).to_contain_text("“sits”")
    expect(opened).not_to_have_class(re.compile("other"))


def test_keys_go_from_word_to_word(open_inspect):
    tab = open_inspect()
    answer(tab)
    tab.page.mouse.move(1, 1)
    tab.find(".word.whole").focus()
    for number in ("1", "2", "3"):
        tab.page.keyboard.press("ArrowRight")
        expect(tab.find(".looked")).to_have_attribute("data-shown", number)
    tab.page.keyboard.press("ArrowLeft")
    expect(word(tab, "cat")).to_be_focused()
    expect(tab.find(".word[tabindex='0']")).to_have_text("cat")  # one stop for Tab
    tab.page.keyboard.press("Enter")
    expect(tab.find(".chances:visible")).to_contain_text("·cat")
    tab.page.keyboard.press("End")
    expect(tab.find(".looked")).to_have_attribute("data-shown", "4")
    assert map_of(tab).argmax() == 3
    tab.page.keyboard.press("Home")
    expect(tab.find(".word.whole")).to_be_focused()
    tab.find("#inspect-ask").focus()  # the pressed word is shown again
    expect(tab.find(".looked")).to_have_attribute("data-shown", "2")


def test_painting_over_is_the_other_method(open_inspect):
    backend = Explaining()
    tab = open_inspect(backend)
    answer(tab)
    tab.find(".looked [data-method=occlusion]").click()
    explained(tab, "occlusion")
    word(tab, "A").hover()
    expect(tab.find(".looked")).to_have_attribute("data-shown", "1")
    assert map_of(tab).argmax() == 0
    expect(tab.find(".said")).to_contain_text("times less likely")
    expect(tab.find("[data-map]")).to_have_count(0)
    tab.find(".looked [data-method=attention]").click()
    explained(tab)
    assert [each[3] for each in backend.explained] == ["attention", "occlusion"]  # kept


@pytest.mark.parametrize("button", ["#cancel-trace", ".looked .cancel"])
def test_looking_is_called_off_and_the_answer_stays(open_inspect, button):
    backend = Explaining(gate=threading.Event())
    tab = open_inspect(backend)
    tab.find("#inspect-ask").click()
    expect(tab.find(".looked .pending")).to_contain_text("1 of 2")
    tab.find(button).click()
    expect(tab.find(".looked")).to_contain_text("cancelled")
    expect(tab.find(".looked .answer")).to_have_text(ANSWER)
    expect(tab.find("#inspect-ask")).to_be_visible()
    backend.gate.set()
    tab.find(".looked [data-method=attention]").click()
    explained(tab)
    assert len(backend.asked) == 1  # it was not asked again


def test_an_answer_is_called_off_half_way(open_inspect):
    backend = Explaining("A cat", threading.Event(), " sits.")
    tab = open_inspect(backend)
    tab.find("#inspect-ask").click()
    expect(tab.find(".looked .answer")).to_have_text("A cat")
    tab.find("#cancel-trace").click()
    expect(tab.find(".looked")).to_contain_text("cancelled")
    expect(tab.find(".looked .answer")).to_have_text("A cat")
    assert backend.asked[0].cancel.is_set() and backend.explained == []


def test_another_photo_ends_it(open_inspect):
    gate = threading.Event()
    backend = Explaining(gate=gate)
    tab = open_inspect(backend)
    tab.find("#inspect-ask").click()
    expect(tab.find(".looked .pending")).to_contain_text("1 of 2")
    tab.find("#inspect-examples [data-name=coffee]").click()
    expect(tab.find(".facts")).to_contain_text("600 × 400")
    expect(tab.find(".looked")).to_have_count(0)
    gate.set()
    answer(tab)
    assert backend.explained[-1][0][0].images[0].name == "coffee.jpg"


def test_an_answer_comes_from_chat_with_all_its_images(serve, open_tab):
    backend = Explaining()
    tab = open_tab(serve(backend=backend).address)
    tab.ask("Hello?")
    tab.wait_for_answer()
    expect(tab.find("#chat [data-tab=inspect][data-turn]")).to_have_count(0)  # no image
    tab.attach(file(0), file(1, (200, 200)))
    tab.ask("Which?")
    tab.wait_for_answer(2)
    tab.ask("And now?")
    tab.wait_for_answer(3)
    tab.find("#chat").get_by_role("button", name="Where did the model look for answer 2").click()
    explained(tab)
    messages, text, options, _ = backend.explained[0]
    assert [each.role for each in messages] == ["user", "assistant", "user"]
    assert (messages[-1].text, text) == ("Which?", ANSWER)
    assert options == backend.asked[1].options
    expect(tab.find("#inspect-question textarea")).to_have_value("Which?")
    shown = tab.find("#inspect .picture img")
    expect(shown).to_have_count(2)
    assert [each.get_attribute("alt") for each in shown.all()] == ["photo-0.png", "photo-1.png"]
    expect(tab.find(".sight")).to_have_count(2)
    word(tab, "cat").hover()
    expect(tab.find(".said")).to_contain_text("image 1: 27 % · image 2: 73 %")
    tab.find("[data-map=own]").click()
    word(tab, "cat").hover()
    expect(tab.find(".looked")).to_have_attribute("data-shown", "2")
    assert map_of(tab, 1).max() > 1.8 * map_of(tab, 0).max()  # one scale for both
    assert len(backend.asked) == 3  # the very answer, not another
    expect(tab.find(".looked")).not_to_contain_text("another model")


def test_photos_of_a_follow_up_are_called_as_in_chat(serve, open_tab):
    """Two photos, the first of them once more, then a question without any."""
    backend = Explaining()
    tab = open_tab(serve(backend=backend).address)
    for count, (question, files) in enumerate(
        [("Which?", [file(0), file(1)]), ("And now?", [file(0)]), ("Sure?", [])], 1
    ):
        if files:
            tab.attach(*files)
        tab.ask(question)
        tab.wait_for_answer(count)
    tab.find("#chat [data-tab=inspect][data-turn='2']").click()
    explained(tab)
    called = ["Image 1 of question 1", "Image 2 of question 1", "Image 1 of question 2"]
    for place in (".seen .named", ".sight figcaption"):
        expect(tab.find(place)).to_have_text([re.compile(f"^{each} · ") for each in called])
    tab.find("#inspect-ask").click()  # the same question, in its conversation
    while len(backend.explained) < 2:
        tab.page.wait_for_timeout(50)
    explained(tab)
    assert [len(each.messages) for each in backend.asked[-2:]] == [5, 5]
    expect(tab.find(".sight figcaption")).to_contain_text(called)
    tab.find("#inspect-question textarea").fill("Another?")
    tab.find("#inspect-ask").click()  # all of them in one question
    expect(tab.find(".seen .named")).to_contain_text(["Image 1 · ", "Image 2 · ", "Image 3 · "])
    explained(tab)
    expect(tab.find(".sight figcaption")).to_contain_text(["Image 1 ·", "Image 2 ·", "Image 3 ·"])


def test_an_answer_that_arrives_once_is_looked_into_once(serve, open_tab):
    backend = Explaining()
    tab = open_tab(serve(backend=backend).address)
    tab.attach(file())
    tab.ask("Which?")
    tab.wait_for_answer()
    tab.find("#chat [data-tab=inspect][data-turn]").click()
    explained(tab)
    word(tab, "cat").click()
    tab.find("#tabs button[role=tab][data-tab-id=chat]").click()
    tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
    tab.page.wait_for_timeout(500)
    explained(tab)
    expect(word(tab, "cat")).to_have_attribute("aria-pressed", "true")  # nothing was drawn anew
    assert len(backend.explained) == 1


# ---- what cannot be ----


def test_without_a_photo_and_without_weights(serve, open_tab):
    tab = open_tab(serve(backend=Explaining()).address)
    tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
    tab.find("#inspect-ask").click()
    expect(tab.find("#inspect-notice .card")).to_contain_text("no photo yet")
    tab.find("#inspect-examples [data-name=cat]").click()
    tab.find(".picture .tile").first.wait_for()
    tab.find("#inspect-model input").click()
    tab.page.get_by_role("option", name="Mini-InternVL Chat V1.5 2B (no weights)").click()
    expect(tab.find(".picture .tile")).to_have_count(6)
    expect(tab.find("#inspect-ask")).to_be_visible()
    expect(tab.find("#inspect-ask")).to_be_disabled()
    expect(tab.find("#inspect-why")).to_contain_text("has no weights")
    tab.find("#trace").click()
    tab.find(".stage-row").first.wait_for()
    expect(tab.find("#inspect-ask")).to_be_disabled()
    tab.find("#language").get_by_text("简体中文").click()
    expect(tab.find("#inspect-why")).to_contain_text("没有权重")
    tab.find("#inspect-model input").click()
    tab.page.get_by_role("option", name="当前已加载的模型").click()
    expect(tab.find("#inspect-ask")).to_be_enabled()
    expect(tab.find("#inspect-why")).to_be_empty()


def test_a_backend_that_does_not_explain_is_not_asked(open_inspect):
    backend = ScriptedBackend(["A cat."])
    tab = open_inspect(backend)
    tab.find("#inspect-ask").click()
    expect(tab.find(".looked .card.error")).to_contain_text("Scripted does not run here")
    assert backend.asked == []
    expect(tab.find("#inspect-ask")).to_be_visible()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RequestError("no_attention"), "keep no attention"),
        (RequestError("out_of_memory_explain", free=1.5), "Memory ran out"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_what_fails_is_said_and_painting_over_is_still_there(open_inspect, error, words):
    tab = open_inspect(Explaining(fails={"attention": error}))
    tab.find("#inspect-ask").click()
    expect(tab.find(".looked .card.error")).to_contain_text(words)
    expect(tab.find(".looked .answer")).to_have_text(ANSWER)
    tab.find(".looked [data-method=occlusion]").click()
    explained(tab, "occlusion")
    expect(tab.find(".looked .card.error")).to_have_count(0)


# ---- languages, sizes, barriers ----


def test_the_language_changes_all_of_it(open_inspect):
    tab = open_inspect()
    answer(tab)
    tab.find("#language").get_by_text("简体中文").click()
    expect(tab.find("#looked-title")).to_have_text("它看了哪里")
    expect(tab.find("#inspect-ask")).to_have_text("回答")
    word(tab, "cat").click()
    expect(tab.find(".said")).to_contain_text("“cat”：")
    expect(tab.find(".said")).to_contain_text("的注意力在图片上")
    expect(tab.find(".chances:visible")).to_contain_text("剩 2 个 token 可选，其中有它")
    assert map_of(tab).argmax() == 3


def test_a_phone(serve, open_tab):
    tab = open_tab(
        serve(backend=Explaining()).address, viewport={"width": 390, "height": 844}, has_touch=True
    )
    tab.attach(file(0), file(1))
    tab.ask("Which?")
    tab.wait_for_answer()
    tab.find("#chat [data-tab=inspect][data-turn]").tap()
    explained(tab)
    shown = tab.find(".looked-view span:visible")  # not only where somebody can point
    expect(shown).to_contain_text(["Where the attention of the word went"])
    expect(tab.find(".looked")).to_contain_text("Slow: ")
    tab.find("[data-map=beyond]").tap()
    expect(shown).to_contain_text(["tells two objects apart"])
    word(tab, "cat").tap()
    expect(tab.find(".looked")).to_have_attribute("data-shown", "2")
    assert map_of(tab).argmax() == 1
    expect(tab.find(".chances:visible")).to_have_count(1)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    picture, said = tab.find(".sights").bounding_box(), tab.find(".said").bounding_box()
    assert said["y"] > picture["y"] + picture["height"] - 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier(open_inspect, scheme):
    tab = open_inspect(color_scheme=scheme)
    answer(tab)
    word(tab, "cat").click()
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}
    found = Axe().run(tab.page, context="#inspect-answer", options=options)
    assert found.violations_count == 0, found.generate_report()


# ---- the embedded model ----


@pytest.fixture(scope="module")
def pocket():
    engine = Engine.load("pocket", quantization="none", device="cpu", dtype="float32")
    yield engine
    engine.close()


@pytest.mark.parametrize("seed", [1, 3])
def test_the_embedded_model_looks_at_the_object_that_it_names(serve, open_tab, pocket, seed):
    """One object on plain ground in a quarter that is known: its word's map lies mostly there."""
    made = make_picture(SEED + seed)
    ((name, quarter),) = made.objects.items()
    tab = open_tab(serve(backend=pocket).address)
    tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
    tab.find("#inspect-image input[type=file]").set_input_files(
        {"name": "made.png", "mimeType": "image/png", "buffer": png(made.image.pixels)}
    )
    tab.find(".picture .tile").first.wait_for()
    tab.find("#inspect-question textarea").fill(PROMPT)
    answer(tab)
    tab.find(".word").filter(has_text=re.compile(f"^{name}s?$", re.IGNORECASE)).first.focus()
    assert quarters_of(tab).argmax() == quarter
    chances = tab.find(".chances tr.own .number").all_text_contents()
    assert all(0 < float(each.rstrip(" %")) <= 100 for each in chances)
    tab.find(".looked [data-method=occlusion]").click()
    explained(tab, "occlusion")
    expect(tab.find(".said")).to_contain_text("less likely")


def quarters_of(tab: Tab) -> numpy.ndarray:
    """How much of the map that is shown lies in each quarter of the first image."""
    found = tab.page.evaluate(
        """() => {
            const canvas = document.querySelector('.sight canvas'), found = [0, 0, 0, 0];
            const {width, height} = canvas;
            const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
            for (let y = 0; y < height; y++) for (let x = 0; x < width; x++)
                found[2 * (y >= height / 2) + (x >= width / 2)] += data[4 * (y * width + x) + 3];
            return found;
        }"""
    )
    return numpy.array(found)


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG")
    return buffer.getvalue()
