"""Two precisions held against each other, token by token."""

import re
from pathlib import Path

import pytest
import torch

from vlm import families, precision
from vlm.errors import ModelError
from vlm.precision import Agreement, Follow, _agreement, _Answers, compare
from vlm.progress import LoadProgress, Watch


@pytest.fixture
def folder(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(precision, "TOKENS", 6)
    monkeypatch.setattr(precision, "QUESTIONS", ("What?",))
    return str(checkpoints["llava"])


def answers(*logits: list[float]) -> _Answers:
    found = torch.tensor([logits])
    return _Answers("x", "model", 10, [found[0].argmax(-1)], [found[0]])


def test_a_model_agrees_with_itself(folder: str) -> None:
    same = compare(folder, "none", "none", device="cpu", dtype="float32")
    assert (same.top_1, same.mean_kl, same.max_kl) == (1.0, 0.0, 0.0)
    assert same.close
    assert same.reference_bytes == same.other_bytes
    assert same.tokens > 4


def test_fewer_bits_differ_and_take_less(folder: str) -> None:
    found = compare(folder, "none", "nf4", device="cpu", dtype="float32")
    assert (found.reference, found.other) == ("fp32", "nf4")
    assert 0 < found.mean_kl < found.max_kl
    assert found.other_bytes < found.reference_bytes


def test_the_numbers_by_hand() -> None:
    half = torch.tensor([0.5, 0.5]).log().tolist()
    tilted = torch.tensor([0.25, 0.75]).log().tolist()
    found = _agreement(answers(tilted, half), answers([1.0, -1.0], half))
    assert found.top_1 == 0.5
    p, q = torch.tensor([0.25, 0.75]), torch.tensor([1.0, -1.0]).softmax(-1)
    expected = float((p * (p / q).log()).sum())
    assert found.max_kl == pytest.approx(expected, rel=1e-5)
    assert found.mean_kl == pytest.approx(expected / 2, rel=1e-5)


def test_words_that_are_ruled_out_do_not_count() -> None:
    found = _agreement(answers([0.0, -torch.inf]), answers([0.0, 0.0]))
    assert found.max_kl == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-5)


def test_the_other_is_led_through_the_same_answer() -> None:
    follow = Follow(3, torch.tensor([7, 1]))
    prompt = torch.zeros(1, 3, dtype=torch.long)
    assert follow(prompt, torch.randn(1, 9)).argmax() == 7
    longer = torch.zeros(1, 4, dtype=torch.long)
    assert follow(longer, torch.randn(1, 9)).argmax() == 1


@pytest.mark.parametrize(("top_1", "close"), [(0.95, True), (0.949, False)])
def test_the_threshold(top_1: float, close: bool) -> None:
    facts = {"name": "m", "reference": "bf16", "other": "nf4", "tokens": 10, "mean_kl": 0.1}
    found = Agreement(top_1=top_1, max_kl=1.0, reference_bytes=2, other_bytes=1, **facts)
    assert found.close is close


def test_the_catalogue_says_what_the_published_table_says() -> None:
    table = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| bf16 / (\w+) \| \d+ \| ([\d.]+)% \|", table, re.MULTILINE)
    pocket = families.look_up("pocket")
    assert pocket is not None
    assert {kind: float(share) / 100 for kind, share in rows} == pytest.approx(pocket.agreement)
    assert pocket.agreement.keys() == {"int8", "nf4", "fp4"}


def test_it_can_be_called_off(folder: str) -> None:
    watch = Watch()

    def tell(progress: LoadProgress) -> None:
        if progress.stage == "weights" and progress.current == progress.total:
            watch.cancel.set()

    watch = Watch(tell, watch.cancel)
    with pytest.raises(ModelError) as caught:
        compare(folder, device="cpu", watch=watch)
    assert caught.value.key == "loading_cancelled"
