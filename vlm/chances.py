"""How sure a model was of each token of an answer, and what else could have stood there.

In: an answer as text and the logits at its tokens. Out: `TokenChance`s.
"""

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from vlm.errors import RequestError
from vlm.explanation import TokenChance
from vlm.generation import chosen, drawing
from vlm.markup import is_place_mark
from vlm.options import GenerationOptions

LIKELIEST = 5
"""Alternatives that are told of each token, itself included where it is one of them."""
BLOCK = 64
"""Tokens whose words are sorted at the same time."""


def answer_tokens(tokenizer: Any, answer: str) -> tuple[Tensor, list[tuple[int, int]]]:
    """An answer's token ids (tokens,), and where the characters of each begin and end.

    Marks of boxes and points stay the tokens that they are; what else reads like a mark of the
    prompt format, such as an image's, is taken as text.

    Raises:
        RequestError: there is nothing in it.
    """
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    for number, (start, end) in _encoded(tokenizer, answer, 0):
        mark = answer[start:end]
        added = number in tokenizer.added_tokens_decoder and len(mark) > 1
        if added and not is_place_mark(mark):
            # Cut after its first character it is a mark no more.
            parts = [(mark[:1], start), (mark[1:], start + 1)]
        else:
            parts = []
            ids.append(number)
            spans.append((start, end))
        for text, at in parts:
            for piece, span in _encoded(tokenizer, text, at):
                ids.append(piece)
                spans.append(span)
    if not ids or not answer.strip():
        raise RequestError("explain_no_answer")
    return torch.tensor(ids), spans


def _encoded(tokenizer: Any, text: str, offset: int) -> list[tuple[int, tuple[int, int]]]:
    """The tokens of a text, and where each begins and ends in one that has it at `offset`."""
    fast = bool(tokenizer.is_fast)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=fast)
    ids = found["input_ids"]
    if fast:
        spans = found["offset_mapping"]
    else:
        ends = [0, *(len(tokenizer.decode(ids[: end + 1])) for end in range(len(ids)))]
        spans = list(pairwise(ends))
    return [(n, (a + offset, b + offset)) for n, (a, b) in zip(ids, spans, strict=True)]


def token_chances(
    tokenizer: Any,
    prompt: Tensor,
    ids: Tensor,
    spans: list[tuple[int, int]],
    logits: Tensor,
    own: Any,
    options: GenerationOptions,
) -> tuple[TokenChance, ...]:
    """What there is to say of each token.

    Args:
        tokenizer: of the model.
        prompt: ids (prompt tokens,) before the answer.
        ids: (tokens,) of the answer.
        spans: characters of each.
        logits: (tokens, words) of what stands at each token, float32.
        own: the model's generation configuration.
        options: over it; they decide what counts as kept.
    """
    text = _token_text(tokenizer)
    found: list[TokenChance] = []
    for start in range(0, len(ids), BLOCK):
        block = slice(start, start + BLOCK)
        scores, these = logits[block], ids[block, None]  # (block, words), (block, 1)
        shares = scores.softmax(-1)  # (block, words)
        top = shares.topk(min(LIKELIEST, shares.shape[-1]))  # both (block, likeliest)
        left = _left(prompt, ids, start, scores, own, options)  # (block, words)
        own_shares = shares.gather(1, these)[:, 0].tolist()
        kept, possible = left.sum(-1).tolist(), left.gather(1, these)[:, 0].tolist()
        rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        for row, (words, values) in enumerate(rows):
            found.append(
                TokenChance(
                    text=text(int(ids[start + row])),
                    start=spans[start + row][0],
                    end=spans[start + row][1],
                    probability=own_shares[row],
                    likeliest=tuple(zip(map(text, words), values, strict=True)),
                    kept=kept[row],
                    possible=possible[row],
                )
            )
    return tuple(found)


def _left(
    prompt: Tensor,
    ids: Tensor,
    start: int,
    scores: Tensor,
    own: Any,
    options: GenerationOptions,
) -> Tensor:
    """Truth (block, words): which tokens the options leave to draw from."""
    penalty = float(chosen(own, options)["repetition_penalty"])
    if penalty != 1:
        before = torch.cat([prompt, ids])  # (prompt + tokens,)
        length = len(prompt) + start + torch.arange(len(scores))[:, None]  # (block, 1)
        # Every row has as many; what comes later in it is a token that counts already.
        said = torch.where(torch.arange(len(before)) < length, before, before[0])
        scores = RepetitionPenaltyLogitsProcessor(penalty)(said, scores)  # pyright: ignore
    draws = drawing(own, options, scores.device)
    if not draws:
        return scores == scores.amax(-1, keepdim=True)
    return draws[0].left(torch.empty(0), scores).isfinite()  # pyright: ignore


def _token_text(tokenizer: Any) -> Any:
    """A function: id -> its text, with the space that it begins with. Some drop it at the start."""
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"]
    begun = tokenizer.decode(anchor, clean_up_tokenization_spaces=False)

    @cache
    def text(number: int) -> str:
        whole = tokenizer.decode([*anchor, number], clean_up_tokenization_spaces=False)
        return whole[len(begun) :]

    return text
