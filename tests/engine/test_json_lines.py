from pathlib import Path

import pytest

from mmseg_kd.engine.json_lines import read_json_lines


@pytest.mark.parametrize(
    ('text', 'records', 'broken'),
    [
        ('{"a": 1}\n\n{"a": 2}\n', [{'a': 1}, {'a': 2}], []),
        ('{"a": 1}\n{"a": ', [{'a': 1}], []),
        ('{"a": 1}\nnoise\n[3]\n{"a": 2}\n', [{'a': 1}, {'a': 2}], [2, 3]),
        ('noise', [], [1]),
        ('', [], []),
    ],
)
def test_records_and_broken_lines(tmp_path: Path, text: str, records: list, broken: list) -> None:
    file = tmp_path / 'x.jsonl'
    file.write_text(text)
    assert read_json_lines(file) == (records, broken)


def test_a_missing_file_has_none(tmp_path: Path) -> None:
    assert read_json_lines(tmp_path / 'x.jsonl') == ([], [])
