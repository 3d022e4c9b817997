"""Write checkpoints from which a killed run continues exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, all_reduce_params, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from mmseg_kd.checkpoints import atomic_path, remove_file
from mmseg_kd.engine.resuming.random_state import own_rng_state, restore_rng, rng_state
from mmseg_kd.errors import UserError

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook that also keeps what an exact resumption needs.

    Beyond the weights, optimizer and schedule: the random state of every process, and
    whether the checkpoint's iteration has been evaluated. A run killed at any point and
    resumed ends at the same weights as one that was not, and misses no evaluation. What
    validation draws from the random stream is given back, so that the interval of
    evaluation does not change the training.

    Arguments are CheckpointHook's.
    """

    _resumed_rng: dict | None = None
    _rng_before_val: dict | None = None

    @property
    def file_backend(self) -> _Obsolete:
        """Where mmengine looks up and removes files; replaced by what removes nothing."""
        return self._obsolete

    @file_backend.setter
    def file_backend(self, backend: Any) -> None:
        self._obsolete = _Obsolete()

    def before_run(self, runner: Runner) -> None:
        """Raise UserError where `save_best` names a metric that the evaluation does not have."""
        if 'val' not in runner.loops:
            return
        metrics = runner.loops['val'].evaluator.metrics
        # Metrics of other projects do not say beforehand what they return.
        if all(hasattr(metric, 'metric_names') for metric in metrics):
            self._check_save_best([name for metric in metrics for name in metric.metric_names])

    def before_train(self, runner: Runner) -> None:
        """Remove the checkpoints that exceed a `max_keep_ckpts` lowered since."""
        super().before_train(runner)
        self._remove_obsolete(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the random state of a run that is resumed."""
        if not runner.resumes:
            return
        if 'rng_states' in checkpoint:
            self._resumed_rng = own_rng_state(checkpoint['rng_states'])
        # The sampler was built before the checkpoint with the seed of its run was read.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed') and checkpoint['meta'].get('seed') is not None:
            sampler.seed = checkpoint['meta']['seed']
        before, now = checkpoint.get('global_batch'), _global_batch(runner)
        if before not in (None, now):
            runner.logger.warning(
                f'the checkpoint was trained with {before} images an iteration, this run has '
                f'{now}: it continues at another place in the data'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Make up for an evaluation that the kill prevented."""
        if self.by_epoch or runner.val_loop is None or runner.iter == 0:
            return
        loop = runner.train_loop
        due = runner.iter >= loop.val_begin and (
            runner.iter % loop.val_interval == 0 or runner.iter == loop.max_iters
        )
        if due and runner.message_hub.get_info('evaluated_iter') != runner.iter:
            runner.logger.info(f'evaluating iteration {runner.iter}, which was not finished')
            self.last_ckpt = runner.cfg.load_from
            runner.val_loop.run()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Continue the random stream, once the data loader has drawn its own seed."""
        if self._resumed_rng is not None:
            restore_rng(self._resumed_rng)
            self._resumed_rng = None

    def before_val(self, runner: Runner) -> None:
        """Set the training's random state aside and agree on the running statistics."""
        self._rng_before_val = self._resumed_rng or rng_state()
        average_buffers(runner.model)

    def after_val(self, runner: Runner) -> None:
        """Give the random state back."""
        restore_rng(self._rng_before_val)
        self._rng_before_val = None

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and note in the current one that it was evaluated."""
        runner.message_hub.update_info('evaluated_iter', runner.iter)
        self._saved = False
        super().after_val_epoch(runner, metrics)
        current = self.filename_tmpl.format(runner.iter)
        if not self._saved and str(self.last_ckpt).endswith(current):
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, runner.iter, meta)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the random states and what an iteration is."""
        checkpoint['rng_states'] = self._rng_states
        checkpoint['global_batch'] = _global_batch(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # Collective calls, so here, where every process comes, and not where only one writes.
        self._gather(runner)
        self._saved = True
        name = self.filename_tmpl.format
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self._obsolete.files.add(Path(self.out_dir) / name(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', [*self.keep_ckpt_ids])
        self.last_ckpt = str(Path(self.out_dir) / name(step))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name(step),
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            # mmengine writes it in place, in the encoding of the console.
            pointer = Path(runner.work_dir) / 'last_checkpoint'
            with _not_needed(runner, pointer), atomic_path(pointer) as partial:
                partial.write_text(self.last_ckpt, encoding='utf-8')
        self._remove_obsolete(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        self._check_save_best(metrics)
        self._gather(runner)
        super()._save_best_checkpoint(runner, metrics)
        self._remove_obsolete(runner)

    def _check_save_best(self, names: Iterable[str]) -> None:
        for key in getattr(self, 'key_indicators', None) or ():
            if key != 'auto' and key not in names:
                raise UserError(
                    f'default_hooks.checkpoint.save_best: the evaluation has no {key!r}; it has '
                    f'{", ".join(names)}'
                )

    def _remove_obsolete(self, runner: Runner) -> None:
        info = runner.message_hub.runtime_info
        best = {Path(path) for key, path in info.items() if key.startswith('best_ckpt')}
        for path in self._obsolete.files - best if is_main_process() else ():
            with _not_needed(runner, path):
                remove_file(path)
        self._obsolete.files.clear()

    def _gather(self, runner: Runner) -> None:
        average_buffers(runner.model)
        self._rng_states = all_gather_object(self._rng_before_val or rng_state())


@contextmanager
def _not_needed(runner: Runner, file: Path) -> Iterator[None]:
    """Warn where another program holds a file that the training can do without."""
    try:
        yield
    except PermissionError as error:
        runner.logger.warning(f'{file} cannot be written or removed: {error.strerror}')


class _Obsolete(LocalBackend):
    """Notes the files that mmengine would remove, which it does before the next one is there."""

    def __init__(self) -> None:
        self.files: set[Path] = set()

    def isfile(self, filepath: str | Path) -> bool:
        """Note a file that mmengine is about to remove, and deny it."""
        self.files.add(Path(filepath))
        return False

    def isdir(self, filepath: str | Path) -> bool:
        """Deny a folder, which mmengine would remove with all that is in it."""
        return False


def average_buffers(model: nn.Module) -> None:
    """Bring BN's running statistics of all processes to their mean; nothing for one process."""
    model = model.module if is_model_wrapper(model) else model
    # An averaged teacher follows each process' own statistics, and is not part of the model.
    teachers = getattr(model, 'teachers', {}).values()
    models = [model, *(t.segmentor for t in teachers if t.follows_student)]
    norms = (m for x in models for m in x.modules() if isinstance(m, BATCH_NORMS))
    if buffers := [b for m in norms for b in m.buffers() if b.is_floating_point()]:
        all_reduce_params(buffers, op='mean')


def _global_batch(runner: Runner) -> int:
    return runner.train_dataloader.batch_size * runner.world_size
