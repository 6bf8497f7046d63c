"""From messages to what `model.generate` takes: token ids, and pixels or features of the images.

Two ways: `prepare` leaves everything to the processor, as any caller of transformers would. `read`
and `features` take the images one by one and remember each, for models that can be given features.
"""

import copy
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2
import torch
from PIL import Image as pillow
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlm.cache import FeatureCache, Prompt
from vlm.errors import RequestError
from vlm.image_layout import ImageReader, ReadImage, image_key
from vlm.messages import Image, Message, Text, images_of, user_message
from vlm.processors import image_settings

Detail = Mapping[str, int | bool]
Tell = Callable[[int, int], None]
"""Called with (which image, of how many) when one is really worked on."""

REFUSALS = (ValueError, TypeError, IndexError, NotImplementedError, jinja2.TemplateError)
"""What processors raise when a conversation is not one for them."""

PROBES = ((90, 30), (40, 70))
"""Sizes (width, height) of the pictures on which the two ways are compared."""


@dataclass(eq=False)
class Reading:
    """A conversation whose images have been looked at as far as its tokens need it.

    Attributes:
        inputs: token ids (1, tokens) and what goes along with them, without images.
        prompt: the same tokens with the images they stand for.
        images: in order.
        pending: outputs of the image processor that have not been encoded yet, by image.
        told: numbers of the images that were worked on.
    """

    inputs: Any
    prompt: Prompt
    images: list[Image]
    pending: dict[object, ReadImage]
    told: set[int]


class PromptReader:
    """Reads conversations for one model.

    Args:
        model: in evaluation mode.
        processor: of the model; never changed.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        config = model.config
        self._model = model
        self._processor = processor
        self.placeholder_id = getattr(
            config, "image_token_id", getattr(config, "image_token_index", None)
        )
        self.images = ImageReader(processor, self._placeholder_text())
        self.remembered = FeatureCache()

    @property
    def tokenizer(self) -> Any:
        """Of the model."""
        return self._processor.tokenizer

    def _placeholder_text(self) -> str:
        if self.placeholder_id is None:
            return getattr(self._processor, "image_token", "")
        return self._processor.tokenizer.convert_ids_to_tokens(self.placeholder_id)

    def _template(self) -> str | None:
        """The chat template, without the line break at its end, which Jinja drops too.

        It writes everything: also what the tokenizer itself would put before every text, which it
        does not do for texts whose marks are told apart piece by piece.
        """
        own = getattr(self._processor, "chat_template", None)
        template = own.get("default") if isinstance(own, dict) else own
        if not isinstance(template, str):
            return None
        if self._opening and not self._written_plainly().startswith(self._opening):
            template = f"{{{{ {json.dumps(self._opening)} }}}}{template}"
        return template.removesuffix("\n")

    @cached_property
    def _opening(self) -> str:
        """What the tokenizer puts before every text."""
        tokenizer = self._processor.tokenizer
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        first = whole[: len(whole) - len(plain)]
        return "".join(tokenizer.convert_ids_to_tokens(first)) if first + plain == whole else ""

    def _written_plainly(self) -> str:
        """A question without images as the processor's own template writes it."""
        asked = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
        try:
            return self._processor.apply_chat_template(
                asked, add_generation_prompt=True, tokenize=False
            )
        except REFUSALS as error:
            raise RequestError("processor_refused", detail=str(error)[:300]) from error

    @cached_property
    def continues(self) -> bool:
        """Whether an answer that was begun can be gone on with; found out by trying."""
        begun = "begun \n"
        messages = [user_message("?"), Message("assistant", (Text(begun),))]
        try:
            written = self._apply(self._processor, messages, {}, tokenize=False)
        except (RequestError, AttributeError, KeyError):
            return False
        return isinstance(written, str) and written.endswith(begun)

    def prepare(self, messages: Sequence[Message], detail: Detail) -> Any:
        """The tensors of a conversation: `input_ids` (1, tokens), `pixel_values` and the like.

        Marks of the prompt format inside a person's text are encoded as plain text, so nobody can
        open a turn or claim an image by writing one.

        Raises:
            RequestError: the processor refuses, or `detail` names what it does not have.
        """
        return self._apply(self._processor, messages, detail)

    def _apply(
        self, processor: Any, messages: Sequence[Message], detail: Detail, tokenize: bool = True
    ) -> Any:
        """Runs the chat template and, unless told otherwise, everything after it.

        An answer that was begun is written after the prompt that asks for one: just where the
        model left off, with its white space, whatever the template does to answers in the past.
        """
        template, begun = self._template(), {}
        if messages[-1].role == "assistant":
            *messages, last = messages
            if template is None or last.images:
                raise RequestError("cannot_continue")
            template, begun = template + "{{ begun_answer }}", {"begun_answer": last.text}
        conversation = [
            {"role": message.role, "content": [self._part(part) for part in message.parts]}
            for message in messages
        ]
        call = {"images_kwargs": image_settings(self._processor, detail)}
        tensors = {"return_dict": True, "return_tensors": "pt"}
        try:
            return processor.apply_chat_template(
                conversation,
                add_generation_prompt=True,
                tokenize=tokenize,
                sanitize_control_tokens=tokenize,
                chat_template=template,
                processor_kwargs={**call, "add_special_tokens": False} if tokenize else None,
                **(tensors if tokenize else {}),
                **begun,
            )
        except REFUSALS as error:
            raise RequestError("processor_refused", detail=str(error)[:300]) from error

    def _part(self, part: Text | Image) -> dict[str, object]:
        if isinstance(part, Image):
            return {"type": "image", "image": self.images.convert(part.pixels)}
        return {"type": "text", "text": part.text}

    def count_image_tokens(self, input_ids: torch.Tensor) -> int:
        """How many tokens of a prompt stand for images."""
        placeholder = self.placeholder_id
        return 0 if placeholder is None else int((input_ids == placeholder).sum())

    # ---- images one by one ----

    @cached_property
    def by_image(self) -> bool:
        """Whether this model can be given features, and images one by one mean the same to it.

        Not where positions depend on the shapes of all images together (the model then keeps
        what it worked out for the last prompt), nor where an image is treated in another way
        beside others; the latter is found out by trying.
        """
        model = self._model
        if (
            model.config.is_encoder_decoder
            or "mm_encoder_outputs" not in inspect.signature(model.forward).parameters
            or not hasattr(model.base_model, "get_image_features")
            or any(hasattr(module, "rope_deltas") for module in model.modules())
        ):
            return False
        try:
            return self._agree(user_message("?", [_probe(size) for size in PROBES]))
        except Exception:  # whatever goes wrong in a class nobody here knows: the usual way is left
            return False

    def _agree(self, message: Message) -> bool:
        """Whether both ways give the same tokens and as many features as placeholders."""
        whole = self.prepare([message], {})["input_ids"]
        reading = self.read([message], {}, lambda *_: None)
        if reading is None or not torch.equal(whole, reading.inputs["input_ids"]):
            return False
        found = [self._encode(self.images.read(image, {})) for image in message.images]
        wanted = [self.images.text(image, {}).placeholders for image in message.images]
        return [len(features) for features in found] == wanted

    def read(self, messages: Sequence[Message], detail: Detail, tell: Tell) -> Reading | None:
        """Tokens of a conversation; runs the image processor on images it has not seen yet.

        None where the processor builds prompts in a way of its own. Raises as `prepare` does.
        """
        images = images_of(messages)
        pending: dict[object, ReadImage] = {}
        told: set[int] = set()
        for number, image in enumerate(images):
            if not self.images.knows_text(image, detail):
                tell(number + 1, len(images))
                told.add(number)
                pending[image_key(image, detail)] = self.images.read(image, detail)
        written = [self.images.text(image, detail) for image in images]
        # The images are done; what is left of the processor's work is text.
        text_only = copy.copy(self._processor)
        text_only.__dict__["_process_images"] = lambda *_, **__: ({}, [w.text for w in written])
        inputs = self._apply(text_only, messages, detail)
        ids = inputs["input_ids"][0]  # (tokens,)
        counts = [each.placeholders for each in written]
        starts = (ids == self.placeholder_id).nonzero().flatten()  # (placeholders,)
        if sum(counts) != len(starts) or 0 in counts:
            return None
        firsts = [int(starts[sum(counts[:number])]) for number in range(len(counts))]
        keys = [image_key(image, detail) for image in images]
        mask = inputs.get("attention_mask")
        attended = None if mask is None else mask[0].bool()  # (tokens,)
        prompt = Prompt(ids, tuple(zip(firsts, keys, strict=True)), attended)
        return Reading(inputs, prompt, images, pending, told)

    def features(
        self,
        reading: Reading,
        reused: int,
        detail: Detail,
        tell: Tell,
        should_stop: Callable[[], bool],
    ) -> dict[str, BaseModelOutputWithPooling]:
        """`mm_encoder_outputs` for the images of a prompt after its first `reused` tokens.

        Of no use once `should_stop()` is true, which is asked before each image.
        """
        found: list[torch.Tensor] = []
        for number, (first, key) in enumerate(reading.prompt.images):
            if first < reused or should_stop():
                continue
            features = self.remembered.get(key)
            if features is None:
                if number not in reading.told:
                    tell(number + 1, len(reading.images))
                read = reading.pending.get(key)
                read = self.images.read(reading.images[number], detail) if read is None else read
                features = self._encode(read)  # (placeholders, dim)
                self.remembered.keep(key, features)
            found.append(features)
        if not found:
            return {}
        together = torch.cat(found)  # (placeholders of all images, dim)
        return {"image": BaseModelOutputWithPooling(pooler_output=self._shaped(together))}

    def _encode(self, read: ReadImage) -> torch.Tensor:
        """(placeholders, dim): the features of one image, as `generate` works them out."""
        encode = self._model.base_model.get_image_features
        taken = inspect.signature(encode).parameters
        inputs = {name: value for name, value in read.inputs.items() if name in taken}
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor):
                inputs[name] = value.to(self._model.device)
        output = encode(**inputs, return_dict=True)
        usual = {"pooler_output", "last_hidden_state", "hidden_states", "attentions"}
        if more := {name for name, value in output.items() if value is not None} - usual:
            raise ValueError(f"features of a form that cannot be split: {sorted(more)}")
        features = output.pooler_output
        self._in_list = isinstance(features, list | tuple)
        parts = features if self._in_list else [features]
        return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])

    def _shaped(self, features: torch.Tensor) -> Any:
        """Features in the form in which this model returns them."""
        return [features] if self._in_list else features[None]  # (1, placeholders, dim)


def _probe(size: tuple[int, int]) -> Image:
    """A picture from black to white."""
    pixels = pillow.linear_gradient("L").resize(size).convert("RGB")
    return Image(pixels, f"probe {size}", "probe", size)
