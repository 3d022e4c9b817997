"""What a constructor refuses is a line that names what was being built."""

import pytest
from conftest import tiny_model
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmseg_kd.config.errors import config_errors
from mmseg_kd.errors import LONGEST, UserError


@pytest.mark.parametrize(
    ('part', 'settings', 'message'),
    [
        ('backbone', dict(depths=5), "MixTransformer: object of type 'int' has no len"),
        ('data_preprocessor', dict(mean=[1, 2]), 'SegDataPreProcessor: `mean` should have 1 or 3'),
        (
            'decode_head',
            dict(loss_decode=dict(type='Nonsense')),
            'SegFormerHead: Nonsense is not in the mmseg_kd::model registry.$',
        ),
        ('backbone', dict(type='Nonsense'), 'EncoderDecoder: Nonsense is not in the'),
    ],
)
def test_the_part_that_was_built_is_named(part: str, settings: dict, message: str) -> None:
    model = tiny_model()
    model[part] = model[part] | settings
    with pytest.raises(UserError, match=f'^the config cannot be built: {message}'), config_errors():
        MODELS.build(model)


def test_an_unknown_backbone_is_named_next_to_pretrained_weights() -> None:
    model = tiny_model(pretrained='weights.pth', backbone=dict(type='Nonsense'))
    with pytest.raises(UserError, match='Nonsense is not in the'), config_errors():
        MODELS.build(ConfigDict(model))


def test_a_part_that_is_not_a_dict() -> None:
    message = '^the config cannot be built: EncoderDecoder: cfg should be a dict'
    with pytest.raises(UserError, match=message), config_errors():
        MODELS.build(tiny_model(neck=3))


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (KeyError('LOUD'), "there is no 'LOUD'"),
        (FileNotFoundError(2, 'No such file or directory', 'lost'), "No such file .*: 'lost'"),
        (ValueError('two\nlines'), 'two lines$'),
        (ValueError(9999 * 'x'), f'x{{{LONGEST}}}[.]{{3}}$'),
        (UserError('as it is'), '^as it is$'),
    ],
)
def test_what_is_said(error: Exception, message: str) -> None:
    with pytest.raises(UserError, match=message), config_errors():
        raise error


def test_errors_of_the_program_keep_their_type() -> None:
    class Odd(ValueError):
        pass

    with pytest.raises(Odd), config_errors():
        raise Odd
