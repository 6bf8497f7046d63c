"""How one answer is generated: the model's own values, the request's over them, and the clock.

In: the checkpoint's generation configuration and `GenerationOptions`. Out: what `model.generate`
takes. What `model_defaults` says is what is used.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from vlm import memory
from vlm.backend import Reason, Timings
from vlm.errors import RequestError
from vlm.options import GenerationOptions
from vlm.sampling import SeededSampling
from vlm.streaming import Emit, IncrementalText, TokenStream

DEFAULT_MAX_NEW_TOKENS = 512
"""Of a checkpoint that names none: enough for a page of text, and an end to one that rambles."""


@dataclass
class Clock:
    """When the stages of one answer began or ended, by `time.perf_counter`."""

    started: float
    encoded: float | None = None

    def timings(self, tokens: TokenStream, waited: float, peak_bytes: int) -> Timings:
        """Where the time of an answer went that ends now.

        Args:
            tokens: of the answer.
            waited: seconds before it began.
            peak_bytes: of memory.
        """
        now = time.perf_counter()
        first, last = tokens.first_at or now, tokens.last_at or now
        encoded = self.encoded or first
        return Timings(
            queue=waited,
            encode=encoded - self.started,
            prefill=first - encoded,
            first_token=first - self.started,
            decode=last - first,
            peak_bytes=peak_bytes,
        )

    def note_prefill(self, model: PreTrainedModel, *_: object) -> None:
        """A hook before forward: images are encoded by then, so the first call is the prefill."""
        if self.encoded is None:
            memory.wait_for(model.device)
            self.encoded = time.perf_counter()


def how_it_ended(tokens: TokenStream, config: GenerationConfig, stopped: bool) -> Reason:
    """Why an answer ended.

    Args:
        tokens: of the answer.
        config: that it was generated with.
        stopped: whether somebody called it off.
    """
    own = config.eos_token_id
    ends = own if isinstance(own, list) else [own]
    cut_off = stopped and tokens.count < (config.max_new_tokens or 0)
    complete = tokens.stopped or (tokens.count > 0 and tokens.last_id in ends)
    return "stop" if complete else "cancelled" if cut_off else "length"


def model_defaults(own: GenerationConfig) -> dict[str, float | int]:
    """A model's own value of each option of an answer.

    A temperature of 0 means that it always takes the likeliest token. `min_new_tokens` is there
    only where the checkpoint has one.

    Args:
        own: as loaded with the checkpoint.
    """
    temperature = 1.0 if own.temperature is None else float(own.temperature)
    defaults: dict[str, float | int] = {
        "temperature": temperature if own.do_sample else 0.0,
        "top_p": 1.0 if own.top_p is None else own.top_p,
        "top_k": own.top_k or 0,
        "repetition_penalty": own.repetition_penalty or 1.0,
        "num_beams": own.num_beams or 1,
        "max_new_tokens": own.max_new_tokens or DEFAULT_MAX_NEW_TOKENS,
    }
    if own.min_new_tokens:
        defaults["min_new_tokens"] = own.min_new_tokens
    return defaults


def chosen(own: GenerationConfig, options: GenerationOptions) -> dict[str, float | int]:
    """The request's values, and the model's where it has none."""
    named = ("min_new_tokens", *model_defaults(own))
    given = {name: getattr(options, name) for name in named}
    return {**model_defaults(own), **{k: v for k, v in given.items() if v is not None}}


def generation_config(
    own: GenerationConfig, options: GenerationOptions, prompt_tokens: int, limit: int | None
) -> GenerationConfig:
    """The model's own settings with the request's over them. Drawing is ours: see `sampling`.

    Args:
        own: as loaded with the checkpoint; not changed.
        options: of the request.
        prompt_tokens: how long the prompt is.
        limit: tokens that prompt and answer may have together; None: unknown.

    Raises:
        RequestError: the prompt leaves no room for an answer.
    """
    values = chosen(own, options)
    config = copy.deepcopy(own)
    config.update(do_sample=False, temperature=None, top_p=None, top_k=None, max_length=None)
    for name in ("repetition_penalty", "num_beams", "max_new_tokens", "min_new_tokens"):
        if name in values:
            setattr(config, name, values[name])
    if limit is not None:
        if prompt_tokens >= limit:
            raise RequestError("context_full", got=prompt_tokens, limit=limit)
        config.max_new_tokens = int(min(values["max_new_tokens"], limit - prompt_tokens))
    return config


def drawing(
    own: GenerationConfig, options: GenerationOptions, device: torch.device
) -> LogitsProcessorList:
    """How to draw tokens: nothing where the likeliest one is taken."""
    values = chosen(own, options)
    if values["temperature"] == 0 or values["num_beams"] > 1:
        return LogitsProcessorList()
    sampling = SeededSampling(
        seed=0 if options.seed is None else options.seed,
        temperature=values["temperature"],
        top_k=int(values["top_k"]),
        top_p=values["top_p"],
        min_p=own.min_p or 0.0,
        device=device,
    )
    return LogitsProcessorList([sampling])


class _TextAfter(IncrementalText):
    """Decodes tokens as what follows others, whose text is not given again."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, before: Sequence[int]) -> None:
        super().__init__(tokenizer)
        self._ids = list(before)
        self._done = len(before)


class ContinuedStream(TokenStream):
    """A stream of tokens that go on from an answer that was begun.

    Some tokenizers drop the space before the first token of a text, so new tokens are decoded as
    what follows the last ones of the prompt.

    Args:
        before: the last token ids of the prompt.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        stops: Sequence[str],
        emit: Emit,
        before: Sequence[int],
    ) -> None:
        super().__init__(tokenizer, stops, emit)
        self._text = _TextAfter(tokenizer, before)
