# The three experiments: SegFormer-B0 alone, its teacher B2, and the student that B2 taught.
study = dict(
    baseline='baseline',
    runs=dict(
        baseline=dict(config='local_configs/segformer/B0/segformer.b0.512x512.camvid.py'),
        teacher=dict(config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py'),
        student=dict(
            config='local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py',
            needs={'model.teacher.checkpoint': 'teacher'},
        ),
    ),
)
