"""Earlier turns are not computed again, and no answer is another one for it.

The angles of Qwen's keys depend on how long the prompt was that they belong to, so keys of a short
prompt are of no use to a long one, even where the long one begins with it.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fakes import photo
from vlm.backend import Finished, TextDelta
from vlm.engine import Engine
from vlm.loading import Loaded
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions

OPTIONS = GenerationOptions(temperature=0.0, min_new_tokens=12, max_new_tokens=12)
TRAINED = 128
"""`seq_length`: the first prompt here is shorter, the later ones longer."""

SYSTEM = Message("system", (Text("Be brief."),))


@pytest.fixture
def engine(with_settings: Callable[..., Loaded]) -> Iterator[Engine]:
    engine = Engine(with_settings(seq_length=TRAINED))
    yield engine
    engine.close()


def ask(engine: Engine, messages: list[Message]) -> tuple[str, int, int]:
    """(answer, tokens of the prompt, how many of them were not computed again)."""
    events = list(engine.stream(messages, OPTIONS, threading.Event()))
    finished = events[-1]
    assert isinstance(finished, Finished) and finished.usage
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, finished.usage.prompt_tokens, finished.usage.cached_tokens or 0


def conversation(engine: Engine, turns: int) -> list[tuple[str, int, int]]:
    """What became of each turn of a conversation that grows."""
    messages, found = [SYSTEM], []
    for turn in range(turns):
        messages = [*messages, user_message(f"what is in the picture, part {turn}?")]
        found.append(ask(engine, messages))
        messages.append(Message("assistant", (Text("a cat and a dog"),)))
    return found


def fresh(engine: Engine, turns: int) -> list[str]:
    """The same answers, each computed from the start."""
    messages, found = [SYSTEM], []
    for turn in range(turns):
        messages = [*messages, user_message(f"what is in the picture, part {turn}?")]
        engine.forget()
        found.append(ask(engine, messages)[0])
        messages.append(Message("assistant", (Text("a cat and a dog"),)))
    return found


def levels(engine: Engine, found: list[tuple[str, int, int]]) -> list[int]:
    text: Any = engine.model.config.get_text_config()
    return [text.ntk_level(tokens) for _, tokens, _ in found]


def test_keys_are_used_again_only_at_the_same_alpha(engine: Engine) -> None:
    found = conversation(engine, 6)
    alphas = levels(engine, found)
    assert alphas[0] == 0 and alphas[-1] == 2
    for turn in range(1, len(found)):
        cached = found[turn][2]
        assert (cached > 0) == (alphas[turn] == alphas[turn - 1]), turn
    assert [answer for answer, _, _ in found] == fresh(engine, 6)


def test_reuse_across_alphas_would_change_answers(engine: Engine) -> None:
    """What the rule is for: without it an answer depends on what was asked before."""
    loaded = engine.loaded
    assert loaded.family is not None
    family = replace(loaded.family, states_depend_on=lambda *_: None)
    engine._loaded = replace(loaded, family=family)
    found = conversation(engine, 6)
    assert all(cached > 0 for _, _, cached in found[1:])
    assert [answer for answer, _, _ in found] != fresh(engine, 6)


def test_a_short_question_after_a_long_conversation(engine: Engine) -> None:
    """Its beginning is known, but from a prompt with other angles."""
    first = [SYSTEM, user_message("what is in the picture, part 0?")]
    alone = ask(engine, first)
    engine.forget()
    conversation(engine, 3)
    engine._conversations._kept = engine._conversations._kept[-1:]  # the longest alone
    again = ask(engine, first)
    assert (again[0], again[2]) == (alone[0], 0)


def test_an_answer_that_grew_beyond_the_length_is_gone_on_from_scratch(engine: Engine) -> None:
    """The prompt had alpha 1; with its answer it is longer than in training."""
    text: Any = engine.model.config.get_text_config()
    words = "what is in the picture" + "?" * 63
    messages = [SYSTEM, user_message(words)]
    answer, tokens, _ = ask(engine, messages)
    assert text.ntk_level(tokens) == 0 and text.ntk_level(tokens + 12) == 1
    more = [*messages, Message("assistant", (Text(answer),)), user_message("and?")]
    found, _, cached = ask(engine, more)
    assert cached == 0
    engine.forget()
    assert ask(engine, more)[0] == found


def test_features_of_images_are_kept_all_the_same(engine: Engine) -> None:
    pictures = [photo(seed=seed) for seed in (1, 2)]
    calls: list[int] = []
    hook = engine.model.model.vision_tower.register_forward_hook(
        lambda _, args, output: calls.append(len(output.last_hidden_state))
    )
    first = user_message("first", pictures[:1])
    second = user_message("second", pictures[1:])
    ask(engine, [first])
    answer, _, _ = ask(engine, [first, Message("assistant", (Text("yes"),)), second])
    hook.remove()
    assert sum(calls) == 2
    engine.forget()
    assert ask(engine, [first, Message("assistant", (Text("yes"),)), second])[0] == answer
