"""What the Models tab shows, as HTML: the model that is loaded, a loading, the list of models.

In: values. Out: strings. Nothing here knows a component.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm.backend import Capabilities, Held
from vlm.model_slot import Loading
from vlm.picker import Checked, Row
from vlm.report import byte_words
from vlm.settings import FEWER_BITS
from vlm.strings import say
from vlm.ui.context import action_button, escaped

if TYPE_CHECKING:
    from vlm.estimate import Verdict

PARTS = ("weights", "images", "context", "work", "loading", "runtime")
"""Of an estimate, in the order in which the bar stacks them."""

STAGES = ("download", "open", "weights")
"""Of a loading, in order."""

MODULES = (
    *("vision_tower", "vision_model", "visual", "multi_modal_projector", "connector"),
    *("language_model", "text_model", "lm_head"),
)
"""Parts of models that most have, as transformers calls them."""

KEPT = ("states", "features")
"""What is kept for later turns, as `Held.besides` calls it."""

FEW_LANGUAGES = 3

ENOUGH = 0.95
"""Share of tokens that must agree with 16 bits: as `vlm.precision.THRESHOLD`, without torch."""


def now(
    able: Capabilities | None, held: Held | None, here: bool, may_forget: bool, language: str
) -> str:
    """The card of the model that is loaded: name, precision, device, memory by part.

    Args:
        able: of the model that is here or was here last.
        held: what it takes now, with all that stands beside it; None where nobody can say.
        here: whether it is here.
        may_forget: whether there is a button that drops what is kept for later turns.
    """
    if able is None:
        return _quiet(say("models.none", language))
    if not here:
        return _quiet(say("models.away", language, name=able.name))
    weights = byte_words(sum(able.memory.values())) if able.memory else ""
    facts = " · ".join(filter(None, [*able.details, weights]))
    head = f"<p><strong>{escaped(able.name)}</strong> <span>{escaped(facts)}</span></p>"
    if held is None:
        return f'<div class="now">{head}{_parts_of(_named(able.memory, language))}</div>'
    notes = [say(f"held.why.{held.measured}", language)]
    if held.away:
        notes.append(say("held.why.away", language))
    below = f'<p class="quiet">{escaped(" ".join(notes))}</p>'
    if may_forget and any(held.besides.get(name) for name in KEPT):
        words, label = say("held.forget", language), say("held.forget.label", language)
        below += f"<p>{action_button('forget', words, label)}</p>"
    return f'<div class="now">{head}{_held(held, language)}{below}</div>'


def _quiet(words: str) -> str:
    return f'<div class="now"><p class="quiet">{escaped(words)}</p></div>'


def _held(held: Held, language: str) -> str:
    """Everything that is in memory now, and its sum."""
    besides = [(say(f"held.{name}", language), size) for name, size in held.besides.items()]
    below = [(say("held.total", language), f"<strong>{byte_words(held.total)}</strong>")]
    if held.away:
        below.insert(0, (say("held.away", language), f"− {byte_words(held.away)}"))
    return _parts_of(_named(held.weights, language), besides, below)


def _named(weights: Mapping[str, int], language: str) -> list[tuple[str, int]]:
    """The parts of a model in words where they have some, else by their names in its code."""
    return [
        (say(f"module.{name}", language) if name in MODULES else name, size)
        for name, size in weights.items()
    ]


def _parts_of(
    weights: Sequence[tuple[str, int]],
    besides: Sequence[tuple[str, int]] = (),
    below: Sequence[tuple[str, str]] = (),
) -> str:
    """The parts of a loaded model and what stands beside it, largest as wide as the card.

    Args:
        weights: (part of the model, bytes).
        besides: (anything else, bytes).
        below: (words, figure) of lines without a bar.
    """
    sizes = [("", *each) for each in weights] + [(" besides", *each) for each in besides]
    most = max((size for *_, size in sizes), default=0)
    rows = [
        (
            name,
            byte_words(size),
            f'<span class="filled{style}" style="width:{100 * size / most:.1f}%">',
        )
        for style, name, size in sizes
        if size
    ]
    rows += [(*each, "") for each in below]
    lines = "".join(
        f"<tr><th scope=row>{escaped(name)}</th><td class=number>{figure}</td>"
        f"<td class=wide>{bar}{'</span>' if bar else ''}</td></tr>"
        for name, figure, bar in rows
    )
    return f"<table class=parts>{lines}</table>" if lines else ""


def loading(job: Loading, name: str, seconds: float, language: str) -> str:
    """One bar with a part for each stage, what happens now, and how long it may still take.

    Args:
        seconds: since the stage began.
    """
    stage, current, total = job.progress
    share = current / total if total else 0.0
    reached = STAGES.index(stage) if stage in STAGES else -1
    bars = "".join(
        f'<span class="stage" title="{escaped(say(f"stage.{each}", language))}">'
        f'<span style="width:{100 * _done(place, reached, share):.0f}%"></span></span>'
        for place, each in enumerate(STAGES)
    )
    words = [say("models.loading", language, name=name), say(f"stage.{stage}", language)]
    if job.cancel.is_set() and stage != "restoring":
        words.append(say("stage.stopping", language))
    elif total:
        words.append(_how_much(stage, current, total, language))
        if 0 < share < 1 and seconds > 2:
            left = _duration(seconds * (1 - share) / share, language)
            words.append(say("stage.left", language, seconds=left))
    value = f'aria-valuenow="{100 * share:.0f}"' if total else ""
    return (
        f'<div class="loading" role="progressbar" aria-valuemin="0" aria-valuemax="100" {value} '
        f'aria-label="{escaped(words[0])}">'
        f'<p>{escaped(" · ".join(words))}</p><div class="stages">{bars}</div></div>'
    )


def _done(place: int, reached: int, share: float) -> float:
    if place == reached:
        return share
    return 1.0 if place < reached else 0.0


def _how_much(stage: str, current: int, total: int, language: str) -> str:
    if stage == "download":
        sizes = {"current": byte_words(current), "total": byte_words(total)}
        return say("stage.of_bytes", language, **sizes)
    return say("stage.of_tensors", language, current=current, total=total)


def _duration(seconds: float, language: str) -> str:
    if seconds < 90:
        return say("seconds", language, count=max(1, round(seconds)))
    return say("minutes", language, count=round(seconds / 60))


# ---- the list ----


def nothing_found(wanted: str, language: str) -> str:
    """In place of the list, where it has nothing like what somebody looks for."""
    return _quiet(say("models.find.none", language, wanted=wanted))


@dataclass(frozen=True)
class Here:
    """The model that is loaded: its name in the list, and what it is held in ("bf16", "nf4")."""

    name: str = ""
    precision: str = ""


def table(rows: Sequence[Row], here: Here, may_load: bool, precision: str, language: str) -> str:
    """The catalogue, a row a model, with a bar of what it would take of the memory that is free.

    Args:
        here: the one that is loaded.
        may_load: whether rows have a button.
        precision: that was chosen, in words.
    """
    names = ("model", "good_at", "size", "context", "images", "languages", "license")
    heads = [say(f"column.{name}", language) for name in names]
    heads.append(say("column.fit", language, precision=precision))
    head = "".join(f"<th scope=col>{escaped(each)}</th>" for each in heads)
    head += "<th></th>" if may_load else ""
    body = "".join(_row(row, here, may_load, heads, language) for row in rows)
    notes = [say("table.rough", language, check=say("models.check", language))]
    if any(map(_unmeasured, rows)):
        notes.append(say("table.unmeasured", language))
    note = escaped(" ".join(notes))
    return (
        f'<div class="catalogue"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f'<p class="quiet">{note}</p></div>'
    )


def _row(row: Row, here: Here, may_load: bool, heads: Sequence[str], language: str) -> str:
    each = row.checkpoint
    about = "≈ " if not row.here else ""
    images = say("images.several", language) if each.images is None else str(each.images)
    cells = [
        f"<strong>{escaped(each.title)}</strong><br><code>{escaped(each.name)}</code>",
        escaped(say(each.good_at, language)),
        about + byte_words(row.disk_bytes) + _kept(row, language),
        f"{each.context_length:,}",
        images,
        escaped(_languages(each.languages, language)),
        escaped(each.license or say("license.page", language)),
        bar(row.verdict, language) + _agreement(row, language),
    ]
    columns = "".join(
        f'<td data-head="{escaped(head)}">{cell}</td>'
        for head, cell in zip(heads, cells, strict=True)
    )
    if may_load:
        columns += f"<td>{_loading(row, here, language)}</td>"
    state = ' class="here"' if each.name == here.name else ""
    return f"<tr{state}>{columns}</tr>"


def _kept(row: Row, language: str) -> str:
    """Says that the files are here, so that nothing has to be fetched."""
    words = say("row.kept", language) if row.here else ""
    return f'<br><span class="quiet">{escaped(words)}</span>' if words else ""


def _agreement(row: Row, language: str) -> str:
    """What was measured of the precision of the verdict; a warning where too much is lost."""
    return agreement(row.agreement, row.verdict.quantization, language)


def agreement(shares: Mapping[str, float], kind: str, language: str) -> str:
    """What was measured of a precision, "int8" and the like; nothing where nothing was."""
    share = shares.get(kind)
    if share is None:
        return ""
    key, style = ("row.agrees", "quiet") if share >= ENOUGH else ("row.differs", "broken")
    words = say(key, language, precision=say(f"precision.{kind}", language), share=100 * share)
    return f'<p class="{style}">{escaped(words)}</p>'


def _unmeasured(row: Row) -> bool:
    """Whether nobody has measured what the precision of the verdict changes."""
    kind = row.verdict.quantization
    return kind != "none" and kind not in row.agreement


def _loading(row: Row, here: Here, language: str) -> str:
    """The button of a row; of the model that is here what it is held in, and a button for another
    precision."""
    kind, wanted = row.verdict.quantization, row.verdict.estimate.precision
    precision = say(f"precision.{kind}", language)
    if row.checkpoint.name == here.name and kind == "none" and here.precision not in FEWER_BITS:
        precision = wanted  # the number type is what differs
    label = say("row.load.label", language, name=row.checkpoint.title, precision=precision)
    facts = {"model": row.checkpoint.name, "quantization": kind}
    if row.checkpoint.name != here.name:
        return action_button("load", say("row.load", language), label, **facts)
    words = say("row.here", language, precision=here.precision)
    loaded = f'<span class="quiet">{escaped(words)}</span>'
    if wanted == here.precision:
        return loaded
    words = say("row.load.other", language, precision=precision)
    return f"{loaded}<br>{action_button('load', words, label, **facts)}"


def _languages(codes: Sequence[str], language: str) -> str:
    if len(codes) <= FEW_LANGUAGES:
        return ", ".join(codes)
    first, more = ", ".join(codes[:FEW_LANGUAGES]), len(codes) - FEW_LANGUAGES
    return say("languages.more", language, first=first, count=more)


def bar(verdict: "Verdict", language: str) -> str:
    """Free memory with the parts of an estimate stacked on it, and the verdict in words."""
    estimate, free = verdict.estimate, verdict.free
    whole = max(estimate.total, free, 1)
    parts = {name: getattr(estimate, name) for name in PARTS}
    left = estimate.total - estimate.weights - estimate.runtime
    stacked = {"weights": parts["weights"], "runtime": parts["runtime"], "context": left}
    spans = "".join(
        f'<span class="of {name}" style="width:{100 * size / whole:.1f}%"></span>'
        for name, size in stacked.items()
    )
    limit = f'<span class="limit" style="inset-inline-start:{100 * free / whole:.1f}%"></span>'
    sizes = [
        f"{say(f'part.{name}', language)} {byte_words(size)}"
        for name, size in parts.items()
        if size
    ]
    total = say("fits.of", language, total=byte_words(estimate.total), free=byte_words(free))
    about = "≈ " if estimate.rough else ""
    words = f"{about}{say(f'fit.{verdict.kind}', language)} · {estimate.precision} · {total}"
    return (
        f'<div class="fit {verdict.kind}" title="{escaped("; ".join(sizes))}">'
        f'<span class="memory">{spans}{limit}</span><span class="words">{escaped(words)}</span>'
        "</div>"
    )


def verdicts(found: Checked, advice: str, language: str) -> str:
    """All precisions of one model, part by part, and the largest setting that fits."""
    heads = [say(f"part.{name}", language) for name in PARTS]
    head = "".join(f"<th scope=col>{escaped(each)}</th>" for each in ["", *heads, ""])
    body = ""
    for each in found.verdicts:
        sizes = [byte_words(getattr(each.estimate, name)) for name in PARTS]
        cells = "".join(
            f'<td class=number data-head="{escaped(name)}">{size}</td>'
            for name, size in zip(heads, sizes, strict=True)
        )
        changed = agreement(found.agreement, each.quantization, language)
        body += (
            f"<tr><th scope=row>{escaped(each.estimate.precision)}</th>{cells}"
            f"<td>{bar(each, language)}{changed}</td></tr>"
        )
    return (
        f'<div class="catalogue"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"<p>{escaped(advice)}</p></div>"
    )
