"""Keys, values and features kept between answers: what matches, what is kept, what goes."""

from dataclasses import replace

import torch
from transformers import DynamicCache, LlamaConfig, MambaConfig

from vlm.cache import (
    Conversation,
    ConversationCache,
    FeatureCache,
    Prompt,
    common_length,
    croppable,
    supported,
)

CONFIG = LlamaConfig(num_hidden_layers=2, num_attention_heads=1, hidden_size=4, vocab_size=100)
SLIDING = LlamaConfig(
    num_hidden_layers=2,
    num_attention_heads=1,
    hidden_size=4,
    sliding_window=4,
    layer_types=["sliding_attention", "full_attention"],
)
TOKEN_BYTES = 2 * 2 * 4 * 4
"""Two layers, keys and values, four numbers of four bytes."""


def prompt(*ids: int, images: tuple[tuple[int, str], ...] = ()) -> Prompt:
    return Prompt(torch.tensor(ids, dtype=torch.int64), images)


def answer(cache: ConversationCache, asked: Prompt, *said: int) -> int:
    """Does what the engine does for one answer; how many tokens were reused."""
    conversation = cache.start(asked)
    reused = len(conversation.prompt)
    ids = torch.cat([asked.ids, torch.tensor(said, dtype=torch.int64)])
    new = ids[reused : len(ids) - 1].float()  # the last token is never processed
    states = new[None, None, :, None].expand(1, 1, -1, 4)  # (batch, heads, tokens, head_dim)
    for layer in range(2):
        conversation.states.update(states, states + layer, layer)
    conversation.grown(asked, ids)
    cache.keep(conversation)
    assert held(conversation) == ids[: len(ids) - 1].tolist()  # what is kept belongs to its tokens
    return reused


def held(conversation: Conversation) -> list[int]:
    """The tokens that the states were made of."""
    keys = conversation.states.layers[1].keys
    assert keys is not None
    return keys[0, 0, :, 0].int().tolist()


def test_prompts_are_compared_by_tokens_and_by_images():
    one = prompt(1, 9, 9, 2, 9, 9, 3, images=((1, "a"), (4, "b")))
    assert common_length(one, one) == 7
    assert common_length(one, prompt(1, 9, 9, 2, 5, images=((1, "a"),))) == 4
    assert common_length(one, prompt(1, 9, 9, 2, 9, 9, 3, images=((1, "c"), (4, "b")))) == 1
    assert common_length(one, prompt(1, 9, 9, 2, 9, 9, 3, images=((1, "a"), (4, "c")))) == 4
    assert common_length(one, prompt(1, 9, 9, 2, 9, 9, 3, images=((1, "a"),))) == 4
    assert common_length(one, prompt(7)) == 0


def test_a_token_that_one_attends_to_and_the_other_does_not_is_another_token():
    every = prompt(1, 2, 3, 4)
    written_out = Prompt(every.ids, (), torch.tensor([True] * 4))
    without = Prompt(every.ids, (), torch.tensor([True, True, False, True]))
    assert common_length(every, written_out) == 4
    assert common_length(without, without) == 4
    assert common_length(every, without) == common_length(without, every) == 2
    assert common_length(without.beginning(2), every) == 2


def test_all_of_an_answer_is_attended_to_while_it_is_written():
    cache = ConversationCache(CONFIG)
    asked = Prompt(torch.tensor([1, 0, 2]), (), torch.tensor([True, False, True]))
    answer(cache, asked, 0, 4, 5)
    went_on = torch.tensor([1, 0, 2, 0, 4, 6])
    begun = Prompt(went_on, (), torch.tensor([True, False, True, True, True, True]))
    history = Prompt(went_on, (), torch.tensor([True, False, True, False, True, True]))
    assert cache.start(history).prompt.attends().tolist() == [True, False, True]
    assert cache.start(begun).prompt.attends().tolist() == [True, False, True, True, True]


def test_a_prompt_grows_and_shrinks_with_what_is_attended_to():
    asked = Prompt(torch.tensor([1, 0]), ((1, "a"),), torch.tensor([True, False]))
    assert asked.extended(torch.tensor([1, 0, 0])).attends().tolist() == [True, False, True]
    assert asked.extended(torch.tensor([1])).attends().tolist() == [True]
    assert asked.beginning(1).images == ()
    assert asked.extended(torch.tensor([1, 0, 0])).images == ((1, "a"),)


def test_prompts_of_two_kinds_have_nothing_in_common():
    """The same tokens, whose states also depend on something else."""
    short, long = replace(prompt(1, 2, 3), kind=1), replace(prompt(1, 2, 3, 4, 5), kind=2)
    assert common_length(short, long) == 0
    assert common_length(short, replace(long, kind=1)) == 3
    cache = ConversationCache(CONFIG)
    assert answer(cache, short, 4, 6) == 0
    assert answer(cache, long, 6, 7) == 0
    assert answer(cache, replace(prompt(1, 2, 3, 9), kind=1), 8) == 3  # what is left has its kind
    branch = cache.start(replace(prompt(1, 2, 3, 4, 5, 6, 9), kind=2))
    assert (len(branch.prompt), branch.prompt.kind) == (6, 2)
    branch = cache.start(replace(prompt(1, 2, 5), kind=1))
    assert (len(branch.prompt), branch.prompt.kind) == (2, 1)


def test_a_conversation_that_goes_on_is_not_copied():
    cache = ConversationCache(CONFIG)
    assert answer(cache, prompt(1, 2, 3), 4, 5) == 0
    assert answer(cache, prompt(1, 2, 3, 4, 5, 6), 7) == 4
    assert len(cache) == 1


def test_a_branch_leaves_the_other_as_it_was():
    cache = ConversationCache(CONFIG)
    answer(cache, prompt(1, 2, 3), 4, 5)
    assert answer(cache, prompt(1, 2, 8), 9) == 2
    assert answer(cache, prompt(1, 2, 3, 4, 5, 6), 7) == 4
    assert answer(cache, prompt(1, 2, 8, 9, 6), 7) == 3
    assert len(cache) == 2


def test_the_same_prompt_again_starts_where_it_started_before():
    cache = ConversationCache(CONFIG)
    assert answer(cache, prompt(1, 2, 3), 4, 5) == 0
    assert answer(cache, prompt(1, 2, 8), 9) == 2  # has two tokens in common with the first
    assert answer(cache, prompt(1, 2, 3), 4, 5) == 0
    assert answer(cache, prompt(1, 2, 3, 4, 5, 6), 7) == 4
    assert answer(cache, prompt(1, 2, 3, 4, 5, 6), 8) == 4
    assert answer(cache, prompt(1, 2, 3), 4, 5) == 0


def test_one_token_is_always_left():
    cache = ConversationCache(CONFIG)
    answer(cache, prompt(1, 2, 3), 4, 5, 6)
    assert answer(cache, prompt(1, 2, 3, 4), 5) == 3


def test_the_oldest_go_when_the_budget_is_spent():
    cache = ConversationCache(CONFIG, budget=2 * 3 * TOKEN_BYTES)
    for first in (10, 20, 30):  # three tokens each
        answer(cache, prompt(first, 1, 2), 3)
    assert len(cache) == 2
    assert answer(cache, prompt(20, 1, 2, 4), 5) == 3
    assert answer(cache, prompt(10, 1, 2, 4), 5) == 0


def test_the_newest_stays_whatever_its_size():
    cache = ConversationCache(CONFIG, budget=1)
    answer(cache, prompt(1, 2, 3), 4)
    assert answer(cache, prompt(1, 2, 3, 5), 6) == 3
    assert len(cache) == 1
    cache.clear()
    assert answer(cache, prompt(1, 2, 3, 5), 6) == 0


def test_a_full_sliding_window_is_gone_on_with_but_not_cut():
    cache = ConversationCache(SLIDING)
    answer(cache, prompt(1, 2), 3)
    assert answer(cache, prompt(1, 8), 3) == 1  # the window is not full yet
    cache.clear()
    answer(cache, prompt(1, 2, 3), 4, 5, 6, 7)
    assert answer(cache, prompt(1, 2, 3, 9), 4) == 0
    assert answer(cache, prompt(1, 2, 3, 4, 5, 6, 7, 9), 4) == 6


def test_what_can_be_kept_is_told_by_the_layers():
    assert supported(DynamicCache(config=CONFIG))
    assert supported(DynamicCache(config=SLIDING))
    assert croppable(DynamicCache(config=CONFIG))
    assert not ConversationCache(MambaConfig(num_hidden_layers=2)).usable


def test_features_have_a_budget_too():
    cache = FeatureCache(budget=2 * 400)
    for name in "abc":
        if name == "c":
            assert cache.get("a") is not None  # used again: no longer the oldest
        cache.keep(name, torch.zeros(10, 10))
    assert cache.get("b") is None
    assert cache.get("a") is not None and cache.get("c") is not None
    cache.clear()
    assert len(cache) == 0
