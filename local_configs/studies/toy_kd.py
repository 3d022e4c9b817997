# Baseline, teacher and student on generated scenes: no download, minutes on a CPU.
study = dict(
    baseline='baseline',
    runs=dict(
        baseline=dict(config='local_configs/toy/segformer.b0.toy.py'),
        teacher=dict(config='local_configs/toy/segformer.b2.toy.py'),
        student=dict(
            config='local_configs/toy/segformer.b0.toy.kd.py',
            needs={'model.teacher.checkpoint': 'teacher'},
        ),
    ),
)
