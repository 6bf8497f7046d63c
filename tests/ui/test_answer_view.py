"""How an answer that is looked into is drawn, without a page: words, maps, tokens, sentences."""

import base64
import math
import re
from dataclasses import replace

import numpy
import pytest

from tests.support.fakes import ScriptedBackend, photo
from vlm.backend import Finished, Progress, Tile
from vlm.chat import ChatSession
from vlm.errors import RequestError
from vlm.explanation import ExplainMethod, Explanation, Grain, Sight, TokenChance
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions
from vlm.ui import answer_view
from vlm.ui.answered import MAP_BYTES, Answered
from vlm.ui.image_numbers import in_a_row
from vlm.ui.inspect_parts import Looking

EVIL = "<img src=x onerror=alert(1)>\"'&"
FIRST, SECOND = photo(size=(60, 40)), photo(size=(40, 40), seed=1)


def chance(text: str, start: int, probability: float = 0.5, **facts: object) -> TokenChance:
    likeliest = ((text, probability), (" dog", 0.25), (" car", 0.1), (" man", 0.05), (" bus", 0.01))
    known = {"likeliest": likeliest, "kept": 3, "possible": True, **facts}
    return TokenChance(
        text=text, start=start, end=start + len(text), probability=probability, **known
    )


def sight(weights: object, image=FIRST, grain: Grain = "token", rows: int = 2) -> Sight:
    tile = Tile(box=(0, 0, *image.original_size), rows=rows, columns=rows)
    array = numpy.array(weights, numpy.float32)
    return Sight(original_size=image.original_size, grain=grain, tiles=(tile,), weights=array)


def explanation(
    *texts: str, sights: tuple[Sight, ...] = (), method: ExplainMethod = "attention"
) -> Explanation:
    tokens = [chance(text, sum(map(len, texts[:n]))) for n, text in enumerate(texts)]
    return Explanation(
        answer="".join(texts), tokens=tuple(tokens), method=method, sights=sights, layers=(2, 3)
    )


def answered(found: Explanation, *images) -> Answered:
    answer = Answered([user_message("What?", images)], text=found.answer)
    answer.keep(found, "Scripted · fp32", False)
    return answer


ONE = explanation(
    "A", " cat", ".", sights=(sight([[0.1, 0, 0, 0], [0, 0, 0.2, 0.4], [0, 0, 0, 0]]),)
)
TWO = explanation(
    "A",
    " cat",
    sights=(sight([[0.1, 0, 0, 0], [0.1, 0, 0, 0]]), sight([[0] * 4, [0, 0.3, 0, 0]], SECOND)),
)


def maps(markup: str, name: str = "own") -> list[numpy.ndarray]:
    """The maps of each image, (1 + words, rows, columns), as the page gets them."""
    found = re.findall(rf'data-rows="(\d+)" data-columns="(\d+)".*? data-{name}="([^"]*)"', markup)
    return [
        numpy.frombuffer(base64.b64decode(text), numpy.uint8).reshape(-1, int(rows), int(columns))
        for rows, columns, text in found
    ]


def said(markup: str) -> list[str]:
    return re.findall(r'data-said="([^"]*)"', markup)


def test_every_word_has_its_map_and_the_whole_answer_comes_first():
    (own,) = maps(answer_view.section(answered(ONE, FIRST), "en"))
    assert own.shape == (4, 2, 2)
    assert own[1].tolist() == [[255, 0], [0, 0]]
    assert own[2].tolist() == [[0, 0], [128, 255]]
    assert own[3].tolist() == [[0, 0], [0, 0]]
    assert own[0].tolist() == [[64, 0], [128, 255]]  # means over the tokens


def test_beyond_is_what_a_word_has_more_than_the_answer():
    both = sight([[0.3, 0.3, 0, 0], [0.3, 0, 0, 0.3]])
    markup = answer_view.section(answered(explanation("A", " cat", sights=(both,)), FIRST), "en")
    (own,), (beyond,) = maps(markup), maps(markup, "beyond")
    assert own[2].tolist() == [[255, 0], [0, 255]]
    assert beyond[2].tolist() == [[0, 0], [0, 255]]  # the first place both share
    assert beyond[0].tolist() == own[0].tolist()


def test_images_share_one_scale_and_their_shares_are_said():
    markup = answer_view.section(answered(TWO, FIRST, SECOND), "en")
    first, second = maps(markup)
    assert first[2].max() == 85  # a third of what the other has
    assert second[2].tolist() == [[0, 255], [0, 0]]
    assert (first[1].max(), second[1].max()) == (255, 0)
    assert "image 1: 25 % · image 2: 75 %" in said(markup)[2]
    assert "40 % of the attention goes to the images" in said(markup)[2]
    assert markup.count("<figcaption>") == 2
    assert (
        "图片 1：25% · 图片 2：75%"
        in said(answer_view.section(answered(TWO, FIRST, SECOND), "zh"))[2]
    )


def test_images_of_several_questions_are_told_apart_by_their_question():
    asked = [
        user_message("What?", [FIRST]),
        Message("assistant", (Text("A cat."),)),
        user_message("And now?"),
        Message("assistant", (Text("A cat."),)),
        user_message("And here?", [FIRST]),  # the same photo once more
    ]
    answer = Answered(asked, text=TWO.answer)
    answer.keep(replace(TWO, sights=(TWO.sights[0], TWO.sights[0])), "Scripted", False)
    markup = answer_view.section(answer, "en")
    shown = re.findall(r"<figcaption>([^<]*)</figcaption>", markup)
    assert [each.partition(" · ")[0] for each in shown] == [
        "Image 1 of question 1",
        "Image 1 of question 3",
    ]
    assert "image 1 of question 1: 50 % · image 1 of question 3: 50 %" in said(markup)[2]
    assert "图片 1（第 3 问）：50%" in said(answer_view.section(answer, "zh"))[2]


def test_questions_that_are_no_longer_sent_count_on():
    session = ChatSession(ScriptedBackend(["One."], ["Two."], ["Three."]))
    for question, image in (("First?", FIRST), ("Second?", FIRST), ("Third?", SECOND)):
        list(session.send(question, [image]))
    session.drop_oldest(1)
    answer = Answered.of_turn(session, 2)
    assert answer is not None
    assert [each.words("en") for each in answer.numbers] == ["1 of question 2", "1 of question 3"]
    assert [each.mark for each in answer.numbers] == ["2.1", "3.1"]
    looking = Looking([FIRST, SECOND], answered=answer)
    assert looking.numbers == answer.numbers
    looking.photos.pop()
    assert looking.numbers == in_a_row(1)


def test_a_question_from_chat_keeps_all_that_was_said_before_it():
    """Else Trace would tell what comes next in another prompt than that of the answer."""
    session = ChatSession(ScriptedBackend(["One."], ["Two."]))
    detail = GenerationOptions(image_detail={"tiles": 2}, temperature=0.5)
    list(session.send("First?", [FIRST]))
    list(session.send("Second?", options=detail))
    answer = Answered.of_turn(session, 1)
    assert answer is not None
    looking = Looking([FIRST], answered=answer)
    asked = looking.asked("Second?")
    assert asked.messages == answer.messages and len(asked.messages) == 3
    assert asked.options == GenerationOptions(image_detail={"tiles": 2})
    assert looking.asked("Another?").messages == [user_message("Another?", [FIRST])]
    assert Looking([FIRST]).asked("Second?").messages == [user_message("Second?", [FIRST])]
    looking.photos.append(SECOND)
    assert len(looking.asked("Second?").messages) == 1


def test_it_is_said_where_probabilities_are_rounded():
    for language, words in (("en", "are rounding"), ("zh", "舍入误差")):
        exact = answer_view.section(answered(ONE, FIRST), language)
        rounded = answer_view.section(answered(replace(ONE, rounded=True), FIRST), language)
        assert (words in exact, words in rounded) == (False, True)


def test_losses_are_said_as_times():
    lost = (sight([[math.log(4), 0, 0, 0], [0, -1, 0, -1]], grain="patch"),)
    found = explanation("A", " cat", sights=lost, method="occlusion")
    answer = answered(found, FIRST)
    markup = answer_view.section(answer, "en")
    assert "4.0 times less likely" in said(markup)[1]
    assert "no place made it less likely" in said(markup)[2]
    assert maps(markup)[0][2].max() == 0
    assert "data-map=" not in markup  # there is only one map of a word


def test_words_are_buttons_and_nothing_of_the_answer_is_lost():
    markup = answer_view.section(answered(ONE, FIRST), "en")
    words = re.findall(r'data-word="(\d+)"[^>]*>([^<]*)</button>( ?)', markup)
    assert [(number, word) for number, word, _ in words[1:]] == [
        ("1", "A"),
        ("2", "cat"),
        ("3", "."),
    ]
    paragraph = re.search(r'<p class="answer words"[^>]*>(.*?)</p>', markup)
    assert paragraph is not None
    assert re.sub(r"<[^>]*>", "", paragraph[1]) == "A cat."


def test_tokens_show_alternatives_and_what_was_kept():
    unlikely = replace(ONE.tokens[1], probability=0.002, likeliest=ONE.tokens[0].likeliest)
    found = replace(
        ONE,
        tokens=(
            replace(ONE.tokens[0], kept=1),
            replace(unlikely, possible=False, kept=12),
            replace(ONE.tokens[2], kept=1, possible=False),
        ),
    )
    markup = answer_view.section(answered(found, FIRST), "en")
    first, second, third = re.findall(r'<div class="chances".*?</div>', markup)
    assert re.findall(r"<code>([^<]*)</code></th>", first) == ["A", "·dog", "·car", "·man", "·bus"]
    assert first.count("<tr class=") == second.count("<tr class=") == 1
    assert re.findall(r"<code>([^<]*)</code></th>", second)[-1] == "·cat"  # a sixth row: its own
    assert "0.2 % likely" in second
    assert "left one token only, the likeliest: this one" in first
    assert "left 12 tokens to draw from, but not this one" in second
    assert "it is not this one" in third
    assert 'style="--chance:0.002"' in markup


def test_what_a_model_writes_is_text():
    def foreign(answer: Answered) -> list[str]:
        """Pictures that are not ours."""
        return re.findall('<img(?! src="data:)', answer_view.section(answer, "en"))

    evil = explanation(EVIL, sights=(sight([[1, 0, 0, 0]]),))
    answer = answered(evil, FIRST)
    assert foreign(answer) == []
    answer.progress = Progress("thinking")
    assert foreign(answer) == []
    answer.progress, answer.found = None, {}
    answer.messages = [user_message(EVIL, [FIRST])]
    assert foreign(answer) == []


@pytest.mark.parametrize("text", ["\n", " ", ""])
def test_a_word_of_spaces_can_be_pointed_at(text: str):
    found = explanation("A", text, "B", sights=(sight([[1, 0, 0, 0]] * 3),))
    markup = answer_view.section(answered(found, FIRST), "en")
    assert "></button>" not in markup


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("grain", "words"),
    [("tile", ("within its tile", "块内")), ("image", ("whole image", "整张图"))],
)
def test_coarse_maps_are_explained_and_have_steps(grain: Grain, words: tuple[str, str], language):
    coarse = (sight([[0.5], [0.5]], grain=grain, rows=1),)
    markup = answer_view.section(answered(explanation("A", " b", sights=coarse), FIRST), language)
    assert words[language == "zh"] in markup
    assert 'data-steps="true"' in markup
    assert 'data-steps="false"' in answer_view.section(answered(ONE, FIRST), language)


def test_why_it_ended_is_told_and_other_methods_stay_at_hand():
    answer = Answered([user_message("What?", [FIRST])], text="A cat.")
    answer.error = RequestError("no_attention")
    markup = answer_view.section(answer, "en")
    assert "card error" in markup and 'data-method="occlusion"' in markup
    answer.error = RequestError("explain_cancelled")
    markup = answer_view.section(answer, "en")
    assert "cancelled" in markup and "card error" not in markup
    answer.text = ""  # nothing to look into
    assert 'data-method="occlusion" ' not in answer_view.section(answer, "en")


def test_a_running_one_can_be_stopped_and_says_what_it_does():
    answer = answered(ONE, FIRST)
    answer.progress = Progress("looking", 3, 36)
    markup = answer_view.section(answer, "en")
    assert "3 of 36" in markup and 'data-act="stop_looking"' in markup
    assert 'data-state="running"' in markup and 'data-act="look"' not in markup


def test_without_images_the_tokens_are_still_told():
    markup = answer_view.section(answered(explanation("A", " cat")), "en")
    assert "no image to look at" in markup
    assert 'class="chances"' in markup and "<figure" not in markup


def test_long_answers_get_smaller_maps():
    weights = numpy.random.default_rng(0).random((900, 40 * 40), numpy.float32)
    long = explanation(*[f" {n}" for n in range(900)], sights=(sight(weights, rows=40),))
    kept = answered(long, FIRST).maps("attention")[0]
    assert kept.own.shape[0] == 901
    assert kept.own.nbytes + kept.beyond.nbytes <= MAP_BYTES
    few = answered(replace(ONE, sights=(sight(weights[:3], rows=40),)), FIRST)
    assert few.maps("attention")[0].own.shape == (4, 40, 40)


def test_explanations_of_another_model_go():
    answer = answered(ONE, FIRST)
    before = answer.maps("attention")
    assert answer.maps("attention") is before
    other = replace(ONE, method="occlusion")
    answer.keep(other, answer.model, False)
    assert set(answer.found) == {"attention", "occlusion"}
    answer.keep(other, "Another", True)
    assert set(answer.found) == {"occlusion"}
    assert "another model or setting" in answer_view.section(answer, "en")


def test_a_turn_is_looked_into_with_all_that_was_said_before_it():
    session = ChatSession(ScriptedBackend(["One."], ["Two.", Finished("stop", model={"m": "a"})]))
    session.system_prompt = "Be brief."
    list(session.send("First?", [FIRST]))
    list(session.send("Second?", [SECOND]))
    answer = Answered.of_turn(session, 1)
    assert answer is not None
    assert [message.role for message in answer.messages] == ["system", "user", "assistant", "user"]
    assert answer.images == [FIRST, SECOND]
    assert (answer.text, answer.origin, answer.waiting) == ("Two.", {"m": "a"}, True)
    assert answer.options == session.turns[1].options
    first = Answered.of_turn(session, 0)
    assert first is not None and first.images == [FIRST]
    assert Answered.of_turn(session, 2) is None
