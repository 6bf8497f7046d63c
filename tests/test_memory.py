"""Estimates of weights are close to what is loaded; `auto` takes the most exact that fits."""

from pathlib import Path

import psutil
import pytest
import torch
from bitsandbytes.nn import Params4bit
from transformers import LlavaConfig

from vlm import memory
from vlm.loading import empty_model, load

from .support import tiny

CPU = torch.device("cpu")
GIGABYTE = 10**9


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder wide enough that constants, such as the table of 4-bit values, do not count."""
    folder = tmp_path_factory.mktemp("wide")
    tiny.llava(folder, hidden_size=512, intermediate_size=1536, head_dim=128)
    return folder


def held(model: torch.nn.Module) -> int:
    """Bytes of all parameters with their scales."""
    total = 0
    for parameter in model.parameters():
        total += parameter.nbytes
        if isinstance(parameter, Params4bit):
            state = parameter.quant_state
            scales = (state.absmax, state.code, state.state2.absmax, state.state2.code)
            total += sum(scale.nbytes for scale in scales)
        elif (scales := getattr(parameter, "SCB", None)) is not None:
            total += scales.nbytes
    return total


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("quantization", "tolerance"), [("none", 0.0), ("int8", 0.01), ("nf4", 0.03), ("fp4", 0.03)]
)
def test_weight_bytes(wide: Path, quantization: str, tolerance: float, dtype: torch.dtype) -> None:
    skeleton = empty_model(LlavaConfig.from_pretrained(wide))
    name = str(dtype).removeprefix("torch.")
    model = load(str(wide), quantization=quantization, device="cpu", dtype=name).model
    estimate = memory.weight_bytes(skeleton, quantization, dtype)
    assert estimate == pytest.approx(held(model), rel=tolerance)


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_unquantised_estimates_are_exact(name: str, checkpoints: dict[str, Path]) -> None:
    model = load(str(checkpoints[name]), quantization="none", device="cpu", dtype="float32").model
    assert memory.weight_bytes(model, "none", torch.float32) == held(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_auto_takes_the_most_exact_that_fits(
    wide: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    skeleton = empty_model(LlavaConfig.from_pretrained(wide))
    none, int8 = (memory.weight_bytes(skeleton, kind, dtype) for kind in ("none", "int8"))
    assert int8 < none

    def choice(free: float) -> str:
        monkeypatch.setattr(memory, "free_bytes", lambda device: free)
        return memory.choose_quantization(skeleton, CPU, dtype)

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
    assert load(str(wide), device="cpu").quantization == expected


def test_bytes_of_this_machine() -> None:
    assert memory.free_bytes(CPU) > 0
    now = psutil.Process().memory_info().rss
    assert 0.9 * now < memory.peak_bytes(CPU) < 1000 * now  # bytes, not kilobytes or pages


def test_what_counts_as_running_out() -> None:
    with pytest.raises(RuntimeError) as too_much:
        torch.empty(10**15)
    assert memory.ran_out(too_much.value)
    assert memory.ran_out(MemoryError())
    assert memory.ran_out(torch.OutOfMemoryError("CUDA out of memory."))
    assert memory.ran_out(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert not memory.ran_out(RuntimeError("shape mismatch"))
    assert not memory.ran_out(ValueError("out of memory"))
