"""Several processes that share the work of one simulation, as ``torchrun`` starts them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from .types import VelocityDensity, VelocityScore

Part = slice | Tensor
"""Which particles a process has to do: an index."""

Operator = TypeVar("Operator")


class Team:
    """The processes of a simulation: each has all particles, lets those of its cells collide and deposits its share.

    What they do for one another is summed up over all of them, so all have the same numbers after it. Without
    ``torch.distributed`` a process is alone, and has all to do.

    Arguments:
        shared: whether work is shared among the processes of the default group of ``torch.distributed``.

    Raises:
        RuntimeError: if it should be, and there is no such group.

    Example:
        >>> Team().part(torch.tensor([0, 1, 1, 3]), 4)
        slice(None, None, None)
    """

    def __init__(self, shared: bool = False) -> None:
        if shared and not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "a distributed simulation needs a process group: start it by torchrun and call "
                'torch.distributed.init_process_group("gloo"), or "nccl" on GPUs'
            )
        self.rank, self.size = (dist.get_rank(), dist.get_world_size()) if shared else (0, 1)

    def part(self, cell: Tensor, num_cells: int) -> Part:
        """The particles of this process's cells: neighbouring ones, with about as many particles as any other process's."""
        if self.size == 1:
            return slice(None)
        count = torch.bincount(cell, minlength=num_cells)
        middle = count.cumsum(0) - 0.5 * count
        owner = (middle * (self.size / max(len(cell), 1))).long().clamp_max(self.size - 1)
        return owner[cell] == self.rank

    def share(self, values: Tensor) -> Tensor:
        """This process's rows of what is divided evenly."""
        return values.tensor_split(self.size)[self.rank]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in every one of them."""
        if self.size > 1:
            values = values.contiguous()
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()

    def together(self, like: Tensor, part: Part, work: Callable[[], Tensor]) -> Tensor:
        """Rows as those of ``like``, of which each process works out its part.

        Raises:
            RuntimeError: if the work of another process failed; this one's own error is raised as it is.
        """
        if self.size == 1:
            return work()
        rows, error = torch.zeros_like(like), None
        try:
            if not isinstance(part, Tensor) or part.any():
                rows[part] = work()
        except (ValueError, RuntimeError) as failed:
            error = failed
        others = self.total(torch.tensor(float(error is not None), device=like.device))
        if error is not None:
            raise error
        if others > 0:
            raise RuntimeError("collisions failed in another process, which says why")
        return self.total(rows)


class SharedScore:
    """A velocity score of which each process works out its cells.

    Arguments:
        score: of the velocities.
        team: the processes.
    """

    def __init__(self, score: VelocityScore, team: Team) -> None:
        self.score, self.team = score, team

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The score (n, dv); see :class:`~disco_samplers.integrations.plasma.types.VelocityScore`."""
        part = self.team.part(cell, num_cells)
        return self.team.together(v, part, lambda: self.score(v[part], w[part], cell[part], num_cells).to(v.dtype))


class SharedDensity(SharedScore):
    """The same of a score that knows the density, too."""

    score: Any

    def log_prob(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """Log-density of the velocity (n,)."""
        part = self.team.part(cell, num_cells)
        return self.team.together(w, part, lambda: self.score.log_prob(v[part], w[part], cell[part], num_cells).to(w.dtype))


def sharing(operator: Operator, team: Team) -> Operator:
    """An operator whose scores, if it has any, are shared among processes; the operator itself in one alone."""
    score = getattr(operator, "score", None)
    if team.size == 1 or score is None:
        return operator

    def shared(one: VelocityScore) -> SharedScore:
        return (SharedDensity if isinstance(one, VelocityDensity) else SharedScore)(one, team)

    new = copy.copy(operator)
    parts = {name: shared(one) for name, one in score.items()} if isinstance(score, Mapping) else shared(score)
    setattr(new, "score", parts)  # noqa: B010  any operator may have scores
    return new
