"""Solvers of ordinary differential equations: torchdiffeq's, with the options that a method heeds and no others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from disco_samplers.extras import optional

FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")


def solver(
    method: str, *, rtol: float | None = None, atol: float | None = None, step_size: float | None = None
) -> Callable[..., Any]:
    """``torchdiffeq.odeint`` by a method; called with the right-hand side, the start and the times.

    Arguments:
        method: one that chooses its steps ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun") or one of fixed steps
            ("euler", "midpoint", "heun2", "heun3", "rk4").
        rtol: relative tolerance of a method that chooses its steps, 1e-3 by default.
        atol: its absolute tolerance, 1e-4 by default.
        step_size: of a method of fixed steps; by default each of the times is one step.

    Raises:
        ValueError: if there is no such method, it does not heed an option that is given, or one is not positive.
        ImportError: if torchdiffeq is not installed.
    """
    if method not in FIXED + ADAPTIVE:
        raise ValueError(f"method must be one of {', '.join(ADAPTIVE + FIXED)}, got {method!r}")
    given = {"rtol": rtol, "atol": atol, "step_size": step_size}
    heeded = ("step_size",) if method in FIXED else ("rtol", "atol")
    for name, value in given.items():
        if value is None:
            continue
        if name not in heeded:
            raise ValueError(f"method {method!r} does not heed {name}: it has {' and '.join(heeded)}; leave {name} out")
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    options = {} if step_size is None else {"options": {"step_size": step_size}}
    tolerances = {"rtol": 1e-3 if rtol is None else rtol, "atol": 1e-4 if atol is None else atol}
    return functools.partial(optional("torchdiffeq", "flow").odeint, method=method, **tolerances, **options)
