"""Chains of ensemble samplers in HDF5, as emcee's backend and zeus's callback write them; ArviZ data under this extension too.

Sources: emcee, *Saving & monitoring progress* (https://emcee.readthedocs.io/en/stable/tutorials/monitor/); zeus, *Callbacks*
(https://zeus-mcmc.readthedocs.io/en/latest/notebooks/progress.html).
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.extras import optional
from disco_samplers.files.columns import from_chains, numeric
from disco_samplers.files.netcdf import read_netcdf
from disco_samplers.files.table import Table


def read_hdf5(file: IO[bytes], path: Path) -> Table:
    """Reads .h5: walkers are chains, (steps, walkers, d) in the file; steps that were reserved but not made are left out."""
    h5py = optional("h5py", "files")
    with h5py.File(file, "r") as opened:
        if "posterior" not in opened:
            return _chains(opened, path)
    file.seek(0)
    return read_netcdf(file, path)


def _chains(opened: Any, path: Path) -> Table:
    groups = {name: group for name, group in opened.items() if hasattr(group, "keys") and "chain" in group}
    if len(groups) > 1:
        raise ValueError(f"{path} holds several runs, {', '.join(groups)}: copy one of them to a file of its own")
    if groups:
        (group,) = groups.values()
        steps = int(group.attrs.get("iteration", len(group["chain"])))
        return _walkers(group["chain"][:steps], group["log_prob"][:steps] if "log_prob" in group else None, path)
    if "samples" in opened:
        return _walkers(opened["samples"][()], opened["logprob"][()] if "logprob" in opened else None, path)
    raise ValueError(f"{path} holds neither emcee's chain, zeus's samples nor an ArviZ posterior: it has {', '.join(opened)}")


def _walkers(chain: np.ndarray, log_prob: np.ndarray | None, path: Path) -> Table:
    values = numeric(chain, "chain")
    if values.ndim != 3:
        raise ValueError(f"{path}: a chain must have shape (steps, walkers, variables), got {chain.shape}")
    known = numeric(log_prob, "log_prob").T if log_prob is not None and log_prob.shape == chain.shape[:2] else None
    return from_chains(values.swapaxes(0, 1), default_names(values.shape[2]), known)
