"""Fusion and classification of SegFormer's head, a block of channels at a time.

Between the levels' linear maps and the classifier every step (bilinear upsampling, sum,
batch normalisation, ReLU, channel dropout) treats a channel by itself. So a block of channels
can go all the way while it lies in the cache, and of the wide maps at stride 4 (256 to 768
channels) only the sum is written to memory, once, and in inference not even that. On a CPU these
maps are where the head's time goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

aten = torch.ops.aten

# 8 MiB in float32: the best of 2 to 16 on a server's CPU, where the curve is flat.
BLOCK_ELEMENTS = 2**21
FEWEST_CHANNELS, MOST_CHANNELS = 16, 64


def fuse_and_classify(
    features: Sequence[Tensor],
    kernels: Sequence[Tensor],
    bias: Tensor,
    norm: nn.BatchNorm2d,
    dropout: nn.Dropout2d | None,
    classifier: nn.Conv2d,
) -> Tensor:
    """Compute `classifier(dropout(relu(norm(sum_i up(kernel_i x_i) + bias))))` in training.

    Args:
        features: Levels (N, C_i, H_i, W_i), finest first; channels-last is read as it lies.
        kernels: Their linear maps (E, C_i).
        bias: (E,).
        norm: Batch normalisation of the E channels; its running statistics are updated.
        dropout: Dropout of whole channels, if any.
        classifier: 1x1 convolution from E channels to K classes.

    Returns:
        Logits (N, K, H_1, W_1).
    """
    weight, mask, dtype = classifier.weight.flatten(1), None, _dtype_of_products(bias)
    with torch.autocast(bias.device.type, enabled=False):
        if dropout is not None and dropout.p > 0:
            mask = dropout(weight.new_ones(len(features[0]), len(bias), 1, 1)).flatten(1)
        norm.num_batches_tracked.add_(1)
        levels = [x.to(dtype) for x in (*features, *kernels)]
        return _Training.apply(
            norm, mask, bias, norm.weight, norm.bias, weight, classifier.bias, *levels
        )


def fold_norm(
    kernels: Sequence[Tensor], bias: Tensor, norm: nn.BatchNorm2d
) -> tuple[list[Tensor], Tensor]:
    """Fold a norm with fixed statistics into the linear maps (E, C_i) and bias (E,) before it."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    bias = norm.bias + scale * (bias - norm.running_mean)
    return [scale[:, None] * kernel for kernel in kernels], bias


@torch.no_grad()
def infer(
    features: Sequence[Tensor], kernels: Sequence[Tensor], bias: Tensor, classifier: nn.Conv2d
) -> Tensor:
    """Compute `classifier(relu(sum_i up(kernel_i x_i) + bias))`; shapes as above, no gradients."""
    weight, dtype = classifier.weight.flatten(1), _dtype_of_products(bias)
    with torch.autocast(bias.device.type, enabled=False):
        features, kernels = [[x.to(dtype) for x in xs] for xs in (features, kernels)]
        logits = _start(classifier.bias, features[0])
        for block in _blocks(features[0], len(bias)):
            x = _sum_of_levels(features, kernels, block)
            x.add_(_per_channel(bias[block], dtype)).relu_()
            _add_logits(logits, x, weight[:, block], None)
    return logits


class _Training(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        norm: nn.BatchNorm2d,
        mask: Tensor | None,
        bias: Tensor,
        gamma: Tensor,
        beta: Tensor,
        weight: Tensor,
        classifier_bias: Tensor,
        *levels: Tensor,
    ) -> Tensor:
        features, kernels = levels[: len(levels) // 2], levels[len(levels) // 2 :]
        logits = _start(classifier_bias, features[0])
        sums, means, deviations = [], [], []
        for block in _blocks(features[0], len(gamma)):
            x = _sum_of_levels(features, kernels, block)
            sums.append(x)
            x, mean, inverse_deviation = torch.native_batch_norm(
                x,
                gamma[block],
                beta[block],
                norm.running_mean[block],
                norm.running_var[block],
                True,
                norm.momentum,
                norm.eps,
            )
            means.append(mean)
            deviations.append(inverse_deviation)
            _add_logits(logits, x.relu_(), weight[:, block], _of(mask, block))
        # The norm takes the mean away and the bias with it: it is added nowhere else, and its
        # gradient is zero.
        norm.running_mean.add_(bias, alpha=norm.momentum)
        ctx.save_for_backward(
            mask, gamma, beta, weight, torch.cat(means), torch.cat(deviations), *levels, *sums
        )
        ctx.num_levels, ctx.eps = len(features), norm.eps
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        mask, gamma, beta, weight, mean, inverse_deviation, *rest = ctx.saved_tensors
        features, kernels, sums = (
            rest[: ctx.num_levels],
            rest[ctx.num_levels : 2 * ctx.num_levels],
            rest[2 * ctx.num_levels :],
        )
        size, dtype = features[0].shape[2:], features[0].dtype
        grad = grad.flatten(2)
        low_grad = grad.to(dtype)
        d_weight, d_gamma, d_beta = map(torch.empty_like, (weight, gamma, beta))
        d_kernels = [torch.empty_like(kernel) for kernel in kernels]
        d_features = [torch.zeros_like(_rows(x)) for x in features]
        for block, total in zip(_blocks(features[0], len(gamma)), sums, strict=True):
            scale = gamma[block] * inverse_deviation[block]
            shift = beta[block] - scale * mean[block]
            x = torch.addcmul(_per_channel(shift, dtype), total, _per_channel(scale, dtype))
            x = x.relu_().permute(0, 2, 3, 1).flatten(1, 2)
            d_weight[:, block], d_x = _back_to_features(
                low_grad, x, weight[:, block], _of(mask, block)
            )
            aten.threshold_backward.grad_input(d_x, x, 0, grad_input=d_x)
            d_x, d_gamma[block], d_beta[block] = aten.native_batch_norm_backward(
                d_x.unflatten(1, size).permute(0, 3, 1, 2),
                total,
                gamma[block],
                None,
                None,
                mean[block],
                inverse_deviation[block],
                True,
                ctx.eps,
                [True, True, True],
            )
            for i, (feature, kernel) in enumerate(zip(features, kernels, strict=True)):
                d_level = d_x
                if i > 0:
                    shape = (len(feature), d_x.shape[1], *feature.shape[2:])
                    d_level = aten.upsample_bilinear2d_backward(d_x, size, shape, False)
                d_level = _rows(d_level)
                d_kernels[i][block] = d_level.t() @ _rows(feature)
                d_features[i].addmm_(d_level, kernel[block])
        d_features = [
            d.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
            for d, x in zip(d_features, features, strict=True)
        ]
        d_bias = torch.zeros_like(gamma)
        d_classifier_bias = grad.sum(dim=(0, 2))
        return (
            None,
            None,
            d_bias,
            d_gamma,
            d_beta,
            d_weight,
            d_classifier_bias,
            *d_features,
            *d_kernels,
        )


def _dtype_of_products(weight: Tensor) -> torch.dtype:
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _blocks(finest: Tensor, channels: int) -> Iterator[slice]:
    width = BLOCK_ELEMENTS // (finest.numel() // finest.shape[1])
    width = min(max(width, FEWEST_CHANNELS), MOST_CHANNELS)
    return (slice(start, min(start + width, channels)) for start in range(0, channels, width))


def _start(bias: Tensor, finest: Tensor) -> Tensor:
    shape = (len(finest), len(bias), *finest.shape[2:])
    return bias.view(1, -1, 1, 1).expand(shape).clone(memory_format=torch.contiguous_format)


def _sum_of_levels(features: Sequence[Tensor], kernels: Sequence[Tensor], block: slice) -> Tensor:
    total = None
    for x, kernel in zip(features, kernels, strict=True):
        level = _rows(x) @ kernel[block].t()
        level = level.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
        if total is None:
            total = level
        else:
            total += aten.upsample_bilinear2d(level, total.shape[2:], False)
    return total


def _add_logits(logits: Tensor, x: Tensor, weight: Tensor, mask: Tensor | None) -> None:
    """Add the block's part to logits (N, K, H, W); sample by sample, as dropout differs."""
    for i, sample in enumerate(x.permute(0, 2, 3, 1).flatten(1, 2)):
        kernel = weight if mask is None else weight * mask[i]
        part = logits[i].flatten(1)
        if sample.dtype == part.dtype:
            part.addmm_(kernel, sample.t())
        else:
            part += kernel.to(sample.dtype) @ sample.t()


def _back_to_features(
    grad: Tensor, x: Tensor, weight: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gradients of the classifier's weight (K, c) and of its input (N, H*W, c)."""
    d_weight = torch.zeros_like(weight)
    d_x = torch.empty_like(x)
    for i, sample in enumerate(x):
        scale = 1 if mask is None else mask[i]
        d_weight += (grad[i] @ sample) * scale
        torch.mm(grad[i].t(), (weight * scale).to(x.dtype), out=d_x[i])
    return d_weight, d_x


def _of(mask: Tensor | None, block: slice) -> Tensor | None:
    return None if mask is None else mask[:, block]


def _per_channel(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype).view(1, -1, 1, 1)


def _rows(x: Tensor) -> Tensor:
    """View a map (N, C, H, W) as (N*H*W, C); free for channels-last memory."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)
