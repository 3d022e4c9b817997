"""Mix Transformer (MiT) backbones, B0 to B5.

SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers,
Xie et al., NeurIPS 2021, https://arxiv.org/abs/2105.15203. Written from the paper;
parameter names are those of the published checkpoints, so that they load as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.checkpoints import load_pretrained
from mmseg_kd.models.short_row_norm import LayerNorm

# The authors' eps: 1e-6 for the norms of a block and of a stage, torch's default elsewhere.
BLOCK_NORM_EPS = 1e-6
# Attention weights of an image that may be held at once, 64 MiB in bfloat16.
MOST_WEIGHTS = 2**25
# Stage 1 reduces its keys by 8 at stride 4: below this side nothing would be left of them.
SMALLEST_SIDE = 32


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """View tokens (N, H*W, C) as a map (N, C, H, W) in channels-last memory, without a copy."""
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def to_tokens(feature: Tensor) -> Tensor:
    """View a map (N, C, H, W) as tokens (N, H*W, C); free for channels-last memory."""
    return feature.permute(0, 2, 3, 1).flatten(1, 2)


class OverlapPatchEmbed(nn.Module):
    """A strided convolution with overlapping windows, then LayerNorm over the channels."""

    def __init__(self, in_channels: int, embed_dim: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, stride, patch_size // 2)
        self.norm = LayerNorm(embed_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        """Map (N, C_in, H, W) to tokens (N, h*w, C) and their grid h, w."""
        x = self.proj(x)
        return self.norm(to_tokens(x)), x.shape[2], x.shape[3]


class EfficientAttention(nn.Module):
    """Multi-head self-attention whose keys and values come from a grid `sr_ratio` times coarser."""

    def __init__(self, dim: int, num_heads: int, sr_ratio: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, sr_ratio, sr_ratio)
            self.norm = LayerNorm(dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Attend from every token of x (N, H*W, C) to the reduced grid; same shape out."""
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            # Once, where the queries and the reduction would each convert the tokens.
            x = x.to(torch.get_autocast_dtype(x.device.type))
        source = x
        if self.sr_ratio > 1:
            source = self.norm(to_tokens(self.sr(to_map(x, height, width))))
        q = self.q(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.kv(source).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        x = attend(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of queries (N, heads, L, d) to S keys, by the faster way.

    The formula as written wins in two cases, as long as the (L, S) matrix is of moderate size: in
    bfloat16 on a CPU, where torch's fused kernel computes in float32, and in float32 on a GPU,
    where the backward pass of torch's took half of a training step on an H200.
    """
    moderate = q.shape[1:3].numel() * k.shape[2] <= MOST_WEIGHTS
    slow = {'cpu': torch.bfloat16, 'cuda': torch.float32}.get(q.device.type)
    if q.dtype == slow and moderate:
        with torch.autocast(q.device.type, enabled=False):
            return (q @ (k * q.shape[-1] ** -0.5).transpose(-1, -2)).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class DepthwiseConv(nn.Module):
    """The 3x3 depthwise convolution that gives the tokens their position."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Tokens (N, H*W, C) in, same shape out."""
        return to_tokens(self.dwconv(to_map(x, height, width)))


class MixFFN(nn.Module):
    """Linear, depthwise 3x3, GELU, Linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DepthwiseConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Tokens (N, H*W, C) in, same shape out."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), height, width)))


class Block(nn.Module):
    """Pre-norm transformer block: efficient attention, then Mix-FFN, both residual."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        sr_ratio: int,
        qkv_bias: bool,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = EfficientAttention(dim, num_heads, sr_ratio, qkv_bias)
        self.drop_path_rate = drop_path_rate
        self.norm2 = LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.mlp = MixFFN(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Tokens (N, H*W, C) in, same shape out."""
        x = self._add(x, self.attn(self.norm1(x), height, width))
        return self._add(x, self.mlp(self.norm2(x), height, width))

    def _add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Add a residual branch; in training it is dropped for some samples, more in later blocks.

        Deep Networks with Stochastic Depth, Huang et al., ECCV 2016.
        """
        keep = 1 - self.drop_path_rate
        if keep == 1 or not self.training:
            return x + branch
        draw = torch.rand((len(x), 1, 1), dtype=branch.dtype, device=branch.device)
        # One pass over the tokens, forward and backward, where a module before a sum takes three.
        return torch.addcmul(x, branch, (draw + keep).floor_().div_(keep))


@MODELS.register_module()
class MixTransformer(BaseModule):
    """Four stages of transformer blocks at strides 4, 8, 16 and 32.

    Args:
        embed_dims: Channels of each stage.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage.
        mlp_ratios: Hidden width of the Mix-FFN over the stage's width.
        sr_ratios: Spatial reduction of keys and values.
        qkv_bias: Whether the query, key and value projections have a bias.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        in_channels: Channels of the image.
        pretrained: ImageNet weights in one of the four published layouts (see
            `mmseg_kd.checkpoints.load_pretrained`), or None to train from scratch.
        pretrained_strict: Whether every tensor of the backbone must be in `pretrained`.

    Raises:
        UserError: From `init_weights`, when `pretrained` is missing or does not fit.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[float] = (4, 4, 4, 4),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        in_channels: int = 3,
        pretrained: str | None = None,
        pretrained_strict: bool = True,
    ) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.pretrained_strict = pretrained_strict
        self.num_stages = len(depths)
        rates = [drop_path_rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        for i in range(self.num_stages):
            source = embed_dims[i - 1] if i else in_channels
            patch_size, stride = (3, 2) if i else (7, 4)
            first = sum(depths[:i])
            blocks = nn.ModuleList(
                Block(embed_dims[i], num_heads[i], mlp_ratios[i], sr_ratios[i], qkv_bias, rate)
                for rate in rates[first : first + depths[i]]
            )
            embed = OverlapPatchEmbed(source, embed_dims[i], patch_size, stride)
            self.add_module(f'patch_embed{i + 1}', embed)
            self.add_module(f'block{i + 1}', blocks)
            self.add_module(f'norm{i + 1}', LayerNorm(embed_dims[i], eps=BLOCK_NORM_EPS))

    @property
    def tap_aliases(self) -> dict[str, str]:
        """Short tap names: `stageN.pre_norm` is the last block's output, before the LayerNorm."""
        return {
            f'stage{i}.pre_norm': f'block{i}.{len(getattr(self, f"block{i}")) - 1}'
            for i in range(1, self.num_stages + 1)
        }

    def init_weights(self) -> None:
        """Initialise as published, then load `pretrained` where one is given."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                nn.init.zeros_(module.bias)
        if self.pretrained is not None:
            report = load_pretrained(self, self.pretrained, strict=self.pretrained_strict)
            print_log(report, logger='current')

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the four stage outputs.

        Args:
            x: Images (N, 3, H, W), normalised; H and W at least 32, of any parity.

        Returns:
            Maps (N, C_i, ceil(H / s_i), ceil(W / s_i)) for strides s_i = 4, 8, 16, 32.
        """
        if min(x.shape[2:]) < SMALLEST_SIDE:
            raise ValueError(
                f'MixTransformer needs images of at least {SMALLEST_SIDE} pixels a side, '
                f'not {x.shape[2]}x{x.shape[3]}'
            )
        outputs = []
        for i in range(1, self.num_stages + 1):
            x, height, width = getattr(self, f'patch_embed{i}')(x)
            for block in getattr(self, f'block{i}'):
                x = block(x, height, width)
            x = to_map(getattr(self, f'norm{i}')(x), height, width)
            outputs.append(x)
        return tuple(outputs)


VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    'mit_b0': ((32, 64, 160, 256), (2, 2, 2, 2)),
    'mit_b1': ((64, 128, 320, 512), (2, 2, 2, 2)),
    'mit_b2': ((64, 128, 320, 512), (3, 4, 6, 3)),
    'mit_b3': ((64, 128, 320, 512), (3, 4, 18, 3)),
    'mit_b4': ((64, 128, 320, 512), (3, 8, 27, 3)),
    'mit_b5': ((64, 128, 320, 512), (3, 6, 40, 3)),
}


def _register_variant(name: str) -> None:
    embed_dims, depths = VARIANTS[name]

    def __init__(self: MixTransformer, **kwargs: object) -> None:
        MixTransformer.__init__(self, embed_dims, depths, **kwargs)

    members = {
        '__init__': __init__,
        '__doc__': f'MiT-{name[4:].upper()}: {depths} blocks of {embed_dims} channels.',
        '__module__': __name__,
    }
    variant = type(name, (MixTransformer,), members)
    # Pickling looks a class up by its module.
    globals()[name] = variant
    MODELS.register_module(name=name, module=variant)


for _name in VARIANTS:
    _register_variant(_name)
