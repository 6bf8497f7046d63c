"""`forward(labels=...)` against a loss worked out apart, from the tensors of the published code.

The stored tensor is the prompt's logits, its last hidden states, or (pocket) the logits of the one
token after it. Each label is a token that one of these logits foretells; the others are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from tests.support import goldens
from tests.support.goldens import TOLERANCES, Case, Check
from vlm.families.stored import unpickle

from .test_goldens import CASES, runner

IGNORED = -100
LOGITS = ("prefill_logits", "prefill_logits_last32", "first_logits")
HIDDEN = "final_hidden_prefill"
EMBEDDINGS = (
    "output.weight",
    "lm_head.weight",
    "model.embed_tokens.weight",
    "language_model.model.embed_tokens.weight",
)
"""Published names of a head, or of the embedding that is one with it."""


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one stored prompt tells of a loss.

    Attributes:
        model: ours.
        inputs: of the prompt.
        labels: (batch, tokens), the placeholders of images among them.
        logits: (batch, tokens, words) from the stored tensor, float64; 0 where nothing is stored.
        tolerance: of the loss; see `error`.
    """

    model: Any
    inputs: Mapping[str, Any]
    labels: Tensor
    logits: Tensor
    tolerance: float

    @property
    def without_images(self) -> Tensor:
        placeholders = self.labels == self.model.config.image_token_id
        return self.labels.masked_fill(placeholders, IGNORED)

    def loss(self, labels: Tensor, shift: int = 1) -> float:
        """The mean over all labels that count, in float64; one past the vocabulary is its last."""
        logits = self.logits[:, : self.logits.shape[1] - shift]
        labels = labels.clamp(max=logits.shape[2] - 1)
        return functional.cross_entropy(logits.flatten(0, 1), labels[:, shift:].flatten()).item()

    def ours(self) -> float:
        return self.model(**self.inputs, labels=self.labels).loss.item()


def error(logits: Tensor, family: str) -> float:
    """How far off a loss may be whose logits are as far off as they may be.

    A logit less the logarithm of the sum is off by twice the worst logit at most, and so is a mean.
    Where hidden states stand in for logits, the same holds of the logits that follow from them.
    """
    absolute, relative = TOLERANCES[family]["logits"]
    return 2 * (absolute + relative * float(logits.abs().max()))


def head_of(case: Case) -> Tensor:
    """(words, width), float64, as the published file has it."""
    file = case.folder / "checkpoint" / case.data.get("checkpoint_file", "model.safetensors")
    tensors = unpickle(file) if file.suffix == ".pth" else load_file(file)
    return next(tensors[name] for name in EMBEDDINGS if name in tensors).double()


def prompts(case: Case, monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """Every prompt of a case, once for each stored tensor that tells a loss."""
    seen: list[tuple[Any, Mapping[str, Any]]] = []
    plain = goldens.trace

    def note(model: Any, inputs: Mapping[str, Any], taps: Any) -> Any:
        seen.append((model, inputs))
        return plain(model, inputs, taps)

    monkeypatch.setattr(goldens, "trace", note)
    runner(case).run(replace(case), Check(case))
    found = []
    runs = case.data.get("runs") or [{}]
    assert len(seen) == len(runs)
    for (model, inputs), run in zip(seen, runs, strict=True):
        prefix = run.get("tensor_prefix") or (case.mine[0] if case.mine != ("",) else "")
        names = [prefix + n for n in (*LOGITS, HIDDEN) if prefix + n in case.expected]
        if not names:
            pytest.skip(f"{case.name} stores no logits of its prompt")
        found += [told(case, model, inputs, name) for name in names]
    return found


def told(case: Case, model: Any, inputs: Mapping[str, Any], name: str) -> Told:
    ids = inputs["input_ids"]
    stored = case.expected[name].double()
    given = {key: value for key, value in inputs.items() if key != "position_ids"}
    if name.endswith(HIDDEN):
        stored = stored @ head_of(case).T  # (batch, tokens, words)
    if name.endswith("first_logits"):  # of the token after the prompt
        stored = stored.view(1, 1, -1)
        ids = torch.cat([ids, torch.tensor([case.data["greedy_ids"][:1]])], dim=1)
        stored = torch.cat([stored, torch.zeros_like(stored)], dim=1)
        given |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    length = stored.shape[1]
    labels = ids.clone()
    labels[:, : ids.shape[1] - length + 1] = IGNORED  # nothing stored foretells them
    if (mask := given.get("attention_mask")) is not None:
        before = functional.pad(mask[:, :-1], (1, 0))
        labels[(mask == 0) | (before == 0)] = IGNORED
    logits = torch.zeros(*ids.shape, stored.shape[2], dtype=torch.float64)
    logits[:, -length:] = stored
    return Told(
        model=model,
        inputs=given,
        labels=labels,
        logits=logits,
        tolerance=error(stored, case.family),
    )


# ---- equal ----


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loss_is_that_of_the_stored_tensors(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in prompts(case, monkeypatch):
        expected = each.loss(each.without_images)
        print(f"{case.name} {each.ours() - expected:.2e} of {each.tolerance:.2e}")
        assert abs(each.ours() - expected) <= each.tolerance
        if (each.labels != IGNORED).sum() > 1:  # what a loss without the shift would be
            assert abs(each.loss(each.without_images, shift=0) - expected) > each.tolerance
        if (each.labels == each.model.config.image_token_id).any():
            assert abs(each.loss(each.labels) - expected) > each.tolerance


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_other_logits_give_another_loss(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With words that change places in the head: a loss of our own logits would not notice."""
    for each in prompts(case, monkeypatch):
        head = each.model.get_output_embeddings()
        hook = head.register_forward_hook(lambda *args: args[2].roll(1, dims=-1))
        try:
            assert abs(each.ours() - each.loss(each.without_images)) > each.tolerance
        finally:
            hook.remove()
