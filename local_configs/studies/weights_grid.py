# Weights of AT and SP from 0.1 to 1, in the reductions in which these weights have an effect. On
# toy scenes (batch 4, iterations 1 to 20, cross-entropy 2.1 to 2.4) the raw losses were 0.56 to
# 0.67 for AT in 'paper' and 0.26 to 0.46 for SP in 'sum'. SP in 'paper' was 0.016 to 0.029: at a
# weight below 1 it has almost no effect.
study = dict(
    baseline='baseline',
    runs=dict(
        baseline=dict(config='local_configs/segformer/B0/segformer.b0.512x512.camvid.py'),
        teacher=dict(config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py'),
        student=dict(
            config='local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py',
            options={
                'model.kd_losses.at_loss.reduction': 'paper',
                'model.kd_losses.sp_loss.reduction': 'sum',
            },
            needs={'model.teacher.checkpoint': 'teacher'},
        ),
    ),
    grid=dict(
        run='student',
        space={
            'model.kd_losses.at_loss.loss_weight': [0.1, 0.25, 0.5, 1.0],
            'model.kd_losses.sp_loss.loss_weight': [0.1, 0.25, 0.5, 1.0],
        },
    ),
)
