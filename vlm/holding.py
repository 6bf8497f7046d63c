"""What a loaded model takes of memory now, with what earlier answers left behind, by part.

In: a model and bytes of what is kept. Out: plain numbers that add up to what the system shows.
"""

from transformers import PreTrainedModel

from vlm import memory
from vlm.backend import Held
from vlm.model_parts import part_bytes


def held(model: PreTrainedModel, states: int, features: int) -> Held:
    """What everything takes now.

    Args:
        model: on one device or spread over several.
        states: bytes of keys and values that are kept.
        features: bytes of features of images that are kept.
    """
    weights = part_bytes(model)
    known = sum(weights.values()) + states + features
    devices = {each.device for each in model.parameters()}
    taken = [memory.taken_bytes(device) for device in devices]
    total, used = (sum(sizes) for sizes in zip(*taken, strict=True))
    on_cpu = [device.type == "cpu" for device in devices]
    # of mapped files the process has in memory only what was read and not driven out since
    away = max(known - used, 0) if any(on_cpu) else 0
    rest = used - known + away
    left = {"runtime": rest} if any(on_cpu) else {"work": max(rest, 0)}
    return Held(
        weights=weights,
        besides={"states": states, "features": features, **left, "spare": total - used},
        total=total,
        measured="process" if all(on_cpu) else "spread" if any(on_cpu) else "device",
        away=away,
    )
