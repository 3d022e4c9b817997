"""Write checkpoints from which a killed run continues exactly."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, all_reduce_params, get_rank, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import HOOKS
from torch import nn

from mmseg_kd.checkpoints import remove_file, write_text
from mmseg_kd.engine.resuming import restore_rng, rng_state
from mmseg_kd.errors import UserError

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, with the random state of every process in the checkpoint.

    A run that is killed at any point and resumed ends with the same weights as an uninterrupted
    run. It misses no evaluation: the one at the checkpoint is repeated. After a validation the
    random state is set back, so the evaluation interval does not change the training.

    The arguments are those of CheckpointHook.
    """

    _resumed_rng: dict | None = None
    _rng_before_val: dict | None = None
    _extra: frozenset[str] = frozenset()

    def before_run(self, runner: Runner) -> None:
        """Raise UserError if `save_best` names a metric that the evaluation does not have."""
        metrics = runner.loops['val'].evaluator.metrics if 'val' in runner.loops else ()
        # Metrics of other projects do not list their names before they are computed.
        if metrics and all(hasattr(metric, 'metric_names') for metric in metrics):
            self._check_save_best([name for metric in metrics for name in metric.metric_names])

    def before_train(self, runner: Runner) -> None:
        """Let mmengine set up; afterwards this hook removes the files instead of mmengine."""
        super().before_train(runner)
        self.file_backend = _NoFiles()
        if runner.resumes and is_main_process():
            # Until the next checkpoint the run continues from here, not from a later one.
            write_text(Path(runner.work_dir) / 'last_checkpoint', str(runner.start))
        self._evaluate_again(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the random state of a run that is resumed."""
        if not runner.resumes:
            return
        # This process has no state if fewer processes wrote the checkpoint.
        states = dict(enumerate(checkpoint.get('rng_states', ())))
        self._resumed_rng = states.get(get_rank())
        if get_rank() in states:
            # Already here, so that the error for an invalid state names the file.
            restore_rng(self._resumed_rng)
        # The sampler was built before the checkpoint, which has the seed of its run, was read.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed') and checkpoint['meta'].get('seed') is not None:
            sampler.seed = checkpoint['meta']['seed']

    def _evaluate_again(self, runner: Runner) -> None:
        """Evaluate the checkpoint that is resumed: the run may have been killed before it did."""
        if runner.val_loop is None or runner.iter == 0:
            return
        loop, done, end = runner.train_loop, runner.iter, runner.max_iters
        if isinstance(loop, EpochBasedTrainLoop):
            done, end = runner.epoch, runner.max_epochs
        due = done % loop.val_interval == 0 or done == end
        evaluated = runner.message_hub.get_info('evaluated_iter') == runner.iter
        if done >= loop.val_begin and due and not evaluated:
            runner.logger.info(f'evaluating iteration {runner.iter}, from which the run continues')
            self.last_ckpt = runner.start
            runner.val_loop.run()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Continue the random stream, once the data loader has drawn its own seed."""
        if self._resumed_rng is not None:
            restore_rng(self._resumed_rng)
            self._resumed_rng = None

    def before_val(self, runner: Runner) -> None:
        """Store the training's random state; average the running statistics of the processes."""
        average_buffers(runner.bare_model)
        self._rng_before_val = self._resumed_rng or rng_state()

    def after_val(self, runner: Runner) -> None:
        """Restore the random state."""
        restore_rng(self._rng_before_val)
        self._rng_before_val = None

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and record that this iteration was evaluated."""
        runner.message_hub.update_info('evaluated_iter', runner.iter)
        super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the random states to a checkpoint that can be resumed."""
        if 'optimizer' in checkpoint:
            checkpoint['rng_states'] = self._rng_states

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # Collective calls: every process runs this method, but only the main one writes.
        average_buffers(runner.bare_model)
        self._rng_states = all_gather_object(self._rng_before_val or rng_state())
        with self._removing_replaced(runner):
            pointer = Path(runner.work_dir) / 'last_checkpoint'
            try:
                super()._save_checkpoint_with_step(runner, step, meta)
            # mmengine writes the pointer last, in the system's encoding, which may lack a letter of
            # the path. It is written again below.
            except UnicodeEncodeError:
                pass
            except PermissionError as error:
                if Path(str(error.filename)).name != pointer.name:
                    raise
            if is_main_process():
                with _not_needed(runner, pointer):
                    write_text(pointer, self.last_ckpt)
            self._extra &= {Path(self.last_ckpt).name}

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        self._check_save_best(metrics)
        before = Path(self.last_ckpt or '').name
        with self._removing_replaced(runner):
            super()._save_best_checkpoint(runner, metrics)
            # mmengine saves one to resume from with each new best. The next one replaces it.
            self._extra |= {Path(self.last_ckpt or '').name} - {before}

    def _check_save_best(self, names: Collection[str]) -> None:
        for key in getattr(self, 'key_indicators', None) or ():
            if key != 'auto' and key not in names:
                raise UserError(
                    'default_hooks.checkpoint.save_best, or study.objective.metric: the evaluation '
                    f'has no {key!r}; it has {", ".join(names)}'
                )

    @contextmanager
    def _removing_replaced(self, runner: Runner) -> Iterator[None]:
        """Remove the checkpoints that this block replaces, after it has written the new ones."""
        before = self._kept(runner)
        yield
        for name in before - self._kept(runner) if is_main_process() else ():
            file = Path(self.out_dir) / name
            with _not_needed(runner, file):
                remove_file(file)

    def _kept(self, runner: Runner) -> set[str]:
        """Return the names of the checkpoints that can be replaced: the latest and the best."""
        info = runner.message_hub.runtime_info
        latest = {self.filename_tmpl.format(step) for step in info.get('keep_ckpt_ids', ())}
        best = {Path(info[key]).name for key in info if key.startswith('best_ckpt')}
        return latest | best | self._extra


@contextmanager
def _not_needed(runner: Runner, file: Path) -> Iterator[None]:
    """Warn if another program holds a file that the training does not need."""
    try:
        yield
    except PermissionError as error:
        runner.logger.warning(f'{file} cannot be written or removed: {error.strerror}')


def average_buffers(model: nn.Module) -> None:
    """Set the running statistics of BN to their mean over all processes."""
    # An averaged teacher is not part of the model, and follows the statistics of its process.
    teachers = getattr(model, 'teachers', {}).values()
    models = [model, *(t.segmentor for t in teachers if t.follows_student)]
    norms = (m for x in models for m in x.modules() if isinstance(m, BATCH_NORMS))
    if buffers := [b for m in norms for b in m.buffers() if b.is_floating_point()]:
        all_reduce_params(buffers, op='mean')


class _NoFiles(LocalBackend):
    """A backend that finds no file, so that mmengine removes none: it does so too early."""

    def isfile(self, filepath: str | Path) -> bool:
        """Return False."""
        return False

    isdir = isfile
