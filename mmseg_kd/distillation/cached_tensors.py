"""A cache of tensors that depend on sizes alone."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch


def cached(maxsize: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Keep the tensors that a function of hashable arguments returns.

    A result that is read while a CUDA graph is recorded is kept forever, because each replay reads
    the same memory.

    Args:
        maxsize: Number of the latest results that are kept.

    Example:
        >>> @cached(maxsize=8)
        ... def ramp(length):
        ...     return torch.arange(length)
        >>> ramp(3) is ramp(3)
        True
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        # Autograd cannot save a tensor of inference mode for a later backward pass.
        latest = lru_cache(maxsize=maxsize)(torch.inference_mode(False)(function))
        recorded: dict[tuple, Any] = {}

        @wraps(function)
        def call(*arguments: Any) -> Any:
            if arguments in recorded:
                # An older recording reads this tensor too, so a newer one must not replace it.
                return recorded[arguments]
            found = latest(*arguments)
            if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
                recorded[arguments] = found
            return found

        return call

    return decorate
