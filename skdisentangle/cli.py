"""The command ``skdisentangle``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ._version import __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 1 after an error that was said on the standard error.
    """
    parser = argparse.ArgumentParser(
        prog="skdisentangle",
        description="Disentangled features, learned from many supervised tasks.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="learn features of handwritten digits, and compare them"
    )
    demo.add_argument(
        "--picture",
        type=Path,
        default=Path("demo.png"),
        help="where to write the picture of tasks by components (default: %(default)s)",
    )
    demo.add_argument(
        "--quiet", action="store_true", help="do not print a line an epoch"
    )
    options = parser.parse_args(arguments)
    from ._demo import run_demo

    try:
        run_demo(options.picture, sys.stdout, verbose=not options.quiet)
    except OSError as error:
        print(f"skdisentangle: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
