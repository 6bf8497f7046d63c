"""Ways to break the rules of weights.py, one at a time."""

from typing import Any

from vlm.families.internvl15 import weights

Rules = list[weights.Transform]

# ---- names ----


def without(*sources: str) -> Rules:
    """The rules but the one with these patterns on disk."""
    rules = weights.loading()
    left = [rule for rule in rules if rule._original_source_patterns != list(sources)]
    assert len(left) == len(rules) - 1
    return left


def swapped(first: str, second: str) -> Rules:
    """The rules with two names in the model exchanged."""
    names = {first: second, second: first}
    rules, changed = [], 0
    for rule in weights.loading():
        (target, *more), (source, *_) = (
            rule._original_target_patterns,
            rule._original_source_patterns,
        )
        if not more and target in names:
            rule = weights.WeightRenaming(source, names[target])
            changed += 1
        rules.append(rule)
    assert changed >= 2  # two tables name the head
    return rules


# ---- rows ----


class ByKind(weights.SplitByGroup):
    """As if the rows were all queries, then all keys, then all values."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        fused = weights._only(input_dict)
        groups, queries, dim = weights._groups(kw["config"])
        sizes = (groups * queries * dim, groups * dim, groups * dim)
        return dict(zip(target_patterns, fused.split(sizes), strict=True))


class KeysForValues(weights.SplitByGroup):
    """As if the value head came before the key head."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        rows = super().convert(input_dict, source_patterns, target_patterns, **kw)
        query, key, value = target_patterns
        return {query: rows[query], key: rows[value], value: rows[key]}


class RotaryPairs(weights.SplitByGroup):
    """As if the rotary halves of each head were interleaved."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        rows = super().convert(input_dict, source_patterns, target_patterns, **kw)
        dim = weights._groups(kw["config"])[2]
        for name in target_patterns[:2]:
            heads = rows[name].unflatten(0, (-1, dim // 2, 2)).transpose(1, 2)
            rows[name] = heads.flatten(0, 2).contiguous()
        return rows


class Turned(weights.Chunk):
    """As if the tower had keys, values, queries."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        turned = [*target_patterns[1:], target_patterns[0]]
        return super().convert(input_dict, source_patterns, turned, **kw)


def adapted_parts(module: str) -> tuple[str, ...]:
    return tuple(f"{module}.{part}" for part in weights.ADAPTER_PARTS)


CONVERTERS = {
    "tower": (weights.VISION_FUSED,),
    "language": (weights.INTERNLM2_FUSED,),
    "adapted tower": adapted_parts(weights.VISION_FUSED),
    "adapted language": adapted_parts(weights.INTERNLM2_FUSED),
    "adapted": weights.ADAPTER_PARTS,
}
"""What a rule is about -> its patterns on disk."""


def with_operation(name: str, wrong: Any) -> Rules:
    """The rules with the last operation of a converter replaced."""
    rules = weights.loading()
    (rule,) = (r for r in rules if r._original_source_patterns == list(CONVERTERS[name]))
    assert isinstance(rule, weights.WeightConverter)
    rule.operations[-1] = wrong
    return rules
