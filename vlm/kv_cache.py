"""Keys and values in 8 bits, where a model can do with them.

In: a model. Out: which bits it can keep its keys and values in, and an empty cache of 8. What
transformers calls fp8: numbers of 8 bits with one scale a layer, set by the prompt. The prompt
itself is read exactly; what is written after it attends to rounded keys and values.
"""

import torch
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, QuantizedCache

from vlm.errors import RequestError

WHOLE, HALF = 16, 8


def kv_cache_choices(model: PreTrainedModel, device: torch.device) -> tuple[int, ...]:
    """Bits that a model can keep its keys and values in, the most exact first.

    8 only where every layer keeps the keys and values of all tokens: not with sliding windows,
    recurrent states, or a kind of cache of the model's own; and not on MPS, which has no such
    numbers.

    Args:
        model: may be on the meta device.
        device: where it will run.
    """
    own = model.generation_config
    if own is not None and (own.cache_implementation is not None or own.use_cache is False):
        return (WHOLE,)
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    plain = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
    return (WHOLE, HALF) if plain and device.type != "mps" else (WHOLE,)


def check_kv_cache(bits: int, choices: tuple[int, ...]) -> None:
    """Raises RequestError where a model cannot keep its keys and values in so many bits."""
    if bits not in choices:
        raise RequestError("kv_cache_not_here", got=bits, known=", ".join(map(str, choices)))


def quantised_states(config: PreTrainedConfig) -> QuantizedCache:
    """An empty cache of 8 bits.

    Args:
        config: of the language model.
    """
    return QuantizedCache("fp8", config)
