"""Estimates without weights: their parts, against what models hold, and the advice."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

from vlm import families
from vlm.blueprint import Blueprint, Workload, read
from vlm.engine import Engine
from vlm.estimate import COMFORT, FEWEST_TOKENS, Attempt, Verdict, advise, judge, retries
from vlm.families import pocket
from vlm.loading import load
from vlm.messages import user_message
from vlm.quantization import held_bytes
from vlm.saving import quantize

from .support import tiny
from .support.fakes import photo

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sources(
    tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]
) -> dict[str, str]:
    found = {name: str(folder) for name, folder in checkpoints.items()}
    for name, family in families.families().items():
        found[name] = family.tiny(tmp_path_factory.mktemp(f"tiny_{name}"))
    return found


ROUGH = ("gemma4", "minicpm_v4_6")
"""Where images go depends on values that a rehearsal does not have: sizes must do."""

NAMES = (*tiny.BUILDERS, *families.NAMES)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def blueprint(name: str, sources: dict[str, str]) -> Blueprint:
    return read(sources[name], device="cpu", dtype="float32")


def keys_and_values(source: str, tokens: int) -> int:
    """What a loaded model really keeps of so many tokens."""
    model = load(source, quantization="none", device="cpu", dtype="float32").model
    ids = torch.full((1, tokens), 3)
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True)
    # layers that share the states of another have none; recurrent ones have others
    held = tree_leaves([vars(layer) for layer in states.past_key_values.layers])
    return sum({id(each): each.nbytes for each in held if isinstance(each, torch.Tensor)}.values())


@pytest.mark.parametrize("kind", ["none", "int8", "nf4"])
def test_weights(name: str, blueprint: Blueprint, sources: dict[str, str], kind: str) -> None:
    model = load(sources[name], quantization=kind, device="cpu", dtype="float32").model
    estimate = blueprint.estimate(kind, Workload(context=64, images=0))
    assert estimate.weights == pytest.approx(held_bytes(model), rel=0.02)


@pytest.mark.parametrize("tokens", [24, 96])
def test_keys_and_values_are_exact(
    name: str, blueprint: Blueprint, sources: dict[str, str], tokens: int
) -> None:
    estimate = blueprint.estimate("none", Workload(context=tokens, images=0))
    # of a sliding window the layers keep no more than they can still see
    assert 0 < estimate.context == pytest.approx(keys_and_values(sources[name], tokens), rel=0.01)


def test_every_model_can_be_rehearsed(name: str, blueprint: Blueprint) -> None:
    two = blueprint.estimate("none", Workload(context=512, images=2, size=(96, 64)))
    one = blueprint.estimate("none", Workload(context=512, images=1, size=(96, 64)))
    none = blueprint.estimate("none", Workload(context=512, images=0))
    assert (two.rough, one.rough, none.rough) == ((name in ROUGH,) * 2 + (False,))
    assert none.images == 0 < none.work
    assert one.images + one.work > none.work
    assert two.images + two.work >= one.images + one.work
    assert two.context == one.context == none.context


def test_more_context_takes_more(blueprint: Blueprint) -> None:
    short, long = (
        blueprint.estimate("none", Workload(context=tokens, images=0)) for tokens in (256, 1024)
    )
    assert long.work > 2 * short.work
    assert long.weights == short.weights
    assert long.total == long.weights + long.runtime + max(long.loading, long.context + long.work)


def test_a_context_beyond_the_models_is_cut(blueprint: Blueprint) -> None:
    most = blueprint.context_length
    assert most is not None
    beyond = blueprint.estimate("none", Workload(context=10 * most, images=0))
    assert beyond == blueprint.estimate("none", Workload(context=most, images=0))


def test_placeholders_are_those_of_the_engine(name: str, sources: dict[str, str]) -> None:
    blueprint = read(sources[name], device="cpu")
    engine = Engine.load(sources[name], "none", device="cpu", dtype="float32")
    image = photo(size=(96, 64))
    ids = engine.prepare([user_message("", [image])])["input_ids"]
    looked = blueprint._look(Workload(size=(96, 64)))
    assert looked.written.placeholders == int((ids == engine.reader.placeholder_id).sum())
    engine.close()


def test_nothing_is_unpacked_for_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("safetensors.safe_open", fail)
    monkeypatch.setattr("vlm.families.stored.safe_open", fail)
    monkeypatch.setattr("vlm.families.stored._open", fail)
    estimate = read("pocket", device="cpu").estimate("none", Workload(context=1024))
    assert estimate.weights == pytest.approx(292e6, rel=0.01)
    assert pocket.FAMILY.inspect is not None


def test_files_that_are_quantised_are_counted_as_they_are(
    sources: dict[str, str], tmp_path: Path
) -> None:
    folder = quantize(sources["llava"], tmp_path / "small", "nf4", device="cpu")
    blueprint = read(str(folder), device="cpu")
    assert blueprint.precisions == ("nf4",)
    (verdict,) = judge(blueprint, Workload(context=64), free=10**9)
    model = load(str(folder), device="cpu").model
    assert verdict.estimate.weights == pytest.approx(held_bytes(model), rel=0.02)


# ---- verdicts and advice ----


@pytest.fixture(scope="module")
def tiled(sources: dict[str, str]) -> Blueprint:
    return read(sources["qwen2_5_vl"], device="cpu")


WANTED = Workload(context=2048, images=1)


def test_verdicts(tiled: Blueprint) -> None:
    total = tiled.estimate("none", WANTED).total
    for free, kind in ((total * 2, "fits"), (int(total / 0.95), "tight"), (total - 1, "too_big")):
        assert Verdict("none", tiled.estimate("none", WANTED), free).kind == kind
    assert [each.quantization for each in judge(tiled, WANTED)] == ["none", "int8", "nf4"]
    assert judge(tiled, WANTED)[0].free > 0


class Shrunk(Blueprint):
    """Made-up bytes: 100 a token, 10 a pixel, and weights by precision."""

    def estimate(self, quantization: str, workload: Workload):  # type: ignore[override]
        real = super().estimate("none", replace(workload, images=0, context=64))
        pixels = workload.detail.get("pixels", self.knobs["pixels"].default)
        return replace(
            real,
            precision=quantization,
            weights={"none": 4_000_000, "int8": 2_000_000, "nf4": 1_000_000}[quantization],
            images=0,
            context=100 * workload.context + 10 * int(pixels) - (workload.kv_cache_bits < 16),
            work=0,
            loading=0,
            runtime=0,
        )


def test_precision_gives_way_first_then_pixels_then_context(sources: dict[str, str]) -> None:
    tiled = read(sources["qwen2_5_vl"], device="cpu")
    tiled.__class__ = Shrunk
    knob = tiled.knobs["pixels"]

    def advice(total: float) -> tuple[str, int, object]:
        found = advise(tiled, WANTED, free=int(total / COMFORT) + 1)
        assert found is not None
        assert found.estimate.total <= total + 1
        detail = found.workload.detail.get("pixels")
        return found.quantization, found.workload.context, detail

    most = 100 * 2048 + 10 * int(knob.default)
    assert advice(4_000_000 + most) == ("none", 2048, None)
    assert advice(3_999_999 + most) == ("int8", 2048, None)
    assert advice(1_999_999 + most) == ("nf4", 2048, None)
    assert advice(999_998 + most) == ("nf4", 2048, int(knob.default) // 2)
    fewest = int(knob.default)
    while fewest // 2 >= (knob.low or 1):
        fewest //= 2
    assert advice(1_000_000 + 100 * 1024 + 10 * fewest) == ("nf4", 1024, fewest)
    assert advise(tiled, WANTED, free=1_000_000 + 100 * FEWEST_TOKENS) is None


# ---- when memory ran out ----


def test_retries_are_the_smallest_changes_that_fit(sources: dict[str, str]) -> None:
    tiled = read(sources["qwen2_5_vl"], device="cpu")
    tiled.__class__ = Shrunk
    pixels = int(tiled.knobs["pixels"].default)
    asked = Attempt(quantization="none", workload=WANTED, room=512)
    total = tiled.estimate("none", WANTED).total

    def found(less: float) -> dict[str, Attempt]:
        free = int((total - less) / COMFORT) + 1
        ways = list(retries(tiled, asked, [300, 400], free))
        assert all(each.estimate.total <= COMFORT * free for each in ways)
        return {each.change: each.attempt for each in ways}

    assert list(found(0)) == ["nothing", "kv_cache", "images", "answer", "turns", "precision"]
    ways = found(1)  # a byte too much
    assert "nothing" not in ways
    assert ways["answer"].room == 256
    assert ways["answer"].workload.context == 2048 - 256
    assert (ways["turns"].dropped, ways["turns"].workload.context) == (1, 2048 - 300)
    assert ways["precision"].quantization == "int8"
    assert int(ways["images"].workload.detail["pixels"]) < pixels
    assert found(30_001)["turns"].dropped == 2
    assert "turns" not in found(70_001)
    everything = found(3_000_000 + 40_000)
    assert list(everything) == ["everything"]
    assert everything["everything"].quantization == "nf4"
    assert everything["everything"].dropped == 2
    assert found(total - 1) == {}
