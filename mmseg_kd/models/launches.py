"""Modules that choose other kernels in a CUDA graph, where launches cost almost nothing.

A small model that runs eagerly spends its time launching kernels, so the fewest launches are
fastest. In a CUDA graph the fastest kernels win. Both ways give the same numbers except for
rounding.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

# On an H200 `ShortRowNorm` beats torch's kernel for at least this many rows of at most this width.
MOST_CHANNELS = 128
FEWEST_ROWS = 2**15
# Rows that one thread sums in the first pass of `column_sum`.
ROWS_PER_SUM = 64


class KnowsLaunches(nn.Module):
    """A module that may choose other kernels after `let_launches_be_free`."""

    launches_are_free = False


def let_launches_be_free(model: nn.Module, free: bool = True) -> None:
    """Let the modules of a model and of its teachers choose the kernels for a CUDA graph.

    Args:
        model: The model.
        free: False takes it back.
    """
    teachers = [teacher.segmentor for teacher in getattr(model, 'teachers', {}).values()]
    for module in itertools.chain(*(each.modules() for each in (model, *teachers))):
        if isinstance(module, KnowsLaunches):
            module.launches_are_free = free


class LayerNorm(nn.LayerNorm, KnowsLaunches):
    """`torch.nn.LayerNorm` over the last axis; the same parameters and function.

    torch's kernels run one block of threads per row, even for a row of 32 numbers. On an H200 they
    take 334 us for 65,536 rows of 32, as in the first stage of a MiT, forward and backward.
    Reductions and elementwise operators, which read the same numbers several times, take 161 us.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., C); float32 under autocast, as torch's."""
        rows = x.numel() // x.shape[-1]
        many = rows >= FEWEST_ROWS and x.shape[-1] <= MOST_CHANNELS
        # The compiler fuses torch's operator into a kernel of its own.
        if not (self.launches_are_free and many) or torch.compiler.is_compiling():
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.promote_types(x.dtype, self.weight.dtype)
            return ShortRowNorm.apply(x.to(dtype), self.weight, self.bias, self.eps)


class ShortRowNorm(torch.autograd.Function):
    """LayerNorm over the last axis of (..., C), by reductions and elementwise operators."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """Return `weight * (x - mean) / sqrt(var + eps) + bias`."""
        var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        scale = var.add_(eps).rsqrt_()
        normed = torch.addcmul(mean.mul_(scale).neg_(), x, scale)
        ctx.save_for_backward(normed, scale, weight)
        return torch.addcmul(bias, normed, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        normed, scale, weight = ctx.saved_tensors
        product = grad * normed
        d_weight, d_bias = column_sum(product), column_sum(grad)
        d_normed = grad * weight
        mean = d_normed.mean(-1, keepdim=True)
        share = product.mul_(weight).mean(-1, keepdim=True)
        d_x = torch.addcmul(d_normed.sub_(mean), normed, share, value=-1).mul_(scale)
        return d_x, d_weight, d_bias, None


def column_sum(x: Tensor) -> Tensor:
    """Sum (..., C) over all but the last axis, in two passes that both keep a GPU busy."""
    x = x.reshape(-1, x.shape[-1])
    if len(x) % ROWS_PER_SUM == 0:
        x = x.reshape(ROWS_PER_SUM, -1).sum(0).view(-1, x.shape[-1])
    return x.sum(0)
