"""Optimizers once more: plain NumPy loops of the printed formulas, in float64, for one array.

Each is a generator of updates: it takes the gradient and the parameters by `send`.
"""

import numpy as np


def run(reference, grads, start):
    """Parameters after the gradients, for a dictionary of arrays."""
    out = {}
    for name in start:
        q = start[name].astype(np.float64)
        steps = reference(q.shape)
        next(steps)
        for g in grads:
            q = q + steps.send((g[name].astype(np.float64), q))
        out[name] = q
    return out


def gd(shape, rate=0.05):
    g, _ = yield
    while True:
        g, _ = yield -rate * g


def gd_decayed(shape, rate=0.05, decay=0.3):
    g, q = yield
    while True:
        g, q = yield (1 - rate * decay) * q - rate * g - q


def gd_inverse_time(shape, rate=0.05, every=4):
    g, _ = yield
    n = 0
    while True:
        g, _ = yield -rate / (1 + n / every) * g
        n += 1


def heavy_ball(shape, rate=0.05, beta=0.9):
    step = np.zeros(shape)
    g, _ = yield
    while True:
        step = -rate * g + beta * step
        g, _ = yield step


def nesterov(shape, rate=0.05, beta=0.9):
    """The two sequences, x and y; the parameters are y."""
    g, y = yield
    x = y
    while True:
        new = y - rate * g
        look = new + beta * (new - x)
        x = new
        g, y = yield look - y


def momentum(shape, rate=0.05, beta=0.9, every=None):
    v, n = np.zeros(shape), 0
    g, _ = yield
    while True:
        v = beta * v + g
        g, _ = yield -(rate / (1 + n / every) if every else rate) * v
        n += 1


def momentum_inverse_time(shape):
    return momentum(shape, every=4)


def averaged_momentum(shape, rate=0.05, beta=0.9):
    m = np.zeros(shape)
    g, _ = yield
    while True:
        m = beta * m + (1 - beta) * g
        g, _ = yield -rate * m


def damped_particle(shape, alpha=0.1, gamma=2.0):
    v = np.zeros(shape)
    g, _ = yield
    while True:
        v = -alpha * g + (1 - gamma * alpha) * v
        g, _ = yield alpha * v


def adagrad_mean(shape, rate=0.05, epsilon=1e-8):
    total, n = np.zeros(shape), 0
    g, _ = yield
    while True:
        n, total = n + 1, total + g**2
        g, _ = yield -rate * g / (np.sqrt(total / n) + epsilon)


def adagrad_sum(shape, rate=0.05, epsilon=1e-8):
    total = np.zeros(shape)
    g, _ = yield
    while True:
        total = total + g**2
        g, _ = yield -rate * g / (np.sqrt(total) + epsilon)


def rmsprop(shape, rate=0.05, beta=0.9, epsilon=1e-8):
    e = np.zeros(shape)
    g, _ = yield
    while True:
        e = beta * e + (1 - beta) * g**2
        g, _ = yield -rate * g / (np.sqrt(e) + epsilon)


def rmsprop_centred(shape, rate=0.05, beta=0.9, momentum=0.5, epsilon=1e-8):
    e, m, t = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    g, _ = yield
    while True:
        e = beta * e + (1 - beta) * g**2
        m = beta * m + (1 - beta) * g
        t = momentum * t + g / (np.sqrt(e - m**2) + epsilon)
        g, _ = yield -rate * t


def _moments(shape, beta1, beta2):
    """Adam's uncorrected averages and the step's number, for each gradient sent."""
    m, v, n = np.zeros(shape), np.zeros(shape), 0
    g = yield m, v, n
    while True:
        n += 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        g = yield m, v, n


def _adam_like(formula):
    def reference(shape):
        moments = _moments(shape, 0.9, 0.999)
        next(moments)
        g, q = yield
        while True:
            g, q = yield formula(*moments.send(g), g, q)

    return reference


@_adam_like
def adam(m, v, n, g, q):
    return -0.05 * (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-8)


@_adam_like
def adamw(m, v, n, g, q):
    return -0.05 * ((m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-8) + 0.1 * q)


@_adam_like
def nadam(m, v, n, g, q):
    ahead = 0.9 * m / (1 - 0.9 ** (n + 1)) + 0.1 * g / (1 - 0.9**n)
    return -0.05 * ahead / (np.sqrt(v / (1 - 0.999**n)) + 1e-8)


@_adam_like
def radam(m, v, n, g, q):
    m = m / (1 - 0.9**n)
    long = 2 / (1 - 0.999) - 1
    rho = long - 2 * n * 0.999**n / (1 - 0.999**n)
    if rho <= 5:
        return -0.05 * m
    r = np.sqrt((rho - 4) * (rho - 2) * long / ((long - 4) * (long - 2) * rho))
    return -0.05 * r * m / (np.sqrt(v / (1 - 0.999**n)) + 1e-8)


@_adam_like
def lamb(m, v, n, g, q):
    u = (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-6) + 0.1 * q
    return -0.05 * u * np.linalg.norm(q) / np.linalg.norm(u)


def amsgrad(shape):
    top = np.zeros(shape)
    moments = _moments(shape, 0.9, 0.999)
    next(moments)
    g, _ = yield
    while True:
        m, v, n = moments.send(g)
        top = np.maximum(top, v / (1 - 0.999**n))
        g, _ = yield -0.05 * (m / (1 - 0.9**n)) / (np.sqrt(top) + 1e-8)


def adamax(shape):
    u = np.zeros(shape)
    moments = _moments(shape, 0.9, 0.999)
    next(moments)
    g, _ = yield
    while True:
        m, _, n = moments.send(g)
        u = np.maximum(0.999 * u, abs(g))
        g, _ = yield -0.05 * (m / (1 - 0.9**n)) / (u + 1e-8)


def lion(shape, rate=0.01, beta1=0.9, beta2=0.99, decay=0.1):
    m = np.zeros(shape)
    g, q = yield
    while True:
        u = np.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
        g, q = yield -rate * (u + decay * q)


def muon(shape, rate=0.05, beta=0.95):
    t = np.zeros(shape)
    g, _ = yield
    while True:
        t = beta * t + g
        x = g + beta * t
        x = x / np.linalg.norm(x)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        g, _ = yield -rate * max(1, shape[1] / shape[0]) ** 0.5 * x


def midpoint(shape, rate=1e-3):
    g, q = yield
    before, q_now = q, q - rate * g
    while True:
        g, q = yield q_now - q
        before, q_now = q_now, before - 2 * rate * g


def three_step(shape, rate=1e-3):
    g, q = yield
    old = [q]
    new = q - rate * g
    while True:
        g, q = yield new - q
        old = [q, *old][:3]
        new = q - rate * g
        if len(old) == 3:
            new = -1.5 * old[0] + 3 * old[1] - 0.5 * old[2] - 3 * rate * g


def adams_bashforth_2(shape, rate=0.05):
    g, _ = yield
    last = None
    while True:
        new = g if last is None else 1.5 * g - 0.5 * last
        last = g
        g, _ = yield -rate * new


def adams_bashforth_3(shape, rate=0.05):
    past = []
    g, _ = yield
    while True:
        past = [g, *past][:3]
        weights = {1: [1], 2: [1.5, -0.5], 3: [23 / 12, -16 / 12, 5 / 12]}[len(past)]
        g, _ = yield -rate * sum(w * p for w, p in zip(weights, past, strict=True))
