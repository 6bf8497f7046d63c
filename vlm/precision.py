"""How far a model in fewer bits still says what it says in more.

In: a checkpoint and two precisions. Out: an `Agreement`. The first answers fixed questions about
example photos; the second is led through the same answers, and what it would have said at each
token is compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from vlm import memory
from vlm import quantization as bits
from vlm.images import open_image
from vlm.loading import Loaded, load
from vlm.messages import Message, user_message
from vlm.progress import Watch
from vlm.reading import PromptReader

PHOTOS = Path(__file__).parents[1] / "assets" / "examples"
QUESTIONS = ("Describe the image.", "What is in the foreground?", "Which colours are there?")
TOKENS = 24
"""Of each answer, the end included or not."""

THRESHOLD = 0.95
"""Below this share of tokens in common people are warned."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two precisions of one model, token by token.

    Attributes:
        name: of the model.
        reference, other: what the weights were held in.
        tokens: that were compared.
        top_1: share of them that both find likeliest.
        mean_kl, max_kl: divergence of the other's probabilities from the reference's, in nats.
        reference_bytes, other_bytes: of the weights.
    """

    name: str
    reference: str
    other: str
    tokens: int
    top_1: float
    mean_kl: float
    max_kl: float
    reference_bytes: int
    other_bytes: int

    @property
    def close(self) -> bool:
        """Whether enough tokens agree; else `warning.precision` should be shown."""
        return self.top_1 >= THRESHOLD


@dataclass(frozen=True)
class _Answers:
    """What one precision said: ids (tokens,) and logits (tokens, words) of each answer."""

    precision: str
    name: str
    bytes: int
    ids: list[torch.Tensor]
    logits: list[torch.Tensor]


def compare(
    source: str,
    reference: str = "none",
    other: str = "nf4",
    *,
    device: str = "auto",
    dtype: str = "auto",
    watch: Watch | None = None,
) -> Agreement:
    """Loads a checkpoint twice, one after the other, and compares what it says.

    Args:
        source: as `vlm.loading.load` takes it.
        reference: whose answers count: "none", "int8", "nf4" or "fp4".
        other: what is held against them.
        device, dtype: as `load` takes them.
        watch: told how far it has come; can call it off between two answers.

    Raises:
        ModelError, SettingError: as `load` does.
    """
    watch = watch or Watch()
    places = {"device": device, "dtype": dtype, "watch": watch}
    said = _answers(load(source, quantization=reference, **places), None, watch)
    memory.give_back()
    led = _answers(load(source, quantization=other, **places), said.ids, watch)
    memory.give_back()
    return _agreement(said, led)


def _questions() -> Iterator[list[Message]]:
    for photo in sorted(PHOTOS.glob("*.jpg")):
        for question in QUESTIONS:
            yield [user_message(question, [open_image(photo)])]


@torch.inference_mode()
def _answers(loaded: Loaded, lead: list[torch.Tensor] | None, watch: Watch) -> _Answers:
    model: Any = loaded.model
    reader = PromptReader(model, loaded.processor)
    held = bits.held_bytes(model)  # before a CPU lays 4 bits out for its kernels
    ids: list[torch.Tensor] = []
    logits: list[torch.Tensor] = []
    for number, messages in enumerate(_questions()):
        watch.check()
        inputs = reader.prepare(messages, {}).to(model.device)
        length = inputs["input_ids"].shape[1]
        follow = [] if lead is None else [Follow(length, lead[number].to(model.device))]
        found = model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            max_new_tokens=TOKENS if lead is None else len(lead[number]),
            min_new_tokens=None if lead is None else len(lead[number]),
            logits_processor=LogitsProcessorList(follow),
            output_logits=True,
            return_dict_in_generate=True,
        )
        ids.append(found.sequences[0, length:].cpu())  # (tokens,)
        logits.append(torch.cat(found.logits).float().cpu())  # (tokens, words)
    return _Answers(loaded.precision, loaded.name, held, ids, logits)


class Follow(LogitsProcessor):
    """Leaves one token possible at each step: the next of an answer that is given.

    Args:
        start: tokens of the prompt.
        ids: (tokens,) of the answer.
    """

    def __init__(self, start: int, ids: torch.Tensor) -> None:
        self._start = start
        self._ids = ids

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (batch, words) with the one token alone above minus infinity."""
        token = self._ids[input_ids.shape[1] - self._start]
        forced = torch.full_like(scores, -torch.inf)
        forced[:, token] = 0.0
        return forced


def _agreement(said: _Answers, led: _Answers) -> Agreement:
    first, second = torch.cat(said.logits), torch.cat(led.logits)  # (all tokens, words)
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    # a word that the first rules out adds nothing: 0 log 0 is 0
    terms = torch.where(log_p.isneginf(), 0.0, log_p.exp() * (log_p - log_q))
    divergence = terms.sum(-1).clamp_min(0.0)  # (all tokens,); rounding goes below 0
    same = (first.argmax(-1) == second.argmax(-1)).double().mean()
    return Agreement(
        name=said.name,
        reference=said.precision,
        other=led.precision,
        tokens=len(first),
        top_1=float(same),
        mean_kl=float(divergence.mean()),
        max_kl=float(divergence.max()),
        reference_bytes=said.bytes,
        other_bytes=led.bytes,
    )
