"""One of two processes that train divided parameters, the second of which may end in between.

python -m tests.train.shards PORT NUMBER FOLDER EPOCHS [LAST]
"""

import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np


def main(port: str, number: int, folder: Path, epochs: int, last: int = 0) -> None:
    """Trains up to `epochs`; with `last` the second process is gone after that one."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=number)
    import jnn
    from tests.train.test_fit import HELD, run

    def leave(report: jnn.train.Report) -> None:
        if number and report.epoch == last:
            os._exit(9)

    layout = jnn.train.fully_sharded(jax.make_mesh((jax.device_count(),), ("data",)), least=8)
    try:
        fit = run(sharding=layout, validation=HELD, average=0.9, epochs=epochs, callbacks=leave,
                  checkpoint=folder / "checkpoints")  # fmt: skip
    except RuntimeError as error:
        print(error, flush=True)
        os._exit(7)  # JAX would wait for the heartbeat of the other one.
    w = fit.params[0].w
    assert not w.is_fully_addressable
    here: dict[str, Any] = {str(s.index): np.asarray(s.data) for s in w.addressable_shards}
    np.savez(folder / f"{number}.npz", loss=fit.history["loss"], **here)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
