"""The local backend: a model and its processor on this machine. It knows no family by name.

In: messages. Out: events. Nothing that is said depends on earlier answers; what they leave behind
only saves time (`vlm.cache`). `vlm.chat.ChatSession` keeps the conversation. One thread per engine
does the work.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteriaList

from vlm import memory
from vlm.answer import Answer, too_large
from vlm.backend import (
    Capabilities,
    Event,
    Finished,
    Held,
    ImageLayout,
    Progress,
    Stage,
    TextDelta,
    Usage,
    check_request,
)
from vlm.cache import ConversationCache
from vlm.errors import RequestError
from vlm.explainer import Explainer
from vlm.explanation import ExplainMethod, Explanation
from vlm.generation import Clock, drawing, generation_config, how_it_ended, model_defaults
from vlm.holding import held
from vlm.inspection import Inspection
from vlm.inspector import Subject, look
from vlm.kv_cache import HALF, WHOLE, check_kv_cache, kv_cache_choices, quantised_states
from vlm.loading import Loaded, load
from vlm.messages import ALL_ROLES, Image, Message, images_of
from vlm.model_parts import part_bytes
from vlm.options import GenerationOptions
from vlm.processors import image_knobs
from vlm.progress import Watch
from vlm.reading import PromptReader
from vlm.streaming import Emit, Halt, TokenStream, Worker, leave_a_core
from vlm.trace import native_taps, trace


class Engine:
    """Answers conversations with one loaded model. Use `Engine.load`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded: Loaded | None = loaded
        reader = PromptReader(loaded.model, loaded.processor)
        self._reader: PromptReader | None = reader
        self._conversations = ConversationCache(loaded.model.config.get_text_config(decoder=True))
        self._worker = Worker("engine", prepare=leave_a_core)
        with torch.inference_mode():
            _ = reader.by_image  # found out by trying: better now than in the first answer

    @classmethod
    def load(
        cls,
        source: str,
        quantization: str = "auto",
        device: str = "auto",
        dtype: str = "auto",
        tokenizer: str = "",
        device_map: str = "",
        watch: Watch | None = None,
    ) -> "Engine":
        """Loads a checkpoint; arguments and errors are those of `vlm.loading.load`."""
        return cls(
            load(
                source,
                quantization=quantization,
                device=device,
                dtype=dtype,
                tokenizer=tokenizer,
                device_map=device_map,
                watch=watch,
            )
        )

    @property
    def loaded(self) -> Loaded:
        """The model and what belongs to it. Raises RequestError once the engine is closed."""
        if self._loaded is None:
            raise RequestError("model_closed")
        return self._loaded

    @property
    def model(self) -> Any:
        """The transformers model."""
        return self.loaded.model

    @property
    def processor(self) -> Any:
        """Its processor."""
        return self.loaded.processor

    @property
    def reader(self) -> PromptReader:
        """What turns messages into tensors. Raises RequestError once the engine is closed."""
        if self._reader is None:
            raise RequestError("model_closed")
        return self._reader

    def capabilities(self) -> Capabilities:
        """See `vlm.backend.Backend.capabilities`."""
        family = self.loaded.family
        return Capabilities(
            name=self.loaded.name,
            details=(self.loaded.precision, self.model.device.type.upper()),
            images_per_turn=getattr(self.processor, "most_images", None),
            context_length=self.context_length,
            roles=family.roles if family else ALL_ROLES,
            needs_image=bool(family and family.needs_image),
            continues=self.reader.continues,
            defaults=model_defaults(self.model.generation_config),
            image_knobs=image_knobs(self.processor),
            presets=family.presets if family else (),
            memory=part_bytes(self.model),
            kv_cache_bits=kv_cache_choices(self.model, self.model.device),
        )

    @property
    def context_length(self) -> int | None:
        """Tokens that prompt and answer may have together."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def image_layout(self, image: Image, options: GenerationOptions) -> ImageLayout:
        """See `vlm.backend.Backend.image_layout`. May be called while an answer runs.

        Raises:
            RequestError: the processor refuses the image, or does not have such a knob.
        """
        return self.reader.images.layout(image, options.image_detail)

    def prepare(self, messages: Sequence[Message], options: GenerationOptions | None = None) -> Any:
        """See `vlm.reading.PromptReader.prepare`; of `options`, only `image_detail` counts."""
        return self.reader.prepare(messages, options.image_detail if options else {})

    def trace(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Stage]:
        """Every stage of reading a conversation, from pixels to logits, in order, from one run.

        They are the family's `STAGES`, or what the structure of another model tells. Of `options`,
        only `image_detail` counts. Waits for other answers. Cancelled, it gives what was there.

        Raises:
            RequestError: as `stream` does.
        """
        check_request(messages, self.capabilities())
        model, family = self.model, self.loaded.family
        found: list[Stage] = []

        def work(emit: Emit, should_stop: Callable[[], bool], waited: float) -> None:
            inputs = self.prepare(messages, options).to(model.device)
            taps = family.stages if family else native_taps(model)
            found.extend(trace(model, inputs, taps, should_stop))

        for _ in self._worker.run(work, cancel or threading.Event()):
            pass  # others go first
        yield from found

    def explain(
        self,
        messages: Sequence[Message],
        answer: str,
        options: GenerationOptions | None = None,
        method: ExplainMethod = "attention",
        cancel: threading.Event | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> Explanation:
        """See `vlm.explanation.Explains`. Waits for answers that are being written."""
        check_request(messages, self.capabilities())
        explainer = Explainer(self.model, self.reader, self.context_length, options)
        found: list[Explanation] = []

        def work(emit: Emit, should_stop: Callable[[], bool], _: float) -> None:
            found.extend(explainer.explain(messages, answer, method, emit, should_stop))

        for event in self._worker.run(work, cancel or threading.Event()):
            _ = tell and tell(event)
        if not found:
            raise RequestError("explain_cancelled")
        return found[0]

    def inspect(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event | Inspection]:
        """See `vlm.inspection.Inspects.inspect`; of `options`, only `image_detail` counts.

        Raises:
            RequestError: as `stream` does.
        """
        check_request(messages, self.capabilities())
        loaded, found = self.loaded, []
        subject = Subject(
            model=loaded.model, reader=self.reader, family=loaded.family, name=loaded.name
        )

        def work(emit: Emit, should_stop: Callable[[], bool], waited: float) -> None:
            def reached(current: int, total: int) -> None:
                emit(Progress("tracing", current, total))

            detail = options.image_detail
            found.append(look(subject, messages, detail, should_stop=should_stop, reached=reached))

        yield from self._worker.run(work, cancel)
        yield from found

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        """See `vlm.backend.Backend.stream`.

        Raises:
            RequestError: the conversation does not fit, the processor refuses an image, or memory
                ran out.
        """
        capabilities = self.capabilities()
        check_request(messages, capabilities)
        if messages[-1].role == "assistant" and not capabilities.continues:
            raise RequestError("cannot_continue")
        check_kv_cache(options.kv_cache_bits or WHOLE, capabilities.kv_cache_bits)

        def work(emit: Emit, should_stop: Callable[[], bool], waited: float) -> None:
            asked = self._try(messages, options, emit, should_stop, waited)
            if asked is not None:
                raise too_large(asked, memory.free_bytes(self.model.device))

        return self._worker.run(work, cancel)

    def _try(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        emit: Emit,
        should_stop: Callable[[], bool],
        waited: float,
    ) -> dict[str, int] | None:
        """Answers. `Answer.size` where memory ran out, also without what earlier ones left."""
        said = False
        size: dict[str, int] | None = None

        def note(event: Event) -> None:
            nonlocal said
            said = said or isinstance(event, TextDelta)
            emit(event)

        for _ in range(2):
            clock = Clock(time.perf_counter())
            answer = Answer(messages, options, note, should_stop, clock)
            try:
                self._answer(answer, waited)
                return None
            except Exception as error:
                if not memory.ran_out(error):
                    raise
                size = answer.size(model_defaults(self.model.generation_config))
            finally:
                del answer
                memory.reuse_pages()
                memory.trim()
            # Out here, as the error would keep the tensors of every step that it went through.
            if said or not self.forget():
                break
        return size

    def forget(self) -> bool:
        """See `vlm.backend.Forgetful.forget`."""
        kept = len(self._conversations) + len(self.reader.remembered)
        self._conversations.clear()
        self.reader.remembered.clear()
        memory.trim()
        return kept > 0

    def held(self) -> Held:
        """See `vlm.backend.Holds.held`."""
        return held(self.model, self._conversations.bytes, self.reader.remembered.bytes)

    def close(self) -> None:
        """Ends the thread and gives the model's memory back."""
        self._worker.close()
        self._conversations.clear()
        self._loaded = self._reader = None
        memory.give_back()

    @torch.inference_mode()
    def _answer(self, answer: Answer, waited: float) -> None:
        """One answer from start to end, on the engine's thread."""
        if self.model.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.model.device)
        memory.return_pages()
        own, options = self.model.generation_config, answer.options
        self._read(answer)
        ids = answer.inputs["input_ids"]  # (1, tokens)
        config = generation_config(own, options, ids.shape[1], self.context_length)
        tokens = answer.token_stream(self.processor.tokenizer, ids)
        if not answer.should_stop():
            self._encode(answer)
        if not answer.should_stop():
            answer.emit(Progress("thinking"))
            self._generate(answer, config, tokens)
        self._keep(answer)
        usage = Usage(
            ids.shape[1],
            self.reader.count_image_tokens(ids),
            answer.reused,
            completion_tokens=tokens.count,
        )
        ended = how_it_ended(tokens, config, answer.should_stop())
        peak = memory.peak_bytes(self.model.device)
        answer.emit(Finished(ended, usage, answer.clock.timings(tokens, waited, peak)))

    def _read(self, answer: Answer) -> None:
        """Messages to token ids; image by image where what they leave behind can be reused."""
        own, options = self.model.generation_config, answer.options
        beams = options.num_beams or model_defaults(own)["num_beams"]
        plain = own.cache_implementation is None and own.use_cache is not False
        if plain and beams == 1 and self.reader.by_image:
            answer.reading = self.reader.read(
                answer.messages, options.image_detail, answer.tell_image
            )
        if answer.reading is not None:
            inputs = answer.reading.inputs
        else:
            if total := len(images_of(answer.messages)):
                answer.tell_image(total, total)
            inputs = self.reader.prepare(answer.messages, options.image_detail)
        answer.inputs = dict(inputs.to(self.model.device))

    def _encode(self, answer: Answer) -> None:
        """Finds the states to go on from, and the features of the images after them.

        States of 8 bits are not gone on from: what follows would be read against rounded numbers,
        and so depend on what was said before.
        """
        reading, small = answer.reading, answer.options.kv_cache_bits == HALF
        text = self.model.config.get_text_config(decoder=True)
        if small:
            answer.inputs["past_key_values"] = quantised_states(text)
        if reading is None:
            return
        family = self.loaded.family
        if family is not None:
            kind = family.states_depend_on(text, len(reading.prompt))
            reading.prompt = replace(reading.prompt, kind=kind)
        may_reuse = not small and (family is None or family.reuses_prompts)
        if self._conversations.usable and may_reuse:
            answer.conversation = self._conversations.start(reading.prompt)
            answer.inputs["past_key_values"] = answer.conversation.states
            answer.reused = len(answer.conversation.prompt)
        features = self.reader.features(
            reading,
            answer.reused,
            answer.options.image_detail,
            answer.tell_image,
            answer.should_stop,
        )
        if features:
            answer.inputs["mm_encoder_outputs"] = features

    def _generate(self, answer: Answer, config: GenerationConfig, tokens: TokenStream) -> None:
        """Runs the model until the answer ends or is stopped."""
        streams = config.num_beams == 1
        before = self.model.register_forward_pre_hook(answer.clock.note_prefill)
        after = self.model.register_forward_hook(memory.reuse_pages)
        try:
            sequences = self.model.generate(
                **answer.inputs,
                generation_config=config,
                logits_processor=drawing(
                    self.model.generation_config, answer.options, self.model.device
                ),
                stopping_criteria=StoppingCriteriaList(
                    [Halt(lambda: answer.should_stop() or tokens.stopped)]
                ),
                streamer=tokens if streams else None,
            )
        finally:
            _ = before.remove(), after.remove()
        if answer.conversation is not None and answer.reading is not None:
            answer.conversation.grown(answer.reading.prompt, sequences[0].cpu())
        if not streams:  # several beams are only an answer once the best is known
            tokens.add(sequences[0, answer.inputs["input_ids"].shape[1] :].tolist())
            tokens.end()

    def _keep(self, answer: Answer) -> None:
        """Leaves the states behind for the next turn, also of an answer that was stopped."""
        if answer.conversation is not None and len(answer.conversation.prompt):
            self._conversations.keep(answer.conversation)
