"""What the command lines share: consoles, pipes, and shells that split arguments."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from mmseg_kd.command_line import join_lists, run_tool, system_message

# Letters and signs that cp949 lacks.
UNKNOWN = 'café − 国'  # noqa: RUF001

# A tool whose data loader's worker says what it has imported.
TOOL = """
from looking import modules
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from mmseg_kd.datasets import ToyCamVidDataset
from mmseg_kd.command_line import run_tool

def main():
    init_default_scope('mmseg')
    data = ToyCamVidDataset(num_images=1, pipeline=[dict(type='LoadToyScene')])
    spawned = dict(num_workers=1, multiprocessing_context='spawn')
    print(*next(iter(DataLoader(data, collate_fn=modules, **spawned))), sep='\\n')

if __name__ == '__main__':
    run_tool(main)
"""
LOOKING = f"""
import sys

def modules(samples):
    found = sorted(sys.modules)
    # A spawned process that trains asks for a config first.
    from mmseg_kd.config import load_config
    from mmseg.registry import MODELS
    load_config({str(ROOT / 'local_configs' / 'toy' / 'segformer.b0.toy.py')!r})
    assert MODELS.get('KDEncoderDecoder') is not None
    return found
"""


def redirected(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Standard output as Windows redirects it in Korea; no fixture, as pytest sets it anew."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding='cp949', errors='strict', write_through=True)
    monkeypatch.setattr(sys, 'stdout', stream)
    return written


def test_a_character_that_the_console_lacks_is_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = redirected(monkeypatch)
    run_tool(lambda: print('한글', UNKNOWN))
    assert stdout.getvalue().decode('cp949').split() == ['한글', r'caf\xe9', r'\u2212', r'\u56fd']


class ClosedPipe(io.TextIOWrapper):
    def __init__(self, error: OSError, target: int) -> None:
        super().__init__(io.BytesIO(), encoding='utf-8')
        self.error, self.target = error, target

    def write(self, text: str) -> int:
        raise self.error

    def fileno(self) -> int:
        return self.target


# As Linux and as Windows report it.
BROKEN = [BrokenPipeError(errno.EPIPE, 'Broken pipe'), OSError(errno.EINVAL, 'Invalid argument')]


@pytest.mark.parametrize('error', BROKEN)
def test_a_reader_that_has_what_it_wanted_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    with (tmp_path / 'pipe').open('wb') as target:
        monkeypatch.setattr(sys, 'stdout', ClosedPipe(error, target.fileno()))
        run_tool(lambda: print('a line'))
        # Python flushes to this file when it ends; it must not be the pipe any more.
        os.write(target.fileno(), b'the rest')
    assert (tmp_path / 'pipe').read_bytes() == b''


@pytest.mark.parametrize('error', BROKEN)
def test_another_pipe_that_breaks_is_an_error(error: OSError) -> None:
    def main() -> None:
        raise error

    with pytest.raises(OSError, match=error.strerror):
        run_tool(main)


def test_an_error_of_the_disk_is_one_line() -> None:
    full = OSError(errno.ENOSPC, 'No space left on device', 'a.pth')
    assert system_message(full) == 'a.pth: No space left on device'
    # A mistake of the program keeps its traceback.
    assert system_message(FileNotFoundError(errno.ENOENT, 'No such file', 'a.pth')) is None
    assert system_message(ValueError('a')) is None


def test_a_name_that_windows_refuses(capsys: pytest.CaptureFixture) -> None:
    class WindowsError(OSError):
        winerror = 123

    def main() -> None:
        raise WindowsError(errno.EINVAL, 'The filename syntax is incorrect', 'work_dirs/a?b')

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 2
    expected = 'error: work_dirs/a?b: The filename syntax is incorrect'
    assert capsys.readouterr().err.strip() == expected


@pytest.mark.parametrize(
    ('split', 'whole'),
    [
        (['a=1', 'b=2'], ['a=1', 'b=2']),
        (['a=[1', '2', '3]', 'b=2'], ['a=[1,2,3]', 'b=2']),
        (['a=(1', '2)'], ['a=(1,2)']),
        # No list that was begun: a mistake, which the next step reports.
        (['a=1', '2'], ['a=1', '2']),
        (['a=[1', 'b=2'], ['a=[1', 'b=2']),
    ],
)
def test_a_list_that_powershell_split(split: list[str], whole: list[str]) -> None:
    assert join_lists(split) == whole


@pytest.mark.slow
def test_a_spawned_worker_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    tool = tmp_path / 'tool.py'
    tool.write_text(TOOL, encoding='utf-8')
    (tmp_path / 'looking.py').write_text(LOOKING, encoding='utf-8')
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, str(tool)],
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
        encoding='utf-8',
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert 'mmseg_kd.datasets.toy.dataset' in modules
    heavy = {'mmseg_kd.engine', 'mmseg_kd.models', 'mmseg.models', 'matplotlib', 'mmengine.runner'}
    assert not heavy & modules
