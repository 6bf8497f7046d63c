"""The model: pixels -> EfficientNet-Lite -> 2x2 pixel shuffle -> projector -> Llama -> logits.

The tower is written here; everything else is transformers' InternVL (which has the shuffle, the
merging of image features into the prompt and the loss) with a projector of another width.
"""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    InternVLForConditionalGeneration,
    InternVLModel,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.internvl.modeling_internvl import InternVLMultiModalProjector

from vlm.families.common import CountsPlaceholders, ImagesDoNotCount
from vlm.families.pocket.configuration import PocketConfig, PocketVisionConfig


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels to add before and after a side of `size`, so that ceil(size / stride) come out."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ConvolutionNorm(nn.Module):
    """Convolution with "same" padding for images of `size` pixels a side, then batch norm."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        config: PocketVisionConfig,
        *,
        size: int = 1,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.padding = same_padding(size, kernel, stride) * 2
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out, eps=config.norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = functional.pad(hidden, self.padding)
        return self.norm(self.conv(hidden))  # (batch, channels_out, height / stride, width / ...)


class InvertedResidual(nn.Module):
    """Widens, filters each channel on its own, narrows; adds its input where the shapes agree."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        config: PocketVisionConfig,
        *,
        size: int,
        kernel: int,
        stride: int,
        expansion: int,
    ) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = ConvolutionNorm(channels_in, wide, config) if expansion > 1 else None
        self.depthwise = ConvolutionNorm(
            wide, wide, config, size=size, kernel=kernel, stride=stride, groups=wide
        )
        self.project = ConvolutionNorm(wide, channels_out, config)
        self.adds_input = stride == 1 and channels_in == channels_out

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden if self.expand is None else functional.relu6(self.expand(hidden))
        wide = functional.relu6(self.depthwise(wide))  # (batch, wide, height / stride, ...)
        narrow = self.project(wide)  # (batch, channels_out, height / stride, width / stride)
        return hidden + narrow if self.adds_input else narrow


class PocketVisionModel(PreTrainedModel):
    """EfficientNet-Lite up to the features before its classifier."""

    config: PocketVisionConfig
    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"
    input_modalities = "image"
    _no_split_modules: ClassVar[list[str]] = ["InvertedResidual"]

    def __init__(self, config: PocketVisionConfig) -> None:
        super().__init__(config)
        size, channels = config.padding_size, config.stem_channels
        self.stem = ConvolutionNorm(
            config.num_channels, channels, config, size=size, kernel=3, stride=2
        )
        size = -(-size // 2)
        self.blocks = nn.ModuleList()
        for repeats, kernel, first_stride, expansion, channels_out in config.blocks:
            for stride in [first_stride] + [1] * (repeats - 1):
                self.blocks.append(
                    InvertedResidual(
                        channels,
                        channels_out,
                        config,
                        size=size,
                        kernel=kernel,
                        stride=stride,
                        expansion=expansion,
                    )
                )
                size, channels = -(-size // stride), channels_out
        self.head = ConvolutionNorm(channels, config.hidden_size, config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.stem.conv

    def train(self, mode: bool = True) -> "PocketVisionModel":
        """Stays in evaluation: the norms keep their statistics, a few photos would spoil them."""
        return super().train(False)

    def forward(self, pixel_values: Tensor, **_: object) -> BaseModelOutputWithPooling:
        """Features of images.

        Args:
            pixel_values: (images, 3, 256, 256), normalised.

        Returns:
            `last_hidden_state` (images, 64, 1280), the 8x8 grid row by row.
        """
        hidden = functional.relu6(self.stem(pixel_values))  # (images, 32, 128, 128)
        for block in self.blocks:
            hidden = block(hidden)  # at the end (images, 352, 8, 8)
        hidden = functional.relu6(self.head(hidden))  # (images, 1280, 8, 8)
        hidden = hidden.flatten(2).transpose(1, 2).contiguous()  # (images, 64, 1280)
        return BaseModelOutputWithPooling(last_hidden_state=hidden)


class PocketProjector(InternVLMultiModalProjector):
    """LayerNorm, Linear, GELU, Linear, with a width of its own in between."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__(config)
        width = config.projector_hidden_size
        self.linear_1 = nn.Linear(self.linear_1.in_features, width)
        self.linear_2 = nn.Linear(width, self.linear_2.out_features)


class PocketModel(CountsPlaceholders, InternVLModel):
    """Tower, projector and language model."""

    config: PocketConfig

    def __init__(self, config: PocketConfig) -> None:
        super().__init__(config)
        self.multi_modal_projector = PocketProjector(config)
        self.post_init()


class PocketForConditionalGeneration(ImagesDoNotCount, InternVLForConditionalGeneration):
    """The model with its head, which shares the weights of the embedding."""

    config: PocketConfig

    def __init__(self, config: PocketConfig) -> None:
        super().__init__(config)
        self.model = PocketModel(config)
        self.post_init()


AutoModel.register(PocketVisionConfig, PocketVisionModel, exist_ok=True)
AutoModel.register(PocketConfig, PocketModel, exist_ok=True)
AutoModelForImageTextToText.register(PocketConfig, PocketForConditionalGeneration, exist_ok=True)
