"""Language models on the command line: trained on a text file, and what they write."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnn import data, errors, rules, train
from jnn.commands.reading.options import SOLVERS, chosen
from jnn.commands.writing.plain import as_json
from jnn.files import whole
from jnn.store.writer import Writer
from jnn.text import table

BEGINNING = 16  # Letters of the held-back text behind which a sample is written.


def learn(options: argparse.Namespace) -> int:
    """Trains a network on the text of a file, reports, lets it write, and saves it."""
    if options.optimizer in SOLVERS:
        errors.fail("train", "--optimizer", "no solver for a text", options.optimizer)
    path = Path(options.data)
    if not path.is_file():
        expected = f"a text file for a {options.model}"
        errors.fail("DATA", options.data, expected, "no file of that name", kind=FileNotFoundError)
    try:
        share = float(options.validation)
    except ValueError:
        errors.fail("train", "--validation", "a share of the text", options.validation)
    text = data.text(path, options.context, letters=options.letters, test=share)
    writer = Writer(text.alphabet, options.size, options.heads, options.layers, options.context,
                    options.model, options.cell)  # fmt: skip
    x = jax.ShapeDtypeStruct((1, options.context), np.int32)
    params = jax.eval_shape(writer.net.init, jax.random.key(0), x)[0]
    told: dict[str, Any] = {
        "data": options.data, "letters": text.train.x.size, "context": options.context,
        "tested": 0 if text.test is None else text.test.x.size, "alphabet": text.alphabet.size,
        "model": options.model, "optimizer": options.optimizer, "network": repr(writer.net),
        "parameters": sum(p.size for p in jax.tree.leaves(params)),
    }  # fmt: skip
    if not options.json:
        print(
            f"{told['data']}: {told['letters']:,} {options.letters} to train on, "
            f"{told['tested']:,} to test on; windows of {options.context}\n"
            f"{told['model']}: {told['parameters']:,} parameters", flush=True,
        )  # fmt: skip
    started = time.perf_counter()
    fit = train.fit(
        writer.net, rules.softmax_cross_entropy, chosen(options), text.train,
        epochs=options.epochs, batch_size=options.batch_size, key=options.seed,
        validation=text.test, metrics="accuracy",
        stop=train.patience(options.patience) if options.patience else (),
        progress=None if options.quiet else "auto",
    )  # fmt: skip
    writer = writer._replace(params=fit.params)
    last = {name: float(column[-1]) for name, column in fit.history.items() if len(column)}
    parts = {"training": ""} | ({} if text.test is None else {"test": "validation_"})
    scores = {
        part: {
            "bits a letter": last[f"{prefix}loss"] / np.log(2),
            "right": last[f"{prefix}accuracy"],
        }
        for part, prefix in parts.items()
        if f"{prefix}loss" in last
    }
    told |= {"status": fit.status, "message": fit.message, "epochs": fit.epochs,
             "steps": fit.steps, "seconds": round(time.perf_counter() - started, 3),
             "scores": scores}  # fmt: skip
    if fit.status != "not finite":
        begun = text.alphabet.decode((text.test or text.train).x[0, :BEGINNING])
        told["sample"] = writer.write(begun, options.length, options.seed, options.temperature)
    if options.save:
        writer.save(options.save)
    if options.plot:
        from jnn import plots

        plots.history(fit.history, options.plot)
    if options.json:
        told |= {"history": dict(fit.history), "saved": options.save, "plot": options.plot}
        print(as_json(told))
    else:
        rows = [("", *next(iter(scores.values()), {}))]
        rows += [(part, *(f"{v:.4g}" for v in values.values())) for part, values in scores.items()]
        print(f"{told['message']} {fit.epochs} epochs, {fit.steps:,} steps, "
              f"{told['seconds']:.1f} s.\n\n{table(rows)}\n\n{told.get('sample', '')}")  # fmt: skip
        written = [("saved", options.save), ("picture", options.plot)]
        print("".join(f"\n{what}: {path}" for what, path in written if path))
    return {"interrupted": 130, "not finite": 1}.get(fit.status, 0)


def go_on(options: argparse.Namespace) -> int:
    """Goes on from a text, or from that of a file."""
    writer = Writer.load(options.file)
    path = Path(options.data)
    beginning = options.data
    if len(beginning) < 256 and path.is_file():
        beginning = path.read_text(encoding="utf-8")
    text = writer.write(beginning, options.length, options.seed, options.temperature)
    if options.out:
        with whole(options.out) as file:
            file.write(text.encode())
    if options.json:
        print(as_json({"file": options.file, "text": text}))
    elif not options.out:
        print(text)
    else:
        print(f"{options.length:,} letters; written to {options.out}", file=sys.stderr)
    return 0
