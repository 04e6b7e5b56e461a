"""Tables of draws: round trips through every format, and what a broken file says."""

from __future__ import annotations

import importlib
import pickle
import sys
import types
import warnings

import numpy as np
import pytest
import torch

from disco_samplers import files
from disco_samplers.files import write
from disco_samplers.samplers import SamplerResult

TABLES = [".csv", ".npy", ".npz", ".parquet"]
PACKAGE = {".parquet": "pyarrow", ".nc": "h5netcdf"}


def need(suffix):
    for module in {".parquet": ["pyarrow"], ".nc": ["arviz", "h5netcdf", "h5py"]}.get(suffix, []):
        pytest.importorskip(module)


def made(names, chains=3, draws=7):
    values = torch.randn(chains, draws, len(names), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    diverged = torch.zeros(chains, draws, dtype=torch.bool)
    return SamplerResult(values, torch.ones(chains), diverged, 0.1, "ula", names)


def put(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def whats_left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("names", [["x0"], ["mu", "log_tau", "theta[0]", "theta[1]"], ["a b", "größe", "x,y", 'q"']])
@pytest.mark.parametrize("suffix", [*TABLES, ".nc"])
def test_draws_come_back(suffix, names, tmp_path):
    need(suffix)
    result = made(names)
    result.save(tmp_path / f"draws{suffix}")
    table = files.read_table(tmp_path / f"draws{suffix}")
    assert table.num_chains == 3
    assert table.values.dtype == np.float64
    assert table.values.flags.c_contiguous
    np.testing.assert_array_equal(table.by_chain, result.numpy())
    assert table.names == ([f"x{i}" for i in range(len(names))] if suffix == ".npy" else names)
    assert whats_left(tmp_path) == [f"draws{suffix}"]


@pytest.mark.parametrize("suffix", TABLES)
def test_columns_come_back(suffix, tmp_path):
    need(suffix)
    columns = {"log_prob": np.array([0.1, -1e300, 1e-300]), "score_a": np.array([1 / 3, np.pi, -0.0], dtype=np.float32)}
    files.write_table(tmp_path / f"deep/er/t{suffix}", columns)
    table = files.read_table(str(tmp_path / f"deep/er/t{suffix}"))
    np.testing.assert_array_equal(table.values, np.stack(list(columns.values()), 1).astype(np.float64))
    assert table.num_chains == 1
    assert table.names == (["x0", "x1"] if suffix == ".npy" else list(columns))


@pytest.mark.parametrize(
    ("text", "names", "values"),
    [
        ("1,2\n3,4\n", ["x0", "x1"], [[1, 2], [3, 4]]),
        ("a,b\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]]),
        ("a;b\r\n1.5;2e3\r\n", ["a", "b"], [[1.5, 2000]]),
        ("a\tb\n1\t2\n\n3\t4", ["a", "b"], [[1, 2], [3, 4]]),
        ("\ufeffa,b\n1,2\n", ["a", "b"], [[1, 2]]),
        ("\ufeff1,2\n3,4\n", ["x0", "x1"], [[1, 2], [3, 4]]),
        (' a , "b, c"\n1, 2\n', ["a", '"b', 'c"'], None),
        ('"a","b, c"\n1, 2 \n', ["a", "b, c"], [[1, 2]]),
        ("\n\n1\n2\n", ["x0"], [[1], [2]]),
        ("a,b\n1,\n", ["a", "b"], [[1, np.nan]]),
        ("a,b\nnan,-inf\n", ["a", "b"], [[np.nan, -np.inf]]),
        ("chain,draw,a\n1,1,4\n0,0,1\n1,0,3\n0,1,2\n", ["a"], [[1], [2], [3], [4]]),
        ("draw,a\n1,2\n0,1\n", ["a"], [[1], [2]]),
        (",a,b\n0,1,2\n1,3,4\n", ["a", "b"], [[1, 2], [3, 4]]),
        ("a,b,\n1,2,\n3,4,\n", ["a", "b"], [[1, 2], [3, 4]]),
        ("chain,draw,a\n1,0,3\n0,0,1\n", ["a"], [[1], [3]]),
    ],
)
def test_csv(text, names, values, tmp_path):
    path = put(tmp_path / "t.csv", text)
    if values is None:
        with pytest.raises(ValueError, match=r"line 2: 2 cells where the first line has 3"):
            files.read_table(path)
        return
    table = files.read_table(path)
    assert table.names == names
    np.testing.assert_array_equal(table.values, values)


@pytest.mark.parametrize(("text", "chains"), [("0,0\n0,1\n1,0\n1,1\n", 2), ("5,0\n5,1\n", 1)])
def test_chains_of_equal_length_are_chains(text, chains, tmp_path):
    table = files.read_table(put(tmp_path / "t.csv", "chain,draw,a\n" + text.replace("\n", ",1\n")))
    assert table.num_chains == chains
    assert table.by_chain.shape == (chains, len(table.values) // chains, 1)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.float16, np.float32, ">f8"])
@pytest.mark.parametrize(("shape", "chains", "d"), [((6,), 1, 1), ((6, 2), 1, 2), ((3, 2, 4), 3, 4), ((6, 1), 1, 1)])
def test_arrays_of_every_shape_and_type(shape, chains, d, dtype, tmp_path):
    array = (np.arange(np.prod(shape)).reshape(shape) % 5).astype(dtype)
    np.save(tmp_path / "t.npy", array)
    np.savez(tmp_path / "t.npz", array)
    np.savez_compressed(tmp_path / "named.npz", theta=array)
    for name, base in (("t.npy", "x{}"), ("t.npz", "x{}"), ("named.npz", "theta" if array.ndim == 1 else "theta[{}]")):
        table = files.read_table(tmp_path / name)
        assert table.num_chains == chains
        assert table.names == [base.format(j) for j in range(d)]
        assert table.values.dtype == np.float64
        np.testing.assert_array_equal(table.values, array.reshape(-1, d).astype(np.float64))


def test_one_array_a_variable(tmp_path):
    np.savez(tmp_path / "t.npz", mu=np.arange(4), theta=np.arange(8).reshape(4, 2), chain=[0, 0, 1, 1], draw=[0, 1, 0, 1])
    table = files.read_table(tmp_path / "t.npz")
    assert table.names == ["mu", "theta[0]", "theta[1]"]
    assert table.num_chains == 2
    np.testing.assert_array_equal(table.values, [[0, 0, 1], [1, 2, 3], [2, 4, 5], [3, 6, 7]])


def test_files_of_other_programs(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [0.5, None, True]}, index=[4, 7, 9]).astype({"b": "float64"})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for name in ("t.parquet", "t.csv"):
        table = files.read_table(tmp_path / name)
        assert table.names == ["a", "b"]
        np.testing.assert_array_equal(table.values, [[1, 0.5], [2, np.nan], [3, 1]])


@pytest.mark.parametrize("grouped", [True, False])
def test_arviz_files(grouped, tmp_path):
    need(".nc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        arviz = importlib.import_module("arviz")
    random = np.random.default_rng(0)
    posterior = {"mu": random.normal(size=(2, 5)), "z": random.normal(size=(2, 5, 2, 2)), "k": np.ones((2, 5), dtype=int)}
    if grouped:
        data = arviz.from_dict(posterior=posterior, observed_data={"y": np.ones(3)}, log_likelihood={"y": np.ones((2, 5, 3))})
    else:
        data = arviz.from_dict(prior=posterior)
    data.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    if not grouped:
        with pytest.raises(ValueError, match="posterior group"):
            files.read_table(tmp_path / "t.nc")
        return
    table = files.read_table(tmp_path / "t.nc")
    assert table.names == ["mu", "z[0,0]", "z[0,1]", "z[1,0]", "z[1,1]", "k"]
    assert table.num_chains == 2
    np.testing.assert_array_equal(table.by_chain[..., 1:5], posterior["z"].reshape(2, 5, 4))
    np.testing.assert_array_equal(table.by_chain[..., 0], posterior["mu"])


@pytest.mark.parametrize(
    ("names", "variables"),
    [
        (["theta[0]", "theta[1]"], {"theta": (3, 7, 2)}),
        (["theta[0]"], {"theta": (3, 7, 1)}),
        (["theta[0]", "mu", "theta[1]"], {"theta": (3, 7, 2), "mu": (3, 7)}),
        (["theta[1]", "theta[0]"], {"theta[1]": (3, 7), "theta": (3, 7, 1)}),
        (["theta[0]", "theta[2]"], {"theta": (3, 7, 1), "theta[2]": (3, 7)}),
        (["theta", "theta[0]"], {"theta": (3, 7), "theta[0]": (3, 7)}),
        (["theta[0]", "theta"], {"theta[0]": (3, 7), "theta": (3, 7)}),
    ],
)
def test_grouping_into_variables(names, variables, tmp_path):
    need(".nc")
    result = made(names)
    posterior = result.to_arviz().posterior
    assert {name: posterior[name].shape for name in posterior.data_vars} == variables
    result.save(tmp_path / "t.nc")
    table = files.read_table(tmp_path / "t.nc")
    assert sorted(table.names) == sorted(names)
    np.testing.assert_array_equal(table.by_chain[..., [table.names.index(name) for name in names]], result.numpy())


def test_arviz_1(tmp_path, monkeypatch):
    """ArviZ 1.x, of which only ``from_dict`` is needed: here by its documented signature, giving xarray's own DataTree."""
    need(".nc")
    xarray = importlib.import_module("xarray")

    def from_dict(data, *, name=None):
        groups = {}
        for group, variables in data.items():
            arrays = {key: np.asarray(value) for key, value in variables.items()}
            dims = {key: ["chain", "draw", *(f"{key}_dim_{i}" for i in range(v.ndim - 2))] for key, v in arrays.items()}
            groups[group] = xarray.Dataset({key: (dims[key], v) for key, v in arrays.items()})
        return xarray.DataTree.from_dict(groups, name=name)

    monkeypatch.setitem(sys.modules, "arviz", types.SimpleNamespace(__version__="1.2.0", from_dict=from_dict))
    result = made(["mu", "theta[0]", "theta[1]"])
    data = result.to_arviz()
    assert isinstance(data, xarray.DataTree)
    assert data.posterior["theta"].shape == (3, 7, 2)
    assert data.sample_stats["diverging"].shape == (3, 7)
    result.save(tmp_path / "t.nc")
    table = files.read_table(tmp_path / "t.nc")
    assert table.names == ["mu", "theta[0]", "theta[1]"]
    np.testing.assert_array_equal(table.by_chain, result.numpy())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "holds no rows"),
        ("chain,draw\n0,0\n", "holds no"),
        ("a,b\n1,2\n\n3,oops\n", r"line 4, column b: 'oops' is not a number"),
        ("1,2\nx,4\n", r"line 2, column 1: 'x' is not a number"),
        ("a,b\n1,2\n3\n", r"line 3: 1 cells where the first line has 2"),
        ("a,b\n1,2\n3,4,5\n", r"line 3: 3 cells where the first line has 2"),
        ("a,a\n1,2\n", r"column name\(s\) a occur more than once"),
        ("a,b\n1,2\n2020-01-01,3\n", "column a: '2020-01-01' is not a number"),
        ("a,b\n1,2j\n", "column b: '2j' is not a number"),
    ],
)
def test_broken_csv(text, message, tmp_path):
    path = put(tmp_path / "t.csv", text)
    with pytest.raises(ValueError, match=message) as caught:
        files.read_table(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [*TABLES, ".nc"])
@pytest.mark.parametrize(
    "content",
    [b"\x80\x04\x95\xff\xfe\x00garbage" * 20, b"PK\x03\x04" + b"\0" * 50, "only text\n".encode("utf-16")],
    ids=["binary", "zip", "utf-16"],
)
def test_files_of_another_kind(suffix, content, tmp_path):
    need(suffix)
    path = tmp_path / f"t{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.\w+") as caught:
        files.read_table(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".nc"])
def test_truncated_files(suffix, share, tmp_path):
    need(suffix)
    path = tmp_path / f"t{suffix}"
    made(["a", "b"]).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"t\.\w+"):
        files.read_table(path)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a file was executed",)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickles_are_refused(suffix, tmp_path):
    path = tmp_path / f"t{suffix}"
    array = np.array([[Bomb()]], dtype=object)
    (np.save if suffix == ".npy" else np.savez)(path, array)
    with pytest.raises(ValueError, match="cannot be read"):
        files.read_table(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="cannot be read"):
        files.read_table(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.array(["x", "y"])}, "column a is not numeric"),
        ({"a": np.ones(2, dtype=complex)}, "column a is not numeric"),
        ({"a": np.ones(2), "b": np.ones(3)}, "differ in length"),
        ({"a": np.ones(2), "b": np.ones((2, 2, 2))}, "must have one or two dimensions"),
        ({"a": np.ones((2, 2, 2, 2))}, "must have one or two dimensions"),
        ({"chain": np.ones((9, 2, 2)), "log_prob": np.ones((9, 2))}, r"np.save\('chain.npy', chain\), and name its axes"),
        ({"a": np.float64(1)}, "must have one or two dimensions"),
        ({"a": np.ones((0, 2))}, "holds no rows"),
        ({"a": np.ones((2, 0))}, "holds no rows"),
        ({"a": np.ones((2, 0, 3))}, "holds no rows"),
        ({"a[0]": np.ones(2), "a": np.ones((2, 1))}, "more than once"),
        ({}, "no arrays"),
    ],
)
def test_wrong_arrays(arrays, message, tmp_path):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        files.read_table(tmp_path / "t.npz")


def test_parquet_with_text_or_nothing(tmp_path):
    need(".parquet")
    pyarrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    for columns, message in (({"a": ["x", "y"]}, "column a is not numeric"), ({"a": pyarrow.array([], "double")}, "no rows")):
        parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
        with pytest.raises(ValueError, match=message):
            files.read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.text", "t", "t.csv.zip", "t.pkl", "t.gz"])
def test_unknown_extension(name, tmp_path):
    for call in (
        files.read_table,
        lambda path: files.write_table(path, {"a": np.ones(1)}),
        lambda path: made(["a"]).save(path),
        lambda path: files.writable(path, draws=True),
        lambda path: files.writable(path, draws=False),
    ):
        with pytest.raises(ValueError, match=r"extension must be one of \.csv"):
            call(tmp_path / name)
    assert whats_left(tmp_path) == []


def test_a_table_of_scores_is_no_netcdf(tmp_path):
    with pytest.raises(ValueError, match="extension must be one of"):
        files.writable(tmp_path / "t.nc", draws=False)


def test_missing_file_and_folder(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "folder.csv"):
        with pytest.raises(FileNotFoundError, match=f"no file at .*{name}"):
            files.read_table(tmp_path / name)


@pytest.mark.parametrize("suffix", PACKAGE)
def test_missing_package_is_named(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"something")

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr("disco_samplers.extras.import_module", absent)
    calls = [lambda: files.read_table(path), lambda: files.writable(path, draws=True), lambda: made(["a"]).save(path)]
    for call in calls:
        with pytest.raises(ImportError, match=r"pip install 'disco-samplers\[files\]'"):
            call()
    assert path.read_bytes() == b"something"
    assert whats_left(tmp_path) == [path.name]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_a_writer_that_fails_leaves_the_old_file(error, tmp_path):
    path = put(tmp_path / "t.csv", "old")

    def fail(temporary):
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(error):
        write(path, fail)
    assert path.read_text() == "old"
    assert whats_left(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_columns_that_do_not_fit_leave_the_old_file(suffix, tmp_path):
    need(suffix)
    path = tmp_path / f"t{suffix}"
    files.write_table(path, {"a": np.ones(2)})
    old = path.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        files.write_table(path, {"a": np.ones(2), "b": np.ones(3)})
    assert path.read_bytes() == old
    assert whats_left(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["chain", "draw"])
def test_a_variable_with_the_name_of_the_index(name, tmp_path):
    with pytest.raises(ValueError, match=f"cannot be called {name}"):
        made(["a", name]).save(tmp_path / "t.csv")
    assert whats_left(tmp_path) == []


def test_written_files_are_readable_by_others(tmp_path):
    files.write_table(tmp_path / "t.csv", {"a": np.ones(1)})
    put(tmp_path / "plain.csv", "a")
    assert (tmp_path / "t.csv").stat().st_mode == (tmp_path / "plain.csv").stat().st_mode


def test_a_netcdf_library_without_its_backend(tmp_path, monkeypatch):
    need(".nc")
    path = tmp_path / "t.nc"
    made(["a"]).save(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    for call in [lambda: files.read_table(path), lambda: files.writable(path, draws=True), lambda: made(["a"]).save(path)]:
        with pytest.raises(ImportError, match=r"h5py is needed .* pip install 'disco-samplers\[files\]'"):
            call()


def test_checkpoints_of_other_programs(tmp_path):
    state = pytest.importorskip("disco_samplers.integrations.plasma.state")
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": Bomb()}, path)
    with pytest.raises(
        ValueError, match="is not a whole saved plasma simulation: it holds objects of another program"
    ) as caught:
        state.load_state(path, None, {})
    assert "weights_only" not in str(caught.value)
    torch.save({"network": {}, "step": 3}, path)
    with pytest.raises(
        ValueError, match="not a saved plasma simulation: it is a checkpoint of something else, with network, step"
    ):
        state.load_state(path, None, {})
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="not a saved plasma simulation: it holds a list"):
        state.load_state(path, None, {})
