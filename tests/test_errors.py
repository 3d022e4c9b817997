"""Words for the messages of mistakes."""

import pytest

from mmseg_kd.errors import UserError, did_you_mean, one_line, user_errors


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


def test_errors_of_a_library_become_the_users() -> None:
    with (
        pytest.raises(UserError, match=r'^a\.onnx: damaged \(two lines\); fetch it$') as caught,
        user_errors('a.onnx: damaged (', ValueError, KeyError, after='); fetch it'),
    ):
        raise ValueError('two\n  lines')
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(OSError, match='other'), user_errors('a.onnx: ', ValueError):
        raise OSError('other')


def test_a_mistake_that_is_named_already_stays_whole() -> None:
    with pytest.raises(UserError) as caught, user_errors('a.py: ', UserError, longest=5):
        raise UserError('a long message')
    assert str(caught.value) == 'a.py: a long message'
