default_scope = 'mmseg_kd'  # names are looked up in mmseg_kd, then in mmseg, then in mmengine

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0)
# True: on a GPU the training step is recorded once and replayed, several times as fast.
# docs/performance.md says what was measured.
cuda_graph = False

vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='QuickSegVisualizer', vis_backends=vis_backends)

default_hooks = dict(
    # Losses are fetched from the GPU when they are logged; RuntimeInfoHook fetches every step.
    runtime_info=dict(type='DeferredInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='ResumableCheckpointHook',
        by_epoch=False,
        interval=4000,
        save_best='mIoU',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Stops when the loss stays NaN or infinite; None switches it off.
    non_finite_loss=dict(type='NonFiniteLossHook', max_consecutive=5),
    visualization=dict(type='PaintingHook'),
    progress=dict(type='ProgressHook'),
    # Schedules, shares of the gradient, averaged teachers and adapters.
    distillation=dict(type='DistillationHook'),
    # The share of each loss in the gradient: gradients.jsonl, gradients.png; None switches it off.
    gradient_report=dict(type='GradientReportHook', interval=50),
    # The confusion matrix of each evaluation: confusion.jsonl.
    confusion_record=dict(type='ConfusionRecordHook'),
    # With a teacher: its score on the validation split is recorded before training.
    teacher_record=dict(type='TeacherRecordHook'),
    # At the end: predictions.png in the work_dir and a table of the evaluations.
    prediction_grid=dict(type='PredictionGridHook'),
)

# Losses, weighted (`*loss*`) and raw (`*_raw`), are logged as means over the last 50 iterations.
log_processor = dict(
    by_epoch=False, window_size=50, mean_pattern=r'.*(loss|_raw|acc_seg|time|grad_norm).*'
)
log_level = 'INFO'
load_from = None
resume = False

tta_model = dict(type='SegTTAModel')
