"""Name the part of a segmentor that fails."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmseg.models import EncoderDecoder

from mmseg_kd.errors import UserError, one_line

# Parts of the messages of torch's allocators, cuBLAS and cuDNN.
NO_MEMORY = ('out of memory', "can't allocate memory", 'not enough memory', 'ALLOC_FAILED')
# The end of a message on an image of another size than the training crop.
SIZES = '; if it needs other sizes: model.data_preprocessor.test_cfg.size_divisor=32 in its config'


@contextmanager
def model_errors(
    model: EncoderDecoder, what: str, advice: str = '', whose: str = ''
) -> Iterator[None]:
    """Run a segmentor in this block.

    Args:
        model: The segmentor.
        what: Its input, for the message.
        advice: The end of the message.
        whose: Which model it is, such as 'teacher', where there are several.

    Raises:
        UserError: It failed; with the part that was running.
        OutOfMemoryError: Memory ran out, which is not a mistake in the config.
    """
    # Of the last call: windows that slide over a large image give many maps.
    last: dict[str, Any] = {}
    source = model.neck if model.with_neck else model.backbone
    hook = source.register_forward_hook(lambda *args: last.update(stages=args[-1]))
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            # Another type, so that it is not reported as a wrong value in the config.
            raise torch.OutOfMemoryError(one_line(error)) from error
        parts = {id(part): f'model.{name}' for name, part in model.named_children()}
        running = [parts[id(owner)] for owner in owners(error) if id(owner) in parts]
        channels = [x.shape[1] for x in last.get('stages', ()) if torch.is_tensor(x)]
        if not advice and channels and isinstance(error, RuntimeError | LookupError):
            advice = f'; the maps for in_index and in_channels of a head have {channels} channels'
        part = ': '.join(filter(None, [whose, ['model', *running][-1]]))
        raise UserError(f'{part} fails on {what}: {one_line(error).rstrip(".")}{advice}') from error
    finally:
        hook.remove()


def owners(error: Exception) -> list[Any]:
    """Return the objects whose methods were running, the innermost last."""
    return [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocator of torch, cuBLAS, cuDNN or Python ran out of memory."""
    memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return memory or any(part in str(error) for part in NO_MEMORY)
