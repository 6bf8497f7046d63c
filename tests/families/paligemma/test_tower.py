"""A SigLIP tower alone gives the features that it gives inside, under every name it goes by."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, SiglipConfig, SiglipModel, SiglipVisionConfig
from transformers import SiglipVisionModel as Native

from tests.support.fakes import photo
from vlm import families
from vlm.errors import ModelError
from vlm.families.paligemma.tower import load_tower
from vlm.loading import load
from vlm.messages import user_message
from vlm.reading import PromptReader

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "image_size": 28,
    "patch_size": 14,
}
PIXELS = torch.linspace(-1, 1, 3 * 28 * 28).reshape(1, 3, 28, 28)


def test_inside_a_checkpoint_of_the_family(tmp_path: Path) -> None:
    source = families.families()["paligemma"].tiny(tmp_path)
    tower = load_tower(source)
    loaded = load(source, quantization="none", device="cpu", dtype="float32")
    reader = PromptReader(loaded.model, loaded.processor)
    images = [photo(), photo("LA", (33, 70), seed=2)]
    pixels = reader.prepare([user_message("?", images)], {})["pixel_values"]
    with torch.inference_mode():
        expected = loaded.model.model.vision_tower(pixels).last_hidden_state
    assert torch.equal(tower.embed(images), expected)
    torch.testing.assert_close(tower.summarise(images), expected.mean(dim=1))


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("spelling", ["published", "hand-written"])
def test_on_its_own(tmp_path: Path, head: bool, spelling: str) -> None:
    torch.manual_seed(0)
    model = Native(SiglipVisionConfig(**SIZES, vision_use_head=head)).eval()
    model.save_pretrained(tmp_path)
    if spelling == "hand-written":
        _respell(tmp_path / "model.safetensors")
    tower = load_tower(str(tmp_path)).model
    with torch.inference_mode():
        assert torch.equal(tower(PIXELS).last_hidden_state, model(PIXELS).last_hidden_state)
        if head:
            torch.testing.assert_close(tower(PIXELS).pooler_output, model(PIXELS).pooler_output)


def test_without_its_pooling_head(tmp_path: Path) -> None:
    model = Native(SiglipVisionConfig(**SIZES)).eval()
    model.save_pretrained(tmp_path)  # its configuration speaks of a head
    file = tmp_path / "model.safetensors"
    state = {name: value for name, value in load_file(file).items() if "head." not in name}
    save_file(state, file, metadata={"format": "pt"})
    tower = load_tower(str(tmp_path))
    with torch.inference_mode():
        expected = model(PIXELS).last_hidden_state
        assert torch.equal(tower.model(PIXELS).last_hidden_state, expected)
    assert tower.summarise([photo()]).shape == (1, 24)


def _respell(file: Path) -> None:
    spellings = {
        "position_embedding.": "position_embeddings.",
        "post_layernorm.": "post_layer_norm.",
    }
    state = load_file(file)
    for ours, theirs in spellings.items():
        state = {name.replace(ours, theirs): tensor for name, tensor in state.items()}
    assert any("post_layer_norm" in name for name in state)
    save_file(state, file, metadata={"format": "pt"})


def test_inside_siglip_with_its_text_tower(tmp_path: Path) -> None:
    text = {**SIZES, "vocab_size": 50, "projection_size": 24}
    model = SiglipModel(SiglipConfig(vision_config=SIZES, text_config=text)).eval()
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        expected = model.vision_model(PIXELS).pooler_output
        torch.testing.assert_close(load_tower(str(tmp_path)).model(PIXELS).pooler_output, expected)


def test_what_has_no_such_tower(tmp_path: Path) -> None:
    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="'llama' model without a SigLIP"):
        load_tower(str(tmp_path))


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    Native(SiglipVisionConfig(**SIZES)).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = {k: v for k, v in load_file(file).items() if "fc1" not in k}
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="fc1"):
        load_tower(str(tmp_path))
