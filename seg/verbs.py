"""``seg VERB ...``: every command by one name. ``seg fit PATH`` is ``python -m training.fit PATH``.

Usage, errors and next steps say the one that was typed (``called``); so what is printed can be run.
A command is found among what is installed, never in the folder that one stands in: a ``service.py``
or a folder ``data`` there is the user's own. What is not there is told: a wheel has ``seg`` alone.
The ``python -m`` forms stay.
"""

import difflib
import importlib.util
import os
import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from seg.version import VERSION, installed_with

VERBS = {
    "fit": ("training.fit", "from a folder of images and masks to a model package"),
    "check": ("training.check", "what is wrong with a dataset"),
    "plan": ("training.plan", "what fit would do, without doing it"),
    "augment": ("training.augment", "a sheet of augmented samples"),
    "evaluate": ("training.evaluate", "score a package on whole images"),
    "compare": ("training.compare", "two packages on the same images"),
    "calibrate": ("training.calibrate", "fit a package's temperature on other images"),
    "export": ("training.export", "a run as a package, or for other software"),
    "adopt": ("training.adopt", "a model of other software as a package"),
    "rank": ("training.rank", "which images to annotate next"),
    "improve": ("training.improve", "go on learning from corrected masks"),
    "card": ("training.model_card", "the model card of a package"),
    "doctor": ("training.doctor", "which blocks of a network do nothing"),
    "studies": ("training.studies", "what shortcuts do, measured and drawn"),
    "predict": ("seg.predict", "segment files"),
    "networks": ("seg.networks", "presets, shortcuts, sizes, drawings"),
    "serve": ("bentoml", "serve a package over HTTP: SEG_PACKAGE=DIR seg serve --port 3000"),
    "studio": ("service.studio", "outline, train and count in the browser, on a folder"),
    "dicom": ("service.dicom", "receive series by C-STORE, segment, send the results"),
    "build": ("service.build", "a bento that carries a package"),
    "size": ("service.size", "memory and cores that serving a package needs"),
    "keys": ("service.keys", "keys of the service"),
    "fetch": ("data.fetch", "bring a dataset into a folder"),
    "draw": ("data.draw", "draw files to try a tutorial with"),
    "demo": ("training.demo", "all of it once, on real images"),
}

GROUPS = {
    "to begin with": ("demo", "fetch", "draw"),
    "from data to a package": ("check", "plan", "augment", "fit", "rank", "improve"),
    "how good it is": ("evaluate", "compare", "calibrate", "doctor", "card"),
    "from and for other software": ("adopt", "export"),
    "masks": ("predict", "serve", "studio", "dicom"),
    "running the service": ("build", "size", "keys"),
    "networks": ("networks", "studies"),
}
"""In which order ``--help`` tells of the verbs."""

_BY_VERB = "SEG_BY_VERB"
"""Set while ``seg`` runs a command: the processes of it speak of commands as it does."""

SERVICE = "service.bento:Segmenter"
"""What ``seg serve`` serves where nothing else, as a bento, is named first."""
SERVE_HELP = """\
usage: SEG_PACKAGE=DIR seg serve [--port N] [--host ADDRESS] [BENTOML'S OPTIONS] [BENTO]

Serve a model package over HTTP: POST an image to /segment, its mask comes back. The page for people
is at /, all routes and options at /openapi.json.

  --port N                     3000 where nothing is said
  --host ADDRESS               127.0.0.1 where nothing is said; others ask for keys: seg keys add
  --ssl-certfile, --ssl-keyfile FILE
                               TLS
  BENTO                        a bento that carries its package, as seg build makes it

Everything else is set by variables that begin with SEG_, listed in docs/serving.md: SEG_MODELS=DIR
serves several packages. python -m bentoml serve --help has BentoML's other options.
"""


def called(module: str, *words: str | Path) -> str:
    """A command as the person at the shell calls commands: by ``seg`` and a verb, or ``python -m``.

    Args:
        module: that is run, such as ``training.fit``.
        words: that follow it, quoted where a shell needs it.
    """
    verbs = [verb for verb, (name, _) in VERBS.items() if name == module]
    command = ["seg", *verbs] if verbs and os.environ.get(_BY_VERB) else ["python", "-m", module]
    return shlex.join([*command, *map(str, words)])


def served(package: Path) -> str:
    """The line that serves a package, in PowerShell where that is the shell."""
    if os.name == "nt":
        return f"$env:SEG_PACKAGE = '{package}'; seg serve"
    return f"SEG_PACKAGE={shlex.quote(str(package))} seg serve"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that a verb names; its status, 2 where there is no such verb."""
    verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if verb == "--version":
        sys.stdout.write(f"seg {VERSION}\n")
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        sys.stderr.write(f"error: seg has no verb {verb!r}{meant} seg --help lists them\n")
        return 2
    module = VERBS[verb][0]
    if not _is_ours(module):
        sys.stderr.write(f"error: seg {verb} {_missing(module)}\n")
        return 2
    if module == "bentoml":
        if {"-h", "--help"} & set(rest):
            sys.stdout.write(SERVE_HELP)
            return 0
        os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # else it reports to its makers
        names_another = bool(rest) and not rest[0].startswith("-")
        rest = ["serve", *([] if names_another else [SERVICE]), *rest]
    sys.argv = [f"seg {verb}", *rest]
    before = os.environ.get(_BY_VERB, "")
    os.environ[_BY_VERB] = verb
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        return end.code or 0
    finally:
        os.environ[_BY_VERB] = before
    return 0


def _is_ours(module: str) -> bool:
    """Whether the command can be run, and is no stranger's of the same name."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or top == "bentoml":
        return spec is not None
    return Path(spec.origin or "").parents[1:2] == Path(__file__).parents[1:2]


def _missing(module: str) -> str:
    """Why a command is not there: a wheel has the library alone."""
    if module == "bentoml":
        return f"needs BentoML: {installed_with('serve')}"
    return (
        "is not part of the wheel, which has prediction and the client; clone the repository and "
        "pip install --editable '.[train,serve]' there"
    )


def _help() -> str:
    groups = [
        f"{title}\n" + "".join(f"  {verb:<11}{VERBS[verb][1]}\n" for verb in verbs)
        for title, verbs in GROUPS.items()
    ]
    return "\n".join(["usage: seg VERB [...]; seg VERB --help tells more\n", *groups])


if __name__ == "__main__":
    sys.exit(main())
