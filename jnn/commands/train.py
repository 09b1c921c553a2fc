"""Train a network on data, say how good it is, and save it.

Targets of text, or of at most 100 different whole numbers, are classes; others are numbers to be
predicted. Columns of a table are standardised. Where the data hold back nothing to test on, a fifth
of the samples is held back here. Ctrl-C ends the run after the epoch, and keeps what was reached.

Examples:
  python -m jnn train digits
  python -m jnn train digits --model vgg --epochs 10 --save digits.safetensors --plot digits.png
  python -m jnn train fashion-mnist/ --model lenet5 --optimizer momentum --rate 0.05
  python -m jnn train iris.csv --target species --model logistic --optimizer lbfgs --json
  python -m jnn train houses.csv --target price --task regression --hidden 64,64 --patience 20
  python -m jnn train pixels.csv --target label --image 28x28 --model lenet5
  python -m jnn train digits --model recurrent --cell gru --layers 1
  python -m jnn train book.txt --model transformer --context 64 --save book.safetensors
  python -m jnn train book.txt --model recurrent --size 128 --layers 1

The exit status is 0; 1 if the loss became infinite; 2 if something is wrong with what was asked
for; 130 after Ctrl-C.
"""

import argparse
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import data, errors, models, rules, train
from jnn.commands.reading.networks import network
from jnn.commands.reading.options import BOTH, OPTIMIZERS, chosen, how_of, reads_text
from jnn.commands.reading.options import configure as configure
from jnn.commands.reading.sources import Labelled, Reading, read_source
from jnn.commands.reading.targets import classes_of, numbered, numbers
from jnn.commands.writing.plain import as_json
from jnn.commands.writing.scores import (
    WIDEST,
    class_scores,
    confusion,
    confusion_text,
    of_numbers,
    scores_text,
)
from jnn.commands.writing.texts import learn
from jnn.models.named import Named
from jnn.store.trained import Trained


class Part(NamedTuple):
    """Samples as `fit` takes them, the inputs not yet scaled."""

    x: np.ndarray
    y: np.ndarray


def run(options: argparse.Namespace) -> int:
    """Trains, reports and saves."""
    for path in filter(None, (options.save, options.plot)):  # Now rather than after the training.
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            errors.fail("train", "--save and --plot", "files", f"'{path}', a folder")
    if options.plot:
        importlib.import_module("jnn.plots")  # Needs matplotlib, which the rest does not.
    if reads_text(options):
        return learn(options)
    optimizer, how = chosen(options), how_of(options, options.target)
    given, held = divided(options, how)
    assert given.y is not None
    classes = classes_of(given.y, options.task)
    part = encoded(given, classes)
    test = None if held is None else encoded(held, classes)
    trained, loss = begun(options, given, part, classes)
    told = {"data": options.data, "samples": len(part.x), "tested": 0 if test is None else
            len(test.x), "input": list(part.x.shape[1:]), "classes": list(classes),
            "model": options.model, "optimizer": options.optimizer, "network": repr(trained.net),
            "parameters": sum(p.size for p in jax.tree.leaves(trained.params))}  # fmt: skip
    if not options.json:
        print(introduction(told), flush=True)

    started = time.perf_counter()
    fit = train.fit(
        trained.net, loss, optimizer,
        targeted(trained, part), epochs=options.epochs, batch_size=options.batch_size,
        key=options.seed, params=trained.params, state=trained.state,
        validation=None if test is None else targeted(trained, test),
        metrics="accuracy" if classes else (),
        stop=train.patience(options.patience) if options.patience else (),
        progress=None if options.quiet else "auto",
    )  # fmt: skip
    trained = trained._replace(params=fit.params, state=fit.state)
    parts = {"training": part} | ({} if test is None else {"test": test})
    found = {name: measured(trained, one) for name, one in parts.items()}
    told |= {"status": fit.status, "message": fit.message, "epochs": fit.epochs,
             "steps": fit.steps, "seconds": round(time.perf_counter() - started, 3),
             "scores": found}  # fmt: skip
    if not options.json:
        print(conclusion(told))
    if options.save:
        trained.save(options.save)
    if options.plot:
        draw(fit.history, list(found.items())[-1], classes, options.plot)
    if options.json:
        told |= {"history": dict(fit.history), "saved": options.save, "plot": options.plot}
        print(as_json(told))
    else:
        written = [("saved", options.save), ("picture", options.plot)]
        print("".join(f"\n{what}: {path}" for what, path in written if path))
    return {"interrupted": 130, "not finite": 1}.get(fit.status, 0)


def divided(options: argparse.Namespace, how: Reading) -> tuple[Labelled, Labelled | None]:
    """What to train on, and what to test on."""
    source = read_source(options.data, how)
    given, held = source.train or source.test, source.test if source.train else None
    assert given is not None
    assert given.y is not None
    try:
        share = float(options.validation)
    except ValueError:
        how = how._replace(columns=given.columns, inputs=int(np.prod(given.x.shape[1:])))
        other = read_source(options.validation, how)
        return given, other.test or other.train
    if not 0 <= share < 1:
        errors.fail("train", "--validation", "a share from 0 to below 1, or DATA", share)
    if held is not None or not share:
        return given, held
    alike = None if not classes_of(given.y, options.task) else given.y
    if alike is not None:
        alike = np.unique(alike, return_inverse=True)[1].reshape(-1)
    (x, y), (test_x, test_y) = data.split((given.x, given.y), share, key=options.seed, labels=alike)
    if not len(test_x) or not len(x):
        got = f"{share:g} of {len(given.x)} samples"
        errors.fail("train", "--validation", "a share that leaves samples on both sides", got)
    return given._replace(x=x, y=y), given._replace(x=test_x, y=test_y)


def encoded(samples: Labelled, classes: tuple[str, ...]) -> Part:
    """Targets as numbers: places of classes, or values."""
    assert samples.y is not None
    if not classes:
        return Part(samples.x, numbers(samples.y))
    y = numbered(samples.y, classes)
    if (y < 0).any():
        unknown = samples.y.reshape(-1)[np.flatnonzero(y < 0)[0]]
        expected = f"of the classes {', '.join(classes)}"
        errors.fail("train", "--validation", expected, f"a sample of the class {unknown}")
    return Part(samples.x, y)


def begun(
    options: argparse.Namespace, given: Labelled, part: Part, classes: tuple[str, ...]
) -> tuple[Trained, Callable[[Any, Any], Any]]:
    """The network before the first step, and its loss."""
    if options.model == "logistic" and not classes:
        errors.fail("train", "--model", "linear, mlp or rbf for numbers", "logistic")
    if options.model == "linear" and classes:
        errors.fail("train", "--model", "logistic, mlp or rbf for classes", "linear")
    if options.optimizer == "levenberg_marquardt" and classes:
        remedy = "It lowers squared errors, of numbers."
        errors.fail("train", "--optimizer", "another for classes", options.optimizer, remedy)
    outputs = len(classes) or part.y.shape[1]
    shape = part.x.shape[1:]
    alike = (options.size,) * options.layers
    hidden = alike if options.model == BOTH else options.hidden
    named = Named(options.model, shape, outputs, hidden, options.activation, cell=options.cell)
    net = network(named)
    scale = data.standardise(part.x)[-1] if part.x.ndim == 2 else None
    target_scale = None if classes else data.standardise(part.y)[-1]
    x = part.x if scale is None else scale(part.x)
    draw, centre = jax.random.split(jax.random.key(options.seed))
    example = jax.ShapeDtypeStruct(x.shape, x.dtype)
    params, state = jax.jit(lambda key: net.init(key, example))(draw)  # One program, not many.
    if options.model == "rbf":
        if len(x) < options.hidden[0]:
            expected = f"at most the number of samples, {len(x)}"
            errors.fail("train", "--hidden", expected, options.hidden[0])
        skipped = len(params) - 2  # `flatten`, which has no parameters.
        inner = models.rbf_network(options.hidden[0], outputs)
        found = models.centred(inner, params[skipped:], centre, jnp.asarray(x.reshape(len(x), -1)))
        params = (*params[:skipped], *found)
    trained = Trained(
        net, params, state, shape, outputs, named, classes, columns=given.columns, scale=scale,
        target_scale=target_scale,
    )  # fmt: skip
    return trained, rules.softmax_cross_entropy if classes else rules.squared_error


def targeted(trained: Trained, part: Part) -> Part:
    """The samples in the units that the network works in."""
    y = part.y if trained.target_scale is None else trained.target_scale(part.y)
    return Part(trained.prepared(part.x), y)


def measured(trained: Trained, part: Part) -> dict[str, Any]:
    """Scores; of classes the confusion matrix too."""
    outputs = trained.outputs(part.x)
    if not trained.classes:
        return of_numbers(outputs, part.y)
    counts = confusion(outputs.argmax(-1), part.y, len(trained.classes))
    return class_scores(outputs, part.y) | {"confusion": counts.tolist()}


def draw(
    history: train.History, last: tuple[str, dict[str, Any]], classes: tuple[str, ...], path: Path
) -> None:
    """The curves, and of few classes the confusion matrix of the last part beside them."""
    from jnn import plots

    if not 0 < len(classes) <= WIDEST:
        plots.history(history, path)
        return
    curves, side = 0.8 + 4.4 * len(history.panels()), 2.6 + 0.42 * len(classes)
    picture = plots.figure(curves + side, max(3.6, side - 0.6))
    left, right = np.asarray(picture.subfigures(1, 2, width_ratios=(curves, side)))
    plots.history(history, figure=left)
    part, scores = last
    counts = np.array(scores["confusion"]).ravel()
    y, predicted = (np.repeat(i.ravel(), counts) for i in np.indices([len(classes)] * 2))
    plots.confusion_matrix(y, predicted, names=classes, figure=right)
    axes = right.axes[0]
    title = f"{part}: {axes.get_title(loc='left')}"
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    picture.savefig(path)


def introduction(told: dict[str, Any]) -> str:
    """What is trained on what."""
    shape = " x ".join(map(str, told["input"]))
    kind = f"{len(told['classes'])} classes" if told["classes"] else "numbers to predict"
    return (
        f"{told['data']}: {told['samples']:,} samples of {shape} to train on, "
        f"{told['tested'] or 'none'} to test on; {kind}\n"
        f"{told['model']}: {told['parameters']:,} parameters\n  {told['network']}"
    )


def conclusion(told: dict[str, Any]) -> str:
    """How it ended and how good it is."""
    scores = {name: {k: v for k, v in part.items() if k != "confusion"}
              for name, part in told["scores"].items()}  # fmt: skip
    lines = [f"{told['message']} {told['epochs']} epochs, {told['steps']:,} steps, "
             f"{told['seconds']:.1f} s.", "", scores_text(scores)]  # fmt: skip
    if told["status"] == "not finite" and told["optimizer"] in OPTIMIZERS:
        lines.insert(1, "A smaller --rate often helps.")
    last = list(told["scores"])[-1]
    if told["classes"]:
        counts = np.array(told["scores"][last]["confusion"])
        lines += ["", f"{last}:", confusion_text(counts, told["classes"])]
    return "\n".join(lines)
