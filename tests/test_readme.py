import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_readme_s_python_runs_as_printed():
    assert len(blocks("python")) >= 2
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    from seg.networks import ResidualUNet, preset

    network = ResidualUNet(preset("resunet-s", spatial_dims=2, in_channels=1, num_classes=3))
    assert len(names["shallower"].droppable_blocks()) == len(network.droppable_blocks()) - 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_and_files_that_a_document_names_are_there(document):
    text = document.read_text(encoding="utf-8")
    for module in set(re.findall(r"python -m ([\w.]+)", text)):
        assert importlib.util.find_spec(module), module
    for path in set(re.findall(r"\]\(([\w/.-]+)\)", text)):
        assert (document.parent / path).exists(), path
    for path in set(re.findall(r"python (benchmarks/[\w.]+)", text)):
        assert (ROOT / path).exists(), path


def test_the_makefile_has_what_the_readme_promises():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+)", " ".join(blocks("bash")))):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
