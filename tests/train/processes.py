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
    from tests.train.test_fit import HELD, run

    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    for epochs in (2, 4):
        fit = run(sharding=mesh, validation=HELD, metrics="accuracy", epochs=epochs,
                  checkpoint=folder / "checkpoints")  # fmt: skip
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(fit.params)]
    np.savez(folder / f"{number}.npz", *leaves, devices=jax.device_count())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
