"""``python -m seg.predict``."""

import sys
from collections.abc import Sequence

from seg.commands import exit_status
from seg.predict.options import command_line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when all went well, 1 when a case failed, 2 when none was tried.

    3 when all cases went well and files beside them were left out.
    """
    options = command_line().parse_args(arguments)

    def run() -> int:
        # readers of images and onnxruntime take a second: only what is asked for waits for them
        from seg.predict.command import predict_all

        return predict_all(options)

    return exit_status(run, stopped="stopped; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
