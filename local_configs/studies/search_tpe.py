# Bayesian search over the three weights, the temperature and the learning rate.
study = dict(
    baseline='baseline',
    runs=dict(
        baseline=dict(config='local_configs/segformer/B0/segformer.b0.512x512.camvid.py'),
        teacher=dict(config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py'),
        student=dict(
            config='local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py',
            # As in weights_grid.py.
            options={'model.kd_losses.sp_loss.reduction': 'sum'},
            needs={'model.teacher.checkpoint': 'teacher'},
        ),
    ),
    search=dict(
        run='student',
        sampler='TPE',
        trials=30,
        space={
            'model.kd_losses.kl_loss.loss_weight': dict(type='loguniform', low=0.1, high=10.0),
            'model.kd_losses.kl_loss.temperature': dict(type='uniform', low=1.0, high=8.0),
            'model.kd_losses.at_loss.loss_weight': dict(type='loguniform', low=0.05, high=2.0),
            'model.kd_losses.sp_loss.loss_weight': dict(type='loguniform', low=0.05, high=2.0),
            'optim_wrapper.optimizer.lr': dict(type='loguniform', low=1e-5, high=2e-4),
        },
    ),
)
