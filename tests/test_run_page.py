"""The runner of documents' commands, on a page of its own."""

import re
from pathlib import Path

import pytest

from tests.run_page import Run, blocks_of, pieces_of, run_page

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
PAGE = """
```bash
export NAME=world
echo "hello $NAME" > said.txt
test -f pyproject.toml
```

*Not run here: it needs a GPU.*
```bash
false
```

```bash
grep -q "hello world" said.txt
```

```bash
cat nowhere.txt
```
"""


def test_a_page_s_blocks_run_in_order_and_failures_are_told(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    outcome = run_page(page)
    assert (outcome.ran, outcome.left_out) == (2, 1)
    assert outcome.failed == ["page.md:18"]
    assert "needs a GPU" in capsys.readouterr().out


def test_port_and_minutes_are_replaced(tmp_path):
    run = Run(tmp_path, full=False)
    text = (
        "fit data --minutes 5; seg serve --port 3000; curl localhost:3000 127.0.0.1:3000 -p 13000"
    )
    assert run.as_run(text) == (
        f"fit data --steps 12; seg serve --port {run.port}; "
        f"curl localhost:{run.port} 127.0.0.1:{run.port} -p 13000"
    )
    assert run.as_run("make demo") == "python -m training.demo --steps 12"


def test_a_line_that_serves_stands_alone():
    pieces = list(pieces_of("a \\\n  b\nSEG_PACKAGE=p seg serve # x\nc\nd"))
    assert pieces == ["a \\\n  b", "SEG_PACKAGE=p seg serve # x", "c\nd"]


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_a_page_hides_nothing_from_its_readers(document):
    text = document.read_text(encoding="utf-8")
    told = [
        each
        for each in re.findall(r"<!--(.*?)-->", text, re.DOTALL)
        if each.strip() != "kubernetes"
    ]
    assert told == [], "what a reader lacks is fetched or made by a line that is printed"
    assert "tests.page_data" not in text or document.name == "adopt.md"


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_what_is_not_run_says_why(document):
    text = document.read_text(encoding="utf-8")
    blocks = list(blocks_of(text))
    assert len(blocks) == len(re.findall(r"^ *```bash$", text, re.MULTILINE))
    assert sum(bool(block.why_not) for block in blocks) == text.count("*Not run here: ")
    for block in blocks:
        assert block.text.strip(), block.line
        assert block.why_not == "" or len(block.why_not) > 10, block.line


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_a_printed_service_starts_without_a_report_to_bentoml_s_makers(document):
    for block in blocks_of(document.read_text(encoding="utf-8")):
        assert "bentoml serve" not in block.text, f"line {block.line}: print seg serve"
