"""Choosing the next token at random, from a source of chance that belongs to one answer."""

import torch
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


class SeededSampling(LogitsProcessor):
    """Leaves only one token possible in each row, drawn by the answer's own generator.

    `generate` itself draws from the generator of the whole process, so that answers would depend
    on what else runs. With this as the last processor it only has to take the likeliest token.

    Args:
        seed: the same seed gives the same tokens.
        temperature: above 0.
        top_k: 0 keeps all.
        top_p: 1 keeps all.
        min_p: drop tokens less likely than this share of the likeliest; 0 keeps all.
    """

    def __init__(
        self,
        *,
        seed: int,
        temperature: float,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        device: torch.device,
    ) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)
        self._warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(float(temperature))]
        if top_k > 0:
            self._warpers.append(TopKLogitsWarper(top_k))
        if top_p < 1:
            self._warpers.append(TopPLogitsWarper(top_p))
        if min_p > 0:
            self._warpers.append(MinPLogitsWarper(min_p))

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """(batch, tokens), (batch, vocabulary) -> (batch, vocabulary)"""
        scores = self.left(input_ids, scores)
        chances = torch.softmax(scores, dim=-1)
        drawn = torch.multinomial(chances, num_samples=1, generator=self._generator)  # (batch, 1)
        nothing = torch.full_like(scores, -torch.inf)
        return nothing.scatter_(1, drawn, 0.0)  # pyright: ignore[reportReturnType]

    def left(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """The scores (batch, vocabulary) that are drawn from: minus infinity for what is not."""
        for warper in self._warpers:
            scores = warper(input_ids, scores)  # pyright: ignore[reportAssignmentType]
        return scores
