# Why can a distilled student end below its baseline, and its teacher below both? Each suspected
# cause alone, with the teacher and the student of `pretrained_kd.py`.
_FOLDER = 'local_configs/efficientnet_lite'
_LR = {'optim_wrapper.optimizer.lr': 3e-5}
_UNLOADED = {'model.pretrained': None}
_PADDED = {'crop_size': (512, 512)}


def _kd(teacher='teacher', **options):
    return dict(
        config=f'{_FOLDER}/segformer.lite0.camvid.kd.py',
        needs={'model.teacher.checkpoint': teacher},
        options=options,
    )


def _alone(model, options):
    return dict(config=f'{_FOLDER}/{model}.camvid.py', options=options)


study = dict(
    baseline='none',
    seeds=[0, 1],
    test=True,
    # Each student and the same training without a teacher.
    controls={
        'kd': ['none'],
        'kd-unloaded': ['none-unloaded'],
        'kd-padded': ['none-padded'],
        'kd-lr3e-5': ['none-lr3e-5'],
    },
    # One schedule for students and teachers, as in the first experiments; as long as fits a CPU.
    options={
        'optim_wrapper.type': 'Bf16OptimWrapper',
        'train_cfg.max_iters': 300,
        'train_cfg.val_interval': 300,
    },
    runs={
        'teacher': _alone('segformer.lite2', {}),
        'none': _alone('segformer.lite0', {}),
        'kd': _kd(),
        # The pretrained weights do not load; stock mmsegmentation only warns.
        'teacher-unloaded': _alone('segformer.lite2', _UNLOADED),
        'none-unloaded': _alone('segformer.lite0', _UNLOADED),
        'kd-unloaded': _kd('teacher-unloaded', **_UNLOADED),
        # The teacher is worse than its student.
        'kd-bad-teacher': _kd('teacher-unloaded'),
        # AT and SP at weight 1 in other reductions.
        'kd-sums': _kd(
            **{
                'model.kd_losses.at_loss.reduction': 'sum',
                'model.kd_losses.sp_loss.reduction': 'sum',
            }
        ),
        'kd-authors-at': _kd(**{'model.kd_losses.at_loss.reduction': 'authors_code'}),
        # A crop larger than the images: a quarter of each input is padding.
        'teacher-padded': _alone('segformer.lite2', _PADDED),
        'none-padded': _alone('segformer.lite0', _PADDED),
        'kd-padded': _kd('teacher-padded', **_PADDED),
        # The learning rate of fine-tuning for 40,000 iterations.
        'teacher-lr3e-5': _alone('segformer.lite2', _LR),
        'none-lr3e-5': _alone('segformer.lite0', _LR),
        'kd-lr3e-5': _kd('teacher-lr3e-5', **_LR),
    },
)
