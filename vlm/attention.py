"""A second reading of an answer: every token's probability, and its attention to the images.

In: a model, the inputs of a prompt, the ids of an answer. Out: logits of the answer's tokens, and
for each of them how much of its attention went to some tokens of the prompt. One pass without a
cache; the weights are not touched.

The attention of the whole answer to everything would be a table of tokens x tokens in each head.
So the pass runs with the model's own fast attention, and only for the rows of the answer, a few at
a time, the tables are worked out besides by the model's own plain ("eager") attention. They are
averaged over heads and layers at once.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.utils.generic import ModelOutput

from vlm.errors import RequestError
from vlm.trace import first_step

ROWS = 64
"""Tokens of the answer whose tables exist at the same time."""
MOST_BYTES = 2 << 30
"""Of memory that a pass may take for tables and masks, beside what reading the prompt takes."""
NAME = "watched_rows"
"""Of the attention function in transformers' table."""


class Stopped(Exception):
    """The pass was called off."""


@dataclass(eq=False)
class Pass:
    """What is found out in one pass.

    Attributes:
        columns: (columns,) positions in the prompt that are looked at, on the CPU.
        rows: tokens of the answer, which are the last ones.
        layers: whose attention is averaged.
        should_stop: asked before each layer.
        total: (rows, columns), float32, the sum over the layers seen so far.
        seen: how many those were.
    """

    columns: Tensor
    rows: int
    layers: tuple[int, ...]
    should_stop: Callable[[], bool] = lambda: False
    own: Any = None
    total: Tensor = field(init=False)
    seen: int = 0

    def __post_init__(self) -> None:
        self.total = torch.zeros(self.rows, len(self.columns))

    @property
    def shares(self) -> Tensor:
        """(rows, columns): mean over heads and layers of the share of attention."""
        return self.total / max(1, self.seen)


_current: ContextVar[Pass] = ContextVar("pass")


def watched_rows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """The model's own attention; in the layers of the pass the answer's rows are noted.

    Args:
        module: of the layer.
        query: (1, heads, tokens, head dim).
        key, value: (1, key heads, tokens, head dim).
        attention_mask: (1, 1, tokens, tokens), added to the products; None: no mask.
        **settings: what the module says besides, such as `scaling`.

    Raises:
        Stopped: the pass was called off.
    """
    this = _current.get()
    if this.should_stop():
        raise Stopped
    eager = eager_of(module)
    base = sdpa_attention_forward if this.own == "sdpa" else eager
    found = base(module, query, key, value, attention_mask, **settings)[0]
    if getattr(module, "layer_idx", None) not in this.layers:
        return found, None
    columns = this.columns.to(query.device)
    # Counted from the end: some models leave earlier tokens out of their last layers.
    for start in range(0, this.rows, ROWS):
        last = this.rows - min(start + ROWS, this.rows)
        rows = slice(start - this.rows, -last or None)
        mask = attention_mask if attention_mask is None else attention_mask[:, :, rows]
        shares = eager(module, query[:, :, rows], key, value, mask, **settings)[1]
        # (1, heads, rows, tokens)
        mean = shares[0].float().mean(0)[:, columns]  # (rows, columns)
        this.total[start : start + ROWS] += mean.cpu()
    this.seen += 1
    return found, None


AttentionInterface.register(NAME, watched_rows)  # pyright: ignore[reportArgumentType]
AttentionMaskInterface.register(NAME, eager_mask)


def eager_of(module: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """The plain attention that belongs to a module: it may cap or add to the products."""
    return inspect.unwrap(type(module).forward).__globals__["eager_attention_forward"]


def attention_layers(decoder: nn.Module) -> list[nn.Module]:
    """The layers of a text decoder that attend to earlier tokens, first to last.

    Not those that keep a state instead. Empty where the model has none that can be asked.
    """
    return [
        module
        for module in decoder.modules()
        if "Attention" in type(module).__name__
        and isinstance(getattr(module, "layer_idx", None), int)
        and "eager_attention_forward" in inspect.unwrap(type(module).forward).__globals__
    ]


def middle_third(modules: Sequence[nn.Module]) -> tuple[int, ...]:
    """The numbers of the layers whose attention is averaged, all heads alike.

    Those that see only the last few tokens (a sliding window) do not count beside others.

    Chosen by measurement with the embedded model of 30 layers (`vlm.commands.explain_check` makes
    the pictures, by other seeds): with one object in the image nearly all layers find it. With
    two, a word's attention beyond that of the rest of the answer lies on its own object in 83 %
    by layers 10 to 19, in 60 % by the last 15 and in 57 % by the last 10, where chance is 50 %.
    All heads count alike, as which of them localise differs from model to model. That middle
    layers localise best has been found for larger models
    too: Zhang et al., "MLLMs Know Where to Look" (ICLR 2025), Kang et al., "Your Large
    Vision-Language Model Only Needs A Few Attention Heads For Visual Grounding" (CVPR 2025).
    """
    far = [each for each in modules if not getattr(each, "sliding_window", None)]
    layers = [int(getattr(each, "layer_idx")) for each in far or modules]  # noqa: B009
    count = len(layers)
    return tuple(layers[count // 3 : max(count // 3 + 1, -(-2 * count // 3))])


@torch.inference_mode()
def read_again(
    model: Any,
    inputs: Mapping[str, Any],
    ids: Tensor,
    columns: Tensor,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Tensor, Pass]:
    """Reads a prompt and an answer to it in one pass.

    A token's row is that of the token itself, which knows what it is, not the one before, which
    chose it: at "a" of "a cat" the model may be about to name anything that it sees. With one
    object both find it; with two (see `middle_third`) the row before does no better than chance,
    51 %.

    Args:
        model: in evaluation mode.
        inputs: of the prompt, on its device: `input_ids` (1, prompt tokens) and the like.
        ids: (tokens,) of the answer.
        columns: (columns,) positions in the prompt.
        should_stop: asked before each layer.

    Returns:
        logits (tokens, words) of what stands at each token of the answer, float32, on the CPU,
        and the pass, whose `shares` are (tokens, columns).

    Raises:
        RequestError: the tables would not fit, or the model has no attention to ask.
        Stopped: it was called off.
    """
    decoder = model.get_decoder()
    modules = attention_layers(decoder)
    if len(columns) and not modules:
        raise RequestError("no_attention")
    layers = middle_third(modules)
    prompt = inputs["input_ids"].shape[1]
    _check_size(modules, prompt + len(ids), len(ids))
    this = Pass(columns.cpu(), len(ids), layers, should_stop)
    taken = first_step(model, _with_answer(model, inputs, ids))
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        taken["logits_to_keep"] = len(ids) + 1
    with _watching(this, modules if len(columns) else []):
        logits = model(**taken).logits[0, -len(ids) - 1 : -1]  # (tokens, words)
    return logits.float().cpu(), this


def table_bytes(heads: int, words: int, rows: int, tokens: int, itemsize: int) -> int:
    """Memory that looking takes, in bytes.

    The tables of `ROWS` rows at a time in all heads: products, with mask, as float32, and the
    result; the mask of all pairs, for up to two kinds of layers; the logits of all rows.

    Args:
        heads: of a layer.
        words: that the model knows.
        rows: tokens of the answer.
        tokens: of prompt and answer.
        itemsize: bytes of a number.
    """
    tables = heads * min(rows, ROWS) * tokens * (3 * itemsize + 8)
    return tables + 2 * tokens * tokens * itemsize + rows * words * (itemsize + 4)


def _check_size(modules: list[nn.Module], tokens: int, rows: int) -> None:
    """Raises RequestError where the tables would take more than `MOST_BYTES`."""
    if not modules:
        return
    config: Any = modules[0].config
    weight = next(modules[0].parameters())
    itemsize = weight.element_size() if weight.is_floating_point() else 2  # 4 bits compute in 16
    heads = config.num_attention_heads
    needed = table_bytes(heads, config.vocab_size, rows, tokens, itemsize)
    if config._attn_implementation == "eager":  # the pass itself makes whole tables
        needed += heads * tokens * tokens * (3 * itemsize + 8)
    if needed > MOST_BYTES:
        raise RequestError(
            "explain_too_large", tokens=tokens, needed=needed / 1e9, limit=MOST_BYTES / 1e9
        )


@contextmanager
def _watching(this: Pass, modules: list[nn.Module]) -> Iterator[None]:
    """While it is open the layers use `watched_rows`; only a word in their configuration changes.

    Layers share one configuration; the masks are made by what it says.
    """
    configs: dict[int, Any] = {id(each.config): each.config for each in modules}
    before = {key: config._attn_implementation for key, config in configs.items()}
    this.own = "eager" if "eager" in before.values() else "sdpa"
    token = _current.set(this)
    try:
        for config in configs.values():
            config._attn_implementation_internal = NAME
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation_internal = before[key]
        _current.reset(token)


def _with_answer(model: Any, inputs: Mapping[str, Any], ids: Tensor) -> dict[str, Any]:
    """The inputs of a prompt grown by an answer, by the model's own rules of growing."""
    rest = {name: value for name, value in inputs.items() if name != "input_ids"}
    prompt = inputs["input_ids"]
    answer = ids.to(prompt.device)[None]  # (1, tokens)
    for _ in range(answer.shape[1]):
        rest = model._update_model_kwargs_for_generation(ModelOutput(), rest)
    return {**rest, "input_ids": torch.cat([prompt, answer], dim=1)}  # (1, prompt + tokens)
