"""What one answer is to take in, and what it takes of memory. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one answer is to take in.

    Attributes:
        context: tokens of prompt and answer together.
        images: how many images.
        size: (width, height) of each in pixels; None for the largest that the processor makes of
            any image.
        detail: how images are cut up and scaled, as `GenerationOptions.image_detail`.
        kv_cache_bits: of keys and values: 16 or 8.
    """

    context: int = 4096
    images: int = 1
    size: tuple[int, int] | None = None
    detail: Mapping[str, int | bool] = field(default_factory=dict)
    kv_cache_bits: int = 16


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory by part, in bytes.

    Attributes:
        precision: what the weights are held in: "bf16", "int8", "nf4" and so on.
        weights: parameters with their scales, and buffers.
        images: activations of the vision tower and projector.
        context: keys and values of all tokens.
        work: activations of the language model while it reads the prompt, features and logits.
        loading: what is there for a moment while the weights come in.
        runtime: what libraries hold besides tensors.
        rough: a part could not be rehearsed and follows from sizes in the configuration alone.
    """

    precision: str
    weights: int
    images: int
    context: int
    work: int
    loading: int
    runtime: int
    rough: bool = False

    @property
    def total(self) -> int:
        """The peak: loading, looking at images and reading the prompt come one after another."""
        busiest = max(self.loading, self.images, self.context + self.work)
        return self.weights + self.runtime + busiest
