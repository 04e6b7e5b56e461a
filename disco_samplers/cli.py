"""The ``disco`` command: one file a subcommand in :mod:`disco_samplers.commands`."""

from __future__ import annotations

import argparse
import difflib
import pkgutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import disco_samplers
from disco_samplers import commands


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; an error or warning is one line on standard error, an error also a non-zero exit status.

    Arguments are looked at before anything heavy is imported: subcommands import what they need when they run. They may give
    a status of their own.
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(unknown[0], options)}")
    try:
        with _stoppable(), warnings.catch_warnings():
            warnings.showwarning = _show
            status: int | None = options.run(options)
    except KeyboardInterrupt as interrupt:
        print(f"disco: {str(interrupt) or 'interrupted before there was anything to keep'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
        print("disco: error: " + " ".join(_said(error).split()), file=sys.stderr)
        return 1
    return status or 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM, which batch systems send before they end a process, does what Ctrl-C does: what is done is kept."""
    if threading.current_thread() is not threading.main_thread():  # others may not set it
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _meant(word: str, options: argparse.Namespace) -> str:
    """The option of a subcommand that an unknown one is close to, as a question; what to do with several files."""
    if Path(word).is_file():
        return "; of several files give one pattern, in quotes, or their folder"
    known = [f"--{name.replace('_', '-')}" for name in vars(options) if name not in ("run", "parser")]
    close = difflib.get_close_matches(word.partition("=")[0], known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _said(error: BaseException) -> str:
    """What an error says; of one by the operating system the file first, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _show(message: Warning | str, *_: object, **__: object) -> None:
    """A warning in one line, as errors are."""
    print("disco: warning: " + " ".join(str(message).split()), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="disco", description="Density, score and new draws from a table of draws.")
    parser.add_argument("--version", action="version", version=disco_samplers.__version__)
    parser.set_defaults(parser=parser)  # shell completion is made from it
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in sorted(module.name for module in pkgutil.iter_modules(commands.__path__) if module.name != "shared"):
        import_module(f"disco_samplers.commands.{name}").add(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
