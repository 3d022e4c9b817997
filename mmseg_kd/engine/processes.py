"""Training in several processes, on GPUs or on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn
from torch.distributed import init_process_group

from mmseg_kd.engine.work_dir_lock import WorkDirLock
from mmseg_kd.errors import UserError


@contextmanager
def joining(launcher: str) -> Iterator[None]:
    """Let this process join the others in this block; on the CPU they communicate with gloo.

    Args:
        launcher: What started the processes, as for `--launcher`.

    Raises:
        UserError: The launcher did not start this process.
    """
    try:
        if launcher == 'pytorch' and get_device() == 'cpu' and not is_distributed():
            # mmengine would ask for a GPU.
            init_process_group(backend='gloo')
        yield
    except (KeyError, ValueError) as error:
        if launcher == 'none' or is_distributed():
            raise
        raise UserError(
            f'--launcher {launcher}: this process was not started by it '
            f'({" ".join(str(error).split())}); use torchrun or tools/dist_train.sh, or leave '
            '--launcher out'
        ) from error


def wrap_on_cpu(model: nn.Module, find_unused_parameters: bool) -> MMDistributedDataParallel:
    """Wrap a model in DDP on the CPU, where mmengine would name a GPU for it."""
    if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        print_log(
            'SyncBN needs a GPU: on the CPU every process normalises its own part of the '
            'batch, and running statistics are averaged before evaluating and saving',
            logger='current',
            level=logging.WARNING,
        )
    return MMDistributedDataParallel(
        revert_sync_batchnorm(model),
        broadcast_buffers=False,
        find_unused_parameters=find_unused_parameters,
    )


def lock_work_dir(work_dir: str) -> WorkDirLock | None:
    """Lock the work_dir; the main process does it for all, and None is what the others get.

    Raises:
        UserError: Another training uses the work_dir; in every process.
    """
    lock = None
    refusal: list[str | None] = [None]
    if is_main_process():
        try:
            lock = WorkDirLock(work_dir)
        except UserError as error:
            refusal = [str(error)]
    broadcast_object_list(refusal)
    if refusal[0]:
        raise UserError(refusal[0])
    return lock
