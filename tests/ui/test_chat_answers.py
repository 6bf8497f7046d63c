"""How answers are shown: thoughts, formulas, code; and what a model writes that must do nothing."""

import re
import threading

import pytest
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, photo_bytes
from tests.ui.test_chat_turns import act, converse, said

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}

RICH = r"""Display $$x^2$$ and inline \(y_1\), costs $5 or $6.

| a | b |
|---|---|
| 1 | 2 |

```python
print("<b>")
```
"""

HOSTILE = """Start <script>window.hurt = 1</script>
<img src=x onerror="window.hurt = 1"> <svg onload="window.hurt = 1"></svg>
<iframe src="https://example.com/frame"></iframe>
<a href="javascript:window.hurt = 1">one</a> [two](javascript:window.hurt=1)
[three](data:text/html,<script>window.hurt=1</script>)
<details open ontoggle="window.hurt = 1"><summary>four</summary>x</details>
<form action="https://example.com/form"><button>five</button></form>
<button data-act="clear" data-copy="stolen" class="act">six</button>
<button id="stop">seven</button> <textarea id="message">eight</textarea>
<div id="settings" class="open">nine</div>
end"""

REMOTE = """![a](https://example.com/1.png) ![b][ref] <img src="//example.com/2.png">
<IMG SRC='https://example.com/3.png'> <picture><source srcset="https://example.com/4.png"></picture>
<video poster="https://example.com/5.png"></video> <p style="background:url(https://example.com/6)">
<table background="https://example.com/7"><tr><td>x</td></tr></table>
<input type=image src=//example.com/8>
<link rel=stylesheet href="https://example.com/9.css"> <object data="https://example.com/10"></object>
![c](<https://example.com/11.png> "title") <svg><image href="https://example.com/12.png"/></svg>
![d](https://example.com/13.png 'x') ![e](//example.com/14.png) &lt;img src=https://example.com/15&gt;

[ref]: https://example.com/16.png
"""


def test_thoughts_are_folded_and_are_not_sent_again(serve, open_tab):
    thinking, answering = threading.Event(), threading.Event()
    script = ["<think>I look ", thinking, "closely.</think>", "A ", answering, "cat."], ["Yes."]
    served = serve(backend=ScriptedBackend(*script))
    tab = open_tab(served.address)
    tab.ask("What?")
    expect(tab.answers.last.locator("summary")).to_have_text("Thinking aloud …")
    expect(tab.answers.last.get_by_text("I look")).to_be_hidden()
    thinking.set()
    expect(tab.answers.last.locator("summary")).to_have_text("Thoughts")
    expect(tab.answers.last).to_contain_text("A")
    answering.set()
    tab.wait_for_answer()
    expect(tab.answers.last.get_by_text("A cat.")).to_be_visible()
    expect(tab.answers.last.get_by_text("I look closely.")).to_be_hidden()
    tab.answers.last.locator("summary").click()
    expect(tab.answers.last.get_by_text("I look closely.")).to_be_visible()
    converse(tab, "Sure?")
    assert [words for _, words, _ in said(served)] == ["What?", "A cat.", "Sure?"]


def test_thoughts_opened_while_they_grow_stay_open(serve, open_tab):
    gate = threading.Event()
    tab = open_tab(serve("<think>I look ", gate, "closely.", threading.Event()).address)
    tab.ask("What?")
    tab.answers.last.locator("summary").click()
    expect(tab.answers.last.get_by_text("I look")).to_be_visible()
    gate.set()
    expect(tab.answers.last).to_contain_text("closely.")
    expect(tab.answers.last.get_by_text("I look closely.")).to_be_visible()


def test_formulas_tables_and_code_are_drawn(serve, open_tab):
    tab = open_tab(serve(RICH).address)
    converse(tab, "Show.")
    answer = tab.answers.last
    expect(answer.locator(".katex-display")).to_have_count(1)
    expect(answer.locator(".katex")).to_have_count(2)
    expect(answer).to_contain_text("costs $5 or $6")
    expect(answer.locator("table td")).to_have_text(["1", "2"])
    expect(answer.locator("pre code")).to_contain_text('print("<b>")')


def test_boxes_of_grounding_models_are_readable(serve, open_tab):
    tab = open_tab(serve("<ref>cat</ref><box>[[1,2,3,4]]</box> and <point>(5, 6)</point>").address)
    converse(tab, "Where?")
    expect(tab.answers.last).to_have_text("cat [1, 2, 3, 4] and [5, 6]")


def test_html_in_an_answer_does_nothing(serve, open_tab):
    served = serve(backend=ScriptedBackend(["First."], [HOSTILE], ["Slow ", threading.Event()]))
    tab = open_tab(served.address)
    converse(tab, "One?")
    tab.ask("Two?")
    expect(tab.answers).to_have_count(2)
    tab.stats.wait_for()
    answer = tab.answers.last
    expect(answer).to_contain_text("end")
    for number in ("one", "two", "three", "four", "five", "six", "seven"):
        answer.get_by_text(number, exact=True).evaluate("element => element.click()")
    assert answer.locator("iframe, script, img, svg[onload], [onclick], [onerror]").count() == 0
    assert tab.page.evaluate("window.hurt") is None
    assert tab.page.url.rstrip("/") == served.address
    expect(tab.answers).to_have_count(2)  # nothing was cleared
    overlay = answer.get_by_text("nine").bounding_box()
    inside = answer.bounding_box()
    assert overlay and inside and overlay["y"] >= inside["y"]
    tab.ask("Three?")
    expect(tab.answers.last).to_have_text("Slow")
    tab.box.press("Escape")  # finds the button of the page, not the model's
    expect(tab.answers.last).to_contain_text("stopped")
    assert served.backend.asked[-1].cancel.is_set()


def test_html_in_a_question_does_nothing_either(serve, open_tab):
    tab = open_tab(serve("Yes.").address)
    tab.attach({**PNG, "name": "<img src=x onerror=window.hurt=1>.png"})
    converse(tab, HOSTILE.replace('id="stop"', "") + "\n" + REMOTE)
    expect(tab.answers).to_have_text(["Yes."])
    expect(tab.find("#chat ol.sent")).to_contain_text("onerror")
    assert tab.page.evaluate("window.hurt") is None


def test_remote_pictures_are_never_asked_for(serve, open_tab):
    pieces = [REMOTE[start : start + 7] for start in range(0, len(REMOTE), 7)]
    tab = open_tab(serve(backend=ScriptedBackend(pieces, ["<think>" + REMOTE])).address)
    converse(tab, "One?", "Two?")  # piece by piece, and as a thought
    tab.answers.last.locator("summary").click()
    loads = "performance.getEntriesByType('resource').map(entry => entry.name)"
    assert [name for name in tab.page.evaluate(loads) if "example.com" in name] == []
    assert tab.left_origin == []


def test_every_number_is_explained_to_pointer_and_keyboard(serve, open_tab):
    served = serve("Yes.")
    tab = open_tab(served.address)
    tab.attach(PNG)
    converse(tab, "What?")
    shown = "element => getComputedStyle(element, '::after').content"
    figures = tab.stats.locator(".figure")
    expect(figures).to_have_count(7)
    for figure in figures.all():
        why = figure.get_attribute("data-why")
        assert why and len(why) > 10
        figure.hover()
        assert why in figure.evaluate(shown).replace("\\", "")
        tab.page.mouse.move(0, 0)
        assert figure.evaluate(shown) == "none"
        figure.focus()
        assert why in figure.evaluate(shown).replace("\\", "")
        figure.blur()
    seed = served.backend.asked[0].options.seed
    expect(figures.last).to_have_text(f"seed {seed}")


def test_everything_can_be_reached_by_keyboard_and_focus_stays(serve, open_tab):
    gate = threading.Event()
    script = ["One."], ["Two."], ["Half ", gate], ["Again."]
    tab = open_tab(serve(backend=ScriptedBackend(*script)).address)
    converse(tab, "First?", "Second?")
    tab.box.fill("Third?")
    reached = _tab_through(tab)
    for name in ("send", "retry", "edit", "undo", "clear", "copy", "settings"):
        assert name in reached
    tab.box.press("Enter")
    expect(tab.answers.last).to_contain_text("Half")
    assert "stop" in _tab_through(tab)
    tab.find("#stop").focus()
    tab.page.keyboard.press("Enter")
    tab.wait_for_answer(3)
    act(tab, "retry", turn=0).focus()
    tab.page.keyboard.press("Enter")
    expect(tab.answers).to_have_text(["Again."])
    tab.page.get_by_label("Previous version of turn 1").focus()
    tab.page.keyboard.press("Enter")
    expect(tab.find("#chat .versions")).to_have_text("1 of 2")
    expect(tab.page.get_by_label("Previous version of turn 1")).to_be_focused()


def _tab_through(tab):
    """What the Tab key reaches, one after the other, from the header on."""
    name = """() => {
        const element = document.activeElement;
        if (element.classList.contains('submit-button')) return 'send';
        if (element.dataset.copy) return 'copy';
        return element.dataset.act || element.id || element.closest('[id]')?.id || '';
    }"""
    tab.find("#theme").focus()
    reached = []
    for _ in range(60):
        tab.page.keyboard.press("Tab")
        reached.append(re.sub("-toggle$", "", tab.page.evaluate(name)))
    return reached
