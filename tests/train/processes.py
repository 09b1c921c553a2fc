"""One of two processes that train together.

python -m tests.train.processes PORT NUMBER FOLDER
"""

import sys
from pathlib import Path

import jax
import numpy as np


def main(port: str, number: int, folder: Path) -> None:
    """Trains on the devices of both, in two parts, so that both read what one has written."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=number)
    import jnn
    from tests.train.test_fit import HELD, X, Y, run

    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    for epochs in (2, 4):
        fit = run(sharding=mesh, validation=HELD, metrics="accuracy", epochs=epochs,
                  checkpoint=folder / "checkpoints")  # fmt: skip
    own = slice(0, 40) if number == 0 else slice(40, 70)
    shard = (X[own], Y[own])  # Uneven parts, and batches that two devices do not divide.
    batches = [(shard[0][i : i + 5], shard[1][i : i + 5]) for i in range(0, len(shard[0]), 5)]
    for name, data in {
        "arrays": jnn.train.Stream(shard, shard=True),
        "batches": jnn.train.Stream(batches, length=8, shard=True),
    }.items():
        parts = run(sharding=mesh, data=data, batch_size=5, epochs=2, shuffle=False)
        np.savez(folder / f"{name}{number}.npz", *map(np.asarray, jax.tree.leaves(parts.params)),
                 loss=parts.history["loss"])  # fmt: skip
    mixed = run(sharding=mesh, data=jnn.train.Stream(shard, shard=True), batch_size=5)
    assert mixed.status == "done"
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(fit.params)]
    np.savez(folder / f"{number}.npz", *leaves, devices=jax.device_count())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
