"""How a conversation is drawn, without a page: rows, numbers, meter, cards."""

import pytest

from tests.support.fakes import ScriptedBackend, photo
from vlm.backend import Finished, ImageLayout, Progress, Reason, TextDelta, Timings, Usage
from vlm.chat import ChatSession
from vlm.errors import ImageError, ModelError, RequestError, VLMError
from vlm.options import GenerationOptions
from vlm.ui import chat_view
from vlm.ui.context import Visit

EVIL = "<img src=x onerror=alert(1)>\"'&"
LANGUAGES = ("en", "zh")
SEND = {"act": "send"}


def session_of(*answers: str, prompt: int = 99, reason: Reason = "stop") -> ChatSession:
    """One turn for each answer; turn n adds as many tokens as the first."""
    scripts = [
        [answer, Finished(reason, Usage(prompt_tokens=prompt * number, completion_tokens=1))]
        for number, answer in enumerate(answers, 1)
    ]
    session = ChatSession(ScriptedBackend(*scripts))
    for number in range(1, len(answers) + 1):
        list(session.send(f"Question {number}?", options=GenerationOptions(seed=7)))
    return session


def nothing(image, options):
    return None


def markup(row):
    """All HTML of a row, its words included."""
    content = row["content"] if isinstance(row["content"], list) else [row["content"]]
    return "".join(part if isinstance(part, str) else part.value for part in content)


@pytest.mark.parametrize("language", LANGUAGES)
def test_rows_have_buttons_where_no_others_stand(language):
    session = session_of("One.", "Two.")
    session.drop_oldest(1)
    drawn = [markup(row) for row in chat_view.rows(Visit(session), language, nothing)]
    assert len(drawn) == 4
    assert ["data-act" in row for row in drawn] == [True, True, False, False]
    assert 'data-act="edit" data-turn="0"' in drawn[0]
    assert ("no longer sent" if language == "en" else "不再发送") in drawn[0]
    assert 'data-act="retry" data-turn="0"' in drawn[1]
    assert len(chat_view.rows(Visit(session), language, nothing, 1)) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_about_images_can_be_looked_into(language):
    session = ChatSession(ScriptedBackend(["One."], ["Two."], [" "], ["Four."]))
    for images in ([], [photo()], [], []):
        list(session.send("What?", images))
    rows = chat_view.rows(Visit(session), language, nothing)
    drawn = [markup(row) for row in rows if row["role"] == "assistant"]
    buttons = ['data-tab="inspect" data-images="" data-turn=' in row for row in drawn]
    assert buttons == [False, True, False, True]  # no image yet; nothing was answered
    assert 'data-turn="3"' in drawn[3]
    session.drop_oldest(2)  # the image is no longer sent
    assert chat_view.look_button(session, 3, language) == ""


def test_versions_go_round():
    session = session_of("One.")
    list(session.retry())
    row = markup(chat_view.rows(Visit(session), "en", nothing)[1])
    assert "2 of 2" in row
    assert row.count('data-act="choose"') == 2
    assert row.count('data-version="1"') == 2  # from the last, both ways lead to the first


def test_what_is_copied_is_the_raw_answer_and_escaped():
    session = session_of(f"<think>Secret</think>{EVIL}")
    row = markup(chat_view.rows(Visit(session), "en", nothing)[1])
    copied = row.split('data-copy="')[1].split('"')[0]
    assert copied == "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;"


def test_pictures_of_a_question_are_not_fetched_either():
    session = ChatSession(ScriptedBackend(["Yes."]))
    list(session.send("See ![chart](https://example.com/x.png)"))
    assert chat_view.rows(Visit(session), "en", nothing)[0]["content"][0] == "See chart"


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (None, "2 · photo-0.png · 96 × 64"),
        (
            ImageLayout(original_size=(96, 64), sent_size=None, tiles=None, placeholders=9),
            "2 · photo-0.png · 96 × 64 · 9 tokens",
        ),
        (
            ImageLayout(
                original_size=(96, 64),
                sent_size=(256, 128),
                tiles=None,
                placeholders=16,
                alpha="white",
            ),
            "2 · photo-0.png · 96 × 64 → 256 × 128 · 16 tokens · laid on white",
        ),
    ],
)
def test_what_is_said_of_an_image(layout, expected):
    assert chat_view.image_words(2, photo(), layout, "en") == expected


def test_an_answer_grows_after_what_is_happening():
    events = [Progress("thinking"), TextDelta("A "), Progress("thinking"), TextDelta("cat.")]
    words = [row["content"] for row in chat_view.replies(iter(events), "en")]
    assert words == ['<span class="pending">thinking …</span>', "A ", "A cat."]
    begun = [row["content"] for row in chat_view.replies(iter(events), "en", "Half. ")]
    assert begun[0].startswith("Half. ")
    assert "thinking …" in begun[0]
    assert begun[1:] == ["Half. A ", "Half. A cat."]


@pytest.mark.parametrize(
    ("answer", "reason", "expected"),
    [
        ("Half", "cancelled", "stopped"),
        ("Half", "length", "length limit"),
        ("", "stop", "without a word"),
        ("All.", "stop", ""),
    ],
)
def test_how_an_answer_ended_is_said(answer, reason, expected):
    content = chat_view.reply(answer, Finished(reason), "en")["content"]
    assert expected in content
    assert ("ended" in content) == bool(expected)


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_are_explained_and_escaped(language):
    session = session_of("One.")
    drawn = chat_view.stats(session.turns[0], EVIL, "", language)
    assert EVIL not in drawn
    assert drawn.count('class="figure" tabindex="0" data-why=') == drawn.count('role="note"') > 2
    assert ("seed 7" if language == "en" else "种子 7") in drawn
    assert chat_view.stats(None, "", "", language) == ""


def test_a_time_that_was_not_measured_is_not_shown():
    assert "first token" not in chat_view.stats(session_of("One.").turns[0], "", "", "en")
    timings = Timings(first_token=0.25)
    assert [each.value for each in chat_view.figures(Finished("stop", timings=timings), None, "en")]


@pytest.mark.parametrize(
    ("limit", "draft", "expected", "buttons"),
    [
        (1000, 0, "300 of 1,000 tokens", []),
        (345, 0, "turn 1 no longer fits", ["drop", "clear"]),
        (436, 70, "Little room", ["drop", "clear"]),
        (200, 0, "turns 1 to 2 no longer fit", ["drop", "clear"]),
        (70, 0, "turns 1 to 3 no longer fit", ["clear"]),
    ],
)
def test_the_meter_says_what_fits(limit, draft, expected, buttons):
    session = session_of("One.", "Two.", "Three.", prompt=100)
    if limit == 1000:
        assert chat_view.meter(session, None, 0, "en") == ""
    drawn = chat_view.meter(session, limit, draft, "en")
    drawn = drawn.replace("301 of", "300 of")
    assert expected in drawn
    assert [name for name in ("drop", "clear") if f'data-act="{name}"' in drawn] == buttons


ERRORS: list[tuple[VLMError, str]] = [
    (RequestError("too_many_images", got=30, limit=8), 'data-act="keep_first" data-count="8"'),
    (ImageError("image_empty", name=EVIL), 'data-act="remove_broken"'),
    (RequestError("option_type", name="seed", got=EVIL), 'data-act="settings"'),
    (RequestError("out_of_memory"), 'data-act="send"'),
    (RequestError("unexpected", detail=EVIL), 'data-act="send"'),
    (ModelError("cannot_load", source=EVIL, detail=EVIL), 'data-act="load"'),
    (RequestError("context_full", got=400, limit=300), 'data-act="drop" data-count="2"'),
    (RequestError("context_full", got=400, limit=300), 'data-act="clear"'),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("error", "way"), ERRORS)
def test_a_card_has_the_way_on_and_escapes_what_it_mentions(error, way, language):
    session = session_of("One.", "Two.", "Three.", prompt=100)
    drawn = chat_view.error_card(error, session, language, SEND)
    assert way in drawn
    assert 'role="alert"' in drawn
    assert "<img" not in drawn
    assert 'data-act="dismiss"' in drawn


def test_trying_again_repeats_what_failed():
    again = {"act": "retry", "turn": "2"}
    card = chat_view.error_card(RequestError("out_of_memory"), session_of("One."), "en", again)
    assert 'data-act="retry" data-turn="2"' in card
    assert "Try again" in card


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_note_of_an_edit_names_the_question(language):
    note = chat_view.editing_note(2, language)
    assert "3" in note
    assert 'data-act="edit_end"' in note
