# Weights of AT and SP, each 0.1 to 1, in the reductions in which these weights have an effect. With
# a cross-entropy of 2.1 to 2.4 (toy scenes, batch 4, iterations 1 to 20) the raw losses were: AT
# 0.56 to 0.67 in 'paper'; SP 0.26 to 0.46 in 'sum', and 0.016 to 0.029 in 'paper', where a weight
# below 1 has almost no effect.
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
