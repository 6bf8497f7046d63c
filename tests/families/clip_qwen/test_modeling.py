"""Qwen v1 beside Qwen2, prompts longer than in training, labels."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import DynamicCache, Qwen2Config, Qwen2Model

from vlm.errors import RequestError
from vlm.families.clip_qwen.configuration import NTK_LEVELS, QwenConfig
from vlm.families.clip_qwen.modeling import QwenModel

LENGTH = 16
"""`seq_length` of the models here."""


def small(**changes: Any) -> QwenModel:
    """A language model whose weights are large enough to matter."""
    settings: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "seq_length": LENGTH,
    }
    torch.manual_seed(0)
    model = QwenModel(QwenConfig(**settings | changes)).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    return model


def hidden(model: Any, ids: torch.Tensor, **settings: Any) -> torch.Tensor:
    return model(input_ids=ids, **settings).last_hidden_state


def words(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 40, (1, count), generator=torch.Generator().manual_seed(seed))


# ---- Qwen2 and two rules ----


@pytest.mark.parametrize(
    ("count", "changes"),
    [(LENGTH, {}), (3 * LENGTH, {"use_dynamic_ntk": False, "use_logn_attn": False})],
)
def test_without_long_prompts_it_is_qwen2(count: int, changes: dict[str, bool]) -> None:
    model = small(**changes)
    native = Qwen2Model(
        Qwen2Config(
            **{
                name: getattr(model.config, name)
                for name in (
                    "vocab_size",
                    "hidden_size",
                    "intermediate_size",
                    "num_hidden_layers",
                    "num_attention_heads",
                    "num_key_value_heads",
                    "rms_norm_eps",
                )
            }
            | {"rope_parameters": model.config.rope_parameters}
        )
    ).eval()
    native.load_state_dict(model.state_dict())
    ids = words(count)
    torch.testing.assert_close(hidden(model, ids), hidden(native, ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("off", ["use_dynamic_ntk", "use_logn_attn"])
def test_each_rule_changes_long_prompts_alone(off: str) -> None:
    both, one = small(), small(**{off: False})
    assert torch.equal(hidden(both, words(LENGTH)), hidden(one, words(LENGTH)))
    difference = hidden(both, words(LENGTH + 1)) - hidden(one, words(LENGTH + 1))
    assert difference.abs().max() > 1e-3


def test_neither_rule_is_in_force_while_training() -> None:
    both, none = small(), small(use_dynamic_ntk=False, use_logn_attn=False)
    ids = words(3 * LENGTH)
    assert torch.equal(hidden(both.train(), ids), hidden(none, ids))


@pytest.mark.parametrize("seq_length", [1, 16, 100, 8192])
def test_level_follows_the_published_alpha(seq_length: int) -> None:
    """In both places that work it out: for what is kept, and for the angles."""
    model = small(seq_length=seq_length)
    for length in [*range(1, 70), 127, 128, 129, 8191, 8192, 8193, 16384, 16385, 32769]:
        published = max(2 ** math.ceil(math.log2(length / seq_length) + 1) - 1, 1)
        level = model.config.ntk_level(length)
        assert 2 ** (level + 1) - 1 == min(published, 2**NTK_LEVELS - 1), length
        mask = torch.ones(1, length, dtype=torch.int64)
        assert int(model._level(torch.zeros(1, 1, 32), mask, None)) == level, length


def test_no_level_without_dynamic_ntk() -> None:
    assert QwenConfig(seq_length=4, use_dynamic_ntk=False).ntk_level(100) == 0


def test_frequencies_have_the_published_base() -> None:
    model = small()
    dim = 8
    for level, alpha in enumerate((1, 3, 7, 15)):
        base = 10000 * alpha ** (dim / (dim - 2))
        expected = 1.0 / (base ** (torch.arange(0, dim, 2).float() / dim))
        torch.testing.assert_close(model.rotary_emb.inv_freq[level], expected, rtol=1e-6, atol=0)


def test_queries_are_scaled_by_the_logarithm_of_their_position() -> None:
    scale = small()._query_scale(torch.arange(40)[None])
    assert scale is not None
    expected = [math.log(p + 1, LENGTH) if p + 1 > LENGTH else 1.0 for p in range(40)]
    torch.testing.assert_close(scale[0], torch.tensor(expected))


# ---- the alpha of a prompt stays ----


def steps(model: QwenModel, ids: torch.Tensor, prompt: int) -> torch.Tensor:
    """The states of a prompt and then of one token at a time."""
    cache = DynamicCache(config=model.config)
    parts = [ids[:, :prompt], *ids[:, prompt:].split(1, dim=1)]
    return torch.cat([hidden(model, part, past_key_values=cache) for part in parts], dim=1)


def test_the_alpha_of_the_prompt_is_kept_when_the_answer_is_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against one pass over everything whose level is set by hand; the other scale goes on."""
    model, ids = small(), words(LENGTH + 9)
    stepped = steps(model, ids, LENGTH - 2)
    fresh = hidden(model, ids)
    assert (stepped - fresh).abs().max() > 1e-3
    monkeypatch.setattr(model, "_level", lambda *_: torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(stepped, hidden(model, ids), rtol=0, atol=1e-5)


def test_a_long_prompt_goes_on_with_its_alpha() -> None:
    model, ids = small(), words(2 * LENGTH)
    torch.testing.assert_close(steps(model, ids, LENGTH + 1), hidden(model, ids), rtol=0, atol=1e-5)


def test_one_model_answers_long_and_short_prompts_alike() -> None:
    """Nothing is left in the model between prompts."""
    model = small()
    before = hidden(model, words(LENGTH))
    steps(model, words(4 * LENGTH), 3 * LENGTH)
    assert torch.equal(hidden(model, words(LENGTH)), before)


def test_rows_of_a_batch_have_an_alpha_each() -> None:
    """Short and long prompts in one left-padded batch, each as when it is alone."""
    model, rows = small(), [words(LENGTH - 3, 1), words(2 * LENGTH + 5, 2)]
    longest = max(row.shape[1] for row in rows)
    ids = torch.cat([functional.pad(row, (longest - row.shape[1], 0)) for row in rows])
    mask = torch.stack([torch.arange(longest) >= longest - row.shape[1] for row in rows]).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    settings = {"attention_mask": mask, "position_ids": positions}
    together = hidden(model, ids, past_key_values=cache, **settings)
    for number, row in enumerate(rows):
        alone = hidden(model, row)
        padded = together[number : number + 1, -row.shape[1] :]
        torch.testing.assert_close(padded, alone, rtol=0, atol=1e-5)
    assert cache.ntk_level.tolist() == [0, 2]  # pyright: ignore


# ---- biases ----


def test_biases_of_every_layer_where_the_configuration_has_them() -> None:
    plain, biased = small(), small(no_bias=False)
    added = set(biased.state_dict()) - set(plain.state_dict())
    assert {name.split("layers.0.")[1] for name in added if "layers.0." in name} == {
        "self_attn.o_proj.bias",
        "mlp.gate_proj.bias",
        "mlp.up_proj.bias",
        "mlp.down_proj.bias",
    }
    before = hidden(biased, words(5))
    biased.layers[0].self_attn.o_proj.bias.data += 1
    assert not torch.equal(hidden(biased, words(5)), before)


def test_a_wrong_call_says_what_to_give() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        small()()


# ---- training ----


def test_labels_of_a_conversation_to_learn(loaded: Any, processor: Any) -> None:
    """One `<|extra_0|>` becomes as many positions as the image has; none of them counts."""
    from tests.support.fakes import photo

    model, count = loaded.model, processor.tokens_per_image
    conversation = [
        {"role": "user", "content": [{"type": "image", "image": photo().pixels}]},
        {"role": "assistant", "content": [{"type": "text", "text": "the lamp"}]},
    ]
    text = processor.apply_chat_template(conversation)
    assert text.endswith("assistant\nthe lamp<|endoftext|>")
    bare = processor.tokenizer(text)["input_ids"]
    inputs = processor.apply_chat_template(
        conversation, tokenize=True, return_dict=True, return_tensors="pt"
    )
    labels = inputs["input_ids"].clone()
    answer = len(processor.tokenizer("the lamp<|endoftext|>")["input_ids"])
    labels[:, :-answer] = -100
    assert labels.shape[1] == len(bare) - 1 + count
    outputs = model(**inputs, labels=labels)
    expected = functional.cross_entropy(outputs.logits[0, -answer - 1 : -1], labels[0, -answer:])
    torch.testing.assert_close(outputs.loss, expected)


def test_gradients_reach_all_three_parts(source: str) -> None:
    from tests.support.fakes import photo
    from vlm.loading import load

    loaded = load(source, quantization="none", device="cpu", dtype="float32")
    model: Any = loaded.model.train()
    processor: Any = loaded.processor
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": photo().pixels}]}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.enable_grad():
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    for name in (
        "model.vision_tower.embeddings.patch_embedding.weight",
        "model.multi_modal_projector.linear_1.weight",
        "model.language_model.layers.0.self_attn.k_proj.weight",
        "lm_head.weight",
    ):
        gradient = model.get_parameter(name).grad
        assert gradient is not None and gradient.abs().max() > 0, name


# ---- images ----


def test_as_many_features_as_placeholders(loaded: Any) -> None:
    model, token = loaded.model, loaded.model.config.image_token_id
    pixels = torch.randn(2, 3, 28, 28)
    with pytest.raises(RequestError, match=r"has 7 placeholders .* take 8"):
        model(input_ids=torch.tensor([[1, *[token] * 7, 2]]), pixel_values=pixels)


def test_without_images_the_placeholder_is_a_word_like_others(loaded: Any) -> None:
    token = loaded.model.config.image_token_id
    logits = loaded.model(input_ids=torch.tensor([[1, token, 2]])).logits
    assert logits.isfinite().all()
    features = loaded.model.get_input_embeddings()(torch.tensor([[1, token, 2]]))
    torch.testing.assert_close(loaded.model(inputs_embeds=features).logits, logits)
