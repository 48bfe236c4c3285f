"""Pages of the site that lie outside of docs/, and links that lead there.

Documents are written for whoever reads them in the repository: README.md is the site's first page,
and a link to a file that is no page of the site becomes the file's name.
"""

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = {
    path: page
    for path, page in {
        "README.md": "index.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "benchmarks/README.md": "benchmarks.md",
    }.items()
    if (ROOT / path).is_file()
}
"""Path in the repository to the page of the site."""
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<path>[\w./-]+)(?P<anchor>#[\w-]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that lie outside of docs/."""
    for path, page in OUTSIDE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to pages, not to places in the repository."""
    here = page.file.src_uri
    home = {page: path for path, page in OUTSIDE.items()}.get(here, f"docs/{here}")

    def leading_to_a_page(link: re.Match[str]) -> str:
        path = os.path.normpath(PurePosixPath(home).parent / link["path"])
        target = OUTSIDE.get(path)
        if target is None and path.startswith("docs/"):
            target = path.removeprefix("docs/")
        if target is not None:
            nearest = os.path.relpath(target, PurePosixPath(here).parent)
            return f"{link['text']}({nearest}{link['anchor'] or ''})"
        return f"`{path}`" if (ROOT / path).exists() else link[0]

    return LINK.sub(leading_to_a_page, markdown)
