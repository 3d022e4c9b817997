"""Give a Python process what makes a Korean Windows different, on any system.

Python imports this file at its start where its folder is in `PYTHONPATH`; spawned processes
inherit that. It also is a module for the process of the tests.

- Text files are opened as cp949 where no encoding is named. In this project none may be.
- `os.replace` finds each target locked once, as by a virus scanner.
- OpenCV opens no path outside ASCII.
"""

import builtins
import io
import os
import sys
from pathlib import Path

import cv2

ROOT = Path(__file__).parents[2]
OWN = tuple(str(ROOT / part) + os.sep for part in ('mmseg_kd', 'tools'))
# Modules through which files are opened for others.
BETWEEN = (__file__, 'pathlib', 'tempfile')

plain_open, plain_replace = builtins.open, os.replace
replaced: set[str] = set()


def caller() -> str:
    frame = sys._getframe(2)
    while any(name in frame.f_code.co_filename for name in BETWEEN):
        frame = frame.f_back
    return f'{frame.f_code.co_filename}:{frame.f_lineno}'


def open_as_cp949(file, mode='r', buffering=-1, encoding=None, *args, **kwargs):
    if 'b' not in mode and encoding in (None, 'locale'):
        place = caller()
        assert not place.startswith(OWN), f'{place} opens {file} without an encoding'
        encoding = 'cp949'
    return plain_open(file, mode, buffering, encoding, *args, **kwargs)


def replace_locked_once(source, target, **kwargs):
    if str(target) not in replaced:
        replaced.add(str(target))
        raise PermissionError(
            13, 'The process cannot access the file', str(source), None, str(target)
        )
    plain_replace(source, target, **kwargs)


def ascii_only(function, failed):
    def call(path, *args, **kwargs):
        return function(path, *args, **kwargs) if str(path).isascii() else failed

    return call


def install(put=setattr) -> None:
    put(builtins, 'open', open_as_cp949)
    put(io, 'open', open_as_cp949)
    put(os, 'replace', replace_locked_once)
    put(cv2, 'imread', ascii_only(cv2.imread, None))
    put(cv2, 'imwrite', ascii_only(cv2.imwrite, False))


if __name__ == 'sitecustomize':
    install()
