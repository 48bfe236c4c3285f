"""The processes that train one network together, on one machine or on many.

``torchrun`` or SLURM starts them; each runs the same command. Rank 0 leads: it alone looks, plans,
writes and exports, and tells the others where the run's folder is, which all must be able to read.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed

from seg.errors import ConfigError, SegError

LONGEST_WAIT = timedelta(days=1)
"""For the leader to prepare the data. A process that dies is noticed at once."""


@dataclass(frozen=True)
class World:
    """This process among those that train together; alone where nothing else is said."""

    rank: int = 0
    size: int = 1
    machines: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process plans, writes and exports."""
        return self.rank == 0

    @property
    def devices(self) -> int:
        """Processes on this machine, as on each of the others."""
        return self.size // self.machines

    def check(self, batch_size: int) -> None:
        """Make sure that a batch can be shared out evenly.

        Raises:
            ConfigError: it cannot.
        """
        if batch_size % self.size:
            nearest = self.size * max(1, round(batch_size / self.size))
            raise ConfigError(
                f"a batch of {batch_size} patches cannot be shared evenly by {self.size} "
                f"processes; set batch_size to a multiple, such as {nearest}"
            )

    def told(self, word: str = "") -> str:
        """What the leader says; the others wait for it.

        Raises:
            SegError: the leader has ended.
        """
        if self.size == 1:
            return word
        words = [word]
        try:
            distributed.broadcast_object_list(words, src=0, device=torch.device("cpu"))
        except RuntimeError as error:
            raise SegError("the leading process has ended; its own message says why") from error
        return words[0]

    def agreed(self, *values: float) -> list[float]:
        """The largest of each value over all processes."""
        if self.size == 1:
            return list(values)
        largest = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
        return [float(value) for value in largest]


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """Meet the other processes that ``torchrun`` or SLURM has started, if there are any."""
    environment = next(
        (kind() for kind in (TorchElasticEnvironment, SLURMEnvironment) if kind.detect()), None
    )
    if environment is None or environment.world_size() == 1:
        yield ALONE
        return
    rank, size = environment.global_rank(), environment.world_size()
    os.environ["MASTER_ADDR"] = environment.main_address
    os.environ["MASTER_PORT"] = str(environment.main_port)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(environment.local_rank())
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, rank=rank, world_size=size, timeout=LONGEST_WAIT)
    try:
        nodes: list[int] = [0] * size
        distributed.all_gather_object(nodes, environment.node_rank())
        yield World(rank, size, len(set(nodes)))
    finally:
        distributed.destroy_process_group()
