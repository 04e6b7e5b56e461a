"""Collisions without space: the velocity distribution of a uniform plasma relaxes, in any velocity dimension."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from disco_samplers.arrays import as_points, as_tensor, check_callable, check_count, check_positive
from disco_samplers.draws import Draws
from disco_samplers.files import write
from disco_samplers.types import ArrayLike

from .collisions import collide
from .collisions.frequency import check_step, frequency
from .entropy import entropy as entropy_of
from .entropy import score_consistency
from .mixture import Mixture
from .relaxation_pictures import plot_relaxation
from .types import CollisionOperator, Species

_FORMAT = "disco-samplers/plasma-homogeneous/1"


class Homogeneous:
    r"""Particles of a uniform plasma that collide: no grid, no field, any number of velocity components.

    Arguments:
        v: velocities (n, d), or :class:`~disco_samplers.Draws` of them.
        operator: the collisions.
        dt: time step.
        w: weights (n,), whose sum is the density; those of the draws, or equal, and of sum one by default.
        seed: of the operator's randomness.

    Attributes:
        v: velocities now.
        time: now.
        history: one row each recorded step: time, energy, size of the momentum, temperature of each component, mean of
            :math:`|v - u|^4`; with ``entropy=True`` the entropy a particle :math:`-\langle \log n f \rangle`, its
            production :math:`-\langle s \cdot \dot v \rangle` and the score's consistency :math:`-\langle (v-u) \cdot s \rangle
            / d`, one for any distribution's score; and what ``observe`` added.

    Raises:
        ValueError: if velocities or weights are not finite, shapes do not fit, a weight or ``dt`` is not positive.

    Example:
        >>> from disco_samplers.integrations.plasma.collisions import Landau
        >>> from disco_samplers.integrations.plasma.scores import Blob
        >>> v = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.5, 0.5])
        >>> run = Homogeneous(v, Landau(Blob(), strength=0.1, exponent=0), dt=0.1).run(10, progress=False)
        >>> bool(run.history[-1]["temperature 1"] < run.history[0]["temperature 1"])
        True
    """

    def __init__(
        self, v: ArrayLike | Draws, operator: CollisionOperator, *, dt: float, w: ArrayLike | None = None, seed: int = 0
    ) -> None:
        if isinstance(v, Draws):
            if w is not None and v.weights is not None:
                raise ValueError("w is given twice: the draws have weights of their own")
            w = v.weights if w is None else w
            kept = slice(None) if v.weights is None else v.weights > 0
            v, w = v.values[kept], None if w is None else w[kept]
        self.v = as_points(v, "v").clone()
        if self.v.ndim != 2 or len(self.v) < 2:
            raise ValueError(f"v must have shape (n, d) with n >= 2, got {tuple(self.v.shape)}")
        n = len(self.v)
        self.w = self.v.new_full((n,), 1 / n) if w is None else as_tensor(w, "w").to(self.v)
        if self.w.shape != (n,) or not (torch.isfinite(self.w).all() and (self.w > 0).all()):
            raise ValueError(f"w must hold {n} positive weights, one a particle, got shape {tuple(self.w.shape)}")
        check_positive("dt", dt)
        check_callable("operator", operator, "a CollisionOperator")
        check_count("seed", seed, 0)
        self.operator, self.dt, self.steps = operator, dt, 0
        self.generator = torch.Generator(self.v.device).manual_seed(seed)
        self.cell = torch.zeros(n, dtype=torch.int64, device=self.v.device)
        self.history: list[dict[str, float]] = []

    @property
    def time(self) -> float:
        """Time since the start."""
        return self.steps * self.dt

    def step(self) -> None:
        """One time step.

        Raises:
            ValueError: if ``dt`` is too long for the collisions.
        """
        self.v = collide(self.operator, self.v, self.w, self.cell, 1, self.dt, generator=self.generator)
        self.steps += 1

    def run(
        self,
        num_steps: int,
        *,
        every: int = 1,
        entropy: bool = False,
        observe: Callable[[Homogeneous], Mapping[str, float]] | None = None,
        progress: bool = True,
    ) -> Homogeneous:
        """Runs, recording the start and every ``every``-th step; can be called again to go on.

        An interrupt (Ctrl-C) keeps what was done, and is passed on where no step was.

        Arguments:
            num_steps: how many.
            every: steps between rows of the history.
            entropy: whether rows hold entropy, its production and the score's consistency, which cost as much as two steps;
                the operator's ``score`` must have a ``log_prob``, as :class:`DiscoScore`, :class:`Blob` and
                :class:`Maxwellian` have.
            observe: called with this object for each row; what it returns is added as columns.
            progress: whether to show a progress bar.

        Returns:
            This object.

        Raises:
            TypeError: if ``entropy`` is asked of a score without ``log_prob``.
            ValueError: if ``num_steps`` or ``every`` is out of range, or ``dt`` is too long for the collisions.
        """
        check_count("num_steps", num_steps, 0)
        check_count("every", every, 1)
        if entropy and not hasattr(getattr(self.operator, "score", None), "log_prob"):
            raise TypeError("entropy needs an operator whose score has a log_prob, as those of DiscoScore, Blob and Maxwellian")
        nu = frequency(self.operator, Mixture.of([Species("particles", self.w, self.v, self.w)]))
        check_step({} if nu is None else {"particles": nu * self.dt}, self.dt)
        if not self.history:
            self._record(entropy, observe)
        first = self.steps
        try:
            for _ in tqdm(range(num_steps), disable=not progress, desc="colliding"):
                self.step()
                if self.steps % every == 0:
                    self._record(entropy, observe)
        except KeyboardInterrupt:
            if self.steps == first:
                raise
        return self

    def column(self, name: str) -> np.ndarray:
        """A column of the history.

        Raises:
            KeyError: if there is none of that name.
        """
        return np.array([row[name] for row in self.history])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything but the operator to a safetensors file, from which :meth:`load` goes on bit for bit."""
        tensors = {"v": self.v.cpu().contiguous(), "w": self.w.cpu().contiguous(), "generator": self.generator.get_state()}
        state = {"dt": self.dt, "steps": self.steps, "history": self.history}
        metadata = {"format": _FORMAT, "state": json.dumps(state)}
        write(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], operator: CollisionOperator, *, device: torch.device | str = "cpu"
    ) -> Homogeneous:
        """Reads what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is of another kind.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file: {error}") from error
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"{path} holds no homogeneous run: its format is {metadata.get('format')!r}")
        state = json.loads(metadata["state"])
        run = cls(tensors["v"].to(device), operator, dt=state["dt"], w=tensors["w"].to(device))
        run.generator.set_state(tensors["generator"])
        run.steps, run.history = state["steps"], state["history"]
        return run

    def plot(self, exact: Mapping[str, Callable[[float], float]] | None = None, path: str | None = None) -> Any:
        """Draws the history, dashed what is exact; see :func:`.relaxation_pictures.plot_relaxation`."""
        if not self.history:
            raise ValueError("nothing to draw: call run() first")
        return plot_relaxation({name: self.column(name) for name in self.history[0]}, exact, path)

    def _record(self, entropy: bool, observe: Callable[[Homogeneous], Mapping[str, float]] | None) -> None:
        v, w = self.v.double(), self.w.double()
        mean = (w[:, None] * v).sum(0) / w.sum()
        c = v - mean
        temperature = (w[:, None] * c.square()).sum(0) / w.sum()
        row = {
            "time": self.time,
            "energy": float(0.5 * (w * v.square().sum(1)).sum()),
            "momentum": float(torch.linalg.vector_norm((w[:, None] * v).sum(0))),
            **{f"temperature {i}": float(t) for i, t in enumerate(temperature, 1)},
            "fourth moment": float((w * c.square().sum(1).square()).sum() / w.sum()),
        }
        if entropy:
            row |= self._entropy(w)
        self.history.append(row | dict(observe(self) if observe else {}))

    def _entropy(self, w: Tensor) -> dict[str, float]:
        score: Any = getattr(self.operator, "score")  # noqa: B009  # an operator need not have one
        # Looking must not change what comes: the operator draws from a copy.
        generator = torch.Generator(self.v.device)
        generator.set_state(self.generator.get_state())
        rate = self.operator(self.v, self.w, self.cell, 1, generator).double()
        s = score(self.v, self.w, self.cell, 1)
        here = (self.v, self.w, self.cell, 1)
        return {
            "entropy": entropy_of(score, *here),
            "entropy production": -float((w * (s * rate).sum(1)).sum() / w.sum()),
            "score consistency": score_consistency(s, *here),
        }
