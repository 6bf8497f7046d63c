"""Two threads that make a model at once leave the process as it was."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, PreTrainedModel, modeling_utils

from vlm.loading import empty_model, load


@pytest.mark.parametrize("way", ["empty", "weights"])
def test_a_second_model_waits_until_the_first_is_made(
    way: str, checkpoints: Mapping[str, Path]
) -> None:
    folder = str(checkpoints["llava"])
    entered, go_on = threading.Event(), threading.Event()
    linspace, tie = torch.linspace, PreTrainedModel.tie_weights

    def first() -> None:
        with modeling_utils.local_torch_dtype(torch.bfloat16):
            entered.set()
            go_on.wait()

    def second() -> None:
        if way == "weights":
            load(folder, quantization="none", device="cpu", dtype="float16")
        else:
            empty_model(AutoConfig.from_pretrained(folder), torch.float16)

    threads = [threading.Thread(target=each) for each in (first, second)]
    threads[0].start()
    entered.wait()
    threads[1].start()
    threads[1].join(1.0)
    waited = threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join()
    assert waited
    assert torch.get_default_dtype() is torch.float32
    assert torch.linspace is linspace
    assert PreTrainedModel.tie_weights is tie


def test_the_parts_of_a_model_are_made_within_it() -> None:
    with (
        modeling_utils.local_torch_dtype(torch.bfloat16),
        modeling_utils.local_torch_dtype(torch.float16),
    ):
        assert torch.get_default_dtype() is torch.float16
    assert torch.get_default_dtype() is torch.float32
