"""The parts of a Mix Transformer; parameter names are those of the published checkpoints."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_kd.models.launches import KnowsLaunches, LayerNorm

# The authors' eps for the norms of a block and of a stage. Other norms have torch's default.
BLOCK_NORM_EPS = 1e-6
# Most attention weights per image that `attend` computes as a matrix: 64 MiB in bfloat16.
MOST_WEIGHTS = 2**25


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


class EfficientAttention(KnowsLaunches):
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
        """Attend from every token of x (N, H*W, C) to the reduced grid; the shape stays."""
        x = attend(*self.project(x, height, width), self.launches_are_free)
        return self.proj(x.transpose(1, 2).flatten(2))

    def project(self, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Map tokens to queries (N, heads, H*W, d), and keys and values (N, heads, S, d)."""
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            # Converted once; otherwise autocast would do it for the queries and for the reduction.
            x = x.to(torch.get_autocast_dtype(x.device.type))
        source = x
        if self.sr_ratio > 1:
            source = self.norm(to_tokens(self.sr(to_map(x, height, width))))
        q = self.q(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.kv(source).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor, launches_are_free: bool = False) -> Tensor:
    """Compute scaled dot-product attention of queries (N, heads, L, d) to S keys.

    If the (L, S) matrix is of moderate size, the plain formula is faster than torch's fused kernel
    in two cases. In bfloat16 on a CPU the kernel computes in float32. In float32 in a CUDA graph
    its backward pass took 10 of the 28 ms of a training step on an H200.
    """
    moderate = q.shape[1:3].numel() * k.shape[2] <= MOST_WEIGHTS
    on_cpu = q.device.type == 'cpu' and q.dtype == torch.bfloat16
    if moderate and (on_cpu or (launches_are_free and q.dtype == torch.float32)):
        with torch.autocast(q.device.type, enabled=False):
            return (q @ (k * q.shape[-1] ** -0.5).transpose(-1, -2)).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class DepthwiseConv(nn.Module):
    """A 3x3 depthwise convolution, from which the tokens learn their position."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Convolve tokens (N, H*W, C); the shape stays."""
        return to_tokens(self.dwconv(to_map(x, height, width)))


class MixFFN(nn.Module):
    """Linear, depthwise 3x3, GELU, Linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DepthwiseConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Transform tokens (N, H*W, C); the shape stays."""
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
        """Transform tokens (N, H*W, C); the shape stays."""
        x = self._add(x, self.attn(self.norm1(x), height, width))
        return self._add(x, self.mlp(self.norm2(x), height, width))

    def attention(self, x: Tensor, height: int, width: int) -> Tensor:
        """Compute the attention weights (N, heads, H*W, S) of the block's input, in float32.

        `forward` does not keep them. If a tap asks for them, they are computed once more from the
        input, so compiled, recorded and exported models do not change.
        """
        q, k, _ = self.attn.project(self.norm1(x), height, width)
        with torch.autocast(q.device.type, enabled=False):
            scores = q.float() @ (k.float() * q.shape[-1] ** -0.5).transpose(-1, -2)
            return scores.softmax(dim=-1)

    def _add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Add a residual branch; training drops it for random samples, at `drop_path_rate`.

        Deep Networks with Stochastic Depth, Huang et al., ECCV 2016.
        """
        keep = 1 - self.drop_path_rate
        if keep == 1 or not self.training:
            return x + branch
        draw = torch.rand((len(x), 1, 1), dtype=branch.dtype, device=branch.device)
        # One pass over the tokens, forward and backward; a drop path module and a sum take three.
        return torch.addcmul(x, branch, (draw + keep).floor_().div_(keep))
