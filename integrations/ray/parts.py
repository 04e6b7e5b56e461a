"""Tables in files on a cluster: every worker reads, answers and writes its own part of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from disco_samplers.estimate import packed, unpacked
from disco_samplers.files import Columns, Part, PartError, count_rows, score_part, scored_blocks, split_part, totals_of
from disco_samplers.summaries import TableSummary, summarise_part

from .cluster import check_workers, connect, cpus_of, device_for, plainly

_PIECE = 8
"""Blocks of a large file that one task summarises."""

_FAN = 16
"""Summaries that one task merges."""

_TRIES = 3
"""Times that a piece is begun anew whose worker died."""

Result = tuple[list[tuple[Part, PartError]], TableSummary]


class RayParts:
    """Summaries and answers of a table's parts by the tasks and actors of a Ray cluster.

    A part is summarised as in one process, and summaries are merged in a tree of tasks. Answers are asked of actors that hold
    the estimate; each reads its blocks of rows and writes their files itself, so that every machine must see the files. A
    worker that dies is replaced, and what it was at is done anew.

    Arguments:
        address: of the cluster; one of this machine's own if not given.
        concurrency: how many actors; by default as many as there is room for.
        num_gpus: of each actor.
        header: whether text has one.
        quiet: whether to show no progress bar.

    Raises:
        ImportError: if Ray is not installed.
        ConnectionError: if the cluster does not answer.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        concurrency: int | None = None,
        num_gpus: float = 0.0,
        header: bool | None = None,
        quiet: bool = False,
    ) -> None:
        self._ray = connect(address)
        self._workers = check_workers(self._ray, concurrency, num_gpus, spare=0)
        self._num_gpus, self._header, self._quiet = num_gpus, header, quiet

    def summaries(
        self, parts: Sequence[Part], columns: Columns, seed: int
    ) -> Iterator[tuple[int, list[tuple[Part, PartError]], TableSummary]]:
        """Of one part or more, in their order: how many they are, the errors of those that are broken, the others' summary."""
        own = _absolute(parts)
        summarise, merge = (self._ray.remote(function) for function in (_summarised, _merged))

        def merged(references: list[Any], whole: bool) -> Any:
            while len(references) > 1:
                groups = [references[i : i + _FAN] for i in range(0, len(references), _FAN)]
                references = [merge.remote(False, seed, *group) for group in groups]
            return merge.remote(whole, seed, *references)

        def begun(group: Sequence[Part]) -> Any:
            pieces = [[summarise.remote(piece, columns, seed, self._header) for piece in split_part(p, _PIECE)] for p in group]
            return merged([merged(whole, whole=True) for whole in pieces], whole=False)

        size = 2 * cpus_of(self._ray)
        groups = [own[i : i + size] for i in range(0, len(own), size)]
        with tqdm(total=len(parts), desc="reading", unit="part", disable=self._quiet) as bar, plainly():
            # One group is begun before the one before it is done.
            ahead = [begun(group) for group in groups[:1]]
            for group, following in itertools.zip_longest(groups, groups[1:]):
                ahead += [begun(following)] if following else []
                errors, summary = self._ray.get(ahead.pop(0))
                bar.update(len(group))
                yield len(group), [(next(p for p in parts if p.number == bad.number), error) for bad, error in errors], summary

    def score(
        self,
        parts: Sequence[Part],
        columns: Columns,
        answer: Callable[[np.ndarray], Mapping[str, np.ndarray]],
        folder: Path,
    ) -> Iterator[tuple[Part, PartError | None]]:
        """Writes the answers to the rows of every part, and names those that are broken, of which nothing stays."""
        folder = folder.absolute()
        own = _absolute(parts)
        counts = [count_rows(part) for part in own]
        bad: dict[int, PartError] = {}
        with (
            plainly(),
            tqdm(
                total=None if None in counts else sum(count or 0 for count in counts),
                desc="answering",
                unit="row",
                unit_scale=True,
                disable=self._quiet,
            ) as bar,
        ):
            bar.update(sum(totals_of(path).rows for path in scored_blocks(folder)))
            for part, rows, error in self._scored(own, columns, answer, folder):
                bar.update(rows)
                if error is not None:
                    bad.setdefault(part.number, error)
        for part in parts:
            if part.number in bad:
                for path in scored_blocks(folder, part):
                    path.unlink()
            yield part, bad.get(part.number)

    def _scored(
        self, parts: Sequence[Part], columns: Columns, answer: Any, folder: Path
    ) -> Iterator[tuple[Part, int, PartError | None]]:
        """Each piece when it is done, with how many of its rows were answered now."""
        pieces = iter([piece for part in parts for piece in split_part(part, 1)])
        sent = self._ray.put(packed(answer))
        options = {"num_cpus": 1, "num_gpus": self._num_gpus, "max_restarts": -1, "max_task_retries": _TRIES}
        kind = self._ray.remote(_Answerer).options(**options)
        actors = [kind.remote(self._num_gpus) for _ in range(self._workers)]
        at: dict[Any, tuple[Any, Part]] = {}

        def next_of(actor: Any) -> None:
            for piece in itertools.islice(pieces, 1):
                at[actor.score.remote(sent, piece, columns, folder, self._header)] = actor, piece

        for actor in actors:
            next_of(actor)
        while at:
            done, _ = self._ray.wait(list(at))
            for reference in done:
                actor, piece = at.pop(reference)
                rows, error = self._ray.get(reference)
                next_of(actor)
                yield piece, rows, error


class _Answerer:
    """An actor that holds what answers rows, from the first time that it is asked: one that took another's place is, too."""

    def __init__(self, num_gpus: float) -> None:
        self._num_gpus = num_gpus
        self._answer: Any = None

    def score(
        self, sent: bytes, piece: Part, columns: Columns, folder: Path, header: bool | None
    ) -> tuple[int, PartError | None]:
        """Answers a piece; its error if it is broken."""
        self._answer = self._answer or unpacked(sent, device_for(self._num_gpus))
        rows: list[int] = []
        try:
            score_part(piece, columns, self._answer, folder, header=header, report=rows.append)
        except PartError as error:
            return 0, PartError(str(error))
        return sum(rows), None


def _absolute(parts: Sequence[Part]) -> list[Part]:
    """Parts by paths that say the same to processes in other folders."""
    return [Part(part.path.absolute(), part.number, part.root and part.root.absolute()) for part in parts]


def _summarised(part: Part, columns: Columns, seed: int, header: bool | None) -> Result:
    try:
        return [], summarise_part(part, columns, seed=seed, header=header)
    except PartError as error:
        return [(part, PartError(str(error)))], TableSummary(seed=seed)


def _merged(whole: bool, seed: int, *results: Result) -> Result:
    """What several say together; of a ``whole`` part one error, and then nothing else."""
    errors = [error for found, _ in results for error in found]
    if whole and errors:
        return errors[:1], TableSummary(seed=seed)
    summary = TableSummary(seed=seed)
    for _, found in results:
        summary.merge(found)
    return errors, summary
