"""Files that cannot be read as a config are named in one line."""

import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError

B0 = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py')


def write(folder: Path, text: str, base: str = B0) -> str:
    config = folder / 'mine.py'
    config.write_text(f'_base_ = {base!r}\n{text}\n')
    return str(config)


def test_a_missing_config() -> None:
    with pytest.raises(UserError, match=r'nowhere\.py does not exist'):
        load_config('nowhere.py')


def test_a_config_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f'the config {tmp_path} is a folder; name the file in it'):
        load_config(str(tmp_path))


def test_an_error_in_a_base_names_the_base(tmp_path: Path) -> None:
    base = tmp_path / 'base.py'
    base.write_text('x = 1\ny = 1 / 0\n')
    with pytest.raises(UserError, match=r'base\.py, line 2: ZeroDivisionError'):
        load_config(write(tmp_path, '', base=str(base)))


def test_a_config_that_inherits_from_itself(tmp_path: Path) -> None:
    for name, base in (('a', 'b'), ('b', 'c'), ('c', 'b')):
        (tmp_path / f'{name}.py').write_text(f"_base_ = ['./{base}.py']\n")
    begun = time.perf_counter()
    with pytest.raises(UserError, match=r'c\.py: _base_ = .* b\.py -> c\.py -> b\.py$'):
        load_config(str(tmp_path / 'a.py'))
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize('text', ['model: [1, 2', 'a: b: c', '- 1\n- 2'])
def test_broken_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / 'mine.yaml').write_text(text)
    with pytest.raises(UserError, match=r'mine\.yaml') as error:
        load_config(str(tmp_path / 'mine.yaml'))
    assert '\n' not in str(error.value)


def test_a_missing_base(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'mine\.py cannot be read: .* No such file .*nowhere\.py'):
        load_config(write(tmp_path, '', base='nowhere.py'))


def test_a_module_in_the_current_folder_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'own_losses_of_a_test.py').write_text('LOADED = True\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [path for path in sys.path if path])
    load_config(write(tmp_path, "custom_imports = dict(imports=['own_losses_of_a_test'])"))
    assert sys.modules.pop('own_losses_of_a_test').LOADED
