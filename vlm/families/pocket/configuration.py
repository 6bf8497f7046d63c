"""Configuration of Pocket: EfficientNet-Lite2, 2x2 pixel shuffle, a small projector and a Llama.

Written as a difference from InternVL, whose shuffle and projector have the same form.
"""

from dataclasses import field
from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, InternVLConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

LITE2_BLOCKS = (
    # repeats, kernel, stride of the first, expansion, channels out
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)


@strict
class PocketVisionConfig(PreTrainedConfig):
    """An EfficientNet-Lite without its classifier.

    Attributes:
        image_size: height and width of the pixels that come in.
        padding_size: the size for which the "same" padding of every convolution is worked out.
            The published weights fix it to the 260 they were trained at; other sizes of picture
            keep that padding, and so must we.
        stem_channels: channels after the first convolution.
        blocks: rows of (repeats, kernel, stride of the first repeat, expansion, channels out).
        hidden_size: channels of the features that come out.
        norm_eps: epsilon of the batch norms.
    """

    model_type = "pocket_vision"
    base_config_key = "vision_config"

    num_channels: int = 3
    image_size: int = 256
    padding_size: int = 260
    stem_channels: int = 32
    blocks: list[list[int]] = field(default_factory=lambda: [list(row) for row in LITE2_BLOCKS])
    hidden_size: int = 1280
    norm_eps: float = 1e-3
    initializer_range: float = 0.02


@strict
class PocketConfig(InternVLConfig):
    """The whole model.

    Attributes:
        projector_hidden_size: width between the two linear layers of the projector.
        image_token_id: the placeholder; `image_seq_length` of them stand for an image.
    """

    model_type = "pocket"
    sub_configs_defaults: ClassVar[dict] = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "vision_config": PocketVisionConfig,
    }

    image_token_id: int = 11
    image_seq_length: int = 16
    projector_hidden_size: int = 1152
    vision_feature_select_strategy: str = "full"


AutoConfig.register(PocketVisionConfig.model_type, PocketVisionConfig, exist_ok=True)
AutoConfig.register(PocketConfig.model_type, PocketConfig, exist_ok=True)
