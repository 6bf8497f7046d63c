"""What earlier answers leave behind to save time: keys and values of prompts, features of images.

Both are found by content, so conversations cannot mix: a prompt is its token ids with the hash of
an image standing for each span of placeholders. A hit changes how long an answer takes, and in
less than 32 bits how its numbers are rounded, nothing else.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

STATES_BYTES = 1 << 30
"""Budget for keys and values. Models of up to 8 billion parameters take 20 to 130 kB a token, so
this holds several conversations of a few thousand tokens; the newest is kept whatever its size, as
it fitted into memory a moment ago and is the one most likely to go on."""

FEATURES_BYTES = 256 << 20
"""Budget for features of images: 1 to 20 MB for an image in many tiles, so a dozen at least."""

MAX_CONVERSATIONS = 32
"""States kept at most: looking for the best one compares with each of them."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """A sequence of tokens and the images in it.

    Attributes:
        ids: (tokens,), int64, on the CPU.
        images: (where its first placeholder stands, which image it is), in order.
        attended: (tokens,), bool, on the CPU: whether later tokens attend to it; None: all are.
        kind: what its states depend on besides; those of two kinds have nothing in common.
    """

    ids: torch.Tensor
    images: tuple[tuple[int, Hashable], ...] = ()
    attended: torch.Tensor | None = None
    kind: Hashable = None

    def __len__(self) -> int:
        return len(self.ids)

    def extended(self, ids: torch.Tensor) -> "Prompt":
        """The same images in a longer sequence that begins like this one; all of the rest counts.

        A sequence may be shorter, too, where an answer was stopped before the first token.
        """
        kept = self.attends()[: len(ids)]
        more = torch.ones(len(ids) - len(kept), dtype=torch.bool)
        return replace(self, ids=ids, attended=torch.cat((kept, more)))

    def beginning(self, length: int) -> "Prompt":
        """The first tokens and the images that begin among them."""
        images = tuple(image for image in self.images if image[0] < length)
        return replace(self, ids=self.ids[:length], images=images, attended=self.attends()[:length])

    def attends(self) -> torch.Tensor:
        """`attended`, written out: (tokens,), bool."""
        if self.attended is None:
            return torch.ones(len(self.ids), dtype=torch.bool)
        return self.attended


def common_length(first: Prompt, second: Prompt) -> int:
    """How many tokens two sequences have in common from the start.

    Images are compared by content. The same token, attended to in one and not in the other, leaves
    other states behind in all tokens after it.
    """
    length = min(len(first), len(second)) if first.kind == second.kind else 0
    unlike = first.ids[:length] != second.ids[:length]  # (length,)
    unlike |= first.attends()[:length] != second.attends()[:length]
    differs = unlike.nonzero()  # (differences, 1)
    if len(differs):
        length = int(differs[0, 0])
    for one, other in zip_longest(first.images, second.images):
        if one != other:
            return min(length, *(image[0] for image in (one, other) if image is not None))
    return length


@dataclass(eq=False)
class Conversation:
    """Keys and values of a sequence of tokens.

    Attributes:
        prompt: the tokens that `states` holds.
        states: of every layer; grows when more tokens are processed.
        answered: length of each prompt that was answered with it -> how many of its tokens were
            reused then.
    """

    prompt: Prompt
    states: DynamicCache
    answered: dict[int, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What the states take, in bytes."""
        return sum(keys.nbytes + values.nbytes for _, keys, values in _filled(self.states))

    def reusable(self, prompt: Prompt) -> int:
        """How many tokens of `prompt` need not be processed again.

        At least one is left, to give the first new token. The very prompt that was answered
        before starts from where it started then: split in the same way, its numbers are rounded
        in the same way, so the same seed gives the same text also in 16 bits.
        """
        common = common_length(self.prompt, prompt)
        if common == len(prompt):
            common = self.answered.get(len(prompt), common - 1)
        if common < len(self.prompt) and not croppable(self.states):
            return 0
        return common

    def grown(self, prompt: Prompt, ids: torch.Tensor) -> None:
        """Notes what the states hold after an answer: `generate` leaves out its last token.

        Args:
            prompt: that was answered.
            ids: (tokens,) of the prompt and its answer, on the CPU.
        """
        self.answered[len(prompt)] = len(self.prompt)
        self.prompt = prompt.extended(ids[: self.states.get_seq_length()])

    def repeats(self, prompt: Prompt) -> bool:
        """Whether this very prompt was answered with these states."""
        return len(prompt) in self.answered and common_length(self.prompt, prompt) == len(prompt)

    def beginning(self, length: int, config: PreTrainedConfig) -> "Conversation":
        """A copy of the first `length` tokens; this one stays as it is."""
        states = DynamicCache(config=config)
        for index, keys, values in _filled(self.states):
            # (batch, heads, length, head_dim); `update` copies
            states.update(keys[:, :, :length], values[:, :, :length], index)
        answered = {end: start for end, start in self.answered.items() if end <= length}
        return Conversation(self.prompt.beginning(length), states, answered)


def _filled(states: DynamicCache) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """(index, keys, values) of every layer that has some: layers may share those of another."""
    for index, layer in enumerate(states.layers):
        if not isinstance(layer, DynamicLayer) or not layer.is_initialized:
            continue
        if layer.keys is not None and layer.values is not None:
            yield index, layer.keys, layer.values


def supported(states: DynamicCache) -> bool:
    """Whether every layer keeps plain keys and values, or uses those of another layer.

    Not where there is a recurrent state or a fixed length.
    """
    kinds = (DynamicLayer, DynamicSlidingWindowLayer, DummyLayer)
    return all(type(layer) in kinds for layer in states.layers)


def croppable(states: DynamicCache) -> bool:
    """Whether tokens can be taken off the end: a full sliding window has lost those before it."""
    return all(
        not isinstance(layer, DynamicSlidingWindowLayer)
        or layer.get_seq_length() < layer.sliding_window
        for layer in states.layers
    )


class ConversationCache:
    """Keeps the states of the conversations that were answered last.

    Args:
        config: of the language model, which decides the kinds of layers.
        budget: in bytes; the oldest go first, the newest always stays.
    """

    def __init__(self, config: PreTrainedConfig, budget: int = STATES_BYTES) -> None:
        self._config = config
        self._budget = budget
        self._kept: list[Conversation] = []  # oldest use first
        self.usable = supported(DynamicCache(config=config))

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What all of them take, but for one that an answer goes on with just now."""
        return sum(each.bytes for each in tuple(self._kept))

    def start(self, prompt: Prompt) -> Conversation:
        """States that hold the longest known beginning of `prompt`; empty ones if there is none.

        They belong to the caller until `keep`. A conversation that simply goes on is taken out;
        of one that branches off a copy is made, so that both can go on.
        """
        repeated = [each for each in self._kept if each.repeats(prompt)]
        among = repeated or self._kept
        best = max(among, key=lambda each: each.reusable(prompt), default=None)
        length = best.reusable(prompt) if best is not None else 0
        if best is None or length == 0:
            return Conversation(prompt.beginning(0), DynamicCache(config=self._config))
        self._kept.remove(best)
        if length == len(best.prompt):
            return best
        self._kept.append(best)  # in use: not the next to go
        return best.beginning(length, self._config)

    def keep(self, conversation: Conversation) -> None:
        """Remembers states; those of sequences that it holds too are dropped."""
        self._kept = [
            each
            for each in self._kept
            if common_length(each.prompt, conversation.prompt) < len(each.prompt)
            or any(end not in conversation.answered for end in each.answered)
        ]
        self._kept.append(conversation)
        while len(self._kept) > 1 and (
            len(self._kept) > MAX_CONVERSATIONS or self.bytes > self._budget
        ):
            del self._kept[0]

    def clear(self) -> None:
        """Forgets everything."""
        self._kept.clear()


class FeatureCache:
    """Keeps the features of images that were seen last: key -> (placeholders, dim).

    Args:
        budget: in bytes; the oldest go first.
    """

    def __init__(self, budget: int = FEATURES_BYTES) -> None:
        self._budget = budget
        self._kept: OrderedDict[Hashable, torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return sum(each.nbytes for each in tuple(self._kept.values()))

    def get(self, key: Hashable) -> torch.Tensor | None:
        """The features of an image, or None."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: Hashable, features: torch.Tensor) -> None:
        """Remembers features."""
        self._kept[key] = features
        self._kept.move_to_end(key)
        while self.bytes > self._budget:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything."""
        self._kept.clear()
