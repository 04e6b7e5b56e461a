"""Draws from files as other programs write them, against small files with known values, and draws written and read again."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import math
import warnings

import numpy as np
import pytest
import torch

from disco_samplers import Draws, files, read, save
from disco_samplers.draws import DrawsWarning
from disco_samplers.files.nested import birth_weights, volume_weights

STAN = """# stan_version_major = 2
# stan_version_minor = 36
# model = eight_schools_model
# method = sample (Default)
#   sample
#     save_warmup = true
lp__,accept_stat__,stepsize__,treedepth__,n_leapfrog__,divergent__,energy__,mu,theta.1,theta.2,L.1.2
-9,0.9,1,1,1,0,10,100,100,100,100
-8,0.9,1,1,1,0,10,101,100,100,100
# Adaptation terminated
# Step size = 0.8
# Diagonal elements of inverse mass matrix:
# 0.5, 0.7
-7.5,0.9,0.8,2,3,0,8,{0},1,2,3
-7,0.8,0.8,2,3,1,9,{1},1.5,-2.5,3.5e-1
#
#  Elapsed Time: 0.01 seconds (Warm-up)
"""


def put(folder, **texts):
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def arviz():
    for module in ("h5netcdf", "h5py"):
        pytest.importorskip(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return pytest.importorskip("arviz")


def test_cmdstan(tmp_path):
    put(tmp_path, c_1__csv=STAN.format(0.25, 0.5), c_2__csv=STAN.format(4, 5))
    draws = read(tmp_path / "c_*.csv")
    assert draws.names == ["mu", "theta[1]", "theta[2]", "L[1,2]"]
    assert draws.num_chains == 2
    np.testing.assert_array_equal(draws.values[:, 0], [0.25, 0.5, 4, 5])
    np.testing.assert_array_equal(draws.values[1], [0.5, 1.5, -2.5, 0.35])
    np.testing.assert_array_equal(draws.log_prob, [-7.5, -7, -7.5, -7])
    table = files.read_table([tmp_path / "c_1.csv", tmp_path / "c_2.csv"])
    np.testing.assert_array_equal(table.stats["divergent__"], [0, 1, 0, 1])
    assert read(tmp_path / "c_1.csv").num_chains == 1
    some = read(tmp_path / "c_1.csv", columns=["theta", "energy__"])
    assert some.names == ["theta[1]", "theta[2]", "energy__"]
    assert some.log_prob is None


def test_stan_without_a_chain(tmp_path):
    head = "# method = {}\nlp__,log_p__,log_g__,mu\n"
    put(tmp_path, v__csv=head.format("variational") + "0,0,0,9\n0,-1,-1,2\n0,-2,-1,3\n")
    draws = read(tmp_path / "v.csv")
    assert (draws.num_chains, draws.log_prob, draws.values.flatten().tolist()) == (None, None, [2, 3])
    put(tmp_path, o__csv="# method = optimize\nlp__,mu\n-1,2\n")
    with pytest.raises(ValueError, match="method optimize: it holds no draws"):
        read(tmp_path / "o.csv")


def test_getdist(tmp_path):
    put(
        tmp_path,
        run_1__txt="  2  10.5  0.1 70 0.3\n  1   9.5  0.2 71 0.4\n",
        run_2__txt="1 8 0.5 72 .1\n2 7 0.6 73 .2\n",
        run__paramnames="omega  \\Omega_m h^2\nH0\t H_0\nage*  \\mathrm{Age}\n",
        run__ranges="omega 0.0 N\n H0  N N\nother 0 1\n",
    )
    for source in (tmp_path / "run", tmp_path / "run_*.txt", [tmp_path / "run_1.txt", tmp_path / "run_2.txt"]):
        draws = read(source)
        assert draws.names == ["omega", "H0"]
        assert (draws.num_chains, draws.weights) == (2, None)
        np.testing.assert_array_equal(draws.values, [[0.1, 70], [0.1, 70], [0.2, 71], [0.5, 72], [0.6, 73], [0.6, 73]])
        np.testing.assert_array_equal(draws.log_prob, [-10.5, -10.5, -9.5, -8, -7, -7])
        assert draws.support == [(0.0, None), (None, None)]
    (tmp_path / "run").mkdir()
    put(tmp_path, run_1_old__txt="1 2\n")
    assert read(tmp_path / "run").num_chains == 2
    assert read(tmp_path / "run_1.txt", columns=["age"]).values.flatten().tolist() == [0.3, 0.3, 0.4]
    put(tmp_path, run_1__txt="0.5 1 0.1 70 0\n1.5 1 0.2 71 0\n", run_2__txt="1 1 0.3 72 0\n1 1 .4 73 0\n")
    draws = read(tmp_path / "run")
    assert draws.num_chains == 2
    np.testing.assert_allclose(draws.weights, np.array([0.5, 1.5, 1, 1]) / 4)


def test_cobaya(tmp_path):
    head = "#  weight  minuslogpost  a  b  minuslogprior  minuslogprior__0  chi2  chi2__gauss\n"
    put(tmp_path, **{"c.1__txt": head + "  1.0   3.25 0.5 1.5 1 1 2 2\n  3.0   3.5 0.75 -1.5 1 1 2 2\n"})
    for source in ("c", "c.1.txt"):
        draws = read(tmp_path / source)
        assert draws.names == ["a", "b"]
        assert draws.num_chains == 1
        np.testing.assert_array_equal(draws.values, [[0.5, 1.5], *[[0.75, -1.5]] * 3])
    assert sorted(files.read_table(tmp_path / "c").stats) == ["chi2", "chi2__gauss", "minuslogprior", "minuslogprior__0"]


def nested_run(n_live=200, steps=1600):
    """Nested sampling of a uniform x on (-5, 5) with a standard normal likelihood, exact: within a contour x is uniform."""
    rng = np.random.default_rng(0)
    radius, birth = 5 * rng.uniform(size=n_live), np.full(n_live, -np.inf)
    dead, born = [], []
    for _ in range(steps):
        worst = radius.argmax()
        dead.append(radius[worst])
        born.append(birth[worst])
        birth[worst] = -0.5 * (radius[worst] * radius[worst])
        radius[worst] *= rng.uniform()
    x = np.concatenate([dead, radius]) * rng.choice([-1, 1], steps + n_live)
    return x, -0.5 * (x * x), np.concatenate([born, birth])


def test_weights_of_births():
    x, log_likelihood, birth = nested_run()
    order = np.random.default_rng(1).permutation(len(x))
    weights = np.empty(len(x))
    weights[order] = birth_weights(log_likelihood[order], birth[order])
    weights /= weights.sum()
    size = 1 / np.square(weights).sum()
    assert size > 300
    # Means of x^2 and |x| over a standard normal; four standard errors at the effective size: fails once in 8,000 runs.
    assert abs(weights @ x**2 - 1) < 4 * math.sqrt(2 / size)
    assert abs(weights @ abs(x) - math.sqrt(2 / math.pi)) < 4 * math.sqrt((1 - 2 / math.pi) / size)
    # The same from the shrinkage by 1/n a step, as a run with a constant number of live points is read.
    log_x = -np.arange(1601) * math.log1p(1 / 200)
    widths = 0.5 * (np.exp(log_x[:-2]) - np.exp(log_x[2:]))
    plain = np.exp(log_likelihood[:1599]) * widths
    np.testing.assert_allclose(weights[:1599] / weights[1598], plain / plain[1598], rtol=1e-9)
    with pytest.raises(ValueError, match="point 1 has log-likelihood 2, which is not above its birth 2"):
        birth_weights(np.array([1.0, 2.0]), np.array([0.0, 2.0]))


def test_dead_points(tmp_path):
    x, log_likelihood, birth = nested_run(20, 100)
    expected = birth_weights(log_likelihood, birth)
    expected = expected / expected.sum()
    birth = np.where(np.isinf(birth), -1e30, birth)
    columns = [x, 2 * x, log_likelihood, birth]
    np.savetxt(tmp_path / "pc_dead-birth.txt", np.stack(columns, 1), fmt="%.17g")
    put(tmp_path, pc__paramnames="x  x\ntwice* 2x\n", pc__ranges="x -5 5\n")
    np.savetxt(tmp_path / "pc.txt", np.ones((3, 4)))
    for source in ("pc", "pc_dead-birth.txt"):
        draws = read(tmp_path / source)
        assert draws.names == ["x"]
        assert draws.num_chains is None
        assert draws.support == [(-5.0, 5.0)]
        np.testing.assert_allclose(draws.weights, expected, rtol=1e-9, atol=1e-300)
    # MultiNest: two more columns.
    np.savetxt(tmp_path / "mn-dead-birth.txt", np.stack([*columns, 0 * x, 0 * x + 1], 1), fmt="%.17g")
    put(tmp_path, **{"mn-__paramnames": "x x\ntwice 2x\n"})
    draws = read(tmp_path / "mn-dead-birth.txt")
    assert draws.names == ["x", "twice"]
    np.testing.assert_allclose(draws.weights, expected, rtol=1e-9, atol=1e-300)
    # UltraNest.
    body = "".join(
        f"{w!r} {li!r} {v!r}\n" for w, li, v in zip(expected.tolist(), log_likelihood.tolist(), x.tolist(), strict=True)
    )
    put(tmp_path, weighted_post__txt="weight logl x\n" + body)
    draws = read(tmp_path / "weighted_post.txt")
    assert draws.names == ["x"]
    np.testing.assert_allclose(draws.weights, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("given", ["weights", "logwt", "birth"])
def test_samples_with_weights(given, tmp_path):
    x, log_likelihood, birth = nested_run(20, 100)
    expected = birth_weights(log_likelihood, birth)
    with np.errstate(divide="ignore"):
        known = {"weights": expected, "logwt": np.log(expected) - 700, "birth": birth}
    samples = np.stack([x, -x], 1)
    more = {"logz": np.linspace(-9, -3, len(x)), "ncall": np.ones(len(x), dtype=int), "samples_u": samples, "niter": 120}
    np.savez(tmp_path / "r.npz", samples=samples, logl=log_likelihood, **{given: known[given]}, **more)
    draws = read(tmp_path / "r.npz")
    assert draws.names == ["x0", "x1"]
    np.testing.assert_array_equal(draws.values, samples)
    np.testing.assert_allclose(draws.weights, expected / expected.sum(), rtol=1e-9, atol=1e-300)
    np.savez(tmp_path / "n.npz", samples=samples, weights=expected, names=np.array(["a", "b"]))
    assert read(tmp_path / "n.npz").names == ["a", "b"]
    np.savez(tmp_path / "n.npz", samples=samples, weights=expected[:5])
    np.savez(tmp_path / "x.npz", x=samples, weights=expected)
    assert read(tmp_path / "x.npz").names == ["x[0]", "x[1]"]
    assert read(tmp_path / "x.npz").weights is not None
    with pytest.raises(ValueError, match=r"n\.npz .*array weights must have one value for each of the 120 samples"):
        read(tmp_path / "n.npz")


def test_ensembles(tmp_path):
    h5py = pytest.importorskip("h5py")
    chain = np.random.default_rng(0).normal(size=(10, 4, 3))  # steps, walkers, d
    with h5py.File(tmp_path / "emcee.h5", "w") as file:
        group = file.create_group("mcmc")
        group.attrs.update(version="3.1.4", nwalkers=4, ndim=3, has_blobs=False, iteration=8)
        group["chain"], group["log_prob"], group["accepted"] = chain, chain[..., 0], np.zeros(4)
    with h5py.File(tmp_path / "zeus.hdf5", "w") as file:
        file["samples"], file["logprob"] = chain[:8], chain[:8, :, 0]
    for name in ("emcee.h5", "zeus.hdf5"):
        draws = read(tmp_path / name)
        assert draws.num_chains == 4
        np.testing.assert_array_equal(draws.values.view(4, 8, 3), chain[:8].swapaxes(0, 1))
        np.testing.assert_array_equal(draws.log_prob.view(4, 8), chain[:8, :, 0].T)
    np.save(tmp_path / "steps.npy", chain)
    swapped = read(tmp_path / "steps.npy", axes=("draw", "chain", "variable"))
    np.testing.assert_array_equal(swapped.values.view(4, 10, 3), chain.swapaxes(0, 1))
    with h5py.File(tmp_path / "emcee.h5", "a") as file:
        file.copy("mcmc", "second")
    with pytest.raises(ValueError, match="holds several runs, mcmc, second"):
        read(tmp_path / "emcee.h5")


def test_three_dimensions(tmp_path):
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(size=(60, 4, 2)))
    with pytest.warns(DrawsWarning, match=r"\(60, 4, 2\) is read as 60 chains of 4 draws of 2 variables"):
        assert read(tmp_path / "t.npy").num_chains == 60
    assert read(tmp_path / "t.npy", axes=("draw", "chain", "variable")).num_chains == 4
    with pytest.raises(ValueError, match="axes must be chain, draw, variable in some order, got a, b, c"):
        read(tmp_path / "t.npy", axes="abc")
    np.save(tmp_path / "flat.npy", np.eye(3))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    for name in ("flat.npy", "t.csv"):
        with pytest.raises(ValueError, match="axes are of a"):
            read(tmp_path / name, axes=("draw", "chain", "variable"))


def test_arviz_coordinates(tmp_path):
    library = arviz()
    random = np.random.default_rng(0)
    theta, z = random.normal(size=(2, 5, 2)), random.normal(size=(2, 5, 2, 2))
    data = library.from_dict(
        posterior={"theta": theta, "z": z, "mu": theta[..., 0]},
        sample_stats={"lp": theta[..., 1], "diverging": np.zeros((2, 5), dtype=bool)},
        coords={"school": ["Choate", "St. Paul's"]},
        dims={"theta": ["school"], "z": ["school", "k"]},
    )
    data.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    (tmp_path / "t.h5").write_bytes((tmp_path / "t.nc").read_bytes())
    for source in (tmp_path / "t.nc", tmp_path / "t.h5", data):
        draws = read(source)
        names = ["theta[Choate]", "theta[St. Paul's]", "z[Choate,0]", "z[Choate,1]", "z[St. Paul's,0]", "z[St. Paul's,1]", "mu"]
        assert draws.names == names
        np.testing.assert_array_equal(draws.values.view(2, 5, 7)[..., :2], theta)
        np.testing.assert_array_equal(draws.values.view(2, 5, 7)[..., 2:6], z.reshape(2, 5, 4))
        np.testing.assert_array_equal(draws.log_prob.view(2, 5), theta[..., 1])
    assert read(data.posterior[["theta"]]).names == names[:2]
    with pytest.raises(ValueError, match='variable y has the dimensions a, and no "draw"'):
        read(importlib.import_module("xarray").Dataset({"y": ("a", [1.0, 2.0])}))
    with pytest.raises(ValueError, match='some variables have a dimension "chain" and others have not'):
        read(data.posterior.assign(one=("draw", np.zeros(5))))
    repeated = data.posterior[["theta"]].assign_coords(school=["a", "a"])
    assert read(repeated).names == Draws(repeated).names == ["theta[0]", "theta[1]"]
    with pytest.raises(TypeError, match="not from dict"):
        read({"a": [1.0]})


@pytest.mark.parametrize(
    ("text", "names", "values"),
    [
        ("a;b\n1,5;2\n-0,25;3,5e1\n", ["a", "b"], [[1.5, 2], [-0.25, 35]]),
        ("1,5;2,5;3,5\n4;5;6\n", ["x0", "x1", "x2"], [[1.5, 2.5, 3.5], [4, 5, 6]]),
        ("a\tb\n1,25\t2\n", ["a", "b"], [[1.25, 2]]),
        ("a,b\nNA,True\n1.5,FALSE\nnull,<NA>\n", ["a", "b"], [[np.nan, 1], [1.5, 0], [np.nan, np.nan]]),
        (",0,1\n0,1.5,2.5\n1,3.5,4.5\n", ["0", "1"], [[1.5, 2.5], [3.5, 4.5]]),
        ("2019,2020\n1,2.5\n3,4.5\n", ["x0", "x1"], [[2019, 2020], [1, 2.5], [3, 4.5]]),
        ("# made by hand\n# a b\n 1  2\n\n 3  4 # ", None, None),
        ("# made by hand\n# a b\n 1  2\n\n 3  4\n# end\n", ["a", "b"], [[1, 2], [3, 4]]),
        ("# 7,8\n1,2\n3,4\n", ["x0", "x1"], [[1, 2], [3, 4]]),
        ("#a,b\n1,2\n#5,6\n3,4\n", ["a", "b"], [[1, 2], [3, 4]]),
        (".chain,.iteration,.draw,mu\n2,1,3,30\n1,1,1,10\n1,2,2,20\n2,2,4,40\n", ["mu"], [[10], [20], [30], [40]]),
    ],
)
def test_text(text, names, values, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    if names is None:
        with pytest.raises(ValueError, match="line 5: 3 cells where the first line has 2"):
            files.read_table(path)
        return
    table = files.read_table(path)
    assert table.names == names
    np.testing.assert_array_equal(table.values, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1_000,2\n", r"line 2, column a: '1_000' is not a number: write numbers without separators"),
        ('a,b\n"1,234",2\n', r"line 2, column a: '1,234' is not a number: write numbers without separators"),
        ("a;b\n0;2\n1,234;5\n", r"line 3, column a: '1,234' may be 1234 or 1\.234"),
        ("a;b\n1,5;2\n3;2.5\n", r"line 2, column a: '1,5' has a comma where '2\.5' \(.*line 3, column b\) has a point"),
        ("a;b\n1.234,5;2\n", r"line 2, column a: '1\.234,5' is not a number"),
        ("a b\n1 2\n3 x\n", r"line 3, column b: 'x' is not a number"),
    ],
)
def test_refused_text(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        files.read_table(path)
    assert str(caught.value).startswith(str(path))


def test_header_as_told(tmp_path):
    put(tmp_path, t__csv="2019,2020\n1.5,2.5\n3.5,4.25\n")
    with pytest.warns(DrawsWarning, match="the first row, 2019, 2020, is read as a header"):
        assert read(tmp_path / "t.csv").names == ["2019", "2020"]
    assert read(tmp_path / "t.csv", header=True).names == ["2019", "2020"]
    assert len(read(tmp_path / "t.csv", header=False)) == 3
    put(tmp_path, t__csv="2019,2020\n1,2\n3,4\n")
    assert read(tmp_path / "t.csv", header=True).names == ["2019", "2020"]
    assert len(read(tmp_path / "t.csv")) == 3
    put(tmp_path, t__csv="a,b\n1,2\n3,4\n")
    with pytest.raises(ValueError, match="line 1, column 1: 'a' is not a number"):
        read(tmp_path / "t.csv", header=False)


def test_encodings_and_capitals(tmp_path):
    (tmp_path / "t.CSV").write_bytes("größe,b\n1,2\n3,5\n".encode("latin-1"))
    assert read(tmp_path / "t.CSV").names == ["größe", "b"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed(suffix, pack, tmp_path):
    values = np.array([[1.0, 2.0], [3.0, 4.5]])
    np.save(tmp_path / "t.npy", values)
    put(tmp_path, t__csv="a,b\n1,2\n3,4.5\n")
    for name in ("t.csv", "t.npy"):
        path = tmp_path / (name + suffix)
        path.write_bytes(pack((tmp_path / name).read_bytes()))
        np.testing.assert_array_equal(read(path).values, values)
        path.write_bytes(path.read_bytes()[:30])
        with pytest.raises(ValueError, match="cannot be read"):
            read(path)
    files.write_table(tmp_path / f"w.csv{suffix}", {"a": np.array([1.0, 2.0])})
    assert read(tmp_path / f"w.csv{suffix}").values.flatten().tolist() == [1, 2]
    with pytest.raises(ValueError, match="the extension must be one of"):
        save(tmp_path / f"w.nc{suffix}", Draws(values))


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_arrow(suffix, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    for module in ("pyarrow.parquet", "pyarrow.feather"):
        importlib.import_module(module)
    table = pyarrow.table({"a": pyarrow.array([1, None, 3]), "b": pyarrow.array([True, False, None]), "who": ["x", "y", "z"]})
    path = tmp_path / f"t{suffix}"
    pyarrow.parquet.write_table(table, path) if suffix == ".parquet" else pyarrow.feather.write_feather(table, path)
    found = files.read_table(path, ["who"])
    assert (found.names, found.index["who"].tolist()) == (["a", "b"], ["x", "y", "z"])
    np.testing.assert_array_equal(found.values, [[1, 1], [np.nan, 0], [3, np.nan]])
    np.testing.assert_array_equal(files.read_table(path, columns=["a"]).values, [[1], [np.nan], [3]])
    assert files.read_table(path, exclude=["who", "b"]).names == ["a"]
    with pytest.raises(ValueError, match="column who is not numeric"):
        read(path, columns=["a", "who"])
    with pytest.raises(ValueError, match=r"row 1, column a: missing; 2 of 3 rows .* in column\(s\) a, b") as caught:
        read(path, index=["who"])
    assert str(caught.value).startswith(str(path))


def test_some_of_the_columns(tmp_path):
    put(tmp_path, t__csv="id,theta[0],theta[1],w,log_w,mu\np,1,2,1,0,5\nq,3,4,3,0,6\nr,5,6,0,-inf,7\n")
    path, index = tmp_path / "t.csv", {"index": ["id"]}
    assert read(path, **index, columns=["mu", "theta"]).names == ["mu", "theta[0]", "theta[1]"]
    assert read(path, **index, exclude=["theta[0]", "w", "log_w"]).names == ["theta[1]", "mu"]
    draws = read(path, **index, row_weights="w", exclude=["log_w"])
    assert draws.names == ["theta[0]", "theta[1]", "mu"]
    assert draws.weights.tolist() == [0.25, 0.75, 0]
    assert read(path, **index, row_weights="log_w", columns=["mu"]).weights.tolist() == [0.5, 0.5, 0]
    for options, message in (
        ({"columns": ["nu"]}, r"t\.csv has no column nu: there are theta\[0\]"),
        ({"exclude": ["nu"]}, r"t\.csv has no column nu"),
        ({"columns": ["mu"], "exclude": ["mu"]}, "no column is left"),
        ({"row_weights": "v"}, "has no column v to take as weights"),
        ({"row_weights": "theta[0]", "burn_in": 9}, "burn-in must be a share below 1, or a whole number below the 3 draws"),
        ({"row_weights": "w", "thinning": 0}, "thinning must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            read(path, **index, **options)


@pytest.mark.parametrize("name", ["weight", "weights"])
def test_weights_that_are_not_said_to_be_any(name, tmp_path):
    put(tmp_path, t__csv=f",{name},a\n0,2,0.5\n1,1,0.25\n")
    with pytest.warns(DrawsWarning, match=f"the column {name} is read as a variable: say row_weights"):
        assert read(tmp_path / "t.csv").names == [name, "a"]
    assert read(tmp_path / "t.csv", exclude=[name]).names == ["a"]
    assert read(tmp_path / "t.csv", row_weights=name).names == ["a"]


def test_burn_in_and_thinning(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(40.0).reshape(2, 10, 2))
    draws = read(tmp_path / "t.npy", burn_in=3, thinning=2)
    assert draws.num_chains == 2
    assert draws.values[:, 0].tolist() == [6, 10, 14, 18, 26, 30, 34, 38]
    assert len(read(tmp_path / "t.npy", burn_in=0.5)) == 10
    put(tmp_path, t__csv="a\n" + "\n".join(map(str, range(10))))
    assert read(tmp_path / "t.csv").num_chains is None
    assert read(tmp_path / "t.csv", burn_in=1).num_chains == 1
    only_said = read(tmp_path / "t.csv", burn_in=0)
    assert (only_said.num_chains, len(only_said)) == (1, 10)


def test_several_files(tmp_path):
    put(tmp_path, c_1__csv="a,b\n1,2\n3,4\n", c_2__csv="b,a\n6,5\n8,7\n", c_10__csv="a,b\n9,9\n0,0\n")
    draws = read(tmp_path / "c_*.csv")
    assert draws.num_chains == 3
    assert draws.values[:, 0].tolist() == [1, 3, 5, 7, 9, 0]
    put(tmp_path, c_2__csv="b,a\n0,0\n6,5\n8,7\n")
    with pytest.warns(DrawsWarning, match="chains of 2 to 3 draws: of the longer ones the last 2 are taken"):
        assert read(tmp_path / "c_*.csv").values[:, 0].tolist() == [1, 3, 5, 7, 9, 0]
    put(tmp_path, c_2__csv="b,c\n6,5\n8,7\n")
    with pytest.raises(ValueError, match=r"c_2\.csv has columns b, c, .*c_1\.csv has a, b"):
        read([tmp_path / "c_1.csv", tmp_path / "c_2.csv"])
    with pytest.raises(FileNotFoundError, match="no file at"):
        read(tmp_path / "d_*.csv")
    with pytest.raises(ValueError, match="no file is given"):
        read([])


@pytest.mark.parametrize("chains", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("suffix", [".csv", ".npz", ".npy", ".parquet", ".feather", ".nc", ".csv.gz"])
def test_draws_come_back(suffix, weighted, chains, tmp_path):
    if suffix == ".nc":
        arviz()
    if suffix in (".parquet", ".feather"):
        pytest.importorskip("pyarrow")
    random = torch.Generator().manual_seed(0)
    values = torch.randn(2, 6, 3, dtype=torch.float64, generator=random)
    weights = torch.rand(2, 6, generator=random)
    weights[0, 1] = 0
    shape = (2, 6) if chains else (12,)
    names = ["mu", "theta[0]", "theta[1]"]
    known = {"log_prob": values[..., 0].reshape(shape), "support": [(None, 9.0), (-9.0, 9.0), (None, None)]}
    draws = Draws(values.view(*shape, 3), weights=weights.view(shape) if weighted else None, names=names, **known)
    path = tmp_path / f"t{suffix}"
    if suffix == ".npy" and weighted:
        with pytest.raises(ValueError, match="no place for weights"):
            save(path, draws)
        assert list(tmp_path.iterdir()) == []
        return
    save(path, draws)
    found = read(path)
    assert found.names == (["x0", "x1", "x2"] if suffix == ".npy" else names)
    assert found.num_chains == draws.num_chains
    assert torch.equal(found.values, draws.values)
    assert (found.weights is None) == (not weighted)
    assert suffix == ".npy" or torch.equal(found.log_prob, draws.log_prob)
    assert found.support == (draws.support if suffix == ".nc" else None)
    if weighted:
        np.testing.assert_allclose(found.weights, draws.weights, rtol=1e-12)


def test_a_support_that_is_none(tmp_path):
    arviz()
    save(tmp_path / "t.nc", Draws(np.eye(3), support=[(0, None)] * 3))
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "t.nc", "a") as file:
        file["posterior"].attrs["support"] = "none"
    with pytest.raises(ValueError, match=r't\.nc: its attribute "support" is not \(low, high\) of columns by name, in JSON'):
        read(tmp_path / "t.nc")


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet", ".feather", ".nc"])
def test_any_name_comes_back(suffix, tmp_path):
    if suffix == ".nc":
        arviz()
    if suffix in (".parquet", ".feather"):
        pytest.importorskip("pyarrow")
    names = ["file", "allow_pickle", "a;b", "größe", "2019", "theta[Choate]", "x, y", *(["a/b"] if suffix != ".nc" else [])]
    values = np.random.default_rng(0).normal(size=(2, 4, len(names)))
    save(tmp_path / f"t{suffix}", Draws(values, names=names))
    found = read(tmp_path / f"t{suffix}")
    assert found.names == names
    np.testing.assert_array_equal(found.values.view(2, 4, -1), values)


@pytest.mark.parametrize(
    ("name", "variable", "message"),
    [
        ("t.nc", "a/b", "a variable of a netCDF file cannot be called 'a/b'"),
        ("t.csv", "chain", "a variable cannot be called chain"),
        ("t.npz", ".log_weight", "a variable cannot be called .log_weight"),
        ("t.csv", ".log_prob", "a variable cannot be called .log_prob"),
    ],
)
def test_names_that_a_format_cannot_keep(name, variable, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        files.writable(tmp_path / name, draws=True, names=["mu", variable])
    with pytest.raises(ValueError, match=message):
        save(tmp_path / name, Draws(np.eye(2), names=["mu", variable]))
    assert list(tmp_path.iterdir()) == []


def chains_of(*lengths):
    """The columns chain, draw and two of normal draws, chains of these lengths one after the other."""
    values = np.random.default_rng(0).normal(size=(sum(lengths), 2))
    index = {"chain": np.repeat(np.arange(len(lengths)), lengths), "draw": np.concatenate([np.arange(n) for n in lengths])}
    return index | {"mu": values[:, 0], "theta": values[:, 1]}, values


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet"])
@pytest.mark.parametrize("left_out", [[], ["draw"], ["chain"]])
def test_chains_of_unequal_length_keep_their_last_draws(left_out, suffix, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    columns, values = chains_of(5, 3, 4)
    columns[".log_weight"] = np.log(np.arange(1.0, 13))
    order = np.arange(12) if left_out else np.random.default_rng(1).permutation(12)
    path = tmp_path / f"t{suffix}"
    files.write_table(path, {name: column[order] for name, column in columns.items() if name not in left_out})
    kept = np.array([2, 3, 4, 5, 6, 7, 9, 10, 11])
    with pytest.warns(DrawsWarning, match="chains of 3 to 5 draws: of the longer ones the last 3 are taken"):
        draws = read(path)
    assert draws.num_chains == 3
    np.testing.assert_array_equal(draws.values, values[kept])
    np.testing.assert_allclose(draws.weights, (kept + 1) / (kept + 1).sum())
    independent = read(path, iid=True)
    assert (independent.num_chains, len(independent)) == (None, 12)
    assert len(read(path, iid=True, burn_in=2)) == 6
    with pytest.warns(DrawsWarning, match="chains of 1 to 3 draws: of the longer ones the last 1 are taken"):
        np.testing.assert_array_equal(read(path, burn_in=2).values, values[[4, 7, 11]])
    with pytest.raises(ValueError, match="a whole number below the 3 draws of a chain, got 4"):
        read(path, burn_in=4)


@pytest.mark.parametrize(("cell", "message"), [("NA", "missing"), ("", "missing"), ("inf", "infinite")])
@pytest.mark.parametrize("column", ["chain", "draw"])
def test_a_row_of_no_chain(column, cell, message, tmp_path):
    other = "draw" if column == "chain" else "chain"
    put(tmp_path, t__csv=f"{column},{other},a\n# a comment\n0,0,1\n0,1,2\n{cell},1,3\n1,1,4\n")
    with pytest.raises(ValueError, match=rf"t\.csv, line 5, column {column}: {message}, and with it which {column} the row is"):
        read(tmp_path / "t.csv")
    np.testing.assert_array_equal(read(tmp_path / "t.csv", index=["chain", "draw"]).values[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(files.read_table(tmp_path / "t.csv", points=True).values[:, 0], [1, 2, 3, 4])


def test_a_chain_that_is_missing_in_arrow(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"chain": [0, None, 1, 1], "mu": [1.0, 2.0, 3.0, 4.0]})
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet, row 1, column chain: missing"):
        read(tmp_path / "t.parquet")


def test_a_stray_chain(tmp_path):
    columns, _ = chains_of(40, 40)
    columns["chain"][57] = 7
    for left_out in ([], ["draw"]):
        files.write_table(tmp_path / "t.csv", {name: column for name, column in columns.items() if name not in left_out})
        with pytest.raises(
            ValueError, match=r"t\.csv, line 59: here begins a chain of 1 draws, and another has 40: is it one\?"
        ):
            read(tmp_path / "t.csv")
    assert len(read(tmp_path / "t.csv", iid=True)) == 80


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        ("chain,draw", "0,0 0,1 1,0 1,1 1,1 0,2", "line 6: draw 1 of chain 1 again, after .*line 5; give each chain its own"),
        ("draw", "0 0 1 1 2 2", "line 3: draw 0 again: add a column chain, or say --index draw"),
        ("draw", "0 1 2 0 2 1", "line 5: draw 0 again"),
        ("draw", "0 0 0", "line 3: draw 0 again"),
        ("draw", "0 1 2 1 2 3", "line 5: draw 1 again"),
    ],
)
def test_an_index_that_names_rows_twice(head, rows, message, tmp_path):
    lines = [f"{row},{i}" for i, row in enumerate(rows.split())]
    put(tmp_path, t__csv=f"{head},a\n" + "\n".join(lines))
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "t.csv")
    index = head.split(",")
    assert read(tmp_path / "t.csv", index=index).values.flatten().tolist() == list(range(len(lines)))
    assert read(tmp_path / "t.csv", exclude=index).num_chains is None


def test_draws_that_begin_anew_are_chains(tmp_path):
    columns, values = chains_of(20, 20, 20)
    columns.pop("chain")
    columns["draw"] = 5 * columns["draw"] + 1
    files.write_table(tmp_path / "t.csv", columns)
    draws = read(tmp_path / "t.csv")
    assert draws.num_chains == 3
    np.testing.assert_array_equal(draws.values, values)


def test_one_chain_by_its_number_alone(tmp_path):
    put(tmp_path, t__csv="chain,a\n3,1\n3,2\n3,4\n")
    assert read(tmp_path / "t.csv").num_chains == 1


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (".chain,.iteration,.draw", "2,1,3 2,2,4 1,1,1 1,2,2"),
        ("chain__,iter__,draw__", "2,1,3 2,2,4 1,1,1 1,2,2"),
        (".chain,.draw", "2,3 2,4 1,1 1,2"),
        ("chain,draw", "1,0 1,1 0,0 0,1"),
    ],
)
def test_draws_of_stan_put_together(index, rows, tmp_path):
    lines = [f"{row},-{i}.5,0,{i},{10 * i}" for i, row in enumerate(rows.split())]
    put(tmp_path, t__csv=f'{index},lp__,divergent__,mu,"theta[1]"\n' + "\n".join(lines))
    draws = read(tmp_path / "t.csv")
    assert (draws.names, draws.num_chains) == (["mu", "theta[1]"], 2)
    np.testing.assert_array_equal(draws.values, [[2, 20], [3, 30], [0, 0], [1, 10]])
    np.testing.assert_array_equal(draws.log_prob, [-2.5, -3.5, -0.5, -1.5])


@pytest.mark.parametrize("count", [0, 2, 4])
def test_names_of_getdist_that_do_not_fit(count, tmp_path):
    names = "".join(f"p{i}{'*' * (i == 3)} p\n" for i in range(count))
    put(tmp_path, run_1__txt="2 10.5 0.1 70 0.3\n1 9.5 0.2 71 0.4\n", run__paramnames=names)
    with pytest.raises(
        ValueError, match=rf"run_1\.txt has 5 columns, but \.paramnames has {count} names, derived ones counted"
    ):
        read(tmp_path / "run")
    put(tmp_path, run__paramnames="a a\nb b\nc* c\n")
    assert read(tmp_path / "run").names == ["a", "b"]


def test_a_chain_of_getdist_without_names(tmp_path):
    put(tmp_path, run_1__txt="2 10.5 0.1 70\n1 9.5 0.2 71\n1 9 0.4 72\n", run_2__txt="0 1 2\n1 3 4\n2 5 6\n")
    with pytest.warns(
        DrawsWarning, match=r"run_1\.txt looks like a chain of getdist, Cobaya or CosmoMC, but there is no .paramn"
    ):
        assert read(tmp_path / "run_1.txt").names == ["x0", "x1", "x2", "x3"]
    assert read(tmp_path / "run_2.txt").names == ["x0", "x1", "x2"]


def test_the_log_likelihood_of_polychord_is_no_log_density(tmp_path):
    put(tmp_path, pc__txt="0.25 20 0.1\n1 9 0.2\n0.5 8 0.3\n", pc__paramnames="x x\n")
    draws = read(tmp_path / "pc.txt")
    assert (draws.names, draws.num_chains, draws.log_prob) == (["x"], None, None)
    np.testing.assert_allclose(draws.weights, np.array([1, 4, 2]) / 7)


@pytest.mark.parametrize("name", ["r.npz", "r.csv"])
def test_weights_by_volumes(name, tmp_path):
    """A standard normal likelihood within 5 of a uniform prior, whose contour of radius r encloses X = r / 5."""
    x = 5 * np.exp(-np.arange(1, 4001) / 400) * np.where(np.arange(4000) % 2, 1, -1)
    log_likelihood, log_volume = -0.5 * x**2, np.log(abs(x) / 5)
    order = np.random.default_rng(0).permutation(4000)
    columns = {"logl": log_likelihood[order], "logvol": log_volume[order]}
    if name == "r.npz":
        np.savez(tmp_path / name, samples=x[order, None], **columns)
    else:
        files.write_table(tmp_path / name, {"x0": x[order], **columns})
    draws = read(tmp_path / name)
    assert draws.names == ["x0"]
    np.testing.assert_array_equal(draws.values[:, 0], x[order])
    weights = draws.weights.numpy()
    # The trapezoidal rule in steps of 1/400 of the radius: exact but for its second order.
    assert abs(weights @ x[order] ** 2 - 1) < 0.01
    assert abs(weights @ abs(x[order]) - math.sqrt(2 / math.pi)) < 0.01
    np.testing.assert_allclose(volume_weights(np.log([1.0, 3.0, 3.0]), np.log([0.5, 0.25, 0.25])), [0.5, 1, 0])


def test_samples_of_nested_sampling_without_weights(tmp_path):
    samples = np.eye(3)
    np.savez(tmp_path / "r.npz", samples=samples, logl=np.arange(3.0))
    with pytest.raises(
        ValueError, match=r"r\.npz .*array logl says that samples are of nested sampling, but not what they weigh"
    ):
        read(tmp_path / "r.npz")
    np.savez(tmp_path / "r.npz", samples=samples, logl=np.arange(3.0), logvol=np.array([-1.0, 0.5, -3]))
    with pytest.raises(ValueError, match=r"point 1 has log-volume 0\.5, which is no logarithm of a share of the prior"):
        read(tmp_path / "r.npz")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (",a\n0,1\n1,2\n", ["a"]),
        ("a,,b\n1,,2\n3,,4\n", ["a", "b"]),
        (",a,b\n,1,2\n,3,4\n", ["a", "b"]),
        ("a,,c\n1,2,3\n4,5,6\n", "column 2 holds values but has no name"),
        ("a,\n1,\n3,4\n", "column 2 holds values but has no name"),
        ("a, \n1,2\n3,4\n", "column 2 holds values but has no name"),
        (",,c\n0,2,3\n1,5,6\n", "column 2 holds values but has no name"),
    ],
)
def test_columns_without_a_name(text, names, tmp_path):
    put(tmp_path, t__csv=text)
    if isinstance(names, list):
        assert read(tmp_path / "t.csv").names == names
        return
    with pytest.raises(ValueError, match=rf"t\.csv, {names}, as only the first may, an index"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".nc"])
def test_columns_of_text_may_be_left_out(suffix, tmp_path):
    columns = {"a": np.array([1.0, 2.0, 4.0]), "who": np.array(["x", "y", "z"]), "b": np.array([5.0, 6.0, 8.0])}
    path = tmp_path / f"t{suffix}"
    if suffix == ".nc":
        arviz()
        xarray = importlib.import_module("xarray")
        data = xarray.Dataset({name: (("chain", "draw"), column[None]) for name, column in columns.items()})
        data.to_netcdf(path, group="posterior", engine="h5netcdf")
        assert read(data, exclude=["who"]).names == ["a", "b"]
    else:
        if suffix == ".parquet":
            pytest.importorskip("pyarrow")
        files.write_table(path, columns)
    for options in ({"exclude": ["who"]}, {"columns": ["a", "b"]}, *([{"index": ["who"]}] if suffix != ".nc" else [])):
        draws = read(path, **options)
        assert draws.names == ["a", "b"]
        np.testing.assert_array_equal(draws.values, [[1, 5], [2, 6], [4, 8]])
    for options in ({}, {"columns": ["a", "who"]}, {"exclude": ["b"]}):
        with pytest.raises(ValueError, match="who"):
            read(path, **options)


def test_a_missing_value_by_its_place(tmp_path):
    put(tmp_path, t__csv="a,b\n1,2\n# a comment\n2,\n3,4\n", u__csv="a,b\n1,2\n3,5\n5,inf\n")
    with pytest.raises(ValueError, match=r"^\S+t\.csv, line 4, column b: missing; 1 of 3 rows hold missing or infinite values"):
        read(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"^\S+u\.csv, line 4, column b: infinite; 1 of 3 rows"):
        read([tmp_path / "u.csv"])
    put(tmp_path, t__csv="a,b\n1,2\n2,3\n3,4\n")
    with pytest.raises(ValueError, match=r"^\S+u\.csv, line 4, column b: infinite; 1 of 6 rows"):
        read([tmp_path / "t.csv", tmp_path / "u.csv"])
    put(tmp_path, t__csv="a,b\n1,2\n2,-1e400\n3,4\n")
    with pytest.raises(ValueError, match=r"t\.csv, line 3, column b: '-1e400' is too large, beyond 1\.8e308"):
        read(tmp_path / "t.csv")
    chains = np.zeros((2, 4, 3))
    chains[0, 0], chains[1, 2, 1] = 1, np.nan
    np.save(tmp_path / "t.npy", chains)
    with pytest.raises(ValueError, match=r"t\.npy, chain 1, draw 2, column x1: missing"):
        read(tmp_path / "t.npy", burn_in=1)


def test_arguments_that_are_wrong(tmp_path):
    put(tmp_path, t__csv="mu,b\n1,2\n2,3\n3,4\n")
    path = tmp_path / "t.csv"
    for options in ({"columns": "mu"}, {"exclude": "mu"}, {"index": "mu"}):
        with pytest.raises(TypeError, match=r"must be a list of names, got the string 'mu': write \['mu'\]"):
            read(path, **options)
    with pytest.raises(ValueError, match=r"burn-in must be a share below 1, or a whole number below the 3 .* got nan"):
        read(path, burn_in=math.nan)
    with pytest.raises(ValueError, match="is given twice: its rows are one chain's"):
        read([path, tmp_path / "x" / ".." / "t.csv"])


@pytest.mark.parametrize(
    "names", [["lp__", "x"], ["logl", "weight"], ["weight", "minuslogpost", "a"], ["#a", "b"], [" a"], ["1"], ["a", ""]]
)
def test_names_that_text_has_another_use_for(names, tmp_path):
    draws = Draws(np.random.default_rng(0).normal(size=(4, len(names))), names=names)
    with pytest.raises(ValueError, match=r"a variable .*cannot be called"):
        save(tmp_path / "t.csv", draws)
    assert list(tmp_path.iterdir()) == []
    if all(names):
        save(tmp_path / "t.npz", draws)
        assert read(tmp_path / "t.npz", row_weights=None, columns=names).names == names


def test_a_chain_by_words_is_not_lost(tmp_path):
    put(tmp_path, t__csv="chain,mu,b\none,1,2\none,2,3\ntwo,3,4\n")
    for options in ({}, {"columns": ["mu"]}):
        with pytest.raises(ValueError, match=r"t\.csv, line 2, column chain: 'one' is not a number"):
            read(tmp_path / "t.csv", **options)
    assert read(tmp_path / "t.csv", exclude=["chain"]).names == ["mu", "b"]
    put(tmp_path, t__csv="chain,.chain,.draw,mu\n1,1,1,2\n2,2,2,3\n")
    with pytest.raises(ValueError, match=r"t\.csv .*it has a column chain besides \.chain, \.iteration, \.draw"):
        read(tmp_path / "t.csv")


def test_points_in_several_files(tmp_path):
    put(tmp_path, a__csv="chain,a\n1,1\n0,2\n1,3\n", b__csv="chain,a\n0,4\n")
    table = files.read_table([tmp_path / "a.csv", tmp_path / "b.csv"], points=True)
    assert table.values.flatten().tolist() == [1, 2, 3, 4]
    assert table.index["chain"].tolist() == [1, 0, 1, 0]
