"""Memory of a run on nothing, against sums that can be done by hand."""

import pytest
import torch
from torch import nn

from vlm.rehearsal import rehearse

KILO = 1024


class Doubled(nn.Module):
    """Holds its input's double and half at once, then lets go of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(KILO, KILO, device="meta"))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        double = values * 2
        half = values / 2
        return double.sum() + half.sum()


def floats(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def test_the_peak_is_what_lives_at_once() -> None:
    model = Doubled()
    values = floats(256, KILO)
    peak, _ = rehearse(model, lambda: model(values))
    assert peak == pytest.approx(2 * 256 * KILO * 4, rel=0.001)


def test_what_is_freed_does_not_count_twice() -> None:
    model = Doubled()

    def chain() -> torch.Tensor:
        values = floats(256, KILO)
        for _ in range(10):
            values = values + 1
        return values

    assert rehearse(model, chain)[0] == 2 * 256 * KILO * 4


def test_the_model_itself_does_not_count() -> None:
    model = nn.Linear(KILO, 8, bias=False, device="meta")
    peak, output = rehearse(model, lambda: model(floats(2, KILO)))
    assert output.shape == (2, 8)
    assert peak < KILO * 8 * 4  # the weight is looked at from another side, but not copied


def test_attention_writes_no_table_of_all_pairs() -> None:
    model = Doubled()
    states = floats(1, 4, 4096, 64)
    attend = nn.functional.scaled_dot_product_attention
    peak, output = rehearse(model, lambda: attend(states, states, states))
    assert output.shape == states.shape
    assert peak == states.nbytes


def test_whole_numbers_stay_real_where_the_course_depends_on_them() -> None:
    model = Doubled()
    sizes = torch.tensor([2, 3])

    def run() -> tuple[torch.Tensor, ...]:
        moved = sizes.to("meta")
        steps = torch.arange(5, device="meta")
        return floats(int(moved.sum()), int(steps[-1])).split(moved.tolist())

    assert [part.shape for part in rehearse(model, run)[1]] == [(2, 4), (3, 4)]


def test_a_mask_without_values_chooses_everything() -> None:
    model = Doubled()
    values = floats(3, 5)
    assert rehearse(model, lambda: values[values > 0])[1].shape == (15,)


def test_a_course_that_depends_on_missing_values_is_an_error() -> None:
    model = Doubled()
    with pytest.raises(RuntimeError):
        rehearse(model, lambda: floats(3).sum().item())
