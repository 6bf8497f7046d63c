"""The local backend: a model and its processor on this machine. It knows no family by name.

In: messages. Out: events. Stateless from one answer to the next; `vlm.chat.ChatSession` keeps the
conversation. One thread per engine does the work.
"""

import copy
import gc
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import psutil
import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from vlm import memory
from vlm.backend import (
    Capabilities,
    Event,
    Finished,
    Progress,
    Timings,
    Usage,
    check_request,
)
from vlm.errors import RequestError
from vlm.loading import Loaded, load
from vlm.messages import Image, Message, images_of
from vlm.sampling import SeededSampling
from vlm.settings import GenerationOptions, Settings
from vlm.streaming import Emit, Halt, TokenStream, Worker

DEFAULT_MAX_NEW_TOKENS = 512


@dataclass
class _Clock:
    """When the stages of one answer began or ended, by `time.perf_counter`."""

    started: float
    encoded: float | None = None

    def note_prefill(self, *_: object) -> None:
        """A forward hook: `generate` encodes images first, so the first call is the prefill."""
        if self.encoded is None:
            self.encoded = time.perf_counter()


class Engine:
    """Answers conversations with one loaded model. Use `Engine.load`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded: Loaded | None = loaded
        self._worker = Worker("engine", prepare=_leave_a_core)

    @classmethod
    def load(
        cls, source: str, quantization: str = "auto", device: str = "auto", dtype: str = "auto"
    ) -> "Engine":
        """Loads a checkpoint; arguments and errors are those of `vlm.loading.load`."""
        return cls(load(source, quantization=quantization, device=device, dtype=dtype))

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

    def capabilities(self) -> Capabilities:
        """See `vlm.backend.Backend.capabilities`."""
        return Capabilities(
            name=self.loaded.name,
            details=(self.loaded.precision, self.model.device.type.upper()),
            context_length=self.context_length,
        )

    @property
    def context_length(self) -> int | None:
        """Tokens that prompt and answer may have together."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        """See `vlm.backend.Backend.stream`.

        Raises:
            RequestError: the conversation does not fit, the processor refuses an image, or memory
                ran out.
        """
        check_request(messages, self.capabilities())

        def work(emit: Emit, should_stop: Any, waited: float) -> None:
            try:
                self._answer(messages, options, emit, should_stop, waited)
                return
            except Exception as error:
                if not memory.ran_out(error):
                    raise
            finally:
                self._free_caches()
            # Out here, as the error would keep the tensors of every step that it went through.
            raise RequestError("out_of_memory")

        return self._worker.run(work, cancel)

    def close(self) -> None:
        """Ends the thread and gives the model's memory back."""
        self._worker.close()
        self._loaded = None
        gc.collect()
        self._free_caches()

    @torch.inference_mode()
    def _answer(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        emit: Emit,
        should_stop: Any,
        waited: float,
    ) -> None:
        """One answer from start to end, on the engine's thread."""
        clock = _Clock(time.perf_counter())
        if self.model.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.model.device)
        if total := len(images_of(messages)):
            emit(Progress("reading", total, total))
        inputs = self.prepare(messages).to(self.model.device)
        prompt_tokens = inputs["input_ids"].shape[1]
        config = self._generation_config(options, prompt_tokens)
        tokens = TokenStream(self.processor.tokenizer, options.stop, emit)
        usage = Usage(prompt_tokens, self._count_image_tokens(inputs["input_ids"]))
        if not should_stop():
            emit(Progress("thinking"))
            self._generate(inputs, config, options, tokens, clock, should_stop)
        emit(self._finished(tokens, config, usage, clock, waited, should_stop()))

    def prepare(self, messages: Sequence[Message]) -> Any:
        """The tensors of a conversation: `input_ids` (1, tokens), `pixel_values` and the like.

        Marks of the prompt format inside a person's text are encoded as plain text, so nobody can
        open a turn or claim an image by writing one.
        """
        conversation = [
            {"role": message.role, "content": [self._part(part) for part in message.parts]}
            for message in messages
        ]
        try:
            return self.processor.apply_chat_template(
                conversation,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                sanitize_control_tokens=True,
            )
        except (ValueError, TypeError, IndexError, jinja2.TemplateError) as error:
            raise RequestError("processor_refused", detail=str(error)[:300]) from error

    def _part(self, part: Any) -> dict[str, object]:
        if not isinstance(part, Image):
            return {"type": "text", "text": part.text}
        converts = getattr(self.processor.image_processor, "do_convert_rgb", None)
        return {"type": "image", "image": part.pixels if converts else part.pixels.convert("RGB")}

    def _count_image_tokens(self, input_ids: torch.Tensor) -> int:
        config = self.model.config
        placeholder = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
        return 0 if placeholder is None else int((input_ids == placeholder).sum())

    def _generation_config(
        self, options: GenerationOptions, prompt_tokens: int
    ) -> GenerationConfig:
        """The model's own settings with the request's over them. Drawing is ours: see sampling."""
        config = copy.deepcopy(self.model.generation_config)
        config.update(do_sample=False, temperature=None, top_p=None, top_k=None, max_length=None)
        for name in ("repetition_penalty", "num_beams", "max_new_tokens", "min_new_tokens"):
            if getattr(options, name) is not None:
                setattr(config, name, getattr(options, name))
        config.max_new_tokens = config.max_new_tokens or DEFAULT_MAX_NEW_TOKENS
        limit = self.context_length
        if limit is not None:
            if prompt_tokens >= limit:
                raise RequestError("context_full", got=prompt_tokens, limit=limit)
            config.max_new_tokens = min(config.max_new_tokens, limit - prompt_tokens)
        return config

    def _sampling(self, options: GenerationOptions) -> LogitsProcessorList:
        """How to draw tokens: nothing where the likeliest one is taken."""
        own = self.model.generation_config
        usual = (own.temperature if own.temperature is not None else 1.0) if own.do_sample else 0.0
        temperature = usual if options.temperature is None else options.temperature
        if temperature == 0 or (options.num_beams or own.num_beams or 1) > 1:
            return LogitsProcessorList()
        top_k = own.top_k if options.top_k is None else options.top_k
        top_p = own.top_p if options.top_p is None else options.top_p
        drawing = SeededSampling(
            seed=0 if options.seed is None else options.seed,
            temperature=temperature,
            top_k=top_k or 0,
            top_p=1.0 if top_p is None else top_p,
            min_p=own.min_p or 0.0,
            device=self.model.device,
        )
        return LogitsProcessorList([drawing])

    def _generate(
        self,
        inputs: Any,
        config: GenerationConfig,
        options: GenerationOptions,
        tokens: TokenStream,
        clock: _Clock,
        should_stop: Any,
    ) -> None:
        streams = (config.num_beams or 1) == 1
        hook = self.model.register_forward_pre_hook(clock.note_prefill)
        try:
            sequences = self.model.generate(
                **inputs,
                generation_config=config,
                logits_processor=self._sampling(options),
                stopping_criteria=StoppingCriteriaList(
                    [Halt(lambda: should_stop() or tokens.stopped)]
                ),
                streamer=tokens if streams else None,
            )
        finally:
            hook.remove()
        if not streams:  # several beams are only an answer once the best is known
            tokens.add(sequences[0, inputs["input_ids"].shape[1] :].tolist())
            tokens.end()

    def _finished(
        self,
        tokens: TokenStream,
        config: GenerationConfig,
        usage: Usage,
        clock: _Clock,
        waited: float,
        cancelled: bool,
    ) -> Finished:
        ends = config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        cut_off = cancelled and tokens.count < (config.max_new_tokens or 0)
        complete = tokens.stopped or (tokens.count > 0 and tokens.last_id in ends)
        reason = "stop" if complete else "cancelled" if cut_off else "length"
        now = time.perf_counter()
        first, last = tokens.first_at or now, tokens.last_at or now
        encoded = clock.encoded or first
        timings = Timings(
            queue=waited,
            encode=encoded - clock.started,
            prefill=first - encoded,
            first_token=first - clock.started,
            decode=last - first,
            peak_bytes=memory.peak_bytes(self.model.device),
        )
        usage = Usage(usage.prompt_tokens, usage.image_tokens, 0, tokens.count)
        return Finished(reason, usage, timings)

    def _free_caches(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _leave_a_core() -> None:
    """Keeps one core for the server: threads of a matrix product wait for the slowest of them."""
    cores = psutil.cpu_count(logical=False) or 1
    torch.set_num_threads(max(1, cores - 1))


def open_engine(settings: Settings) -> Engine:
    """The engine that the settings ask for. Raises ModelError, SettingError."""
    return Engine.load(
        settings.model,
        quantization=settings.quantization,
        device=settings.device,
        dtype=settings.dtype,
    )
