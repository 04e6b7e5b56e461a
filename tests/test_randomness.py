"""The one rule for randomness."""

import inspect
from importlib import import_module

import pytest
import torch
from disco_samplers.integrations import plasma
from test_layers import FLOORS

from disco_samplers import measures, scores
from disco_samplers.estimators import crossfit
from disco_samplers.randomness import generator_on, seed_of


def test_a_seed_or_a_generator_or_neither():
    given = torch.Generator()
    assert generator_on("cpu", generator=given) is given
    assert generator_on("cpu") is None
    draws = [torch.randn(3, generator=generator_on("cpu", seed=7)) for _ in range(2)]
    assert torch.equal(*draws)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1, "generator": torch.Generator()}, "give seed or generator, not both"),
        ({"seed": -1}, "seed must lie in"),
        ({"seed": 2**63}, "seed must lie in"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        generator_on("cpu", **options)


def test_a_generator_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"generator is on cpu, what it draws is to be on cuda:1: make it by"):
        generator_on("cuda:1", generator=torch.Generator())


def test_the_seed_of_what_draws_alike_everywhere():
    assert seed_of() == 0
    assert seed_of(seed=5) == 5
    drawn = [seed_of(generator=torch.Generator().manual_seed(k)) for k in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(ValueError, match="give seed or generator, not both"):
        seed_of(seed=1, generator=torch.Generator())


ROOMS = [f"disco_samplers.{room}" for room in FLOORS.split() if room not in ("front", "app", "commands", "cli")]
ROOMS += [f"disco_samplers.integrations.plasma.{name}" for name in ("collisions", "exact", "velocities", "transport")]

OWN_CONVENTION = {
    "DiscoGuidance": "begins anew from its seed at each run of the pipeline",
    "DiscoScoreModel": "is saved with its seed",
    "DiscoPipeline.__call__": "as diffusers calls it",
    "DiscoLangevinScheduler.step": "as diffusers calls it",
    "Dougherty.__call__": "as a run calls it, whose generator it is",
    "Landau.__call__": "as a run calls it, whose generator it is",
    "MultispeciesLandau.rates": "as a run calls it, whose generator it is",
    "Homogeneous": "is saved with its seed",
    "Reservoir": "is merged with others of its seed",
    "Simulation": "is saved with its seed",
    "TableSummary": "is merged with others of its seed",
    "TrainingConfig": "is saved with its seed",
    "fit": "is merged with others of its seed",
    "summarise_part": "is merged with others of its seed",
}
"""What takes one of the two, and why. What requires one is no entry point: it goes on with its caller's."""


def public_callables():
    for room in ROOMS:
        if room.endswith(("diffusers", "pyro", "sklearn")):
            pytest.importorskip(room.split(".")[-1])
        module = import_module(room)
        for name in getattr(module, "__all__", vars(module)):
            found = getattr(module, name)
            if name.startswith("_") or not getattr(found, "__module__", "").startswith("disco_samplers"):
                continue
            if inspect.isfunction(found):
                yield name, found
            # Not what is asked of others, plain records, nor errors.
            elif inspect.isclass(found) and not (
                getattr(found, "_is_protocol", False) or issubclass(found, (tuple, Exception))
            ):
                yield name, found
                own = [name for name, value in vars(found).items() if name == "__call__" or not name.startswith("_")]
                yield from ((f"{name}.{one}", getattr(found, one)) for one in own if inspect.isroutine(getattr(found, one)))


def test_whatever_draws_takes_a_seed_or_a_generator():
    wrong, seen = {}, set()
    for name, found in public_callables():
        taken = inspect.signature(found).parameters
        given = [taken[source] for source in ("seed", "generator") if source in taken]
        if not given or any(one.default is inspect.Parameter.empty for one in given):
            continue
        seen.add(name)
        if len(given) < 2 or any(one.default is not None or one.kind != one.KEYWORD_ONLY for one in given):
            wrong[name] = [str(one) for one in given]
    assert len(seen) > 30
    assert {name: given for name, given in wrong.items() if name not in OWN_CONVENTION} == {}
    assert set(OWN_CONVENTION) <= set(wrong)


X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
GRID = plasma.Grid(6.0, 8)
DRAWING = {
    "adapt": lambda model, **by: model.condition(X).adapt(num_steps=1, **by).report.criterion,
    "entropy": lambda model, **by: measures.entropy(X, model=model, marginals="linear", **by).value,
    "fisher_information": lambda model, **by: measures.fisher_information(X, model=model, marginals="linear", **by).value,
    "proposal": lambda model, **by: model.condition(X).proposal(seed=0).sample(3, **by).tolist(),
    "smooth": lambda model, **by: scores.smooth(model.condition(X), 1.0, **by).samples.tolist(),
    "ladder": lambda model, **by: scores.ladder(model.condition(X), [1.0], **by)[0].samples.tolist(),
    "sliced_wasserstein": lambda model, **by: measures.sliced_wasserstein(X, X + 1, projections=9, **by),
    "crossfit": lambda model, **by: crossfit(X[:, :1], len, lambda _, rows: rows.mean(0) + 0 * rows[:, 0], **by).tolist(),
    "load": lambda model, **by: plasma.load(GRID, [plasma.Beam()], 20, **by).x.tolist(),
    "load_draws": lambda model, **by: plasma.load_draws(GRID, X, **by).x.tolist(),
}


@pytest.mark.parametrize("name", DRAWING)
def test_both_kinds_decide_what_is_drawn(small, name):
    draw = DRAWING[name]
    by_seed = [draw(small, seed=k) for k in (3, 3, 4)]
    by_generator = [draw(small, generator=torch.Generator().manual_seed(k)) for k in (3, 3, 4)]
    for one, same, other in (by_seed, by_generator):
        assert one == same
        assert one != other
    with pytest.raises(ValueError, match="give seed or generator, not both"):
        draw(small, seed=1, generator=torch.Generator())
