"""One question over several images: together, with crops, or one by one and then joined."""

import threading
from dataclasses import replace

import pytest

from tests.support.fakes import ScriptedBackend, photo
from vlm.backend import Capabilities, Progress
from vlm.compare import Region, compare
from vlm.compare_ask import Crop, Plan, ask, crop_box, crops, plan
from vlm.errors import ModelError, RequestError
from vlm.images import made_image
from vlm.messages import Image

ABLE = Capabilities(name="Any")
ONE = Capabilities(name="One", images_per_turn=1)
IMAGES = [photo(seed=seed) for seed in range(3)]


def last(replies):
    return list(replies)[-1]


# ---- how it can be asked ----


@pytest.mark.parametrize(
    ("limit", "images", "regions", "expected"),
    [
        (None, 2, 5, Plan(together=True, regions=3)),  # 8 images in all
        (None, 8, 5, Plan(together=True, regions=0)),
        (None, 2, 1, Plan(together=True, regions=1)),
        (4, 2, 5, Plan(together=True, regions=1)),
        (2, 2, 5, Plan(together=True, regions=0)),
        (2, 3, 5, Plan(together=False)),
        (1, 2, 0, Plan(together=False)),
    ],
)
def test_what_a_model_takes_decides(limit, images, regions, expected):
    assert plan(replace(ABLE, images_per_turn=limit), images, regions, 8) == expected


# ---- together ----


def test_all_images_go_in_one_prompt_and_the_answer_grows():
    backend = ScriptedBackend([Progress("thinking"), "The ", "cat."])
    replies = list(ask(backend, "What changed?", IMAGES))
    assert [reply.parts[0].text for reply in replies] == ["", "The ", "The cat.", "The cat."]
    assert replies[0].waiting == Progress("thinking")
    assert replies[1].waiting is None
    message = backend.asked[0].messages[-1]
    assert len(backend.asked) == 1
    assert message.images == tuple(IMAGES)
    assert message.text == "What changed?"
    turn = replies[-1].parts[0].turn
    assert turn.finished.reason == "stop"
    assert turn.options.seed is not None


def test_crops_follow_the_images_and_are_named():
    backend = ScriptedBackend(["Yes."])
    closer = [Crop(1, photo(seed=8)), Crop(2, photo(seed=9))]
    list(ask(backend, "What changed?", IMAGES[:2], closer))
    message = backend.asked[0].messages[-1]
    assert message.images == (*IMAGES[:2], closer[0].image, closer[1].image)
    lines = message.text.split("\n")
    assert lines[0] == "Image 3 shows a part of image 1 from close up."
    assert lines[1] == "Image 4 shows a part of image 2 from close up."
    assert lines[2:] == ["What changed?"]


def test_an_empty_question_is_refused_before_anything_is_asked():
    backend = ScriptedBackend(["Never."])
    with pytest.raises(RequestError, match="no question"):
        list(ask(backend, "  ", IMAGES))
    assert backend.asked == []


def test_a_failure_is_raised_after_what_came_before():
    replies = ask(ScriptedBackend(["Begun ", ModelError("no_trace", name="x")]), "What?", IMAGES)
    assert next(replies).parts[0].text == "Begun "
    with pytest.raises(ModelError):
        next(replies)


# ---- one by one ----


def test_a_model_of_one_image_is_asked_about_each_and_then_joins():
    backend = ScriptedBackend(
        ["A cup."], ["A cat."], ["<think>Hm.</think>A dog."], ["They differ."]
    )
    reply = last(ask(backend, "What changed?", IMAGES, together=False))
    assert [part.number for part in reply.parts] == [1, 2, 3, None]
    assert reply.parts[-1].text == "They differ."
    assert all(part.turn is not None for part in reply.parts)
    messages = [asked.messages for asked in backend.asked]
    assert [[each.images for each in said] for said in messages] == [
        *([(image,)] for image in IMAGES),
        [()],
    ]
    joined = messages[-1][0].text
    assert "Image 1: A cup.\n\nImage 2: A cat.\n\nImage 3: A dog." in joined  # no thoughts
    assert "What changed?" in joined
    assert "What changed?" in messages[0][0].text


def test_a_model_that_refuses_words_alone_leaves_the_answers_one_by_one():
    refusal = RequestError("empty_message")
    backend = ScriptedBackend(["A cup."], ["A cat."], [refusal])
    reply = last(ask(backend, "What changed?", IMAGES[:2], together=False))
    assert [(part.number, part.text) for part in reply.parts] == [(1, "A cup."), (2, "A cat.")]
    assert reply.unjoined is refusal


def test_other_failures_of_joining_are_raised():
    backend = ScriptedBackend(["A cup."], ["A cat."], [ModelError("no_trace", name="x")])
    with pytest.raises(ModelError):
        list(ask(backend, "What changed?", IMAGES[:2], together=False))


def test_a_stop_ends_all_further_questions():
    cancel, gate = threading.Event(), threading.Event()
    backend = ScriptedBackend(["A ", gate, "cup."], ["Never."])
    replies = ask(backend, "What?", IMAGES, together=False, cancel=cancel)
    assert next(replies).parts[0].text == "A "
    cancel.set()
    rest = list(replies)
    assert [part.text for part in rest[-1].parts] == ["A "]
    assert rest[-1].parts[0].turn.finished.reason == "cancelled"
    assert len(backend.asked) == 1


def test_the_added_words_are_in_the_language_of_the_question():
    backend = ScriptedBackend(["一。"], ["二。"], ["三。"])
    list(ask(backend, "有什么变化？", IMAGES[:2], together=False, language="zh"))
    assert "图片 1：一。" in backend.asked[-1].messages[0].text


# ---- crops ----


def region(*box: int) -> Region:
    return Region(1, box, 0.1, 20.0)


def test_a_crop_has_a_margin_and_stays_inside():
    assert crop_box(region(40, 40, 60, 60), (200, 100)) == (35, 35, 65, 65)
    assert crop_box(region(0, 0, 40, 40), (200, 100)) == (0, 0, 50, 50)
    left, top, right, bottom = crop_box(region(100, 50, 101, 51), (1000, 600))
    assert (right - left, bottom - top) == (100, 60)  # a tenth of the image at least
    assert crop_box(region(0, 0, 1, 1), (1, 1)) == (0, 0, 1, 1)


def test_crops_show_the_same_place_of_both_in_the_frame_of_the_first():
    first: Image = photo(size=(400, 300), seed=3)
    edited = first.pixels.copy()
    edited.paste((250, 20, 20), (100, 80, 180, 160))
    second = made_image(edited.resize((800, 600)))
    found = compare(first, second)
    one, other = crops(first, second, found, 1, (1, 3))
    assert (one.number, other.number) == (1, 3)
    assert one.image.original_size == other.image.original_size
    box = crop_box(found.regions[0], first.original_size)
    assert one.image.pixels.tobytes() == first.pixels.crop(box).tobytes()
    middle = [length // 2 for length in other.image.original_size]
    red, green, _ = other.image.pixels.getpixel(tuple(middle))
    assert red > 200 > 80 > green
    assert crops(first, second, found, 0, (1, 2)) == []
