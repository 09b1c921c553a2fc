"""Where `Trained` was: it is `jnn.store.trained.Trained`, of commands and estimators alike."""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    if name == "Trained":
        raise ImportError("jnn.commands.trained.Trained is now jnn.store.trained.Trained.")
    raise AttributeError(name)
