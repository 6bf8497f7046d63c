"""The model on its own: shapes, cache, padding, training, saving."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForImageTextToText

from vlm import families
from vlm.families.pocket import weights
from vlm.families.pocket.modeling import PocketForConditionalGeneration, same_padding

from .golden import ask, ask_case, with_images


def test_shuffle_is_the_one_of_the_specification(small: Any) -> None:
    grid = torch.randn(2, 64, 1280)  # (images, 64, 1280)
    ours = small.model.pixel_shuffle(grid.reshape(2, 8, 8, 1280), 0.5).reshape(2, 16, 5120)
    rows = grid.reshape(2, 4, 2, 4, 2, 1280).transpose(2, 3)  # (images, 4, 4, 2, 2, 1280)
    assert torch.equal(ours, rows.reshape(2, 16, 5120))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (260, 3, 2, (0, 1)),
        (65, 5, 2, (2, 2)),
        (33, 3, 2, (1, 1)),
        (9, 5, 1, (2, 2)),
        (9, 1, 1, (0, 0)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == expected


def test_stages_have_the_shapes_of_the_specification(model: Any) -> None:
    features = model.get_image_features(torch.zeros(2, 3, 256, 256))
    assert features.last_hidden_state.shape == (2, 64, 1280)
    assert features.pooler_output.shape == (2, 16, 576)


def test_cache_changes_nothing(small: Any, prompt: dict[str, torch.Tensor]) -> None:
    whole = small(**prompt).logits  # (1, 14, 64)
    cut = 12
    first = small(
        input_ids=prompt["input_ids"][:, :cut], pixel_values=prompt["pixel_values"], use_cache=True
    )
    rest = small(input_ids=prompt["input_ids"][:, cut:], past_key_values=first.past_key_values)
    torch.testing.assert_close(rest.logits, whole[:, cut:], rtol=1e-5, atol=1e-5)


def test_generate_is_the_same_without_cache(model: Any, processor: Any) -> None:
    inputs = ask_case(processor, with_images(2))
    settings = {"do_sample": False, "max_new_tokens": 6}
    assert torch.equal(
        model.generate(**inputs, **settings, use_cache=True),
        model.generate(**inputs, **settings, use_cache=False),
    )


def test_left_padded_batch_equals_single_prompts(model: Any, processor: Any) -> None:
    cases = [with_images(1), with_images(2)]
    mark = processor.image_token
    texts = [processor.decode(case.data["input_ids"]).replace(mark * 16, mark) for case in cases]
    images = [case.picture(file).convert("RGB") for case in cases for file in case.data["images"]]
    batch = processor(images=images, text=texts, padding=True, return_tensors="pt")
    assert batch["attention_mask"][0, 0] == 0
    both = model.generate(**batch, do_sample=False, max_new_tokens=8)
    for row, case in enumerate(cases):
        assert both[row, -8:].tolist() == case.data["greedy_ids"][:8]


def test_text_alone(model: Any, processor: Any) -> None:
    inputs = ask(processor, "Hello")
    assert "pixel_values" not in inputs
    assert model(**inputs).logits.isfinite().all()


def test_labels_give_the_loss_of_the_next_token(
    small: Any, prompt: dict[str, torch.Tensor]
) -> None:
    labels = prompt["input_ids"].masked_fill(prompt["input_ids"] == 11, -100)
    outputs = small(**prompt, labels=labels)
    expected = functional.cross_entropy(outputs.logits[0, :-1], labels[0, 1:])
    torch.testing.assert_close(outputs.loss, expected)


def test_gradients_reach_the_projector(small: Any, prompt: dict[str, torch.Tensor]) -> None:
    small.train()
    small.model.vision_tower.requires_grad_(False)
    with torch.enable_grad():
        small(**prompt, labels=prompt["input_ids"]).loss.backward()
    for parameter in small.model.multi_modal_projector.parameters():
        assert parameter.grad.abs().max() > 0


def test_training_leaves_the_norms_of_the_tower_alone(small: Any, prompt: Any) -> None:
    norm = small.model.vision_tower.stem.norm
    before = norm.running_mean.clone()
    small.train()(**prompt)
    assert small.model.language_model.training
    assert torch.equal(norm.running_mean, before)


def test_head_is_tied(model: Any) -> None:
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight


def test_splits_only_between_whole_blocks(small: Any) -> None:
    assert set(small._no_split_modules) == {"InvertedResidual", "LlamaDecoderLayer"}


def test_survives_saving_and_loading(small: Any, prompt: Any, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    assert families.find(str(tmp_path)).name == "pocket"
    assert isinstance(AutoConfig.from_pretrained(tmp_path), type(small.config))
    again, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    assert not any(report.values())
    assert type(again) is PocketForConditionalGeneration
    torch.testing.assert_close(again(**prompt).logits, small(**prompt).logits, rtol=0, atol=0)


def test_sixteen_bits_throughout(small: Any, prompt: Any) -> None:
    state = {name: tensor.bfloat16() for name, tensor in small.state_dict().items()}
    half = PocketForConditionalGeneration.from_pretrained(
        None, config=small.config, state_dict=state, dtype=torch.bfloat16
    )
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert half(**prompt).logits.dtype == torch.bfloat16


def test_shapes_are_those_of_the_whole_model(small: Any) -> None:
    assert set(weights.model_shapes(small.config)) == set(small.state_dict()) - {"lm_head.weight"}
