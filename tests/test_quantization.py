"""What is held in fewer bits: which layers, how many bytes, and files that already are."""

from pathlib import Path

import bitsandbytes
import pytest
import torch
from transformers import LlavaConfig

from vlm import families, memory
from vlm import quantization as bits
from vlm.errors import ModelError
from vlm.loading import empty_model, load

from .support import tiny

CPU = torch.device("cpu")
GIGABYTE = 10**9
KINDS = ("none", "int8", "nf4", "fp4")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("quantization", "tolerance"), [("none", 0.0), ("int8", 0.01), ("nf4", 0.03), ("fp4", 0.03)]
)
def test_weight_bytes(wide: Path, quantization: str, tolerance: float, dtype: torch.dtype) -> None:
    skeleton = empty_model(LlavaConfig.from_pretrained(wide), dtype)
    name = str(dtype).removeprefix("torch.")
    model = load(str(wide), quantization=quantization, device="cpu", dtype=name).model
    estimate = bits.weight_bytes(skeleton, quantization, dtype)
    assert estimate == pytest.approx(bits.held_bytes(model), rel=tolerance)


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_unquantised_estimates_are_exact(name: str, checkpoints: dict[str, Path]) -> None:
    model = load(str(checkpoints[name]), quantization="none", device="cpu", dtype="float32").model
    assert bits.weight_bytes(model, "none", torch.float32) == bits.held_bytes(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_auto_takes_the_most_exact_that_fits(
    wide: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    skeleton = empty_model(LlavaConfig.from_pretrained(wide))
    none, int8 = (bits.weight_bytes(skeleton, kind, dtype) for kind in ("none", "int8"))
    assert int8 < none

    def choice(free: float) -> str:
        monkeypatch.setattr(memory, "free_bytes", lambda device: free)
        return bits.choose_quantization(skeleton, CPU, dtype)

    assert choice(none * memory.HEADROOM * 1.01) == "none"
    assert choice(none * memory.HEADROOM * 0.99) == "int8"
    assert choice(int8 * memory.HEADROOM * 1.01) == "int8"
    assert choice(int8 * memory.HEADROOM * 0.99) == "nf4"
    assert choice(0) == "nf4"


@pytest.mark.parametrize(("gigabytes", "expected"), [(8, "none"), (0, "nf4")])
def test_loading_asks_for_it(
    wide: Path, gigabytes: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: gigabytes * GIGABYTE)
    monkeypatch.setattr(memory, "most_bytes", lambda device: GIGABYTE)  # others can make room
    assert load(str(wide), device="cpu").quantization == expected


# ---- bytes ----


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> dict:
    """Every family's tiny checkpoint, the native ones and the embedded model, by name."""
    found = {name: str(folder) for name, folder in checkpoints.items()}
    for name, family in families.families().items():
        found[f"tiny_{name}"] = family.tiny(tmp_path_factory.mktemp(name))
    return found


NAMES = (*tiny.BUILDERS, *(f"tiny_{name}" for name in families.NAMES))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_family_takes_what_was_estimated(sources: dict, name: str, kind: str) -> None:
    model = load(sources[name], quantization=kind, device="cpu").model
    skeleton = empty_model(model.config, torch.bfloat16)
    estimate = bits.weight_bytes(skeleton, kind, torch.bfloat16, CPU)
    assert estimate == pytest.approx(bits.held_bytes(model), rel=0.02)


def test_what_a_model_holds_stays_the_same_in_8_bits(wide: Path) -> None:
    """The scales move inside bitsandbytes at the first answer."""
    model = load(str(wide), quantization="int8", device="cpu").model
    before = bits.held_bytes(model)
    with torch.inference_mode():
        model(input_ids=torch.ones(1, 4, dtype=torch.long))
    assert bits.held_bytes(model) == before


# ---- which layers ----


@pytest.mark.parametrize("kind", ["int8", "nf4", "fp4"])
@pytest.mark.parametrize("name", NAMES)
def test_tower_projector_and_head_are_named_in_full_and_left_alone(
    sources: dict, name: str, kind: str
) -> None:
    model = load(sources[name], quantization=kind, device="cpu").model
    skeleton = empty_model(model.config)
    kept = bits.unquantised_modules(skeleton, bits.block_of(kind, CPU))
    paths = dict(model.named_modules())
    assert set(kept) <= paths.keys()
    found = bits.quantised_modules(model)
    assert set(found.values()) == {kind}
    assert not any(name == each or name.startswith(each + ".") for name in found for each in kept)
    assert found.keys() == bits.layers_to_quantise(skeleton, kind, CPU).keys()


def test_a_layer_that_came_out_otherwise_is_an_error(wide: Path) -> None:
    model = load(str(wide), quantization="nf4", device="cpu").model
    intended = bits.quantised_modules(model)
    bits.check_modules(model, intended, "nf4")
    first, *others = sorted(intended)
    for wanted, kind in ((others, "nf4"), ([*intended, "lm_head"], "nf4"), (intended, "fp4")):
        with pytest.raises(ModelError) as caught:
            bits.check_modules(model, wanted, kind)
        assert caught.value.key == "quantised_otherwise"
    model.set_submodule(first, torch.nn.Linear(512, 512))
    with pytest.raises(ModelError, match="16 bit instead of nf4"):
        bits.check_modules(model, intended, "nf4")


def test_loading_compares(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = bits.unquantised_modules
    monkeypatch.setattr(
        bits,
        "unquantised_modules",
        lambda *given: own(*given)[1:],  # one is forgotten
    )
    with pytest.raises(ModelError) as caught:
        load(str(wide), quantization="nf4", device="cpu")
    assert caught.value.key == "quantised_otherwise"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_it_computes_in_the_type_of_what_is_not_quantised(wide: Path, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    model = load(str(wide), quantization="nf4", device="cpu", dtype=name).model
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert {layer.compute_dtype for layer in layers} == {dtype}
    assert all(layer.weight.quant_state.nested for layer in layers)
    assert model.get_output_embeddings().weight.dtype == dtype


# ---- devices ----


@pytest.mark.parametrize("device_map", ["auto", "sequential"])
def test_a_device_map_goes_through_to_accelerate_on_a_cpu(wide, device_map) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU would be taken")
    loaded = load(str(wide), quantization="none", dtype="float32", device_map=device_map)
    one = load(str(wide), quantization="none", dtype="float32", device="cpu")
    assert {each.device.type for each in loaded.model.parameters()} == {"cpu"}
    for (name, first), second in zip(
        loaded.model.named_parameters(), one.model.parameters(), strict=True
    ):
        assert torch.equal(first, second), name


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_model_is_spread_over_all_devices(wide: Path) -> None:
    model = load(str(wide), quantization="none", device_map="balanced").model
    assert len({each.device for each in model.parameters()}) > 1
