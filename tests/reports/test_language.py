"""Whatever a report can say, it can say in Korean."""

import ast
from pathlib import Path
from string import Formatter

import pytest
from conftest import ROOT

from mmseg_kd.errors import UserError
from mmseg_kd.records.message import say
from mmseg_kd.reports.writing.korean import KOREAN
from mmseg_kd.reports.writing.language import translator


def said() -> set[str]:
    """Templates of all calls of `say`; each is written out where it is said."""
    templates = set()
    package = Path(ROOT, 'mmseg_kd')
    for file in [*package.glob('reports/**/*.py'), *package.glob('records/*.py')]:
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'say':
                first = node.args[0]
                branches = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                templates.update(branch.value for branch in branches)
    return templates


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_sentence_has_a_translation() -> None:
    assert said() == set(KOREAN)


def test_translations_have_the_same_fields() -> None:
    for english, korean in KOREAN.items():
        assert fields(english) == fields(korean), english


def test_messages_within_messages() -> None:
    message = say('{name} failed: {error}', name='kd', error=say('no reason kept'))
    assert translator('en')(message) == 'kd failed: no reason kept'
    assert translator('ko')(message) == 'kd 실패: 원인이 기록되지 않음'
    assert translator('ko')('kd {x}') == 'kd {x}'
    with pytest.raises(UserError, match='choose from en, ko'):
        translator('fr')
