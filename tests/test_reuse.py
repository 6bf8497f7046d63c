"""What earlier answers leave behind saves time and changes nothing: each answer against
transformers' own `generate` on the whole conversation, in 32 bits."""

import functools
import gc
import string
import weakref
from dataclasses import replace

import pytest
import torch

from tests.support.answers import Said, ask, assert_same, work_out
from tests.support.fakes import photo
from vlm.backend import Forgetful, Progress
from vlm.engine import Engine
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions

SHORT = GenerationOptions(max_new_tokens=8, min_new_tokens=8)
REUSING = ("llava", "smolvlm")
"""Not gemma3 and gemma4, whose window of 16 tokens is full at once, nor qwen2_5_vl: see below."""
OTHERS = ("pocket", "gemma3", "gemma4", "qwen2_5_vl", "minicpm_v4_6")


def loaded(name, checkpoints) -> Engine:
    engine = Engine.load(str(checkpoints.get(name, name)), quantization="none", dtype="float32")
    if name != "pocket":  # random weights say random bytes; letters are the same tokens again
        words = engine.processor.tokenizer
        letters = {words.convert_tokens_to_ids(letter) for letter in string.ascii_letters}
        banned = sorted(set(range(len(words))) - letters)
        engine.model.generation_config.suppress_tokens = banned
    return engine


@pytest.fixture(scope="module", params=REUSING)
def reusing(request, checkpoints):
    engine = loaded(request.param, checkpoints)
    yield engine
    engine.close()


@pytest.fixture(
    scope="module", params=[*REUSING, "pocket", "gemma3", "gemma4", "qwen2_5_vl", "minicpm_v4_6"]
)
def any_engine(request, checkpoints):
    engine = loaded(request.param, checkpoints)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _nothing_left_behind(request):
    for name in {"reusing", "any_engine"} & set(request.fixturenames):
        request.getfixturevalue(name).forget()


def checked(engine, messages, options=SHORT) -> Said:
    """An answer that was compared."""
    said = ask(engine, messages, options)
    assert_same(said, work_out(engine, messages, options))
    return said


def cached(said: Said) -> int:
    assert said.finished is not None
    return said.finished.usage.cached_tokens


def length(engine, messages) -> int:
    return engine.prepare(messages)["input_ids"].shape[1]


def recurrent(engine) -> bool:
    """Whether the model has layers whose state cannot be taken back to an earlier token."""
    kinds = getattr(engine.model.config.get_text_config(), "layer_types", None) or ()
    return "linear_attention" in kinds


def answered(text: str) -> Message:
    return Message("assistant", (Text(text),))


def test_every_turn_is_the_same_as_from_nothing(any_engine):
    messages = [user_message("What is this?", [photo(seed=1), photo(seed=2, size=(70, 50))])]
    for seed in range(3, 6):
        said = checked(any_engine, messages)
        keeps = any_engine.reader.by_image and not recurrent(any_engine)
        assert (cached(said) > 0) == (seed > 3 and keeps)
        messages += [answered(said.text), user_message("And now?", [photo(seed=seed)][: seed % 2])]
    checked(any_engine, messages)


def test_the_second_turn_reads_only_what_is_new(reusing):
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = checked(reusing, messages)
    assert cached(first) == 0
    before = length(reusing, messages)
    messages += [answered(first.text), user_message("And this?", [photo(seed=2)])]
    second = checked(reusing, messages)
    assert cached(second) >= before
    reading = [event for event in second.events if isinstance(event, Progress)]
    assert reading == [Progress("reading", 2, 2), Progress("thinking")]


def test_what_was_forgotten_is_not_used_again(reusing):
    assert isinstance(reusing, Forgetful)
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = checked(reusing, messages)
    messages += [answered(first.text), user_message("And this?", [photo(seed=2)])]
    assert reusing.forget()
    assert cached(checked(reusing, messages)) == 0
    assert reusing.forget() and not reusing.forget()


def test_another_image_of_the_same_size_is_not_taken_for_the_first(reusing):
    one, other = photo(seed=1), photo(seed=2)
    messages = [user_message("What is this?", [one])]
    said = checked(reusing, messages)
    start = int(
        (reusing.prepare(messages)["input_ids"][0] == reusing.reader.placeholder_id).int().argmax()
    )
    follow = [answered(said.text), user_message("Sure?")]
    second = checked(reusing, [user_message("What is this?", [other]), *follow])
    assert cached(second) <= start
    assert cached(checked(reusing, [*messages, *follow])) > start


def test_images_in_another_order_are_another_prompt(reusing):
    one, other = photo(seed=1), photo(seed=2)
    checked(reusing, [user_message("Compare.", [one, other])])
    again = checked(reusing, [user_message("Compare.", [other, one])])
    assert cached(again) < length(reusing, [user_message("Compare.", [one])])


def test_an_image_in_other_detail_is_another_image(checkpoints):
    engine = loaded("gemma3", checkpoints)
    asked = [user_message("What is this?", [photo(size=(900, 300))])]
    split = replace(SHORT, image_detail={"splitting": True})
    whole, parts = checked(engine, asked), checked(engine, asked, split)
    assert parts.finished is not None and whole.finished is not None
    assert parts.finished.usage.image_tokens > whole.finished.usage.image_tokens
    checked(engine, asked)
    engine.close()


def test_an_edited_turn_keeps_what_comes_before_it(reusing):
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = checked(reusing, messages)
    messages += [answered(first.text), user_message("What colour is it?")]
    second = checked(reusing, messages)
    kept = length(reusing, messages[:1])
    edited = [*messages[:2], user_message("How large is it?")]
    third = checked(reusing, edited)
    assert kept <= cached(third) < length(reusing, messages)
    messages += [answered(second.text), user_message("Why?")]
    assert cached(checked(reusing, messages)) >= length(reusing, messages[:3])


def test_another_system_prompt_is_another_conversation(reusing):
    asked = user_message("What is this?", [photo(seed=1)])
    checked(reusing, [Message("system", (Text("Be brief."),)), asked])
    said = checked(reusing, [Message("system", (Text("Rhyme."),)), asked])
    assert cached(said) < length(reusing, [Message("system", (Text("Be brief."),))])


def test_thoughts_taken_out_of_the_history_end_the_common_part(reusing):
    messages = [user_message("What is this?", [photo(seed=1)])]
    checked(reusing, messages)
    before = length(reusing, messages)
    messages += [answered("Something else than was said."), user_message("Sure?")]
    said = checked(reusing, messages)
    assert before - 2 <= cached(said) <= before + 2


def test_two_conversations_in_turn_both_hit(reusing):
    both = [[user_message("What is this?", [photo(seed=seed)])] for seed in (1, 2)]
    for turn in range(3):
        for messages in both:
            said = checked(reusing, messages)
            if turn:
                assert cached(said) >= length(reusing, messages[:-2])
            messages += [answered(said.text), user_message(f"And {turn}?")]


def test_after_a_cancelled_answer_what_was_read_is_kept(reusing):
    messages = [user_message("What is this?", [photo(seed=1)])]
    options = GenerationOptions(max_new_tokens=100, min_new_tokens=100)
    begun = ask(reusing, messages, options, cancel_after=3)
    assert begun.finished is not None and begun.finished.reason == "cancelled"
    said = checked(reusing, [*messages, answered(begun.text)])
    assert cached(said) >= length(reusing, messages)


def test_the_same_prompt_again_is_split_in_the_same_way(reusing):
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = checked(reusing, messages)
    assert cached(checked(reusing, messages)) == cached(first) == 0
    messages += [answered(first.text), user_message("Sure?")]
    second = checked(reusing, messages)
    assert cached(checked(reusing, messages)) == cached(second) > 0


def test_features_of_an_image_are_worked_out_once(reusing):
    calls = []
    base = reusing.model.base_model
    encode = base.get_image_features

    @functools.wraps(encode)  # the engine looks at its parameters
    def counted(*arguments, **named):
        calls.append(1)
        return encode(*arguments, **named)

    base.get_image_features = counted
    try:
        for question in ("What is this?", "Where is it?", "Whose is it?"):
            ask(reusing, [user_message(question, [photo(seed=1)])], SHORT)
            ask(
                reusing,
                [Message("system", (Text("x"),)), user_message("?", [photo(seed=1)])],
                SHORT,
            )
    finally:
        del base.get_image_features
    assert len(calls) == 1


def test_several_beams_reuse_nothing(reusing):
    options = GenerationOptions(max_new_tokens=4, num_beams=2)
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = ask(reusing, messages, options)
    messages += [answered(first.text), user_message("Sure?")]
    assert cached(ask(reusing, messages, options)) == 0


def test_positions_kept_in_the_model_rule_reuse_out(checkpoints):
    engine = loaded("qwen2_5_vl", checkpoints)
    assert not engine.reader.by_image
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = checked(engine, messages)
    messages += [answered(first.text), user_message("Sure?")]
    assert cached(checked(engine, messages)) == 0
    engine.close()


def test_a_full_window_is_gone_on_with(checkpoints):
    engine = loaded("gemma3", checkpoints)
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = checked(engine, messages)
    messages += [answered(first.text), user_message("Sure?")]
    said = checked(engine, messages)
    assert cached(said) > length(engine, messages[:1])
    messages = [*messages[:1], answered(first.text[:3]), user_message("Sure?")]
    assert cached(checked(engine, messages)) == 0
    engine.close()


def test_when_memory_runs_out_what_was_left_behind_makes_room(reusing):
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = ask(reusing, messages, SHORT)
    messages += [answered(first.text), user_message("Sure?")]
    failures = [RuntimeError("out of memory")]

    def fail(*_):
        if failures:
            raise failures.pop()

    hook = reusing.model.register_forward_pre_hook(fail)
    try:
        said = ask(reusing, messages, SHORT)
        assert cached(said) == 0
    finally:
        hook.remove()


def test_nothing_is_held_after_close(checkpoints):
    engine = loaded("llava", checkpoints)
    ask(engine, [user_message("What is this?", [photo(seed=1)])], SHORT)
    kept = engine._conversations._kept[0]
    held = [weakref.ref(kept.states.layers[0].keys)]
    held += [weakref.ref(each) for each in engine.reader.remembered._kept.values()]
    held += [weakref.ref(each) for each in engine.model.parameters()]
    del kept
    engine.close()
    gc.collect()
    assert [each() for each in held if each() is not None] == []


def test_sixteen_bits_give_the_same_text_twice(checkpoints):
    """Keys and values are rounded by how a prompt is split, which must not differ on a retry."""
    engine = Engine.load("pocket", quantization="none", dtype="bfloat16")
    options = GenerationOptions(max_new_tokens=12, min_new_tokens=12, temperature=1.5, seed=5)
    messages = [user_message("What is this?", [photo(seed=1)])]
    first = ask(engine, messages, options)
    messages += [answered(first.text), user_message("And what else is there to be seen?")]
    second = ask(engine, messages, options)
    assert cached(second) > 0
    again = ask(engine, messages, options)
    assert torch.equal(again.logits, second.logits)
    assert torch.equal(ask(engine, messages[:1], options).logits, first.logits)
    engine.close()
