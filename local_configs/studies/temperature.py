# The temperature of KL, the only distillation loss here.
study = dict(
    baseline='baseline',
    runs=dict(
        baseline=dict(config='local_configs/segformer/B0/segformer.b0.512x512.camvid.py'),
        teacher=dict(config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py'),
        student=dict(
            config='local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py',
            options={'model.kd_losses.at_loss': None, 'model.kd_losses.sp_loss': None},
            needs={'model.teacher.checkpoint': 'teacher'},
        ),
    ),
    grid=dict(
        run='student',
        space={'model.kd_losses.kl_loss.temperature': [1.0, 2.0, 4.0, 6.0, 8.0]},
    ),
)
