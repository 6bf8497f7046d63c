"""The resampler: any number of patches to a fixed number of visual tokens, by attention.

In: features of patches, and how many rows and columns each picture has. Out: visual tokens.
"""

import numpy
import torch
from torch import Tensor, nn

from vlm.families.minicpm_v26.configuration import MiniCPMVConfig


def sine_cosine(places: Tensor, width: int) -> Tensor:
    """(..., width), float32: the sines of a place at falling frequencies, then the cosines.

    Args:
        places: (...), whole numbers.
        width: even; frequency k is 10000 ** (-k / (width / 2)).

    Source: 2-D sine-cosine positions of MAE, by way of `resampler.py` of openbmb/MiniCPM-V-2_6.
    """
    powers = numpy.arange(width // 2, dtype=numpy.float32) / numpy.float32(width / 2)
    frequencies = torch.from_numpy(1.0 / numpy.float32(10000) ** powers).to(places.device)
    angles = places[..., None].float() * frequencies  # (..., width / 2)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def grid_positions(sizes: Tensor, length: int, width: int) -> Tensor:
    """Where patches stand in their picture: the column in the first half, the row in the second.

    Worked out when it is needed: a table kept in a buffer would be empty in a model that is made
    without memory and filled from files.

    Args:
        sizes: (pictures, 2), (rows, columns) of patches.
        length: patches of the largest picture, or more.
        width: of the result, a multiple of 4.

    Returns:
        (pictures, length, width), float32; 0 after the last patch.
    """
    order = torch.arange(length, device=sizes.device)  # (length,)
    wide = sizes[:, 1:]  # (pictures, 1)
    halves = [sine_cosine(places, width // 2) for places in (order % wide, order // wide)]
    filled = order < sizes.prod(dim=1, keepdim=True)  # (pictures, length)
    return torch.cat(halves, dim=-1) * filled[..., None]  # (pictures, length, width)


class MiniCPMVResampler(nn.Module):
    """Learned queries that each ask all patches of a picture, whatever their number."""

    def __init__(self, config: MiniCPMVConfig) -> None:
        super().__init__()
        width, seen, eps = config.hidden_size, config.vision.hidden_size, 1e-6
        self.query = nn.Parameter(torch.zeros(config.query_num, width))
        self.kv_proj = nn.Identity() if seen == width else nn.Linear(seen, width, bias=False)
        self.attn = nn.MultiheadAttention(width, config.resampler_heads, batch_first=True)
        self.ln_q = nn.LayerNorm(width, eps=eps)
        self.ln_kv = nn.LayerNorm(width, eps=eps)
        self.ln_post = nn.LayerNorm(width, eps=eps)
        self.proj = nn.Parameter(torch.zeros(width, width))

    def forward(self, hidden: Tensor, sizes: Tensor) -> Tensor:
        """(pictures, patches, width of the tower) -> (pictures, queries, width)

        Args:
            hidden: of the tower, row by row; what stands after the last patch is not looked at.
            sizes: (pictures, 2), (rows, columns) of patches.
        """
        values = self.ln_kv(self.kv_proj(hidden))  # (pictures, patches, width)
        length, width = values.shape[1:]
        keys = values + grid_positions(sizes, length, width).to(values.dtype)
        padding = torch.arange(length, device=sizes.device) >= sizes.prod(dim=1, keepdim=True)
        queries = self.ln_q(self.query).expand(len(values), -1, -1)  # (pictures, queries, width)
        found, _ = self.attn(queries, keys, values, key_padding_mask=padding, need_weights=False)
        return self.ln_post(found) @ self.proj  # (pictures, queries, width)
