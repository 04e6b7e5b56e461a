#!/bin/sh
# The tests with the lowest Python and the lowest versions that are supported, of the core and of every extra; the benchmarks' aside.
set -eu
cd "$(dirname "$0")/.."
lowest=3.10
python=$(sh tests/python_of.sh $lowest) || {
	echo "bounds: not tested, there is no Python $lowest here; put python$lowest on the PATH (or: pyenv install $lowest)"
	exit 0
}
env=.venv-bounds
if [ ! -e $env/.installed ] || [ pyproject.toml -nt $env/.installed ] || [ constraints-lowest.txt -nt $env/.installed ]; then
	rm -rf $env
	"$python" -m venv $env
	pip="$env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt"
	$pip torch
	$pip -e '.[all,pyod]' pytest pytest-xdist hypothesis torchsde polars
	touch $env/.installed
fi
# Warnings of old versions are not errors here.
exec $env/bin/python -m pytest -n auto -m "not slow" -o filterwarnings=default --disable-warnings \
	--ignore-glob='*/test_bench*' "$@"
