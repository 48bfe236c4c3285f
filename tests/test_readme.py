import contextlib
import importlib.util
import io
import re
import runpy
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMAND = re.compile(r"python (?:-m )?(?P<name>[\w./]+)(?P<words>[^\n`|&]*)")
SUBCOMMANDS = ("training.adopt", "training.studies", "service.keys")


def blocks(language):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_readme_s_python_runs_as_printed(monkeypatch):
    from seg.networks import SHORTCUTS

    monkeypatch.setitem(SHORTCUTS, "scaled", None)  # the README's own goes with the test
    assert len(blocks("python")) >= 2
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    from seg.networks import ResidualUNet, preset

    network = ResidualUNet(preset("resunet-s", spatial_dims=2, in_channels=1, num_classes=3))
    assert len(names["shallower"].droppable_blocks()) == len(network.droppable_blocks()) - 2


@cache
def options_of(name, subcommand):
    """What ``--help`` of a module or script lists."""
    run = runpy.run_path if name.endswith(".py") else runpy.run_module
    said, arguments, places = io.StringIO(), sys.argv, list(sys.path)
    sys.argv = [name, *([subcommand] if subcommand else []), "--help"]
    try:
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
            run(str(ROOT / name) if name.endswith(".py") else name, run_name="__main__")
    finally:
        sys.argv, sys.path[:] = arguments, places
    assert not ended.value.code, said.getvalue()
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", said.getvalue()))


def commands():
    """Every Python command in a document that names an option, once."""
    found = set()
    for document in DOCUMENTS:
        for match in COMMAND.finditer(document.read_text(encoding="utf-8")):
            name, words = match["name"], match["words"].split("#")[0].split()
            options = tuple(w.split("=")[0] for w in words if re.match(r"--?[a-z]", w))
            known = name.endswith(".py") or name.split(".")[0] in ("seg", "training", "service")
            if options and (known or name.startswith("data.")):
                found.add((name, words[0] if name in SUBCOMMANDS else "", options))
    return sorted(found)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_options_that_documents_name_are_those_of_the_commands():
    assert len(commands()) > 30
    unknown = [
        f"{name} {subcommand}: {option}"
        for name, subcommand, options in commands()
        for option in options
        if option not in options_of(name, subcommand)
    ]
    assert unknown == []


def test_documents_name_every_setting_of_the_service_and_no_other():
    from service.settings import PREFIX, Settings

    said = " ".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+", said))
    of_others = {"SEG_RUN_CODE", "SEG_KEY", "SEG_NAPARI"}
    """Of networks that a user wrote, of which the service runs none; of who asks the service; of
    who tests a script for napari."""
    of_archives = {name for name in named if re.fullmatch(r"SEG_DICOMWEB_[A-Z]+_FILE", name)}
    assert named - of_others - of_archives == {
        PREFIX + name.upper() for name in Settings.model_fields
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_and_files_that_a_document_names_are_there(document):
    text = document.read_text(encoding="utf-8")
    for module in set(re.findall(r"python -m ([\w.]+)", text)):
        assert importlib.util.find_spec(module), module
    for path in set(re.findall(r"\]\(([\w/.-]+)\)", text)):
        assert (document.parent / path).exists(), path
    for path in set(re.findall(r"python (benchmarks/[\w.]+)", text)):
        assert (ROOT / path).exists(), path


def test_torch_is_installed_in_the_version_that_is_tested():
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    written = re.findall(r"torch(?:vision)?==[\d.]+", page)
    assert len(written) == 2
    assert set(written) <= set(pinned)


def test_the_makefile_has_what_the_readme_promises():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+)", " ".join(blocks("bash")))):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
