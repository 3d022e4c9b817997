"""Words for the messages of mistakes."""

import pytest

from mmseg_kd.errors import did_you_mean, one_line


@pytest.mark.parametrize(
    ('word', 'expected'),
    [
        ('bachbone', "did you mean 'backbone'?"),
        # Upper and lower case do not matter.
        ('miou', "did you mean 'mIoU'?"),
        ('temperature', 'it has backbone'),
    ],
)
def test_the_nearest_name_is_proposed(word: str, expected: str) -> None:
    assert did_you_mean(word, ['neck', 'backbone', 'mIoU'], 'it has backbone') == expected


def test_nothing_is_proposed_without_a_near_name() -> None:
    assert did_you_mean('temperature', []) == ''


def test_a_message_is_one_line() -> None:
    assert one_line(ValueError('two\n  lines')) == 'two lines'
    assert one_line(ValueError(), 3) == 'ValueError'[:3] + '...'
