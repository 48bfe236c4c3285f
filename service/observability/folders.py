"""What libraries say, without the folders in it.

Runtimes quote the path of a file that they cannot read. Where it lies is nobody's business but the
operator's, and folders may be called after people.
"""

import re
from functools import cache
from pathlib import Path

_PATH = re.compile(
    r"""(?<![\w/.:~-])                     # not in an address of the web, nor after a relative path
        (?: ~/ | / (?P<first>[^/\s'"<>|:;,()]+) / | [A-Za-z]:[\\/] )
        (?: [^\s'"<>|:;,()]* [/\\] )?      # folders
        (?P<name>[^/\\\s'"<>|:;,()]*)""",
    re.VERBOSE,
)
_QUOTED = re.compile(
    r"""(?P<quote>['"])/(?P<first>[^/'"\n]+)/[^'"\n]*?(?P<name>[^/'"\n]*)(?P=quote)"""
)
_USUAL = frozenset({"home", "Users", "Volumes", "mnt", "media", "srv", "data", "root", "tmp"})
"""First folders of paths, whether or not they are here: a client's machine may have them."""


def without_folders(text: str, *known: Path) -> str:
    """The text with file names in place of paths.

    Args:
        text: of an error.
        known: folders that it may name, also with blanks in them.
    """
    for folder in known:
        text = text.replace(f"{folder.absolute()}/", "").replace(f"{folder}/", "")
        text = text.replace(str(folder.absolute()), folder.name)
    return _PATH.sub(_name_of, _QUOTED.sub(_name_of, text))


def _name_of(found: "re.Match[str]") -> str:
    """Layers of a network are called like paths too: ``/stage/conv``."""
    first = found["first"]
    if first is not None and first not in _USUAL and not _is_here(first):
        return found[0]
    quote = found.groupdict().get("quote", "")
    return f"{quote}{found['name'] or 'a folder'}{quote}"


@cache
def _is_here(first: str) -> bool:
    return Path("/", first).is_dir()
