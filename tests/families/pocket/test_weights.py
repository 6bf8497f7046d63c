"""Unpacking: each rule matters to the golden values, and nothing incomplete loads silently."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.func import functional_call

from tests.support.goldens import Check
from vlm.errors import ModelError
from vlm.families import stored
from vlm.families.pocket import CHECKPOINTS, FAMILY, recognises, weights
from vlm.families.pocket.modeling import PocketForConditionalGeneration

from .golden import ask_case, with_images

FOLDER = Path(CHECKPOINTS[0].source)
Read = Callable[[str], Tensor]


# ---- each rule, broken ----


def swap_halves(name: str, read: Read) -> Tensor:
    tensor = read(name)
    return tensor >> 4 | tensor << 4 if name.endswith(".q4") else tensor


def swap_scale_and_minimum(name: str, read: Read) -> Tensor:
    if "layers" not in name:
        return read(name)
    swapped = {"scale": "min", "min": "scale"}
    stem, _, kind = name.rpartition(".")
    return read(f"{stem}.{swapped.get(kind, kind)}")


def keep_gguf_rows(name: str, read: Read) -> Tensor:
    tensor = read(name)
    if not name.endswith((".q4", ".scale", ".min")) or not ("q_proj" in name or "k_proj" in name):
        return tensor
    return tensor.unflatten(0, (-1, 2, 32)).transpose(1, 2).flatten(0, 2)


def leave_out_adapter(name: str, read: Read) -> Tensor:
    return torch.zeros_like(read(name)) if "lora_B" in name else read(name)


def leave_out_embedding_scale(name: str, read: Read) -> Tensor:
    tensor = read(name)
    return torch.ones_like(tensor) if name.endswith("embed_tokens.weight.scale") else tensor


def swap_norms_of_blocks(name: str, read: Read) -> Tensor:
    if not name.startswith("_blocks.") or name.startswith("_blocks.0."):
        return read(name)
    return read(_swap(name))


def _swap(name: str) -> str:
    if "._bn0." in name:
        return name.replace("._bn0.", "._bn1.")
    return name.replace("._bn1.", "._bn0.")


def swap_norm_and_bias_of_projector(name: str, read: Read) -> Tensor:
    return read({"0.weight": "0.bias", "0.bias": "0.weight"}.get(name, name))


BROKEN = {
    "language_model.layers": (
        swap_halves,
        swap_scale_and_minimum,
        keep_gguf_rows,
        leave_out_adapter,
    ),
    "embed_tokens": (leave_out_embedding_scale,),
    "vision_tower": (swap_norms_of_blocks,),
    "projector": (swap_norm_and_bias_of_projector,),
}


@pytest.mark.parametrize(
    ("where", "rule"), [(where, rule) for where, rules in BROKEN.items() for rule in rules]
)
def test_golden_notices_a_broken_rule(
    model: Any, processor: Any, where: str, rule: Callable[[str, Read], Tensor]
) -> None:
    read = stored.reader(stored.stored_tensors(FOLDER))
    broken = {
        name: weights.unpack(name, tuple(tensor.shape), lambda part: rule(part, read))
        for name, tensor in model.named_parameters()
        if where in name
    }
    assert misses(model, processor, broken)


def misses(model: Any, processor: Any, state: dict[str, Tensor]) -> list[str]:
    """What the stored first logits of a question say of a model with other tensors."""
    case = with_images(1)
    outputs = functional_call(model, state, kwargs=dict(ask_case(processor, case)))
    check = Check(case)
    check.stored(f"{case.mine[0]}first_logits", outputs.logits[0, -1])
    return check.missed


def refused_or_missed(model: Any, processor: Any) -> bool:
    """Whether the published files are refused, or come out as other numbers."""
    try:
        state = weights.load(FOLDER, model.config, torch.float32)
    except ModelError as error:
        assert error.key in ("tensors_missing", "tensor_shape")
        return True
    assert isinstance(state, dict)
    return bool(misses(model, processor, state))


ROWS = range(len(weights.RENAMES))
OURS = [ours.strip(".") for ours, _ in weights.RENAMES]


def test_unbroken_names_are_not_missed(model: Any, processor: Any) -> None:
    assert not refused_or_missed(model, processor)


@pytest.mark.parametrize("row", ROWS, ids=OURS)
def test_a_name_that_is_left_out_is_missed(
    model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch, row: int
) -> None:
    left = weights.RENAMES[:row] + weights.RENAMES[row + 1 :]
    monkeypatch.setattr(weights, "RENAMES", left)
    assert refused_or_missed(model, processor)


PAIRS = [
    *((row, (row + 1) % len(ROWS)) for row in ROWS),
    *((row, other) for row in ROWS for other in ROWS if OURS[row] == "expand.norm" and row < other),
]
NAMES = [f"{OURS[one]} for {OURS[other]}" for one, other in PAIRS]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=NAMES)
def test_a_name_exchanged_with_another_is_missed(
    model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch, one: int, other: int
) -> None:
    """With the next of the table; norms of one shape too, which only the numbers tell apart."""
    theirs = [there for _, there in weights.RENAMES]
    theirs[one], theirs[other] = theirs[other], theirs[one]
    ours = [here for here, _ in weights.RENAMES]
    monkeypatch.setattr(weights, "RENAMES", tuple(zip(ours, theirs, strict=True)))
    assert refused_or_missed(model, processor)


def test_nothing_changes_where_no_rule_is_broken(model: Any) -> None:
    read = stored.reader(stored.stored_tensors(FOLDER))
    name = "model.language_model.layers.7.self_attn.k_proj.weight"
    assert torch.equal(weights.unpack(name, (192, 576), read), model.state_dict()[name])


def test_four_bits_by_hand() -> None:
    """Against the definition, one number at a time."""
    generator = numpy.random.default_rng(0)
    q = generator.integers(0, 16, (2, 64))
    scale, minimum = generator.normal(size=(2, 2, 2)).astype(numpy.float16)
    packed = numpy.zeros((2, 32), numpy.uint8)
    expected = numpy.zeros((2, 64), numpy.float32)
    for row in range(2):
        for column in range(64):
            block, place = divmod(column, 32)
            packed[row, block * 16 + place % 16] |= q[row, column] << (4 if place >= 16 else 0)
            expected[row, column] = (
                numpy.float32(q[row, column]) * scale[row, block] + minimum[row, block]
            )
    got = weights.dequantize(*map(torch.from_numpy, (packed, scale, minimum)))
    torch.testing.assert_close(got, torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


# ---- whole checkpoints, tiny ones ----


@pytest.fixture
def packed(small: PocketForConditionalGeneration, tmp_path: Path) -> Path:
    """A tiny packed checkpoint in two files: vision and language."""
    torch.manual_seed(2)
    files: dict[str, dict[str, Tensor]] = {"vision.safetensors": {}, "language.safetensors": {}}
    for name, shape in weights.model_shapes(small.config).items():
        file = "language.safetensors" if "language_model" in name else "vision.safetensors"
        for part, size in weights.parts_on_disk(name, shape).items():
            whole = {"q4": torch.uint8, "q8": torch.int8}.get(part.rpartition(".")[2])
            values = torch.randint(0, 100, size) if whole else torch.rand(size)
            files[file][part] = values.to(whole or torch.float16)
    small.config.save_pretrained(tmp_path)
    for file, tensors in files.items():
        save_file(tensors, tmp_path / file)
    write_index(tmp_path, files)
    return tmp_path


def write_index(folder: Path, files: dict[str, dict[str, Tensor]]) -> None:
    weight_map = {name: file for file, tensors in files.items() for name in tensors}
    (folder / stored.INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")


def rewrite(file: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    read = stored.reader(stored.headers(file))
    tensors = {name: read(name).clone() for name in stored.headers(file)}
    change(tensors)
    save_file(tensors, file)


def load(folder: Path, small: PocketForConditionalGeneration) -> Any:
    return weights.load(folder, small.config, torch.float32)


def test_packed_checkpoint_is_complete(packed: Path, small: Any) -> None:
    state = load(packed, small)
    result = small.load_state_dict(state, strict=False)
    assert result.missing_keys == ["lm_head.weight"]  # tied
    assert result.unexpected_keys == []


def test_state_has_the_wanted_type(packed: Path, small: Any) -> None:
    state = weights.load(packed, small.config, torch.bfloat16)
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16, torch.int64}


def test_missing_shard(packed: Path, small: Any) -> None:
    (packed / "language.safetensors").unlink()
    with pytest.raises(ModelError, match=r"language\.safetensors is named in .*index\.json"):
        load(packed, small)


def test_damaged_shard(packed: Path, small: Any) -> None:
    file = packed / "language.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"language\.safetensors cannot be read"):
        load(packed, small)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', "{}"])
def test_damaged_index(packed: Path, small: Any, text: str) -> None:
    (packed / stored.INDEX).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"index\.json cannot be read"):
        load(packed, small)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("language", "model.layers.1.mlp.up_proj.weight.min"),
        ("language", "model.layers.0.self_attn.q_proj.lora_B.weight"),
        ("language", "model.embed_tokens.weight.scale"),
        ("vision", "_blocks.1._bn0.running_var"),
        ("vision", "3.bias"),
    ],
)
def test_missing_tensor(packed: Path, small: Any, file: str, name: str) -> None:
    rewrite(packed / f"{file}.safetensors", lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=f"tensors, but .* missing: {name}"):
        load(packed, small)


def test_unexpected_tensor(packed: Path, small: Any) -> None:
    rewrite(packed / "vision.safetensors", lambda tensors: tensors.update(fc=torch.ones(3)))
    with pytest.raises(ModelError, match=r"vision\.safetensors holds tensors of no known use: fc"):
        load(packed, small)


def test_wrong_shape(packed: Path, small: Any) -> None:
    def exchange(tensors: dict[str, Tensor]) -> None:
        tensors["1.weight"], tensors["3.weight"] = tensors["3.weight"], tensors["1.weight"]

    rewrite(packed / "vision.safetensors", exchange)
    with pytest.raises(ModelError, match=r"1\.weight in .* shape \(64, 48\), but \(48, 128\)"):
        load(packed, small)


def test_ordinary_checkpoint_is_left_to_transformers(small: Any, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    assert load(tmp_path, small) == tmp_path
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.popitem())
    with pytest.raises(ModelError, match="missing"):
        load(tmp_path, small)


@pytest.mark.parametrize("text", [None, "{", "[]", '"pocket"', '{"model_type": "llava"}', "\xff"])
def test_other_folders_are_not_recognised(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    assert not recognises(str(tmp_path))


def test_recognises() -> None:
    assert recognises(CHECKPOINTS[0].source)
    assert not recognises("someone/pocket")
    assert not recognises("\0")


def test_sixteen_bits_by_default() -> None:
    opened = FAMILY.open(CHECKPOINTS[0].source)
    assert opened.weights["model.language_model.norm.weight"].dtype == torch.bfloat16
