"""One of everything: the table that the suites of the protocol run over."""

import jax

import jnn
from jnn import optim

OPTIMIZERS = {
    "gd": jnn.gd(0.05),
    "gd, scheduled": jnn.gd(jnn.schedules.cosine(0.05, 100)),
    "gd, centred": jnn.chain(optim.decay(0.1), jnn.gd(0.05)),
    "momentum": jnn.momentum(0.01),
    "averaged_momentum": jnn.averaged_momentum(0.1),
    "heavy_ball": jnn.heavy_ball(0.01),
    "nesterov": jnn.nesterov(0.01),
    "damped_particle": jnn.damped_particle(0.2, 1.0),
    "adagrad": jnn.adagrad(0.2),
    "adagrad, sum": jnn.adagrad(0.5, average="sum"),
    "rmsprop": jnn.rmsprop(0.02),
    "rmsprop, centred": jnn.rmsprop(0.01, centred=True, momentum=0.5),
    "adam": jnn.adam(0.1),
    "adamw": jnn.adamw(0.1, where="w"),
    "amsgrad": jnn.amsgrad(0.1),
    "nadam": jnn.nadam(0.1),
    "radam": jnn.radam(0.1),
    "adamax": jnn.adamax(0.1),
    "lion": jnn.lion(0.02, decay=0.01),
    "lamb": jnn.lamb(0.05, decay=0.01),
    "muon": jnn.muon(0.02),
    "full_adagrad": jnn.full_adagrad(0.05),
    "full_rmsprop": jnn.full_rmsprop(0.02),
    "full_rmsprop, sketch": jnn.full_rmsprop(0.02, rank=3),
    "midpoint": jnn.midpoint(0.01),
    "three_step": jnn.three_step(0.01),
    "adams_bashforth": jnn.adams_bashforth(0.05, 3),
    "heun": jnn.heun(0.05),
    "rk4": jnn.rk4(0.05),
    "chebyshev": jnn.chebyshev(0.05, 3, order=2),
    "clipped": jnn.chain(optim.clip(9.0), optim.clip_norm(5.0), jnn.gd(0.05)),
    "clipped as a whole": jnn.chain(optim.clip_global_norm(5.0), jnn.gd(0.05)),
    "centralised": jnn.chain(optim.centralise(), jnn.gd(0.05)),
    "noisy": jnn.chain(optim.noise(jax.random.key(0), 1e-3), jnn.gd(0.05)),
    "plateau": jnn.chain(jnn.gd(0.05), optim.plateau()),
    "frozen": jnn.chain(jnn.gd(0.05), optim.freeze("b")),
    "groups": optim.groups(lambda path, _: path, {"w": jnn.adam(0.1), "b": jnn.gd(0.05)}),
    "accumulated": optim.accumulate(jnn.adam(0.1), every=2),
    "skipping": optim.skip_not_finite(jnn.adam(0.1)),
    "widened": optim.widen(jnn.adam(0.1)),
    "with master copy": optim.widen(jnn.adam(0.1), master=True),
    "flat": optim.flat(jnn.adam(0.1)),
    "averaged": optim.averaged(jnn.gd(0.05), optim.unbiased(0.99)),
    "adjustable": optim.adjustable(jnn.adam, rate=jnn.schedules.cosine(0.1, 100), beta1=0.9),
}  # fmt: skip

UNSTABLE = {"midpoint", "three_step"}
