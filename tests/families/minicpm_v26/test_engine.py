"""Answers of the engine: what is kept between them, begun answers, defaults, presets."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support.fakes import photo
from vlm.backend import Finished, TextDelta
from vlm.engine import Engine
from vlm.families.minicpm_v26 import FAMILY
from vlm.loading import Loaded
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions, with_preset

GREEDY = GenerationOptions(
    temperature=0, repetition_penalty=1.0, max_new_tokens=8, min_new_tokens=8
)


class Letters:
    """Lets a model say nothing but letters, which are read again as the same tokens.

    Attributes:
        exclaims: whether the third token of an answer is "!".
    """

    def __init__(self, engine: Engine) -> None:
        words = engine.processor.tokenizer
        self.letters = words.convert_tokens_to_ids(list("abcdefghijklmnopqrstuvwxyz"))
        self.exclaims, self.said = True, 0
        self._hooks = [
            engine.model.model.register_forward_pre_hook(self._begin, with_kwargs=True),
            engine.model.lm_head.register_forward_hook(self._change),
        ]

    def _begin(self, _: Any, given: Any, named: Any) -> None:
        if named["input_ids"].shape[1] > 1:  # a prompt, not a step
            self.said = 0

    def _change(self, _: Any, given: Any, logits: torch.Tensor) -> torch.Tensor:
        self.said += 1
        allowed = [0] if self.exclaims and self.said == 3 else self.letters
        only = torch.full_like(logits, -1e4)
        only[..., allowed] = logits[..., allowed]
        return only

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


@pytest.fixture
def engine(loaded: Loaded) -> Iterator[Engine]:
    engine = Engine(loaded)
    yield engine
    engine.close()


@pytest.fixture
def letters(engine: Engine) -> Iterator[Letters]:
    letters = Letters(engine)
    yield letters
    letters.remove()


def ask(
    engine: Engine, messages: Sequence[Message], options: GenerationOptions = GREEDY
) -> tuple[str, Finished]:
    events = list(engine.stream(messages, options, threading.Event()))
    finished = events[-1]
    assert isinstance(finished, Finished)
    return "".join(each.text for each in events if isinstance(each, TextDelta)), finished


def fresh(engine: Engine, messages: Sequence[Message]) -> tuple[str, Finished]:
    engine.forget()
    return ask(engine, messages)


def said(text: str) -> Message:
    return Message("assistant", (Text(text),))


QUESTION = user_message("Look! What is it?", [photo(size=(150, 60)), photo(seed=3)])


@pytest.fixture
def logits(engine: Engine, letters: Letters) -> Iterator[list[torch.Tensor]]:
    """The logits of the last position of every call of the model, in order."""
    found: list[torch.Tensor] = []
    head = engine.model.lm_head
    hook = head.register_forward_hook(lambda _, __, out: found.append(out[0, -1].clone()))
    yield found
    hook.remove()


def test_images_are_read_one_by_one_although_they_are_numbered(engine: Engine):
    assert engine.reader.by_image
    reading = engine.reader.read([QUESTION], {}, lambda *_: None)
    assert reading is not None
    whole = engine.prepare([QUESTION])["input_ids"]
    assert torch.equal(reading.inputs["input_ids"], whole)
    assert "<image_id>1</image_id>" in engine.processor.decode(whole[0])


def test_states_of_a_prompt_with_words_that_are_not_attended_to_are_used_again(engine: Engine):
    _, first = fresh(engine, [QUESTION])
    assert (engine.prepare([QUESTION])["attention_mask"] == 0).any()
    other = user_message("Look! What is there?", QUESTION.images)
    reused, second = ask(engine, [other])
    assert second.usage.cached_tokens > first.usage.image_tokens > 0
    assert reused == fresh(engine, [other])[0]


def test_the_next_turn_is_answered_as_if_nothing_had_been_kept(
    engine: Engine, logits: list[torch.Tensor]
):
    """An answer with "!" was attended to while it was written, and is not afterwards."""
    text, first = fresh(engine, [QUESTION])
    assert "!" in text  # people see what the model said
    turns = [QUESTION, said(text), user_message("And now!")]
    logits.clear()
    reused, second = ask(engine, turns)
    mask = engine.prepare(turns)["attention_mask"][0]
    mark = int((mask == 0).nonzero()[-2])  # in the answer; the last one is in the question
    assert mark >= first.usage.prompt_tokens
    assert second.usage.cached_tokens == mark
    kept = [each.clone() for each in logits]
    logits.clear()
    again, third = fresh(engine, turns)
    assert (again, third.usage.cached_tokens) == (reused, 0)
    for one, other in zip(kept, logits, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_states_after_such_a_word_would_give_other_numbers(engine: Engine, letters: Letters):
    """What the test before this one would not see if it did not matter."""
    text, _ = fresh(engine, [QUESTION])
    turns = [QUESTION, said(text), user_message("And now!")]
    inputs = engine.prepare(turns)
    logits = engine.model(**inputs).logits[0, -1]
    start = engine.prepare([QUESTION])["input_ids"].shape[1]
    inputs["attention_mask"][:, start : start + 8] = 1
    other = engine.model(**inputs).logits[0, -1]
    assert (logits - other)[1:].abs().max() > 1e-2


@pytest.mark.parametrize("forgets", [True, False])
def test_a_begun_answer_goes_on_as_it_would_have(engine: Engine, letters: Letters, forgets: bool):
    """With a "!" in what was begun, from the states that were kept and without them."""
    whole, first = fresh(engine, [QUESTION])
    assert whole[2] == "!" and len(whole) == 8
    if forgets:
        engine.forget()
    letters.exclaims = False
    begun = [QUESTION, said(whole[:5])]
    rest, finished = ask(engine, begun, replace(GREEDY, max_new_tokens=3, min_new_tokens=3))
    assert rest == whole[5:]
    assert finished.usage.cached_tokens == (0 if forgets else first.usage.prompt_tokens + 4)
    mask = engine.prepare(begun)["attention_mask"][0]
    assert mask[first.usage.prompt_tokens :].all()


def test_the_models_own_options_are_those_of_the_published_chat(engine: Engine):
    able = engine.capabilities()
    assert able.defaults == {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 100,
        "repetition_penalty": 1.05,
        "num_beams": 1,
        "max_new_tokens": 2048,
    }
    words = engine.processor.tokenizer
    own = engine.model.generation_config
    ends = ("<|im_end|>", "<|endoftext|>")
    assert own.eos_token_id == [words.convert_tokens_to_ids(each) for each in ends]
    assert own.pad_token_id == 0
    assert able.presets == FAMILY.presets


def test_its_preset_answers_with_beams_and_a_penalty_for_its_own_words(
    engine: Engine, letters: Letters
):
    letters.exclaims = False
    options = with_preset(GenerationOptions(max_new_tokens=6), "beams", FAMILY.presets)
    assert (options.num_beams, options.repetition_penalty, options.temperature) == (3, 1.2, 0)
    text, _ = ask(engine, [QUESTION], options)
    inputs = engine.prepare([QUESTION])
    expected = engine.model.generate(
        **inputs, do_sample=False, num_beams=3, repetition_penalty=1.2, max_new_tokens=6
    )[0, inputs["input_ids"].shape[1] :]
    assert text == engine.processor.decode(expected, skip_special_tokens=True)
    assert len(text) == 6


def test_its_catalogue_entry_is_found():
    (entry,) = FAMILY.checkpoints
    assert entry.name == entry.source == "openbmb/MiniCPM-V-2_6"
