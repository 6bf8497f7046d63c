"""Keys and values in 8 bits: which models can, that they are so held, that none are reused."""

import pytest
import torch

from tests.support.answers import ask
from tests.support.fakes import photo
from vlm.blueprint import Workload, read
from vlm.cache import ConversationCache
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.kv_cache import HALF, WHOLE, kv_cache_choices
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions

PLAIN = ("llava", "smolvlm", "qwen2_5_vl")
OTHERS = ("gemma3", "gemma4", "minicpm_v4_6")
SMALL = GenerationOptions(temperature=0, max_new_tokens=6, min_new_tokens=6, kv_cache_bits=HALF)
QUESTION = [user_message("What is this?", [photo(seed=1)])]


def loaded(checkpoints, name):
    return Engine.load(str(checkpoints[name]), "none", device="cpu", dtype="float32")


@pytest.mark.parametrize("name", PLAIN)
def test_answers_come_from_states_of_8_bits(checkpoints, name):
    engine = loaded(checkpoints, name)
    states = []
    keep = lambda *given: states.append(given[2].past_key_values)  # noqa: E731
    hook = engine.model.register_forward_hook(keep)
    said = ask(engine, QUESTION, SMALL)
    hook.remove()
    assert said.finished.usage.completion_tokens == 6
    tokens = said.finished.usage.prompt_tokens + 5
    keys, scale = states[-1].layers[0]._quantized_keys
    assert keys.dtype == torch.float8_e4m3fn
    assert keys.shape[-2] == tokens
    text = engine.model.config.get_text_config(decoder=True)
    assert keys.nbytes == tokens * text.num_key_value_heads * keys.shape[-1]  # one byte a number
    assert scale.numel() == 1
    engine.close()


def test_what_8_bits_hold_is_not_gone_on_from(checkpoints):
    engine = loaded(checkpoints, "llava")
    first = ask(engine, QUESTION, SMALL)
    messages = [*QUESTION, Message("assistant", (Text(first.text),)), user_message("Sure?")]
    second = ask(engine, messages, SMALL)
    assert second.finished.usage.cached_tokens == 0
    again = Engine.load(str(checkpoints["llava"]), "none", device="cpu", dtype="float32")
    assert torch.equal(ask(again, messages, SMALL).logits, second.logits)
    engine.close(), again.close()


def test_the_first_token_is_that_of_16_bits(checkpoints):
    engine = loaded(checkpoints, "llava")
    exact = ask(engine, QUESTION, GenerationOptions(temperature=0, max_new_tokens=1))
    engine.forget()
    assert torch.equal(ask(engine, QUESTION, SMALL).logits[0], exact.logits[0])
    engine.close()


@pytest.mark.parametrize("name", OTHERS)
def test_models_with_other_states_refuse_in_a_sentence(checkpoints, name):
    engine = loaded(checkpoints, name)
    assert engine.capabilities().kv_cache_bits == (WHOLE,)
    with pytest.raises(RequestError, match="only in: 16"):
        ask(engine, QUESTION, SMALL)
    engine.close()


def test_not_on_a_device_without_such_numbers(checkpoints):
    engine = loaded(checkpoints, "llava")
    assert kv_cache_choices(engine.model, torch.device("cpu")) == (WHOLE, HALF)
    assert kv_cache_choices(engine.model, torch.device("mps")) == (WHOLE,)
    engine.close()


def test_the_estimate_counts_them(checkpoints):
    blueprint = read(str(checkpoints["llava"]), device="cpu", dtype="bfloat16")
    whole, half = (
        blueprint.estimate("none", Workload(context=1024, images=1, kv_cache_bits=bits))
        for bits in (WHOLE, HALF)
    )
    assert half.context == pytest.approx(whole.context / 2, rel=0.01)
    assert half.weights == whole.weights


def test_the_cache_of_conversations_knows_the_difference(checkpoints):
    engine = loaded(checkpoints, "llava")
    ask(engine, QUESTION, SMALL)
    assert isinstance(engine._conversations, ConversationCache)
    assert len(engine._conversations) == 0
    engine.close()
