"""``disco sample``: new draws from the density of a table of draws."""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING, Any

from disco_samplers.commands.shared.options import DRAWS_HELP, PICTURE, add_options, add_reading, ending

if TYPE_CHECKING:
    import numpy as np
    import torch

_PRINTED = {
    "worth": "how many independent draws the input is worth; fewer is worse",
    "mean, sd, 5%, 50%, 95%": "of the input and of the new draws; the farther apart, the worse (with --given of the latter)",
    "ess_bulk, ess_tail": "independent draws that these are worth, for means and for tails; fewer is worse, below 400 too few",
    "r_hat": "1 where the chains agree; larger is worse, above 1.01 they have not mixed",
    "r_hat_nested": "of many chains of under 100 draws, instead: larger is worse, well above 1 they still tell their start",
    "acceptance": "share of accepted proposals; near 0 is worse",
    "divergences": "steps that left for nowhere; more is worse",
    "pareto_k": "of the proposals' weights, for jumps; above 0.7 is worse: the density is hard to propose for",
    "as close, times as far": "distance of the new draws to the input, by that of its halves; more times is worse",
}

_AS_CLOSE = 1.2
"""Ratio of the distances up to which both count as the same: that of halves itself varies by so much."""


_FAR_APART = 0.4
"""Distance of the input's halves from which on it is no measure: that of two modes a chain seldom changes between."""

_ONE_STEP = ("auto", "jumps", "malt")
"""Methods whose steps are long: every one is a draw."""

_CHAINS = 4

_SPLITS = 4
"""Ways to halve the input that the distances are means over."""


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "sample",
        help="new draws from the density of a table of draws",
        **ending(
            "disco sample chain.csv --out new.csv --plot new.png\ndisco sample chain.csv --given mu=1.2 --out others.csv",
            _PRINTED,
        ),
    )
    command.add_argument("draws", metavar="DRAWS", nargs="+", help=DRAWS_HELP)
    command.add_argument(
        "--num-samples", type=int, default=1000, help="draws of each chain, with --given of all (default: %(default)s)"
    )
    command.add_argument("--num-chains", type=int, default=_CHAINS, help="(default: %(default)s)")
    command.add_argument("--num-warmup", type=int, help="discarded steps (default: 200 for jumps, else 500)")
    command.add_argument("--thinning", type=int, help="steps between two draws (default: 1 for jumps and malt, else 5)")
    command.add_argument(
        "--method",
        choices=["auto", "jumps", "mala", "ula", "baoab", "malt", "annealed"],
        default="auto",
        help="auto is jumps, between all parts of the density; the others move locally, for comparison (default: %(default)s)",
    )
    command.add_argument("--strict", action="store_true", help="exit with status 3 if the chains have not mixed")
    command.add_argument("--out", metavar="FILE", help="write the draws: .csv, .npy, .npz, .parquet, .feather or ArviZ .nc")
    command.add_argument("--plot", metavar="FILE", help=f"draw marginals and traces: {PICTURE}")
    add_reading(command, thinning=False)
    add_options(command, "support", "given", "adapt", "seed", "model", "device", "iid", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says; 3 if the chains have not mixed and that is to be an error."""
    import torch

    from disco_samplers import files, pictures
    from disco_samplers.commands.shared.models import conditioned
    from disco_samplers.commands.shared.output import Output, rows_of, told
    from disco_samplers.commands.shared.tables import equal_rows, runs_of, supported, table_from
    from disco_samplers.draws import suggest_after
    from disco_samplers.estimators import DEFAULTS
    from disco_samplers.samplers import LangevinSampler, NotMixedWarning, not_mixed

    output = Output(options)
    if options.out:
        files.writable(options.out, draws=True)
    if options.plot:
        pictures.writable(options.plot)
    table = table_from(options, options.draws)
    if options.out:
        files.writable(options.out, draws=True, names=table.names)
    options.model = options.model or DEFAULTS["posterior"]
    if options.given or "simplex" in supported(table, options.support).support.values():
        return _independent(options, output, table)
    estimate, draws = conditioned(options, table)
    rows = equal_rows(table, options.seed)
    sampler = LangevinSampler(score=estimate, method=options.method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotMixedWarning)  # what it says is printed below, beside the table
        result = sampler.run(
            options.num_samples,
            num_chains=options.num_chains,
            num_warmup=options.num_warmup,
            thinning=options.thinning if options.thinning is not None else 1 if options.method in _ONE_STEP else 5,
            seed=options.seed,
            names=table.names,
            progress=not options.quiet,
        )
    output.write(options.out, result.save)
    output.write(options.plot, lambda path: result.plot(path, reference=rows))
    if not result.complete:
        output.interrupted("these are the draws made until then")
    said = [
        f"\ninput: {len(table.values)} draws of {len(table.names)} variables from {' '.join(options.draws)}",
        str(draws),
        f"\nnew draws: {result}",
        _side_by_side(rows, result),
    ]
    old, new = torch.from_numpy(rows), torch.from_numpy(result.numpy()).flatten(0, 1)
    far = apart = None
    if len(old) >= 4:
        far, apart = _distances(old, runs_of(draws, len(old)), new, torch.Generator().manual_seed(options.seed))
        said.append("\n" + _closeness(far, apart, draws.unmixed))
    if len(new):
        said += [_crossed(name, count, len(new), look) for name, (count, look) in suggest_after(draws, new).items()]
    unmixed = result.unmixed
    if unmixed:
        said.append("warning: " + not_mixed(unmixed, result.method, result.draws.shape[1]))
    status = output.tell(
        "\n".join(said),
        input=told(draws),
        method=result.method,
        acceptance=float(result.acceptance.mean()),
        divergences=int(result.divergences.sum()),
        complete=result.complete,
        not_mixed=unmixed,
        summary=rows_of(result.summary()),
        distance=far,
        distance_of_halves=apart,
    )
    return status or (3 if unmixed and options.strict else 0)


def _crossed(name: str, count: int, draws: int, look: str) -> str:
    """What is said of new draws beyond an end, where the input has none."""
    side, condition, say = {
        "positive": ("below zero", "it cannot be negative", "positive"),
        "negative": ("above zero", "it cannot be positive", ",0"),
        "unit": ("below zero or above one", "it ends there", "unit"),
    }.get(look, ("outside a turn", "it is an angle", look))
    lie = f"{count:,} of {draws:,} new draws of {name} lie {side}, where no input draw is"
    return f"{lie}: if {condition}, say --support {name}={say}"


def _independent(options: argparse.Namespace, output: Any, table: Any) -> int:
    """Draws of the other columns where some have given values, or of a simplex: independent ones, without chains."""
    import numpy as np

    from disco_samplers import files
    from disco_samplers.commands.shared.models import conditioned
    from disco_samplers.commands.shared.output import rows_of, told
    from disco_samplers.commands.shared.tables import given_values
    from disco_samplers.draws import periods_of
    from disco_samplers.samplers import summarise

    given = given_values(options, table)
    chains = {"--num-chains": options.num_chains != _CHAINS, "--method": options.method != "auto"}
    chains |= {"--num-warmup": options.num_warmup is not None, "--thinning": options.thinning is not None}
    if said := [name for name, wanted in chains.items() if wanted]:
        raise ValueError(
            f"{', '.join(said)}: of chains, and draws with --given are independent, as those on a simplex are: leave it out"
        )
    if options.out:
        files.writable(options.out, draws=False)
    estimate, draws = conditioned(options, table)
    law = estimate.conditional(given) if given else estimate
    new = np.asarray(law.sample(options.num_samples, seed=options.seed))
    names = [name for name in table.names if name not in given]
    output.write(options.out, lambda path: files.write_table(path, dict(zip(names, new.T, strict=True))))
    output.write(options.plot, lambda path: law.plot(path=path))
    summary = summarise(new[None], names, independent=True, periods=periods_of(law.support))
    columns = [*summary.columns]
    width = max(8, *(len(name) for name in names))
    lines = [f"{'':<{width}}" + "".join(f"{column:>11}" for column in columns)]
    lines += [f"{name:<{width}}" + "".join(f"{summary.columns[c][i]:>11.4g}" for c in columns) for i, name in enumerate(names)]
    about = f"{draws}\n\nnew draws: {len(new)} of {', '.join(names)}" + f" given {', '.join(options.given)}" * bool(given)
    return int(output.tell("\n".join([about, *lines]), input=told(draws), given=given, summary=rows_of(summary)))


def _side_by_side(old: np.ndarray, result: Any) -> str:
    """The table of a run beside what it was made of, a line for each variable: mean, deviation and quantiles of both."""
    from disco_samplers.samplers import summarise

    new = result.summary()
    before = summarise(old[None], result.names, independent=True, periods=result.periods).columns
    for i, period in enumerate(result.periods or []):
        if period is not None:  # of angles about the seam the two may be a turn apart
            turn = period * round((new.columns["mean"][i] - before["mean"][i]) / period)
            for column in before.keys() - {"sd"}:
                before[column][i] += turn
    width = max(8, *(len(name) for name in result.names))
    shown = [name for name in ("ess_bulk", "ess_tail", "r_hat", "r_hat_nested") if name in new.shown]
    head = f"{'':<{width}}" + "".join(f"{name:>22}" for name in before) + "".join(f"{name:>13}" for name in shown)
    rows = [head, f"{'':<{width}}" + f"{'input':>12} {'new':>9}" * len(before)]
    for i, name in enumerate(result.names):
        pairs = "".join(f"{before[column][i]:>12.4g} {new.columns[column][i]:>9.4g}" for column in before)
        told = "".join(f"{new.columns[column][i]:>13.{3 if column.startswith('r_hat') else 0}f}" for column in shown)
        rows.append(f"{name:<{width}}{pairs}{told}" + "  not mixed" * (i in new.unmixed))
    return "\n".join(rows)


def _distances(old: torch.Tensor, runs: torch.Tensor, new: torch.Tensor, generator: torch.Generator) -> tuple[float, float]:
    """How far the new draws are from the input, and one half of it from the other: means over some ways to halve it.

    A half is made of whole runs of successive draws: halves that share every wiggle of a slow chain are closer to each other
    than the chain is to its target.
    """
    import torch

    from disco_samplers.measures import sliced_wasserstein

    far, apart = [], []
    for _ in range(_SPLITS):
        order = torch.randperm(int(runs.max()) + 1, generator=generator)
        first = torch.isin(runs, order[: len(order) // 2])
        parts = [old[first], old[~first], new]
        # The same number of draws on all sides, or the comparison would be of sample sizes.
        count = min(map(len, parts))
        a, b, c = (part[torch.linspace(0, len(part) - 1, count).round().long()] for part in parts)
        far += [sliced_wasserstein(c, a), sliced_wasserstein(c, b)]
        apart.append(sliced_wasserstein(a, b))
    return sum(far) / len(far), sum(apart) / len(apart)


def _closeness(far: float, apart: float, unmixed: list[str]) -> str:
    """The distance of the new draws to the input in words, measured by that of one half of it to the other."""
    ratio = far / apart
    distances = f"sliced Wasserstein distance: new to input {far:.3g}, half to half {apart:.3g}, in standard deviations"
    why = f"its chains have not mixed ({', '.join(unmixed)})" if unmixed else "its halves lie apart"
    if unmixed or apart > _FAR_APART:
        return f"whether new draws are close to the input cannot be judged, for {why} ({distances})"
    words = (
        "new draws are as close to the input as half of it is to the other half"
        if ratio <= _AS_CLOSE
        else f"new draws are {ratio:.1f} times as far from the input as half of it is from the other half"
    )
    return f"{words} ({distances})"
