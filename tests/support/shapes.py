"""Tables of tensors as the specifications have them, and checkpoints in several files."""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file

from vlm.families.stored import INDEX

Shape = tuple[int, ...]


def expand(table: Mapping[str, Shape], **numbers: int) -> dict[str, Shape]:
    """Every name that a table means -> its shape.

    Args:
        table: pattern -> shape. `{a,b}` stands for a and b, `{layer}` for each number below that of
            the argument `layer`.
        **numbers: how many there are of what.
    """
    found: dict[str, Shape] = {}
    for pattern, shape in table.items():
        pieces = re.split(r"\{(.*?)\}", pattern)
        chosen = [
            [piece] if at % 2 == 0 else _choices(piece, numbers) for at, piece in enumerate(pieces)
        ]
        names = ["".join(each) for each in itertools.product(*chosen)]
        assert not found.keys() & set(names), pattern
        found |= dict.fromkeys(names, shape)
    return found


def _choices(piece: str, numbers: Mapping[str, int]) -> list[str]:
    if piece in numbers:
        return [str(number) for number in range(numbers[piece])]
    assert "," in piece, f"{piece} is neither a choice nor one of {list(numbers)}"
    return piece.split(",")


def compare(found: Mapping[str, Shape], table: Mapping[str, Shape]) -> None:
    """Fails unless the same names are found as in an expanded table, in the same shapes."""
    assert sorted(table.keys() - found.keys()) == [], "in the table and not in the model"
    assert sorted(found.keys() - table.keys()) == [], "in the model and not in the table"
    assert {n: s for n, s in found.items() if tuple(s) != table[n]} == {}, "of another shape"


def shards(folder: Path) -> Path:
    """Cuts the `model.safetensors` of a folder into two files with an index. Returns the second."""
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    files = {f"model-{number}-of-2.safetensors": names[number - 1 :: 2] for number in (1, 2)}
    for file, held in files.items():
        save_file({n: tensors[n] for n in held}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, held in files.items() for name in held}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    return folder / list(files)[1]
