"""The second reading of an answer, held against what the model itself says and attends to."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LogitsProcessorList

from tests.support.fakes import photo
from tests.support.tiny import EVERY_MODEL, tiny_engine
from vlm import attention, families
from vlm.attention import Stopped, attention_layers, middle_third, read_again, table_bytes
from vlm.chances import answer_tokens
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.messages import user_message
from vlm.precision import Follow

ANSWER = "A cat, or two."
QUESTION = [user_message("What?", [photo(size=(70, 90)), photo(size=(64, 40), seed=2)])]


@pytest.fixture(scope="module", params=EVERY_MODEL)
def engine(request: Any, checkpoints: Any, tmp_path_factory: Any) -> Iterator[Engine]:
    with tiny_engine(request.param, checkpoints, tmp_path_factory) as engine:
        yield engine


def taken(engine: Engine) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    """The inputs of the question, the ids of the answer, the places of the images."""
    inputs = dict(engine.prepare(QUESTION))
    ids, _ = answer_tokens(engine.processor.tokenizer, ANSWER)
    places = inputs["input_ids"][0] == engine.reader.placeholder_id
    return inputs, ids, places.nonzero().flatten()


@torch.inference_mode()
def led(engine: Engine, inputs: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
    """Logits (tokens, words) of `generate`, which is made to say the answer word by word."""
    made = engine.model.generate(
        **inputs,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        max_new_tokens=len(ids),
        min_new_tokens=len(ids),
        logits_processor=LogitsProcessorList([Follow(inputs["input_ids"].shape[1], ids)]),
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.cat(made.logits)


def test_the_logits_are_those_of_writing_the_answer(engine: Engine) -> None:
    inputs, ids, places = taken(engine)
    logits, _ = read_again(engine.model, inputs, ids, places)
    torch.testing.assert_close(logits, led(engine, inputs, ids), rtol=1e-3, atol=1e-3)


def test_the_shares_are_those_of_plain_attention(engine: Engine) -> None:
    inputs, ids, places = taken(engine)
    _, seen = read_again(engine.model, inputs, ids, places)
    decoder = engine.model.get_decoder()
    tables: dict[int, torch.Tensor] = {}
    hooks = []
    for module in attention_layers(decoder):

        def note(module: Any, _: Any, output: Any) -> None:
            tables[module.layer_idx] = output[1][0].float().mean(0)  # (tokens, tokens)

        hooks.append(module.register_forward_hook(note))
    config = attention_layers(decoder)[0].config
    before = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        with torch.inference_mode():
            engine.model(
                **attention.first_step(
                    engine.model, attention._with_answer(engine.model, inputs, ids)
                )
            )
    finally:
        config._attn_implementation = before
        for hook in hooks:
            hook.remove()
    start = inputs["input_ids"].shape[1]
    expected = torch.stack([tables[layer] for layer in seen.layers]).mean(0)[start:, places]
    torch.testing.assert_close(seen.shares, expected, rtol=1e-3, atol=1e-5)
    assert seen.seen == len(seen.layers) > 0
    if any(not getattr(each, "sliding_window", None) for each in attention_layers(decoder)):
        assert float(seen.shares.sum(1).min()) > 0
    assert float(seen.shares.sum(1).max()) < 1


def test_the_model_is_left_as_it_was(engine: Engine) -> None:
    inputs, ids, places = taken(engine)
    configs = [each.config for each in attention_layers(engine.model.get_decoder())]
    before = [config._attn_implementation for config in configs]
    read_again(engine.model, inputs, ids, places)
    assert [config._attn_implementation for config in configs] == before
    for layer in range(min(2, len(configs))):  # called off before the first layer, and after it
        asked: list[int] = []

        def stop(asked: list[int] = asked, layer: int = layer) -> bool:
            asked.append(1)
            return len(asked) > layer

        with pytest.raises(Stopped):
            read_again(engine.model, inputs, ids, places, stop)
        assert len(asked) == layer + 1
        assert [config._attn_implementation for config in configs] == before


def test_a_few_rows_at_a_time_give_the_same(engine: Engine, monkeypatch: Any) -> None:
    inputs, ids, places = taken(engine)
    _, whole = read_again(engine.model, inputs, ids, places)
    monkeypatch.setattr(attention, "ROWS", 5)  # 14 tokens: 5, 5 and 4
    _, parts = read_again(engine.model, inputs, ids, places)
    torch.testing.assert_close(parts.shares, whole.shares, rtol=1e-4, atol=1e-6)


def test_what_would_not_fit_is_refused_with_numbers(engine: Engine, monkeypatch: Any) -> None:
    inputs, ids, places = taken(engine)
    monkeypatch.setattr(attention, "MOST_BYTES", 1000)
    with pytest.raises(RequestError, match=r"takes 0\.0 GB beside the model") as caught:
        read_again(engine.model, inputs, ids, places)
    assert caught.value.facts["tokens"] == inputs["input_ids"].shape[1] + len(ids)


def test_bytes_by_hand() -> None:
    tables = 32 * 64 * 4000 * (3 * 2 + 8)
    assert table_bytes(32, 1000, 200, 4000, 2) == tables + 2 * 4000 * 4000 * 2 + 200 * 1000 * 6


class Layer(nn.Module):
    def __init__(self, number: int, window: int | None = None) -> None:
        super().__init__()
        self.layer_idx, self.sliding_window = number, window


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([Layer(n) for n in range(30)], tuple(range(10, 20))),
        ([Layer(n) for n in range(2)], (0, 1)),
        ([Layer(0)], (0,)),
        ([Layer(n, None if n % 2 else 16) for n in range(12)], (5, 7)),
        ([Layer(n, 16) for n in range(3)], (1,)),
        ([], ()),
    ],
)
def test_the_middle_third_of_those_that_see_far(layers: Any, expected: tuple[int, ...]) -> None:
    assert middle_third(layers) == expected


def test_four_bits(tmp_path: Any) -> None:
    source = families.families()["pocket"].tiny(tmp_path)
    engine = Engine.load(source, quantization="nf4", device="cpu", dtype="float32")
    inputs, ids, places = taken(engine)
    logits, seen = read_again(engine.model, inputs, ids, places)
    assert logits.isfinite().all()
    assert float(seen.shares.sum()) > 0
    engine.close()
