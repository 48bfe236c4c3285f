"""Ask a running service: ``python -m seg.client http://127.0.0.1:3000 cell.png -o FILE``."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial

from seg.commands import REFUSED, exit_status, file_named, path_named
from seg.verbs import called

KEY = "SEG_KEY"
"""Variable of the environment: what stands on a command line is read by all of a machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the mask is written, 2 when the service or a file could not be asked."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # what the service says is read with its schemas, which know the formats of images
    from seg.client import Client, ServiceError, Wanted

    wanted: Wanted = {}
    for name in Wanted.__annotations__:
        if (value := getattr(options, name, None)) is not None:
            wanted[name] = value  # type: ignore[literal-required]
    try:
        with Client(
            options.url, key=os.environ.get(KEY), verify=str(options.ca) if options.ca else True
        ) as client:
            answer = client.segment(options.images, **wanted)
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return REFUSED
    path = answer.save(options.out or answer.filename)
    sys.stdout.write(f"written to {path}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("seg.client"),
        description="Have an image segmented by a running service, and write what comes back.",
        epilog=f"A key is taken from {KEY}. Jobs and models: seg.client in Python.",
    )
    add = parser.add_argument
    add("url", type=_address, metavar="URL", help="of the service: http://127.0.0.1:3000")
    add(
        "images",
        type=path_named,
        nargs="+",
        metavar="IMAGE",
        help="a file; several are its channels",
    )
    add("-o", "--out", type=path_named, metavar="FILE",
        help="default: the name that the service suggests, here")  # fmt: skip
    add("--model", metavar="NAME[:VERSION]", help="default: the one that the service answers with")
    add("--format", type=_names, metavar="NAME,...", help="several come as a ZIP file")
    add("--classes", type=_names, metavar="NAME,...", help="the only ones in the mask")
    add("--threshold", type=float, metavar="P", help="of probabilities")
    add("--mirror", action="store_const", const=True, help="average over mirrors")
    add("--series", metavar="UID", help="of several in one DICOM archive")
    add("--frame", metavar="AXIS:N", help="of a stack: t:3, z:0, position:2")
    add("--quality", choices=("full", "balanced", "fast"), help="which variant answers")
    add("--deadline-ms", type=float, metavar="MS", help="by when the answer is of use")
    add(
        "--ca",
        type=file_named,
        metavar="FILE",
        help="certificates of the authority that signed the service's",
    )
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"an address begins with http:// or https://, got {text}")
    return text


if __name__ == "__main__":
    sys.exit(main())
