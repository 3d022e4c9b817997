"""The table of teachers and its warnings."""

from mmseg_kd.teacher_report.card import card_table, card_warnings


def test_the_table_shows_the_difference() -> None:
    known = dict(
        checkpoint='work_dirs/b2/iter_9.pth',
        sha256='0123456789abcdef',
        data='CamVidDataset val, 101 images, 01234567',
        metrics=dict(aAcc=90.0, mIoU=64.09, mAcc=70.0, mIoU11=66.5),
        entropy=0.12345,
        ece=0.04321,
        deterministic=True,
        baseline=dict(mIoU=67.94, source='work_dirs/b0, iteration 4000'),
        difference=-3.85,
    )
    unknown = known | dict(
        metrics={}, entropy=None, ece=None, deterministic=None, baseline=None, difference=None
    )
    table = card_table({'large': known, 'small': unknown})
    cells = {
        row.split('|')[1].strip(): [cell.strip() for cell in row.split('|')[2:-1]]
        for row in table.splitlines()
        if row.startswith('|')
    }
    assert cells['teacher'][:4] == ['mIoU', 'baseline', 'difference', 'mIoU11']
    expected = ['64.09', '67.94', '-3.85', '66.50', '0.123', '0.043', 'yes', '01234567']
    assert cells['large'] == expected
    assert cells['small'] == ['-'] * 7 + ['01234567']
    assert table.splitlines()[-3:] == [
        'large: work_dirs/b2/iter_9.pth on CamVidDataset val, 101 images, 01234567',
        'baseline: work_dirs/b0, iteration 4000',
        'small: work_dirs/b2/iter_9.pth on CamVidDataset val, 101 images, 01234567',
    ]
    (warning,) = card_warnings({'large': known, 'small': unknown})
    assert warning.startswith("the teacher 'large' does not beat")
