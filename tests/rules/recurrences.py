"""The recurrences told once more, step by step and sample by sample in NumPy."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm(x, w, r, b=None, h0=None, c0=None, reverse=False):
    batch, time, units = *x.shape[:2], len(r)
    y, ends = np.zeros((batch, time, units)), np.zeros((2, batch, units))
    for s in range(batch):
        h = np.zeros(units) if h0 is None else h0[s]
        c = np.zeros(units) if c0 is None else c0[s]
        for t in reversed(range(time)) if reverse else range(time):
            z = [0.0 if b is None else b[k] for k in range(4 * units)]
            for k in range(4 * units):
                z[k] += sum(x[s, t] * w[:, k]) + sum(h * r[:, k])
            i, f, g, o = np.reshape(z, (4, units))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            y[s, t] = h
        ends[:, s] = h, c
    return y, (ends[0], ends[1])


def gru(x, w, r, b=None, c=None, h0=None, reverse=False):
    batch, time, units = *x.shape[:2], len(r)
    y, end = np.zeros((batch, time, units)), np.zeros((batch, units))
    for s in range(batch):
        h = np.zeros(units) if h0 is None else h0[s]
        for t in reversed(range(time)) if reverse else range(time):
            u = [sum(x[s, t] * w[:, k]) + (0 if b is None else b[k]) for k in range(3 * units)]
            v = [sum(h * r[:, k]) + (0 if c is None else c[k]) for k in range(3 * units)]
            (u1, u2, u3), (v1, v2, v3) = np.reshape(u, (3, units)), np.reshape(v, (3, units))
            p, q = sigmoid(u1 + v1), sigmoid(u2 + v2)
            h = (1 - q) * np.tanh(u3 + p * v3) + q * h
            y[s, t] = h
        end[s] = h
    return y, end


BY_LOOPS = {"lstm": lstm, "gru": gru}


def arguments(random, name, batch=3, time=5, features=2, units=4, biases=True, states=True):
    """x, w, r, and biases and initial states, or None for them."""
    gates, of_biases, of_states = {"lstm": (4, 1, 2), "gru": (3, 2, 1)}[name]
    args = [random.normal(size=(batch, time, features))]
    args += [random.normal(size=(n, gates * units)) for n in (features, units)]
    args += [random.normal(size=gates * units) if biases else None for _ in range(of_biases)]
    return args + [random.normal(size=(batch, units)) if states else None for _ in range(of_states)]
