"""A run owns its work_dir: nobody else trains there, and it touches nothing elsewhere."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import config_file, run, tiny_config
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config import choose_start
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.starting import lock_work_dir
from mmseg_kd.errors import UserError

HOLDER = """
import sys
from pathlib import Path
from filelock import FileLock
lock = FileLock(Path(sys.argv[1]) / '.lock')
lock.acquire()
text = '{"pid": 4711, "host": "lab", "started": "today"}'
(Path(sys.argv[1]) / '.lock.json').write_text(text)
print('held', flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope='module')
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work_dir of a run of 3 iterations. Read only."""
    folder = tmp_path_factory.mktemp('three')
    build_runner(config(folder, train_cfg__max_iters=3)).train()
    return folder


@pytest.fixture
def run_a(three: Path, tmp_path: Path) -> Path:
    """A copy of that work_dir, whose paths are its own."""
    folder = tmp_path / 'run_a'
    shutil.copytree(three, folder)
    edit(folder, best_ckpt=str(folder / 'best_mIoU_iter_3.pth'), best_score=0.0)
    return folder


def edit(folder: Path, **info: object) -> None:
    """Change what a checkpoint says of the run."""
    checkpoint = read_checkpoint(folder / 'iter_3.pth')
    checkpoint['message_hub']['runtime_info'].update(info)
    torch.save(checkpoint, folder / 'iter_3.pth')


class Stops(Hook):
    """Do something after the first iteration."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def after_train_iter(self, runner: Runner, batch_idx: int, *_: object, **__: object) -> None:
        """Do it."""
        if batch_idx == 1:
            self.action()


def resume(cfg: Config, start: str = 'auto') -> None:
    choose_start(cfg, start)
    build_runner(cfg).train()


def config(folder: Path, **options: object) -> Config:
    """A tiny config without the picture at the end, which takes longer than its training."""
    return tiny_config(folder, default_hooks__prediction_grid=None, **options)


def files(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob('*') if file.is_file()}


class After(Hook):
    """Do something when an iteration, counted from 1, is over."""

    priority = 'HIGHEST'

    def __init__(self, iteration: int, action: Callable[[], None]) -> None:
        self.iteration, self.action = iteration, action

    def after_train_iter(self, runner: object, *args: object, **kwargs: object) -> None:
        if runner.iter + 1 == self.iteration:
            self.action()


class TestLock:
    @pytest.fixture
    def holder(self, run_a: Path) -> Iterator[subprocess.Popen]:
        process = subprocess.Popen(
            [sys.executable, '-c', HOLDER, str(run_a)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline().strip() == b'held'
        yield process
        process.kill()
        process.communicate()

    def test_another_process_trains_there(
        self, run_a: Path, holder: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr('mmseg_kd.engine.starting.PATIENCE', 0.1)
        before = files(run_a)
        with pytest.raises(UserError, match=r'is in use by process 4711 on lab since today: wait'):
            resume(config(run_a))
        assert files(run_a) == before
        # The operating system releases the lock of a process that dies.
        holder.kill()
        holder.wait()
        resume(config(run_a, train_cfg__max_iters=4))
        assert (run_a / 'iter_4.pth').is_file()

    def test_a_training_holds_it_and_gives_it_back(self, tmp_path: Path) -> None:
        def take() -> int:
            code = 'import sys, filelock; filelock.FileLock(sys.argv[1]).acquire(timeout=0.1)'
            command = [sys.executable, '-c', code, str(tmp_path / '.lock')]
            return subprocess.run(command, capture_output=True, check=False).returncode

        taken = []
        runner = build_runner(config(tmp_path, train_cfg__max_iters=1))
        runner.register_hook(After(1, lambda: taken.append(take())))
        runner.train()
        assert [*taken, take()] == [1, 0]

    def test_a_file_system_without_locks_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        def no_locks(*args: object) -> None:
            raise OSError(errno.ENOLCK, 'No locks available')

        monkeypatch.setattr('filelock.FileLock._acquire', no_locks)
        lock_work_dir(str(tmp_path)).release()
        assert 'has no locks: start no second training there' in capsys.readouterr().out


class TestOwnFilesOnly:
    def test_a_copied_run_keeps_to_its_copy(self, run_a: Path, tmp_path: Path) -> None:
        run_b = tmp_path / 'run_b'
        shutil.copytree(run_a, run_b)
        before = files(run_a)
        resume(config(run_b))
        assert files(run_a) == before
        assert [p.name for p in run_b.glob('best_*')] == ['best_mIoU_iter_6.pth']

    def test_resumed_into_another_folder(self, run_a: Path, tmp_path: Path) -> None:
        # No score beats this one, whose checkpoint stays in the other folder.
        edit(run_a, best_score=99.0)
        before = files(run_a)
        new = tmp_path / 'new'
        resume(config(new), str(run_a / 'iter_3.pth'))
        assert files(run_a) == before
        assert [p.name for p in new.glob('best_*')] == ['best_mIoU_iter_6.pth']
        (log,) = new.glob('*/*.log')
        text = log.read_text(encoding='utf-8')
        assert 'the best checkpoint so far' in text
        assert 'message_hub' not in text

    def test_not_into_the_folder_of_another_run(self, run_a: Path, tmp_path: Path) -> None:
        run_b = tmp_path / 'run_b'
        shutil.copytree(run_a, run_b)
        before = files(run_b)
        with pytest.raises(UserError, match=r'already holds a run .* with --resume alone'):
            resume(config(run_b), str(run_a / 'iter_3.pth'))
        assert files(run_b) == before
        resume(config(run_b), str(run_a / '..' / 'run_b' / 'iter_3.pth'))

    @pytest.mark.skipif(os.name == 'nt', reason='links need a right on Windows')
    def test_from_a_link_in_its_own_folder(self, run_a: Path, tmp_path: Path) -> None:
        shutil.move(run_a / 'iter_3.pth', tmp_path / 'kept.pth')
        (run_a / 'iter_3.pth').symlink_to(tmp_path / 'kept.pth')
        resume(config(run_a), str(run_a / 'iter_3.pth'))

    @pytest.mark.parametrize('kind', ['CheckpointHook', 'ResumableCheckpointHook'])
    def test_a_checkpoint_names_what_is_not_its_own(
        self, run_a: Path, tmp_path: Path, kind: str
    ) -> None:
        (tmp_path / 'thesis').mkdir()
        (tmp_path / 'thesis' / 'thesis.pdf').touch()
        edit(run_a, best_ckpt=str(tmp_path / 'thesis'))
        resume(config(run_a, default_hooks__checkpoint__type=kind))
        assert (tmp_path / 'thesis' / 'thesis.pdf').is_file()

    def test_a_folder_stays(self, run_a: Path) -> None:
        (run_a / '.old.tmp').mkdir()
        # Left by a run that was killed while it wrote.
        (run_a / '.iter_6.abc.tmp.pth').touch()
        edit(run_a, keep_ckpt_ids=[1, 3])
        resume(config(run_a, default_hooks__checkpoint=dict(interval=1, max_keep_ckpts=1)))
        assert (run_a / '.old.tmp').is_dir()
        assert not (run_a / '.iter_6.abc.tmp.pth').exists()
        assert [p.name for p in run_a.glob('iter_*') if p.is_file()] == ['iter_6.pth']

    def test_the_pointer_is_utf_8_also_where_the_console_is_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def open_in_cp949(file: str, mode: str) -> object:
            return Path(file).open(mode, encoding='cp949')

        monkeypatch.setattr('mmengine.hooks.checkpoint_hook.open', open_in_cp949, raising=False)
        folder = tmp_path / '실험 実験 é'
        build_runner(config(folder, train_cfg__max_iters=3)).train()
        pointer = (folder / 'last_checkpoint').read_bytes()
        assert pointer.decode('utf-8') == str(folder / 'iter_3.pth')


class TestFilesThatCannotBeWritten:
    @pytest.fixture(autouse=True)
    def no_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr('mmseg_kd.paths.WAITS', (0.0,))

    def refuse(self, monkeypatch: pytest.MonkeyPatch, *names: str, times: int = 10**6) -> list:
        """Let `os.replace` fail for targets of these names, or all, the first times for each."""
        replace, refused = os.replace, []

        def refusing(source: Path, target: Path) -> None:
            name = Path(target).name
            if (not names or name in names) and refused.count(name) < times:
                refused.append(name)
                raise PermissionError(errno.EACCES, 'Access is denied', str(source))
            replace(source, target)

        monkeypatch.setattr(os, 'replace', refusing)
        return refused

    def test_every_file_is_locked_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused = self.refuse(monkeypatch, times=1)
        build_runner(tiny_config(tmp_path, train_cfg__max_iters=3)).train()
        names = ['best_mIoU_iter_3.pth', 'iter_3.pth', 'last_checkpoint', 'predictions.png']
        assert {*names} <= {*refused}
        assert all((tmp_path / name).is_file() for name in names)

    def test_pictures_and_records_do_not_stop_a_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.refuse(monkeypatch, 'predictions.png', 'last_checkpoint')
        (tmp_path / 'confusion.jsonl').mkdir()
        build_runner(tiny_config(tmp_path)).train()
        text = next(tmp_path.glob('*/*.log')).read_text(encoding='utf-8')
        assert f'PredictionGridHook cannot write {tmp_path / "predictions.png"}' in text
        # Once, not at each evaluation.
        assert text.count('ConfusionRecordHook cannot write') == 1
        assert f'{tmp_path / "last_checkpoint"} cannot be written' in text
        assert (tmp_path / 'iter_6.pth').is_file()

    def test_an_old_checkpoint_that_is_open_elsewhere_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unlink = Path.unlink

        def refusing(path: Path, **kwargs: object) -> None:
            if path.name == 'iter_3.pth':
                raise PermissionError(errno.EACCES, 'Access is denied', str(path))
            unlink(path, **kwargs)

        monkeypatch.setattr(Path, 'unlink', refusing)
        build_runner(config(tmp_path, default_hooks__checkpoint__max_keep_ckpts=1)).train()
        assert {p.name for p in tmp_path.glob('iter_*')} == {'iter_3.pth', 'iter_6.pth'}

    @pytest.mark.parametrize('name', ['iter_3.pth', 'best_mIoU_iter_3.pth'])
    def test_a_checkpoint_that_stays_locked_is_one_line(
        self,
        tmp_path: Path,
        name: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture,
    ) -> None:
        file = config_file(tmp_path)
        self.refuse(monkeypatch, name)
        assert run('train.py', file) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error == f'error: {tmp_path / "run" / name}: Access is denied'

    def test_a_full_disk_names_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        def full(*args: object, **kwargs: object) -> None:
            raise OSError(errno.ENOSPC, 'No space left on device')

        file = config_file(tmp_path)
        monkeypatch.setattr('mmengine.runner.runner.save_checkpoint', full)
        assert run('train.py', file) == 2
        captured = capsys.readouterr()
        last = captured.err.strip().splitlines()[-1]
        assert last == f'error: {tmp_path / "run" / "iter_3.pth"}: No space left on device'
        assert 'stopped at iteration 2: nothing saved' in ''.join(captured)

    @pytest.mark.skipif(sys.platform == 'win32', reason='Windows keeps a folder with open files')
    def test_a_work_dir_that_vanishes(self, tmp_path: Path) -> None:
        runner = build_runner(config(tmp_path / 'run'))
        runner.register_hook(Stops(lambda: shutil.rmtree(tmp_path / 'run')))
        with pytest.raises(UserError, match=rf'^the work_dir {tmp_path}/run is gone$'):
            runner.train()

    def test_the_log_has_the_error_that_ended_the_training(self, tmp_path: Path) -> None:
        def stop() -> None:
            raise UserError('a.png: is gone')

        runner = build_runner(config(tmp_path))
        runner.register_hook(Stops(stop))
        with pytest.raises(UserError, match=r'^a\.png: is gone$'):
            runner.train()
        text = next(tmp_path.glob('*/*.log')).read_text(encoding='utf-8')
        assert 'stopped at iteration 1: nothing saved (a.png: is gone)' in text

    @pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs a device that is full')
    def test_a_full_disk_does_not_stop_records(self, tmp_path: Path) -> None:
        runner = build_runner(config(tmp_path, train_cfg__max_iters=3))
        (tmp_path / 'confusion.jsonl').symlink_to('/dev/full')
        (Path(runner.log_dir) / 'vis_data' / 'scalars.json').symlink_to('/dev/full')
        runner.train()
        assert (tmp_path / 'iter_3.pth').is_file()
        text = next(tmp_path.glob('*/*.log')).read_text(encoding='utf-8')
        for hook in ('LoggerHook', 'ConfusionRecordHook'):
            assert text.count(f'{hook} cannot write') == 1
