"""Keyed random streams: every process of every entity draws from a stream of its own name.

A stream's numbers depend on its key alone: split, seed, episode, process and entity. So a tape does
not change when the batch grows, when a product or lane is added, or when the horizon is longer
(draws are sequential in time), and any two policies meet the same tape.
"""

import hashlib
from typing import Literal, get_args

import numpy as np

Split = Literal["train", "validation", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
"""Disjoint families of tapes: learn on train, choose on validation, report on test."""


def check_split(split: str) -> None:
    """Raises a ValueError that lists the known splits if `split` is none of them."""
    if split not in SPLITS:
        raise ValueError(f"split: unknown {split!r}; known: {', '.join(SPLITS)}")


class Streams:
    """Streams of one replica, made from a counter-based generator (Philox; Salmon et al. 2011)."""

    def __init__(self, split: str, seed: int, episode: int = 0) -> None:
        """Streams of episode `episode` of replica `seed` in `split`."""
        check_split(split)
        self.split = split
        self._prefix = hashlib.blake2b(f"{split}\0{seed}\0{episode}\0".encode(), digest_size=16)
        self._bits = np.random.Philox(key=0)
        self._state = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def generator(self, process: str, *entities: str) -> np.random.Generator:
        """Returns a generator at the start of the stream of `process` for `entities`.

        Names are joined by a null character, which none of them may hold: "a/b" of "c" is not "a"
        of "b/c". The generator is shared: draw what is needed before asking for the next stream.
        """
        name = self._prefix.copy()
        name.update("\0".join((process, *entities)).encode())
        state = self._state
        state["state"]["key"] = np.frombuffer(name.digest(), dtype=np.uint64)
        state["state"]["counter"] = np.zeros(4, dtype=np.uint64)
        state["buffer_pos"] = 4
        state["has_uint32"] = 0
        self._bits.state = state
        return self._generator
