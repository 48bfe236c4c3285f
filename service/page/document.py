"""An HTML file of the page as it is sent: in a language, with all that the first paint needs.

What is seen first waits for one answer: styles and the script that no paint may come before lie in
the document, each allowed by its hash, and the texts are there before a script of the page runs.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service.preferences import weighted

FILES = Path(__file__).parent / "static"
TEXTS = FILES / "texts"
USUAL = "en"
ENTRY = re.compile(r'^  "?([\w-]+)"?: (".*"),$', re.MULTILINE)
STYLE = re.compile(r'<link rel="stylesheet" href="(?:page/)?(\S+\.css)">')
SCRIPT = re.compile(r'<script src="(?:page/)?(\S+\.js)"></script>')
SPOKEN = re.compile(r'<(\w+)([^<>]*\sdata-(?:text|label|hint)="[^<>]*)>')
NAMED = re.compile(r'\sdata-(text|label|hint)="(\w+)"')
OF_STUDIO = re.compile(r"\s*<a [^<>]*data-of-studio[^<>]*></a>")
"""What a service without a studio does not have."""
CHOICE = '<select id="language"></select>'


@dataclass(frozen=True)
class Document:
    """HTML and what of it may run: hashes as a Content-Security-Policy names them."""

    text: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


@cache
def tables() -> Mapping[str, Mapping[str, str]]:
    """What the page says, by language and key; a language is a file of ``texts``."""
    found = {
        file.stem: {key: json.loads(text) for key, text in ENTRY.findall(file.read_text("utf-8"))}
        for file in sorted(TEXTS.glob("*.js"))
    }
    return {language: found[USUAL] | table for language, table in found.items()}


def language_of(accepted: str) -> str:
    """Of an Accept-Language the language wanted most that there is a table for."""
    likes = sorted(weighted(accepted), key=lambda like: -like[1])
    codes = (name.partition("-")[0] for name, weight in likes if weight)
    return next((code for code in codes if code in tables()), USUAL)


def document_of(file: Path, language: str, *, has_studio: bool = False) -> Document:
    """An HTML file in a language that there is a table for."""
    texts = tables()[language]
    styles: list[str] = []
    scripts: list[str] = []
    text = file.read_text("utf-8")
    if not has_studio:
        text = OF_STUDIO.sub("", text)
    text = SPOKEN.sub(lambda found: _said(found, texts), text)
    options = "".join(
        f'<option value="{code}" lang="{code}"{" selected" * (code == language)}>'
        f"{html.escape(table['languageName'])}</option>"
        for code, table in tables().items()
    )
    text = text.replace(CHOICE, CHOICE.replace("><", f">{options}<"))
    spoken = f'<html lang="{language}" data-languages="{" ".join(tables())}">'
    text = text.replace('<html lang="en">', spoken)
    text = STYLE.sub(lambda found: _inlined("style", found[1], styles), text)
    text = SCRIPT.sub(lambda found: _inlined("script", found[1], scripts), text)
    return Document(text, tuple(styles), tuple(scripts))


def _said(tag: re.Match[str], texts: Mapping[str, str]) -> str:
    """A tag with its texts: in it, as its label, as its hint."""
    named = {kind: html.escape(texts[key]) for kind, key in NAMED.findall(tag[2])}
    more = "".join(
        f' {attribute}="{named[kind]}"'
        for kind, attribute in (("label", "aria-label"), ("hint", "title"))
        if kind in named
    )
    return f"<{tag[1]}{tag[2]}{more}>{named.get('text', '')}"


def _inlined(tag: str, name: str, hashes: list[str]) -> str:
    content = (FILES / name).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    hashes.append(f"'sha256-{digest}'")
    return f"<{tag}>{content}</{tag}>"
