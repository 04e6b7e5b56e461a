"""What a sampler returns: draws with their diagnostics, table, picture and ArviZ form."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers.convergence import Periods, diagnostic
from disco_samplers.draws import Draws
from disco_samplers.files import to_arviz, write_draws
from disco_samplers.pictures import plot_pairs, plot_ranks, plot_traces
from disco_samplers.samplers.diagnostics import Summary, about, centers, summarise, unmixed
from disco_samplers.samplers.driver import Checkpoint, Record

Reference = Tensor | np.ndarray | Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class SamplerResult:
    """Draws and how they came about.

    Arguments:
        draws: (chain, draw, d).
        acceptance: mean probability of acceptance of each chain, (chain,); 1 for unadjusted methods.
        divergences: (chain, draw), True where a step after warm-up diverged.
        step_size: of the draws after warm-up.
        method: name of the sampler.
        names: of the d variables.
        complete: False if the run was interrupted and this is what it had drawn.
        pareto_k: of the importance weights of the proposals of "jumps": above 0.7 parts of the target get too few of them.
        start: where each chain started, before warm-up, (chain, d).
        periods: of columns of angles, None for others, by the estimate that was drawn from; R-hat and ESS are then the worse
            of cosine and sine, and tables and pictures are about their direction.
        checkpoint: where the chains stand, for ``LangevinSampler.run(resume=result)``; not in copies and pickles.

    Example:
        >>> import torch
        >>> from disco_samplers import LangevinSampler
        >>> result = LangevinSampler(score=lambda x: -x, log_prob=lambda x: -0.5 * x.square().sum(-1)).run(
        ...     50, initial=torch.zeros(4, 2), num_warmup=20, seed=0, progress=False)
        >>> result.draws.shape
        torch.Size([4, 50, 2])
    """

    draws: Tensor
    acceptance: Tensor
    divergences: Tensor
    step_size: float
    method: str
    names: Sequence[str]
    complete: bool = True
    pareto_k: float | None = None
    start: Tensor | None = dataclasses.field(default=None, repr=False)
    periods: Periods | None = dataclasses.field(default=None, repr=False)
    checkpoint: Checkpoint | None = dataclasses.field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # The target is a user's function, which may not pickle, or an estimate, which outweighs the draws by far.
        return self.__dict__ | {"checkpoint": None}

    @classmethod
    def of(
        cls,
        record: Record,
        checkpoint: Checkpoint,
        method: str,
        names: Sequence[str],
        *,
        pareto_k: float | None = None,
        start: Tensor | None = None,
        periods: Periods | None = None,
        before: SamplerResult | None = None,
    ) -> SamplerResult:
        """The result of a run's record, after the draws that it went on from."""
        draws, acceptance, divergences = record.draws, record.acceptance, record.divergences
        if before is not None:
            pareto_k, start = before.pareto_k, before.start
            share = before.draws.shape[1] / (before.draws.shape[1] + draws.shape[1])
            acceptance = share * before.acceptance + (1 - share) * acceptance
            draws = torch.cat([before.draws, draws], 1)
            divergences = torch.cat([before.divergences, divergences], 1)
        found = (draws, acceptance, divergences, checkpoint.step_size, method, names)
        return cls(*found, complete=record.complete, pareto_k=pareto_k, start=start, periods=periods, checkpoint=checkpoint)

    @property
    def rhat(self) -> np.ndarray:
        """Rank-normalised split R-hat of each variable, (d,); NaN where undefined."""
        return diagnostic("rhat", self.numpy(), self.periods)

    @property
    def ess(self) -> np.ndarray:
        """Bulk effective sample size of each variable, (d,)."""
        return diagnostic("ess_bulk", self.numpy(), self.periods)

    @property
    def effective_size(self) -> float:
        """How many independent draws these are worth, as :attr:`Draws.effective_size` of the chains says."""
        turns = [None if period is None else f"circular:{period!r}" for period in self.periods or []]
        return Draws(self.draws, support=turns or None).effective_size

    @property
    def unmixed(self) -> list[str]:
        """Names of the variables that have not mixed: R-hat above 1.01, or fewer than 400 effective draws in bulk or tails.

        Of chains of fewer than 100 draws 64 are judged, by the nested R-hat; fewer are not, nor is the cloud of the method
        "flow".
        """
        return [] if self.method == "flow" else [self.names[i] for i in unmixed(self.numpy(), self._start(), self.periods)]

    @property
    def flat(self) -> Tensor:
        """All chains' draws together, (chain * draw, d)."""
        return self.draws.flatten(0, 1)

    def numpy(self) -> np.ndarray:
        """The draws as a float64 array (chain, draw, d)."""
        return self.draws.detach().cpu().numpy().astype(np.float64)

    def _start(self) -> np.ndarray | None:
        return None if self.start is None or self.method == "flow" else self.start.detach().cpu().numpy()

    def summary(self) -> Summary:
        """The table of :func:`~disco_samplers.samplers.summarise`."""
        self._check_drawn()
        return summarise(self.numpy(), self.names, start=self._start(), periods=self.periods)

    def to_arviz(self) -> Any:
        """The draws as ArviZ data (InferenceData before ArviZ 1.0, a DataTree from then on).

        Raises:
            ImportError: if ArviZ is not installed.
        """
        return to_arviz(self.numpy(), self.names, self.divergences.cpu().numpy())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the draws as their extension says: .csv, .npy, .npz, .parquet, .feather or ArviZ .nc.

        Raises:
            ValueError: if the extension is unknown, or the format has another use for a variable's name.
            ImportError: if the format needs a package that is not installed.
        """
        write_draws(os.fspath(path), self.numpy(), self.names, self.divergences.cpu().numpy())

    def plot(self, path: str | None = None, *, kind: str = "trace", reference: Reference | None = None) -> Any:
        """Draws the draws; needs matplotlib.

        Arguments:
            path: where to save the picture, if anywhere.
            kind: "trace" for marginals and traces, "pair" for every two variables, "rank" for each chain's ranks.
            reference: draws (n, d) to show beside, for traces and pairs; traces give each of several an outline.

        Raises:
            ValueError: if ``kind`` is none of these, a reference is given that it ignores, or there are no draws.
        """
        if kind not in ("trace", "pair", "rank"):
            raise ValueError(f'kind must be "trace", "pair" or "rank", got {kind!r}')
        self._check_drawn()
        if kind == "rank":
            if reference is not None:
                raise ValueError('kind "rank" ignores reference=: ranks are those of the draws among themselves')
            return plot_ranks(self.numpy(), self.names, path)
        draws, old = self.numpy(), reference.detach().cpu().numpy() if isinstance(reference, Tensor) else reference
        if any(period is not None for period in self.periods or []):
            center = centers(draws, self.periods)
            draws = about(draws, center, self.periods)
            if old is not None:
                several = isinstance(old, (list, tuple))
                turned = [about(np.asarray(one), center, self.periods) for one in (old if several else [old])]
                old = turned if several else turned[0]
        return (plot_pairs if kind == "pair" else plot_traces)(draws, self.names, old, path)

    def _check_drawn(self) -> None:
        if not self.draws.shape[1]:
            raise ValueError("the run ended in warm-up: there are no draws")

    def __repr__(self) -> str:
        chains, draws, d = self.draws.shape
        return (
            f"SamplerResult({self.method}, num_chains={chains}, num_samples={draws}, d={d}, "
            f"acceptance={float(self.acceptance.mean()):.2f}, divergences={int(self.divergences.sum())}"
            + ("" if self.pareto_k is None else f", pareto_k={self.pareto_k:.2f}")
            + ")"
        )
