"""Reaching a cluster, how many workers it has room for, and what is said where one of them fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from disco_samplers.extras import optional

_SECONDS = 5.0
"""For which an address is waited for."""


def connect(address: str | None = None) -> Any:
    """The module, connected to a cluster: as it is already, that of the address, or one of this machine's own.

    Raises:
        ImportError: if Ray is not installed.
        ValueError: if the address is none.
        ConnectionError: if it does not answer.
    """
    ray = optional("ray", "ray")
    if not ray.is_initialized():
        if address not in (None, "auto", "local"):
            _check_answers(str(address))
        try:
            ray.init(address=address, include_dashboard=None, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError) as error:
            raise ConnectionError(f"no Ray cluster at {address or 'this machine'}: {_last_line(error)}") from error
    return ray


def cpus_of(ray: Any) -> int:
    """How many CPUs the cluster has."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def check_workers(ray: Any, wanted: int | None, num_gpus: float, *, spare: int) -> int:
    """How many workers there are to be: as many as wanted, or as there is room for beside ``spare`` CPUs for what reads.

    More would wait for ever.

    Raises:
        ValueError: if there is no room for as many as wanted.
    """
    room = max(1, cpus_of(ray) - spare)
    if num_gpus:
        gpus = float(ray.cluster_resources().get("GPU", 0.0))
        if gpus < num_gpus:
            raise ValueError(f"num_gpus={num_gpus:g} for each worker, and the cluster has {gpus:g} GPUs")
        room = min(room, int(gpus / num_gpus))
    if wanted is not None and wanted > room:
        beside = f" beside {spare} CPU that reads" * bool(spare)
        raise ValueError(f"concurrency must be at most {room}, the workers that the cluster has room for{beside}, got {wanted}")
    return room if wanted is None else wanted


def device_for(num_gpus: float) -> str:
    """Where a worker with so many GPUs works."""
    return "cuda" if num_gpus else "cpu"


@contextmanager
def plainly() -> Iterator[None]:
    """Raises what a worker raised as if it had been raised here.

    Raises:
        ImportError: if a worker has no disco-samplers, or not what it needs.
        RuntimeError: if workers died again and again.
    """
    exceptions = optional("ray.exceptions", "ray")
    try:
        yield
    except exceptions.RayError as error:
        if missing := next((line.strip() for line in str(error).splitlines() if "No module named" in line), ""):
            raise ImportError(
                f"a worker lacks a package ({missing}): install 'disco-samplers[ray,files,sklearn]' on every machine of the "
                "cluster, in the version that is here"
            ) from error
        cause = getattr(error, "cause", None)
        if isinstance(cause, (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)):
            raise cause from error
        raise RuntimeError(f"a worker failed: {_last_line(error)}") from error


def _check_answers(address: str) -> None:
    place = urlsplit(address if "//" in address else f"//{address}")
    try:
        port = place.port
    except ValueError:
        port = None
    if not place.hostname or port is None:
        raise ValueError(f"address must be HOST:PORT or ray://HOST:PORT of a Ray cluster, got {address!r}")
    try:
        socket.create_connection((place.hostname, port), timeout=_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"address {address} does not answer: {error.strerror or error}; is a Ray cluster running there?"
        ) from error


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
