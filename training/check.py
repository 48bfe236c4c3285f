"""Look at a dataset before anything is trained: ``python -m training.check PATH``.

Every finding names its file and says what to do. ``training.fit`` begins with the same look.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial

from seg.commands import exit_status, in_one_sentence, path_named
from seg.errors import SegError
from seg.verbs import called

SOUND, UNSOUND = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 where all can be trained on, 1 where something cannot, 2 for no dataset."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # readers of images and SciPy take seconds: only what is asked for waits for them
    from training.dataset.look import as_json, as_text, check_folder

    try:
        result = check_folder(options.path)
        if options.picture and (sound := result.sound_cases):
            from training.reports.dataset_sheet import write_overview  # and matplotlib too

            write_overview(options.picture, result.dataset, sound)
    except (SegError, OSError) as error:
        if options.json:
            print(json.dumps({"error": in_one_sentence(error)}))  # noqa: T201
        raise
    print(json.dumps(as_json(result), indent=2) if options.json else as_text(result))  # noqa: T201
    return UNSOUND if result.errors else SOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.check"),
        description="Look at every image and mask of a dataset and say what is wrong.",
        epilog="Exit status: 0 fit to be trained on, 1 not, 2 no dataset. Warnings count as fit.",
    )
    add = parser.add_argument
    add(
        "path",
        type=path_named,
        metavar="PATH",
        help="dataset folder, or the JSON file that lists it",
    )
    add("--json", action="store_true", help="print findings for programs")
    add(
        "--picture",
        type=path_named,
        metavar="FILE",
        help="draw some cases with their masks, as PNG",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
