"""Whatever a report can say, it can say in Korean."""

import ast
import json
from pathlib import Path
from string import Formatter

import pytest
from conftest import ROOT

from mmseg_kd.errors import UserError
from mmseg_kd.records.message import message
from mmseg_kd.reports.writing.language import language

NAMES = ('message', 'messages')
KOREAN = json.loads((ROOT / 'mmseg_kd/reports/writing/ko.json').read_text(encoding='utf-8'))


def said() -> set[str]:
    """Templates of all calls of `message` and `messages`, which are always literals."""
    templates = set()
    package = Path(ROOT, 'mmseg_kd')
    parts = ('reports/**', 'records', 'visualization')
    for file in (file for part in parts for file in package.glob(f'{part}/*.py')):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') in NAMES:
                for first in node.args:
                    branches = (
                        [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                    )
                    templates.update(branch.value for branch in branches)
    return templates


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_sentence_has_a_translation() -> None:
    assert said() == set(KOREAN)


def test_translations_have_the_same_fields() -> None:
    for english, korean in KOREAN.items():
        assert fields(english) == fields(korean), english


def test_a_missing_translation_is_english() -> None:
    with language('ko'):
        assert str(message('new: {x}', x=1)) == 'new: 1'


def test_messages_within_messages() -> None:
    nested = message('{name} failed: {error}', name='kd', error=message('no reason kept'))
    assert str(nested) == 'kd failed: no reason kept'
    with language('ko'):
        assert str(nested) == 'kd 실패: 원인이 기록되지 않음'
        with language('en'):
            assert str(nested) == 'kd failed: no reason kept'
    with pytest.raises(UserError, match='choose from en, ko'), language('fr'):
        pass
