"""A language model of Python's own source code, against counts: bits a character, and a sample.

    python examples/language_model.py [--short] [--out FOLDER]

The text is the modules of the standard library, which are wherever Python is; some of the files are
held out. A network of attention and a table of counts read the same characters, and each says what
comes next. A count of the n characters before backs off to fewer where it has seen little (Witten
and Bell 1991): beyond four it loses again, for longer stretches are seldom seen twice. Attention
goes on gaining by what stands far before, such as a name that is used again. What it looks at is
drawn, and what it writes is printed.
"""

import argparse
import itertools
import sysconfig
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots

SIZE, HEADS, LAYERS, CONTEXT = 96, 4, 3, 128
BATCH, RATE, STEPS = 16, 4e-3, 700
ORDERS = 7  # Eight bytes are one integer of 64 bits.
SEEN = (1, 2, 3, 4, 5, 6, 7, 10, 14, 20, 28, 40, 56, 80, CONTEXT + 1)  # Where the curve is drawn.


def library(train: int, held: int) -> tuple[np.ndarray, np.ndarray]:
    """So many bytes of some modules, and of others."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    order = np.random.default_rng(0).permutation(len(files))
    texts = [np.frombuffer(files[i].read_bytes(), np.uint8) for i in order]
    kept = len(texts) // 5
    return np.concatenate(texts[kept:])[:train], np.concatenate(texts[:kept])[:held]


def windows(text: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Stretches of the text, and the same one place later."""
    found = np.lib.stride_tricks.sliding_window_view(text, CONTEXT + 1)[::stride].astype(np.int32)
    return found[:, :-1], found[:, 1:]


def grams(text: np.ndarray, n: int) -> np.ndarray:
    """The n bytes that end at each place, as an integer; before the text there are zeros."""
    padded = np.concatenate([np.zeros(max(n - 1, 0), np.uint8), text]).astype(np.uint64)
    found = np.zeros(len(text), np.uint64)
    for i in range(n):
        found = found << np.uint64(8) | padded[i : i + len(text)]
    return found


def counted(train: np.ndarray, held: np.ndarray, orders: int) -> np.ndarray:
    """Bits of each held-out byte, a row for each number of bytes that are seen before it.

    With c times the context h, of which u different bytes came behind,

        p(b | h) = (c(h b) + u(h) p(b | h without its first byte)) / (c(h) + u(h))
    """
    p, rows = np.full(len(held), 1 / 256), []
    for n in range(1, orders + 1):
        seen, times = np.unique(grams(train, n), return_counts=True)
        before = seen >> np.uint64(8)
        first = np.flatnonzero(np.concatenate([[True], before[1:] != before[:-1]]))
        both = [(seen, times, grams(held, n))]
        contexts, asked = before[first], grams(held, n) >> np.uint64(8)
        both += [(contexts, np.add.reduceat(times, first), asked)]
        both += [(contexts, np.diff(first, append=len(seen)), asked)]
        gram, context, kinds = (looked_up(*each) for each in both)
        known = np.maximum(context + kinds, 1)
        p = np.where(context > 0, (gram + kinds * p) / known, p)
        rows.append(-np.log2(p))
    return np.stack(rows)


def looked_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The values of keys, which are sorted; 0 of others."""
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)


def bits(net: jnn.Layer, params: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bits of each byte, (window, place)."""
    measure = jax.jit(lambda x, y: jnn.softmax_cross_entropy(net(params, x), y) / jnp.log(2))
    return np.concatenate([measure(x[i : i + BATCH], y[i : i + BATCH])
                           for i in range(0, len(x), BATCH)])  # fmt: skip


def looks(params: Any, ids: np.ndarray) -> np.ndarray:
    """How much each place looks at each in the last block, (head, place, place)."""
    embedded, blocks, *_ = params
    block = jnn.models.transformer_block(SIZE, HEADS, causal=True, rotary=True)
    x = embedded.w[ids][None]
    for i in range(LAYERS - 1):
        x = block(jax.tree.map(lambda a, i=i: a[i], blocks.each), x)
    (((norm, attention),), _) = jax.tree.map(lambda a: a[-1], blocks.each)
    x, places = jnn.rms_norm()(norm, x), jnp.arange(len(ids))
    q, k = ((x @ w).reshape(1, len(ids), HEADS, -1) for w in (attention.w_q, attention.w_k))
    q, k = (jnn.rules.rotary(a, places) for a in (q, k))
    scores = jnp.einsum("bihn,bjhn->hij", q, k) / np.sqrt(SIZE // HEADS)
    return np.asarray(jax.nn.softmax(jnp.where(places <= places[:, None], scores, -jnp.inf)))


def draw(curves: dict[str, np.ndarray], weights: np.ndarray, text: str, file: Path) -> None:
    """Bits against what is seen, and the attention of a head: a row is a character that looks."""
    picture = plots.figure(12.5, 6)
    left, right = picture.subfigures(1, 2, squeeze=False, width_ratios=(5, 7))[0]
    plots.curves(SEEN[:-1], curves, x_label="characters that are seen", y_label="bits a character",
                 log="x", title="Files that were held out", figure=left)  # fmt: skip
    axes = right.add_subplot()
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    shown = text.replace("\n", "\u21b5").replace(" ", "\u00b7")
    ticks = {"ticks": range(len(shown)), "labels": list(shown), "fontsize": 7}
    axes.set_xticks(**ticks)
    axes.set_yticks(**ticks)
    axes.tick_params(length=0)
    axes.set(xlabel="at which it looks", ylabel="character that looks")
    axes.set_title("A head of the last block", loc="left", fontweight="bold")
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="10 steps, and little text")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    steps, kept = (10, 100_000) if options.short else (STEPS, 1_500_000)

    train, held = library(kept, 2_000 if options.short else 64_000)
    # With a window it writes on beyond the places that it was trained on.
    net = jnn.models.transformer(256, SIZE, HEADS, LAYERS, window=CONTEXT)
    rate = jnn.schedules.warm_up(jnn.schedules.cosine(RATE, steps), steps // 10)
    fit = jnn.fit(
        net, jnn.softmax_cross_entropy, jnn.adamw(rate), windows(train, CONTEXT),
        steps=steps, batch_size=BATCH, progress=None,
    )  # fmt: skip
    parameters = sum(a.size for a in jax.tree.leaves(fit.params))
    print(f"Python's standard library: {len(train):,} bytes to learn from, {len(held):,} of other "
          f"files; {parameters:,} parameters, {steps} steps")  # fmt: skip

    # Both are asked for the same bytes: the second half of each window, which follow on another.
    x, y = windows(held, CONTEXT // 2)
    found = bits(net, fit.params, x, y)
    half = CONTEXT // 2
    same = slice(half + 1, half + 1 + half * len(x))
    counts = counted(train, held, ORDERS)[:, same].mean(1)
    network = found[:, half:].mean()
    print(f"{'bits a character':32}{'of held-out files':>18}")
    for n, value in enumerate(counts):
        print(f"{f'counts, {n} before':32}{value:18.3f}")
    print(f"{f'network, {half} before and more':32}{network:18.3f}")

    begun = np.frombuffer(b"\n    def ", np.uint8).astype(np.int32)
    length = 40 if options.short else 400
    ids = jnn.models.generate(net, fit.params, begun, length, 0, temperature=0.7)
    print("It writes:")
    print(bytes(np.asarray(ids, np.uint8)).decode(errors="replace"))

    text = "self.length = length\n        self.index = "
    weights = looks(fit.params, np.frombuffer(text.encode(), np.uint8).astype(np.int32))
    # The head that looks at one place far back most sharply.
    head = np.tril(weights, -4).max(-1).mean(-1).argmax()
    of_counts = np.full(len(SEEN) - 1, np.nan)
    of_counts[: ORDERS - 1] = counts[1:]
    by_place = [found[:, a - 1 : b - 1].mean() for a, b in itertools.pairwise(SEEN)]
    file = options.out / "language_model.png"
    draw({"counts": of_counts, "network": np.array(by_place)}, weights[head], text, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
