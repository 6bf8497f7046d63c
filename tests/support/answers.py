"""Answers of an engine, and the same worked out by transformers alone, to compare."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vlm.backend import Event, Finished, TextDelta
from vlm.engine import Engine
from vlm.generation import generation_config
from vlm.messages import Message
from vlm.options import GenerationOptions


@dataclass
class Said:
    """An answer: its text, its last event, all events, and (steps, vocabulary) logits."""

    text: str
    finished: Finished | None
    events: list[Event]
    logits: torch.Tensor


def ask(
    engine: Engine,
    messages: Sequence[Message],
    options: GenerationOptions,
    cancel_after: int | None = None,
) -> Said:
    """Asks the engine; cancels after so many pieces of text."""
    cancel = threading.Event()
    logits: list[torch.Tensor] = []
    hook = engine.model.register_forward_hook(
        lambda _module, _inputs, output: logits.append(output.logits[0, -1].detach().clone())
    )
    events: list[Event] = []
    try:
        for event in engine.stream(messages, options, cancel):
            events.append(event)
            if sum(isinstance(each, TextDelta) for each in events) == cancel_after:
                cancel.set()
    finally:
        hook.remove()
    finished = events[-1]
    assert isinstance(finished, Finished)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return Said(text, finished, events, torch.stack(logits))


@torch.inference_mode()
def work_out(engine: Engine, messages: Sequence[Message], options: GenerationOptions) -> Said:
    """The greedy answer by `generate` on the inputs of the processor, nothing reused."""
    inputs = engine.prepare(messages, options).to(engine.model.device)
    length = inputs["input_ids"].shape[1]
    config = generation_config(engine.model.generation_config, options, length, None)
    config.update(return_dict_in_generate=True, output_logits=True)
    made = engine.model.generate(**inputs, generation_config=config)
    text = engine.processor.tokenizer.decode(
        made.sequences[0, length:], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return Said(text, None, [], torch.cat(made.logits))


def assert_same(one: Said, other: Said) -> None:
    """The same text from the same numbers, but for the rounding of 32 bits."""
    assert one.text == other.text
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-4)
