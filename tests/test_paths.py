"""Where a tool may not write, it says so before the work is done."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_file, check_folder, check_new_file, check_new_folder, new_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the empty folder `empty`, and `full`, which holds the file `mine`."""
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine').write_text('mine')
    return tmp_path


@pytest.mark.parametrize(
    ('check', 'name', 'message'),
    [
        (check_new_file, 'full/mine', 'mine exists; name a new file'),
        (check_new_file, 'empty', 'empty is a folder; name a file'),
        (check_new_file, 'full/mine/a/b', 'full/mine/a cannot be written, .*mine is a file'),
        (check_new_folder, 'full', 'full is not empty; name another'),
        (check_new_folder, 'full/mine', 'mine is a file; name a folder'),
        (check_folder, 'full/mine', 'mine is a file; name a folder'),
        (check_folder, 'full/mine/a', 'mine/a cannot be written, .*mine is a file'),
    ],
)
def test_refused(root: Path, check: Callable, name: str, message: str) -> None:
    with pytest.raises(UserError, match=f'^--out: .*{message}$'):
        check(root / name, '--out')


@pytest.mark.parametrize('name', ['', ' '])
def test_no_name_is_not_the_current_folder(name: str) -> None:
    with pytest.raises(UserError, match=r'^--work-dir is empty; name a folder$'):
        check_folder(name, '--work-dir')


@pytest.mark.parametrize(
    ('check', 'names'),
    [
        (check_new_file, ['new', 'full/new', 'a/b/new']),
        (check_new_folder, ['empty', 'new', 'full/a/b']),
        (check_folder, ['empty', 'full', 'new', 'full/a/b']),
    ],
)
def test_allowed_and_nothing_made(root: Path, check: Callable, names: list[str]) -> None:
    before = sorted(root.rglob('*'))
    for name in names:
        check(root / name, '--out')
    assert sorted(root.rglob('*')) == before


def test_a_relative_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    check_new_file('new', '--out')
    check_folder('full', '--out')
    with pytest.raises(UserError, match='mine/a cannot be written, full/mine is a file'):
        check_new_file('full/mine/a/new', '--out')


def test_a_folder_that_is_read_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions do not hold back a root user, whom the tests may run as.
    monkeypatch.setattr('os.access', lambda path, mode: Path(path) != root / 'full')
    with pytest.raises(UserError, match=r'the folder .*full cannot be written to'):
        check_folder(root / 'full' / 'a' / 'b', 'work_dir')
    check_folder(root / 'empty', 'work_dir')


def test_a_drive_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmseg_kd.paths.Path.exists', lambda path: False)
    monkeypatch.setattr('mmseg_kd.paths.Path.is_dir', lambda path: False)
    folder = Path('/runs/a')
    with pytest.raises(UserError) as error:
        check_folder(folder, 'work_dir')
    drive = folder.parents[-1]
    assert str(error.value) == f'work_dir: {folder} cannot be written, {drive} does not exist'


def test_a_file_to_read(root: Path) -> None:
    check_file(root / 'full' / 'mine', 'the list')
    with pytest.raises(UserError, match=r'^the list .*full is a folder; name the file in it$'):
        check_file(root / 'full', 'the list')
    with pytest.raises(UserError, match=r'^the list .*lost does not exist$'):
        check_file(root / 'lost', 'the list')


def test_a_new_folder_whose_files_are_scanned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, waits = Path.rename, []

    def scanned(source: Path, target: Path) -> Path:
        if len(waits) < 2:
            raise PermissionError(errno.EACCES, 'Access is denied', str(source))
        return rename(source, target)

    monkeypatch.setattr(Path, 'rename', scanned)
    monkeypatch.setattr('mmseg_kd.paths.time.sleep', waits.append)
    # It may be a mount point.
    before = (root / 'empty').stat().st_ino
    with new_folder(root / 'empty', '--out') as folder:
        (folder / 'image.png').touch()
    assert (root / 'empty').stat().st_ino == before
    assert [file.name for file in (root / 'empty').iterdir()] == ['image.png']
    assert sorted(file.name for file in root.iterdir()) == ['empty', 'full']
