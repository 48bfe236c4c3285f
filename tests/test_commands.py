"""Every command reads its arguments before anything is imported that takes seconds."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seg
from seg import names
from seg.verbs import VERBS

ROOT = Path(seg.__file__).parents[1]
SLOW = {
    *("torch", "lightning", "monai", "segmentation_models_pytorch", "albumentations", "mlflow"),
    *("scipy", "skimage", "sklearn", "matplotlib", "nibabel", "pydicom", "highdicom", "zarr"),
    *("onnx", "onnxruntime", "openvino", "ray", "pandas", "bentoml", "sqlalchemy"),
}
NO_COMMANDS = {
    "service.models.trial": "a process of its own, which tries a package that is put",
    "training.interchange.unpickle": "a process of its own, started by its path and no person",
}
RUN = """
import contextlib, io, json, runpy, sys
answers = []
for option in ("--help", "--no-such-option"):
    sys.argv = ["seg", *{words!r}, option]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            {run}
            status = "it goes on"
        except SystemExit as end:
            status = end.code or 0
    answers.append((status, out.getvalue(), err.getvalue()))
print(json.dumps([answers, sorted({slow!r} & set(sys.modules))]))
"""


def commands():
    """Names of all modules that end in ``if __name__ == "__main__"``."""
    for room in ("seg", "training", "service", "data"):
        for file in sorted((ROOT / room).rglob("*.py")):
            if any(is_start(node) for node in ast.parse(file.read_text()).body):
                parts = file.relative_to(ROOT).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__main__" else parts)
                if name not in NO_COMMANDS:
                    yield name


def is_start(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def asked(run, words):
    """Status, output and errors for ``--help`` and for a wrong option, and what was imported."""
    program = RUN.format(run=run, words=words, slow=SLOW)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_answers(help_, typo):
    status, printed, _ = help_
    assert status == 0
    assert printed.lower().startswith("usage:")
    assert "``" not in printed, "marks of the source's documentation"
    status, printed, complaint = typo
    assert (status, printed) == (2, "")
    assert "Traceback" not in complaint
    *usage, sentence = complaint.strip().splitlines()
    assert re.search(r"error: \S", sentence, re.IGNORECASE)
    assert not any("error" in line for line in usage)


VERB_OF = {module: verb for verb, (module, _) in VERBS.items()}


@pytest.mark.parametrize("command", [*commands(), "bentoml"])
def test_help_and_a_wrong_option_are_answered_without_importing_what_is_slow(command):
    if command in VERB_OF:  # seg VERB runs the same module in the same way
        run, words = "from seg.verbs import main; sys.exit(main())", [VERB_OF[command]]
    else:
        run, words = f"runpy.run_module({command!r}, run_name='__main__', alter_sys=True)", []
    (help_, typo), imported = asked(run, words)
    check_answers(help_, typo)
    assert set(imported) <= ({"bentoml"} if command == "bentoml" else set())


def test_every_command_is_found():
    found = set(commands())
    verbs = {module for module, _ in VERBS.values()} - {"bentoml"}
    assert verbs <= found
    users = {name for name in found if name.count(".") == 1} - {"seg.verbs"}
    assert users - verbs == {"seg.model_package", "seg.client", "service.client"}
    documented = {
        name
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        for name in re.findall(r"python -m ((?:seg|training|service|data)[\w.]*)", page.read_text())
    }
    assert documented <= found


def test_names_that_a_command_line_lists_are_those_of_the_registries():
    from seg.images import MASK_FORMATS, PROBABILITY_FORMATS
    from seg.inference import outputs_for
    from seg.networks import PRESETS, SHORTCUTS
    from seg.objects import OBJECT_FORMATS

    assert tuple(MASK_FORMATS) == names.MASK_NAMES
    assert tuple(PROBABILITY_FORMATS) == names.PROBABILITY_NAMES
    assert tuple(OBJECT_FORMATS) == names.OBJECT_NAMES
    assert tuple(PRESETS) == names.PRESET_NAMES
    assert tuple(SHORTCUTS) == names.SHORTCUT_NAMES
    assert set(outputs_for(2)) | set(outputs_for(3)) == set(names.OUTPUT_NAMES)


@pytest.mark.parametrize("room", ["seg.model_package", "seg.networks", "seg.client"])
def test_a_room_has_all_that_it_shows(room):
    program = f"import {room} as room; [getattr(room, name) for name in room.__all__]"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    program = f"from {room} import nothing_of_the_kind"
    asked = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert b"ImportError: cannot import name 'nothing_of_the_kind'" in asked.stderr
