"""What the suite of goldens does not try: the same photos in another order."""

from dataclasses import replace

from tests.support.goldens import Check

from .golden import run, with_images


def test_swapped_images_fail() -> None:
    case = with_images(2)
    data = {**case.data, "images": case.data["images"][::-1]}
    check = Check(replace(case, data=data))
    run(replace(case, data=data), check)
    missed = {stage.rpartition(".")[2] for stage in check.missed}
    assert {"projector", "first_logits"} <= missed
