"""Mistakes in config files: a missing file, a misspelt key, a value that cannot be."""

from __future__ import annotations

from campaign.case import Case, Step, folder, mine, write

LOAD, PACK = "dict(type='LoadToyScene')", "dict(type='PackSegInputs')"
AUGMENT = "type='SegAugment', scale=(160, 120), ratio_range=(0.9, 1.5), crop_size=(64, 64)"
TRAIN = 'train.py mine.py'


def pipeline(*steps: str) -> str:
    """A training pipeline."""
    return f'train_dataloader = dict(dataset=dict(pipeline=[{", ".join(steps)}]))'


def config(name: str, says: str, text: str) -> Case:
    """A baseline with a mistake."""
    return Case(name, TRAIN, says, (mine(text),))


def student(name: str, says: str, text: str) -> Case:
    """A student with a mistake."""
    return Case(name, TRAIN, says, (mine(text, 'student.py'),))


def whole(name: str, says: str, *steps: Step) -> Case:
    """A config file of another kind."""
    return Case(name, TRAIN, says, steps)


# ruff: noqa: E501
# fmt: off
CASES = [
    # The file.
    whole('a base that is missing', 'lost.py', mine('', 'lost.py')),
    whole('a base that is a number', '_base_', write('mine.py', '_base_ = 5\n')),
    whole('two bases of one key', 'work_dir', write('mine.py', "_base_ = ['config.py', 'cam.py']")),
    whole('a base key that is missing', 'lost_key', mine('x_ = _base_.lost_key')),
    whole('a package that is missing', 'lost_package', mine('import lost_package')),
    whole('an import list that is wrong', 'lost_module', mine("custom_imports = dict(imports=['lost_module'])")),
    whole('spaces and tabs', 'mine.py', mine('model = dict(\n  a=1,\n\t)\n  b = 2')),
    whole('nul bytes', 'mine.py', write('mine.py', b"_base_ = './config.py'\0\n")),
    whole('an empty file', 'model', write('mine.py', '')),
    whole('a folder', 'mine.py', folder('mine.py')),
    Case('a word file', 'train.py mine.docx', 'mine.docx', (write('mine.docx', 'model = 1'),)),
    Case('broken json', 'train.py mine.json', 'mine.json', (write('mine.json', '{"model": {,}}'),)),
    Case('a json list', 'train.py mine.json', 'mine.json', (write('mine.json', '[1, 2]'),)),
    # The model.
    config('heads that do not divide', 'num_heads', 'model = dict(backbone=dict(num_heads=(1, 1, 3, 2)))'),
    config('three widths for four stages', 'embed_dims', 'model = dict(backbone=dict(embed_dims=(8, 16, 16)))'),
    config('a negative depth', 'depths', 'model = dict(backbone=dict(depths=(1, 1, -1, 1)))'),
    config('a head without width', 'embed_dim', 'model = dict(decode_head=dict(embed_dim=0))'),
    config('dropout in percent', 'dropout_ratio', 'model = dict(decode_head=dict(dropout_ratio=10))'),
    config('a norm that is unknown', 'BatchNorm', "model = dict(decode_head=dict(norm_cfg=dict(type='BatchNorm')))"),
    config('groups that do not divide', 'num_groups', "model = dict(decode_head=dict(norm_cfg=dict(_delete_=True, type='GN', num_groups=5)))"),
    config('a deviation of zero', 'std', 'model = dict(data_preprocessor=dict(std=[0, 57, 57]))'),
    config('two means for three channels', 'mean', 'model = dict(data_preprocessor=dict(mean=[123, 116]))'),
    config('rgb and bgr at once', 'rgb2bgr', 'model = dict(data_preprocessor=dict(rgb_to_bgr=True))'),
    config('a misspelt segmentor', 'EncoderDecoder', "model = dict(type='EncodrDecoder')"),
    config('no backbone', 'model.backbone', 'model = dict(backbone=None)'),
    config('an empty list of heads', 'decode_head', 'model = dict(decode_head=[])'),
    config('an auxiliary head of other classes', 'auxiliary_head', "model = dict(auxiliary_head=dict(type='FCNHead', in_channels=16, in_index=2, channels=8, num_convs=1, num_classes=19, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False)))"),
    config('a layer to checkpoint that is missing', 'layer9', "activation_checkpointing = ['backbone.layer9']"),
    config('a kind of sync bn that is unknown', 'sync_bn', "sync_bn = 'yes'"),
    config('slide without a second side', 'crop_size', "model = dict(test_cfg=dict(mode='slide', stride=(32, 32), crop_size=(64,)))"),
    # Optimizer and schedule.
    config('a momentum of one', 'beta', 'optim_wrapper = dict(optimizer=dict(betas=(0.9, 1.0)))'),
    config('a learning rate in quotes', 'optimizer.lr', "optim_wrapper = dict(optimizer=dict(lr='6e-5'))"),
    config('accumulation over zero batches', 'accumulative_counts', 'optim_wrapper = dict(accumulative_counts=0)'),
    config('an optimizer without weight decay', 'weight_decay', "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.01))"),
    config('a misspelt schedule', 'PolyLR', "param_scheduler = [dict(type='PolyLr', by_epoch=False)]"),
    config('a schedule that ends before it begins', 'end', "param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=5, end=2)]"),
    config('half an iteration', 'max_iters', 'train_cfg = dict(max_iters=2.5)'),
    # Run.
    config('a negative seed', 'seed', 'randomness = dict(seed=-1)'),
    config('a score that no one measures', 'mIoU13', "default_hooks = dict(checkpoint=dict(save_best='mIoU13'))"),
    config('a rule that is unknown', 'rule', "default_hooks = dict(checkpoint=dict(rule='bigger'))"),
    config('a start method that is unknown', 'mp_start_method', "env_cfg = dict(mp_cfg=dict(mp_start_method='thread'))"),
    config('a log level that is unknown', 'log_level', "log_level = 'VERBOSE'"),
    config('a misspelt logger', 'TensorboardVisBackend', "visualizer = dict(vis_backends=[dict(type='TensorBoardVisBackend')])"),
    config('an average that overshoots', 'momentum', "custom_hooks = [dict(type='EMAHook', momentum=2.0)]"),
    config('a work_dir that is a number', 'work_dir', 'work_dir = 123'),
    config('weights without a name', 'load_from', "load_from = ''"),
    # Data.
    config('a misspelt sampler', 'SeededInfiniteSampler', "train_dataloader = dict(sampler=dict(type='SeededInfinitSampler'))"),
    config('prefetching without workers', 'prefetch_factor', 'train_dataloader = dict(prefetch_factor=4)'),
    config('a misspelt collate function', 'pseudo_colate', "train_dataloader = dict(collate_fn=dict(type='pseudo_colate'))"),
    config('an index beyond the images', 'indices', 'train_dataloader = dict(dataset=dict(indices=[0, 999]))'),
    config('a class twice', 'Sky', '\n'.join(["model = dict(decode_head=dict(num_classes=2))", *(f"{split}_dataloader = dict(dataset=dict(metainfo=dict(classes=('Sky', 'Sky'))))" for split in ('train', 'val', 'test'))])),
    config('a key of another evaluator', 'val_evaluator.nan_to_num', 'val_evaluator = dict(nan_to_num=0)'),
    config('a metric of another evaluator', 'iou_metrics', "val_evaluator = dict(iou_metrics=['mDice'])"),
    config('no evaluator', 'val_evaluator', 'val_evaluator = []'),
    config('a batch in quotes', 'batch_size', "train_dataloader = dict(batch_size='4')"),
    config('a probability of two', 'prob', pipeline(LOAD, "dict(type='RandomFlip', prob=2.0)", PACK)),
    config('a flip in percent', 'flip_prob', pipeline(LOAD, f'dict({AUGMENT}, flip_prob=50)', PACK)),
    config('a share in percent', 'cat_max_ratio', pipeline(LOAD, f'dict({AUGMENT}, cat_max_ratio=75)', PACK)),
    config('a contrast upside down', 'contrast_range', pipeline(LOAD, f'dict({AUGMENT}, contrast_range=(1.5, 0.5))', PACK)),
    config('a resize to nothing', 'Resize', pipeline(LOAD, "dict(type='Resize')", PACK)),
    config('a step that is a word', 'pipeline.1', pipeline(LOAD, "'RandomFlip'", PACK)),
    # Distillation.
    student('a temperature of zero', 'temperature', 'model = dict(kd_losses=dict(kl_loss=dict(temperature=0)))'),
    student('a loss that is a name', 'kl_loss', "model = dict(kd_losses=dict(kl_loss='KLDivergenceLoss'))"),
    student('a loss of labels', 'kl_loss', "model = dict(kd_losses=dict(kl_loss=dict(_delete_=True, type='CrossEntropyLoss')))"),
    student('a list of losses', 'kd_losses', "model = dict(kd_losses=[dict(type='KLDivergenceLoss')])"),
    student('a warm-up that ends before it begins', 'begin', "model = dict(kd_losses=dict(kl_loss=dict(loss_weight=dict(_delete_=True, type='LinearWarmup', value=1, begin=5, end=2))))"),
    student('a weight that is infinite', 'loss_weight', "model = dict(kd_losses=dict(kl_loss=dict(loss_weight=float('inf'))))"),
    student('config and checkpoint swapped', 'teacher.pth', "model = dict(teacher=dict(config='teacher.pth', checkpoint='teacher.py'))"),
    student('a teacher that is nothing', 'teacher', "model = dict(teacher=dict(_delete_=True, a=None))"),
    student('a teacher that is a name', 'model.teacher', "model = dict(teacher='teacher.py')"),
    student('a precision by a short name', 'fp16', "model = dict(teacher=dict(dtype='fp16'))"),
    student('a baseline as a fraction', 'baseline', 'model = dict(teacher=dict(baseline=0.64))'),
    student('a baseline that is missing', 'lost_dir', "model = dict(teacher=dict(baseline='lost_dir'))"),
    student('a tap that is missing', 'stage9', "model = dict(kd_losses=dict(at_loss=dict(stages=['stage9'])))"),
]
