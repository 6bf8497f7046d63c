"""Tokens are drawn as the settings say, by the answer's own generator and nobody else's."""

import threading
from typing import Any

import pytest
import torch

from vlm.sampling import SeededSampling

CPU = torch.device("cpu")
PROMPT = torch.zeros(1, 3, dtype=torch.int64)


def sampling(**changes: Any) -> SeededSampling:
    return SeededSampling(**{"seed": 7, "temperature": 1.0, "device": CPU, **changes})


def draw(sampler: SeededSampling, scores: torch.Tensor, times: int = 1) -> torch.Tensor:
    """(rows, vocabulary) -> (times, rows): the only token that stays possible in each row."""
    rows = []
    for _ in range(times):
        left = sampler(PROMPT.expand(scores.shape[0], -1), scores.clone())
        assert (left > -torch.inf).sum(dim=1).tolist() == [1] * scores.shape[0]
        rows.append(left.argmax(dim=1))
    return torch.stack(rows)


def support(scores: list[float], **changes: Any) -> set[int]:
    """Every token that comes up in 400 draws."""
    return set(draw(sampling(**changes), torch.tensor([scores]), 400).flatten().tolist())


def scores_of(*chances: float) -> list[float]:
    return torch.tensor(chances).log().tolist()


def test_same_seed_same_tokens_whatever_other_threads_draw() -> None:
    scores = torch.randn(1, 50, generator=torch.Generator().manual_seed(1))
    alone = draw(sampling(), scores, 100)
    done = threading.Event()

    def noise() -> None:
        while not done.is_set():
            torch.manual_seed(0)
            torch.rand(10)
            draw(sampling(seed=99), scores)

    other = threading.Thread(target=noise)
    other.start()
    try:
        beside = draw(sampling(), scores, 100)
    finally:
        done.set()
        other.join()
    assert torch.equal(alone, beside)


def test_the_generator_of_the_process_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    draw(sampling(), torch.zeros(1, 10), 5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_another_seed_gives_other_tokens() -> None:
    scores = torch.zeros(1, 1000)
    first, second = (draw(sampling(seed=seed), scores, 20) for seed in (1, 2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_any_seed_of_the_options_is_taken(seed: int) -> None:
    assert draw(sampling(seed=seed), torch.zeros(1, 10)).shape == (1, 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_draws_follow_the_softmax(temperature: float) -> None:
    """Chi-squared of 4000 draws, a fixed seed: below the 99.9 % point of 5 degrees of freedom."""
    scores = torch.tensor([[2.0, 1.0, 0.5, 0.0, -0.5, -1.0]])
    drawn = draw(sampling(temperature=temperature), scores, 4000).flatten()
    expected = 4000 * (scores[0] / temperature).softmax(dim=0)
    counted = torch.bincount(drawn, minlength=6)
    assert ((counted - expected) ** 2 / expected).sum() < 20.5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.5}, {0, 1}),  # 0.4 is short of it, 0.7 reaches it
        ({"top_p": 0.01}, {0}),
        ({"min_p": 0.3}, {0, 1, 2}),  # 0.3 x 0.4 = 0.12
        ({"top_k": 3, "top_p": 0.5}, {0, 1}),
        ({"temperature": 0.01}, {0}),
    ],
)
def test_what_can_be_drawn(changes: dict[str, float], expected: set[int]) -> None:
    assert support(scores_of(0.4, 0.3, 0.15, 0.1, 0.05), **changes) == expected


def test_temperature_comes_before_top_p() -> None:
    """Flattened first, the same share is reached by more tokens."""
    chances = scores_of(0.9, 0.05, 0.05)
    assert support(chances, top_p=0.8) == {0}
    assert support(chances, top_p=0.8, temperature=5.0) == {0, 1, 2}


def test_a_tiny_temperature_takes_the_likeliest() -> None:
    scores = torch.randn(20, 100, generator=torch.Generator().manual_seed(3))
    drawn = draw(sampling(temperature=1e-4), scores, 3)
    assert torch.equal(drawn, scores.argmax(dim=1).expand(3, -1))


def test_rows_are_drawn_each_for_itself() -> None:
    scores = torch.full((3, 4), -torch.inf)
    for row, allowed in enumerate(([0], [1, 2], [3])):
        scores[row, allowed] = 0.0
    first, second, third = draw(sampling(), scores, 50).T.tolist()
    assert (set(first), set(second), set(third)) == ({0}, {1, 2}, {3})

    even = draw(sampling(), torch.zeros(2, 1000), 5)
    assert not torch.equal(even[:, 0], even[:, 1])
