"""Experts, norms, where images go, and the loss, each against a plain formula."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vlm.errors import RequestError
from vlm.families.minimind_v.modeling import (
    MiniMindExperts,
    ScalingRMSNorm,
    SquaringRMSNorm,
    balance_loss,
)

from .conftest import WORDS, build

EXPERTS = {
    "seed": {"use_moe": True, "n_routed_experts": 4, "n_shared_experts": True},
    "mid": {"use_moe": True, "n_routed_experts": 5, "n_shared_experts": 2},
    "head": {"use_moe": True, "num_experts": 6, "num_experts_per_tok": 2},
}


def prompt(model: Any, *order: str, images: int = 1) -> dict[str, Tensor]:
    """Ids of words ("a"), of "@" and of images ("I"), and pictures of noise."""
    tokens = {"a": [50], "@": [model.config.text_token_id]}
    tokens["I"] = [model.config.image_token_id] * model.config.image_seq_length
    side = model.config.vision.image_size
    random = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.tensor([[number for name in order for number in tokens[name]]]),
        "pixel_values": torch.randn(images, 3, side, side, generator=random),
    }


def merged(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """(batch, tokens, width): what the language model reads."""
    seen: list[Tensor] = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    model(**inputs)
    hook.remove()
    return seen[0]


# ---- where images go ----


@pytest.mark.parametrize("generation", ["seed", "mid", "head"])
def test_images_next_to_each_other_keep_their_own_rows(generation: str) -> None:
    model = build(generation)
    inputs = prompt(model, "a", "I", "I", "a", images=2)
    rows, count = merged(model, inputs)[0], model.config.image_seq_length
    own = model.model.get_image_features(inputs["pixel_values"]).pooler_output
    torch.testing.assert_close(rows[1 : 1 + count], own[0])
    torch.testing.assert_close(rows[1 + count : 1 + 2 * count], own[1])


def test_a_typed_at_sign_beside_an_image_stays_text() -> None:
    model = build("seed")
    inputs = prompt(model, "@", "@", "I", "@", "a")
    rows, count = merged(model, inputs)[0], model.config.image_seq_length
    own = model.model.get_image_features(inputs["pixel_values"]).pooler_output
    sign = model.get_input_embeddings()(torch.tensor(model.config.text_token_id))
    torch.testing.assert_close(rows[2 : 2 + count], own[0])
    for place in (0, 1, 2 + count):
        torch.testing.assert_close(rows[place], sign)


def test_placeholders_without_images_are_read_as_published() -> None:
    model = build("mid")
    inputs = prompt(model, "a", "I", "a")
    ids = inputs["input_ids"]
    signs = ids.masked_fill(ids == WORDS, model.config.text_token_id)
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=signs).logits)


@pytest.mark.parametrize("form", ["(n, 3, h, w)", "(1, n, 3, h, w)", "(1, n, 1, 3, h, w)"])
def test_pixels_in_every_published_form(form: str) -> None:
    model = build("seed")
    inputs = prompt(model, "I", "a", "I", "a", images=2)
    expected = model(**inputs).logits
    pixels = inputs["pixel_values"]
    shapes = {6: pixels[None, :, None], 5: pixels[None], 4: pixels}
    inputs["pixel_values"] = shapes[form.count(",") + 1]
    assert torch.equal(model(**inputs).logits, expected)


@pytest.mark.parametrize("images", [1, 3])
def test_a_wrong_number_of_images(images: int) -> None:
    model = build("head")
    with pytest.raises(RequestError, match=rf"128 placeholders.*{64 * images}"):
        model(**prompt(model, "I", "a", "I", images=images))


def test_embeddings_do_not_tell_where_images_go() -> None:
    model = build("seed")
    with pytest.raises(ValueError, match="input_ids"):
        model(
            inputs_embeds=torch.zeros(1, 200, 32),
            pixel_values=torch.zeros(1, 3, 224, 224),
        )
    with pytest.raises(ValueError, match="either"):
        model()


def test_penalty_for_repetition_takes_placeholders() -> None:
    """Their number lies past the vocabulary, and so past the logits."""
    model = build("seed")
    inputs = prompt(model, "I", "a", "@")
    out = model.generate(**inputs, repetition_penalty=1.3, max_new_tokens=3, do_sample=False)
    assert int(out[0, -3:].max()) < WORDS


# ---- experts ----


def plainly(block: MiniMindExperts, hidden: Tensor, config: Any) -> Tensor:
    """Token by token, as published."""
    rows = []
    for row in hidden.flatten(0, 1):
        scores = (block.gate.weight @ row).softmax(0)
        best = scores.argsort(descending=True)[: config.num_experts_per_tok]
        weights = scores[best]
        if config.norm_topk_prob and (config.generation == "head" or len(best) > 1):
            weights = weights / weights.sum()
        said = sum(w * block.experts[int(e)](row) for w, e in zip(weights, best, strict=True))
        rows.append(said + sum(shared(row) for shared in block.shared_experts))
    return torch.stack(rows).view_as(hidden)


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("generation", ["seed", "mid", "head"])
def test_experts(generation: str, norm: bool, top_k: int) -> None:
    given = EXPERTS[generation] | {"norm_topk_prob": norm, "num_experts_per_tok": top_k}
    model = build(generation, **given)
    block: Any = model.model.language_model.layers[0].mlp
    assert len(block.shared_experts) == {"seed": 1, "mid": 2, "head": 0}[generation]
    hidden = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(block(hidden), plainly(block, hidden, model.config.text))


def test_experts_of_another_width() -> None:
    model = build("head", **EXPERTS["head"], intermediate_size=64, moe_intermediate_size=40)
    assert model.model.language_model.layers[0].mlp.experts[5].up_proj.weight.shape == (40, 32)


# ---- loss ----


def published_loss(scores: Tensor, top_k: int, alpha: float) -> float:
    """alpha * mean over the batch of sum_e f_e * mean_t p_e; scores (batch, tokens, experts)."""
    total = 0.0
    for sequence in scores.tolist():
        length, experts = len(sequence), len(sequence[0])
        count = [0] * experts
        for row in sequence:
            for expert in sorted(range(experts), key=lambda e: -row[e])[:top_k]:
                count[expert] += 1
        for expert in range(experts):
            f = count[expert] / (length * top_k / experts)
            total += f * sum(row[expert] for row in sequence) / length
    return alpha * total / len(scores)


def scores_of(batch: int, tokens: int = 9, experts: int = 4) -> Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randn(batch, tokens, experts, generator=random).softmax(-1)


@pytest.mark.parametrize("top_k", [1, 2])
def test_loss_of_the_older_generations(top_k: int) -> None:
    config = build("seed", **EXPERTS["seed"], num_experts_per_tok=top_k).config.text
    scores = scores_of(3)
    assert float(balance_loss(scores, config)) == pytest.approx(
        published_loss(scores, top_k, alpha=0.1)
    )


def test_loss_over_all_sequences_at_once() -> None:
    config = build("mid", **EXPERTS["mid"], seq_aux=False).config.text
    scores = scores_of(3, experts=5)
    expected = published_loss(scores.reshape(1, 27, 5), top_k=2, alpha=0.1)
    assert float(balance_loss(scores, config)) == pytest.approx(expected)
    config = build("head", **EXPERTS["head"]).config.text
    expected = 2 * published_loss(scores.reshape(1, 27, 5), top_k=2, alpha=5e-4)
    assert float(balance_loss(scores, config)) == pytest.approx(expected)


@pytest.mark.parametrize("generation", ["seed", "mid", "head"])
def test_it_is_part_of_the_loss_in_training_alone(generation: str) -> None:
    model = build(generation, **EXPERTS[generation])
    inputs = prompt(model, "I", "a", "a", "a")
    labels = inputs["input_ids"].clone()
    calm = model(**inputs, labels=labels)
    assert calm.aux_loss is None
    scores: list[Tensor] = []
    for layer in model.model.language_model.layers:
        layer.mlp.gate.register_forward_hook(lambda *call: scores.append(call[2][0]))
    learning = model.train()(**inputs, labels=labels)
    text = model.config.text
    times = text.num_experts_per_tok if generation == "head" else 1
    expected = sum(
        times * published_loss(each, text.num_experts_per_tok, text.aux_loss_alpha)
        for each in scores
    )
    assert len(scores) == 2
    assert float(learning.aux_loss) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(learning.loss, calm.loss + learning.aux_loss)
    assert learning.aux_loss > 1e-4


def test_no_part_of_the_loss_without_a_weight() -> None:
    model = build("seed", **EXPERTS["seed"], aux_loss_alpha=0.0).train()
    inputs = prompt(model, "a", "@")
    assert model(input_ids=inputs["input_ids"]).aux_loss is None


def test_an_at_sign_in_an_answer_is_learned() -> None:
    model = build("seed")
    inputs = prompt(model, "I", "a", "@", "a")
    labels = inputs["input_ids"].clone()
    out = model(**inputs, labels=labels)
    shown = labels.masked_fill(labels == model.config.image_token_id, -100)
    assert int((shown != -100).sum()) == 3
    expected = functional.cross_entropy(out.logits[0, :-1], shown[0, 1:])
    torch.testing.assert_close(out.loss, expected)


def test_towers_do_not_learn() -> None:
    model = build("mid").train()
    with torch.enable_grad():
        inputs = prompt(model, "I", "a")
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(each.grad is None for each in model.model.vision_tower.parameters())
    assert model.model.multi_modal_projector.linear_1.weight.grad is not None


# ---- norms ----


def test_norms_of_half_precision() -> None:
    """As written in the three published versions; they differ in the last bits."""
    torch.manual_seed(0)
    hidden = (torch.randn(64, 32) * 3).bfloat16()
    scale = torch.randn(32).bfloat16()
    squared = (hidden.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()
    wide = hidden.float()
    exact = wide * (wide.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()
    expected = {
        SquaringRMSNorm: scale * (wide * squared).bfloat16(),
        ScalingRMSNorm: (scale * exact).bfloat16(),
    }
    for kind, result in expected.items():
        norm = kind(32, eps=1e-5).bfloat16()
        norm.weight.copy_(scale)
        assert torch.equal(norm(hidden), result)
    assert not torch.equal(*expected.values())


def test_each_generation_has_its_norm() -> None:
    names = {
        generation: type(build(generation).model.language_model.norm).__name__
        for generation in ("seed", "mid", "head")
    }
    assert names == {"seed": "SquaringRMSNorm", "mid": "Qwen3RMSNorm", "head": "ScalingRMSNorm"}
