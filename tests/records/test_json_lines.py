from pathlib import Path

import pytest

from mmseg_kd.records.json_lines import append_json_line, read_json_lines, write_json_lines


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


def test_written_and_appended(tmp_path: Path) -> None:
    file = tmp_path / 'x.jsonl'
    append_json_line(file, {'a': 1})
    append_json_line(file, {'a': '도로'})
    assert read_json_lines(file) == ([{'a': 1}, {'a': '도로'}], [])
    write_json_lines(file, [{'a': 3}])
    append_json_line(file, {'a': 4})
    assert read_json_lines(file) == ([{'a': 3}, {'a': 4}], [])
    write_json_lines(file, [])
    assert not file.exists()


def test_a_disk_that_is_full_for_a_while_costs_one_record(tmp_path: Path) -> None:
    resource = pytest.importorskip('resource')
    file = tmp_path / 'x.jsonl'
    append_json_line(file, {'a': 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # There is room for a part of the next line.
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 3, limits[1]))
    try:
        with pytest.raises(OSError, match='No space left on device') as error:
            append_json_line(file, {'a': 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.filename == str(file)
    append_json_line(file, {'a': 3})
    assert read_json_lines(file) == ([{'a': 1}, {'a': 3}], [])
