"""Files that are quantised already: recognised, read as they are, refused with a reason."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm import blueprint, prequantized
from vlm import quantization as bits
from vlm.errors import ModelError
from vlm.loading import empty_model, load, open_checkpoint
from vlm.model_parts import parts
from vlm.saving import quantize
from vlm.workload import Workload

from .support import quantised, tiny


@pytest.fixture(scope="module")
def small(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The wide checkpoint, written in each precision."""
    folder = tmp_path_factory.mktemp("small")
    return {
        kind: str(quantize(str(wide), folder / kind, kind, device="cpu")) for kind in bits.KINDS
    }


@pytest.mark.parametrize("kind", bits.KINDS)
def test_files_that_are_quantised_load_as_they_are(small: dict[str, str], kind: str) -> None:
    for wanted in ("auto", kind):
        loaded = load(small[kind], quantization=wanted, device="cpu")
        assert loaded.quantization == loaded.precision == kind
        assert set(bits.quantised_modules(loaded.model).values()) == {kind}
    assert prequantized.stored_bytes(small[kind]) == pytest.approx(
        bits.held_bytes(loaded.model), rel=0.02
    )


@pytest.mark.parametrize("kind", bits.KINDS)
def test_files_that_are_quantised_load_in_nothing_else(small: dict[str, str], kind: str) -> None:
    for wanted in {"none", *bits.KINDS} - {kind}:
        with pytest.raises(ModelError) as caught:
            load(small[kind], quantization=wanted, device="cpu")
        assert caught.value.key == "already_quantised"
        assert caught.value.facts["got"] == kind
        assert caught.value.facts["wanted"] == wanted


@pytest.mark.parametrize(
    ("method", "package"), [("gptq", "gptqmodel"), ("awq", "gptqmodel"), ("hqq", "hqq")]
)
def test_a_package_that_is_not_here_is_named(
    wide: Path, tmp_path: Path, method: str, package: str
) -> None:
    folder = shutil.copytree(wide, tmp_path / "other")
    quantised.set_quantization(folder, quant_method=method, bits=4, group_size=128)
    if prequantized._is_here(package):
        pytest.skip(f"{package} is here")
    with pytest.raises(ModelError, match=f'pip install "?{package}') as caught:
        load(str(folder), device="cpu")
    assert caught.value.facts["got"] == method


def test_gguf_is_refused_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "model.Q4_K_M.gguf"
    file.write_bytes(b"GGUF")
    for source in (file, tmp_path):
        with pytest.raises(ModelError) as caught:
            load(str(source), device="cpu")
        assert caught.value.key == "gguf_not_taken"


def test_headers_tell_the_bytes_of_files(wide: Path) -> None:
    model = load(str(wide), quantization="none", device="cpu", dtype="float32").model
    weights = sum(each.nbytes for each in model.parameters())
    assert prequantized.stored_bytes(str(wide)) == weights


# ---- which layers are plain ----

OLD_NAMES = {
    "wide": ["vision_tower", "multi_modal_projector", "lm_head"],
    "qwen2_5_vl": ["visual", "lm_head"],
}
"""As checkpoints list them that were written before transformers renamed the modules."""


@pytest.mark.parametrize("kind", bits.KINDS)
@pytest.mark.parametrize("name", OLD_NAMES)
def test_a_tower_that_is_listed_under_older_names_stays_plain(
    name: str, kind: str, wide: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    source = wide if name == "wide" else checkpoints[name]
    right = quantize(str(source), tmp_path / "right", kind, device="cpu")
    older = Path(shutil.copytree(right, tmp_path / "older"))
    quantised.set_quantization(older, llm_int8_skip_modules=OLD_NAMES[name])
    first, second = (load(str(folder), device="cpu").model for folder in (right, older))
    assert bits.quantised_modules(first) == bits.quantised_modules(second) != {}
    torch.testing.assert_close(_features(second), _features(first), rtol=0, atol=0)


def test_without_a_list_all_plain_layers_are_found(small: dict[str, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small["nf4"], tmp_path / "none"))
    quantised.set_quantization(folder, llm_int8_skip_modules=None)
    expected = load(small["nf4"], device="cpu").model
    found = load(str(folder), device="cpu").model
    assert bits.quantised_modules(found) == bits.quantised_modules(expected)
    torch.testing.assert_close(_features(found), _features(expected), rtol=0, atol=0)


def test_what_a_list_of_awq_forgets_is_read_from_the_files(wide: Path, tmp_path: Path) -> None:
    folder = quantised.pack_as_awq(wide, tmp_path / "awq", plain=["vision_tower"])
    opened = open_checkpoint(str(folder), torch.bfloat16, None)
    skeleton = empty_model(opened.config, torch.bfloat16)
    found = prequantized.quantised_layers(skeleton, str(folder))
    assert found == bits.layers_to_quantise(skeleton, "nf4", torch.device("cpu")).keys()
    config: Any = prequantized.to_read(opened.config, skeleton, found)
    listed = set(config.quantization_config["modules_to_not_convert"])
    layers = {name for name, each in skeleton.named_modules() if type(each) is torch.nn.Linear}
    assert listed == {"vision_tower"} | (layers - found)
    assert opened.config.quantization_config["modules_to_not_convert"] == ["vision_tower"]


def test_a_layer_that_is_not_held_as_in_its_files_is_an_error(
    small: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = prequantized.quantised_layers
    monkeypatch.setattr(
        prequantized, "quantised_layers", lambda *given: own(*given) - {min(own(*given))}
    )
    with pytest.raises(ModelError):
        load(small["nf4"], device="cpu")


def test_layers_of_shapes_that_only_a_gpu_takes_answer_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "odd"
    tiny.llava(source, hidden_size=72, intermediate_size=200, head_dim=18)
    with monkeypatch.context() as on_a_gpu:
        on_a_gpu.setattr(bits, "block_of", lambda *_: (1, 1))
        folder = quantize(str(source), tmp_path / "small", "nf4", device="cpu")
    model = load(str(folder), device="cpu").model
    assert len(bits.quantised_modules(model)) == 14
    ids = torch.arange(8)[None]  # (1, tokens)
    with torch.inference_mode():
        found = model(input_ids=ids).logits
        whole = load(str(source), quantization="none", device="cpu").model(input_ids=ids).logits
    cosine = torch.nn.functional.cosine_similarity(found.float(), whole.float(), dim=-1)
    assert (cosine > 0.9).all()


# ---- small on disk alone ----


BLOCKS = "8-bit floats in blocks"


@pytest.mark.parametrize("scheme", [*quantised.SCHEMES, BLOCKS])
def test_what_is_small_on_disk_alone_is_unpacked_while_loading(
    wide: Path, tmp_path: Path, scheme: str
) -> None:
    folder, kind = tmp_path / "small", "fp8" if scheme == BLOCKS else "compressed-tensors"
    if scheme == BLOCKS:
        quantised.scale_blocks(wide, folder)
    else:
        quantised.compress(wide, folder, scheme)
    stored = prequantized.stored_bytes(str(folder))
    loaded = load(str(folder), device="cpu")
    whole = load(str(wide), quantization="none", device="cpu").model
    held = bits.held_bytes(loaded.model)
    assert loaded.quantization == kind
    assert loaded.precision == f"bf16 ({kind})"
    assert held == bits.held_bytes(whole) > 1.7 * stored
    assert parts(loaded.model) == parts(whole)
    _assert_rounded(loaded.model, whole, scheme)
    torch.testing.assert_close(_features(loaded.model), _features(whole), rtol=0, atol=0)
    assert bits.held_bytes(loaded.model) == held  # nothing is unpacked by the first answer

    plan = blueprint.read(str(folder), device="cpu")
    assert plan.precisions == (kind,)
    estimate = plan.estimate(kind, Workload(images=0))
    assert (estimate.weights, estimate.precision) == (held, loaded.precision)


def _assert_rounded(model: torch.nn.Module, whole: torch.nn.Module, scheme: str) -> None:
    """Every layer of the decoder has its weights to half a step; all others are the same."""
    _, weights = quantised.SCHEMES.get(scheme, quantised.SCHEMES["8-bit floats"])
    levels = 2 ** (weights["num_bits"] - 1) - 1 if weights["type"] == "int" else 2**3
    different = 0
    for (name, one), other in zip(model.named_parameters(), whole.parameters(), strict=True):
        if "language_model.layers" not in name or not name.endswith("proj.weight"):
            assert torch.equal(one, other), name
            continue
        step = other.abs().amax().float() / levels
        assert (one - other).abs().max() <= 0.51 * step + 2e-3
        different += not torch.equal(one, other)
    assert different == 14


def _features(model: Any) -> torch.Tensor:
    """(tokens, width) of one picture, by the tower and the projector alone."""
    torch.manual_seed(0)
    with torch.inference_mode():
        if "qwen" in model.config.model_type:
            pixels = torch.randn(16, 3 * 2 * 14 * 14).to(model.dtype)
            grid = torch.tensor([[1, 4, 4]])
            found = model.get_image_features(pixel_values=pixels, image_grid_thw=grid)
        else:
            pixels = torch.randn(1, 3, 28, 28).to(model.dtype)
            found = model.get_image_features(pixel_values=pixels)
    features = found.pooler_output
    return features[0] if isinstance(features, list | tuple) else features
