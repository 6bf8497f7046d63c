"""The model's own values, the request's over them: what is shown is what is used."""

import pytest
import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from vlm.errors import RequestError
from vlm.generation import (
    DEFAULT_MAX_NEW_TOKENS,
    ContinuedStream,
    drawing,
    generation_config,
    model_defaults,
)
from vlm.options import OPTION_RANGES, GenerationOptions

SAMPLING = GenerationConfig(
    do_sample=True, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, min_new_tokens=3
)
CPU = torch.device("cpu")


def test_what_a_checkpoint_leaves_open_has_a_value():
    assert model_defaults(GenerationConfig()) == {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "num_beams": 1,
        "max_new_tokens": DEFAULT_MAX_NEW_TOKENS,
    }
    assert model_defaults(GenerationConfig(do_sample=True))["temperature"] == 1.0


def test_a_checkpoints_own_values_are_told():
    assert model_defaults(SAMPLING) == {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "repetition_penalty": 1.05,
        "num_beams": 1,
        "max_new_tokens": DEFAULT_MAX_NEW_TOKENS,
        "min_new_tokens": 3,
    }
    assert set(model_defaults(SAMPLING)) <= set(OPTION_RANGES)


@pytest.mark.parametrize("own", [GenerationConfig(), SAMPLING])
def test_to_give_the_defaults_is_to_give_nothing(own):
    given = GenerationOptions(**model_defaults(own))  # pyright: ignore[reportArgumentType]
    with_them = generation_config(own, given, 5, None).to_dict()
    without = generation_config(own, GenerationOptions(), 5, None).to_dict()
    assert with_them == without
    scores = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
    drawn = [
        processors(torch.zeros(1, 1, dtype=torch.int64), scores.clone())
        for processors in (drawing(own, given, CPU), drawing(own, GenerationOptions(), CPU))
    ]
    assert torch.equal(*drawn)


def test_a_request_overrides_and_the_checkpoint_stays_as_it_was():
    before = SAMPLING.to_dict()
    options = GenerationOptions(
        repetition_penalty=1.5, num_beams=2, max_new_tokens=7, min_new_tokens=2
    )
    config = generation_config(SAMPLING, options, 5, None)
    assert (config.repetition_penalty, config.num_beams) == (1.5, 2)
    assert (config.max_new_tokens, config.min_new_tokens, config.do_sample) == (7, 2, False)
    assert SAMPLING.to_dict() == before


def test_the_likeliest_token_is_taken_at_temperature_0_and_with_beams():
    assert not drawing(GenerationConfig(), GenerationOptions(), CPU)
    assert not drawing(SAMPLING, GenerationOptions(temperature=0), CPU)
    assert not drawing(SAMPLING, GenerationOptions(num_beams=2), CPU)
    assert drawing(SAMPLING, GenerationOptions(), CPU)


def test_the_answer_gets_what_the_prompt_leaves():
    own, options = GenerationConfig(), GenerationOptions(max_new_tokens=50)
    assert generation_config(own, options, 80, 100).max_new_tokens == 20
    assert generation_config(own, options, 10, 100).max_new_tokens == 50
    with pytest.raises(RequestError) as caught:
        generation_config(own, options, 100, 100)
    assert caught.value.facts == {"got": 100, "limit": 100}


def test_a_space_after_a_begun_answer_is_not_lost():
    """Tokenizers of the SentencePiece kind drop the space before a text's first token."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"▁It": 0, "▁is": 1, "?": 2}, unk_token="?"))
    core.decoder = decoders.Metaspace()
    words = PreTrainedTokenizerFast(tokenizer_object=core)
    assert words.decode([1]) == "is"
    said: list[str] = []
    stream: BaseStreamer = ContinuedStream(words, (), lambda event: said.append(event.text), [0])
    stream.put(torch.tensor([[0]]))  # the prompt
    stream.put(torch.tensor([1]))
    stream.end()
    assert said == [" is"]
