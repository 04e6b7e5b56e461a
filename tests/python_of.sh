#!/bin/sh
# Prints the path of a Python of the version given (such as 3.10) that runs: on the PATH, or one of pyenv's.
for python in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/"python$1"; do
	if [ "$("$python" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2> /dev/null)" = "$1" ]; then
		echo "$python"
		exit 0
	fi
done
exit 1
