"""API keys: ``python -m service.keys add NAME --scopes segment,jobs``.

The file holds salted SHA-256 hashes. A slow hash protects passwords, which people choose and others
guess; these keys are 256 random bits, which nobody guesses at any speed, and a slow hash would only
make each request pay.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from seg.commands import count, exit_status, path_named, positive
from seg.errors import ConfigError
from seg.verbs import called
from service.middleware.key_file import (
    SCOPES,
    Key,
    Scope,
    changing,
    new_key,
    read_keys,
    write_keys,
)

MOST_DAYS = 36525


def _scopes(text: str) -> tuple[Scope, ...]:
    try:
        return TypeAdapter(tuple[Scope, ...]).validate_python(text.split(","))
    except ValidationError:
        raise argparse.ArgumentTypeError(f"scopes are of {', '.join(SCOPES)}") from None


def _days(text: str) -> float:
    days = positive(text)
    if days >= MOST_DAYS:
        raise argparse.ArgumentTypeError("days are more than 0, and no more than a century")
    return days


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("a name has a letter, and no end of a line")
    return text


def _after(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _add(path: Path, arguments: argparse.Namespace) -> str:
    key, token = new_key(
        arguments.name, arguments.scopes, arguments.per_minute, expires=_after(arguments.days)
    )
    with changing(path):
        write_keys(path, (*read_keys(path), key))
    return token


def _rotate(path: Path, arguments: argparse.Namespace) -> str:
    """A new key with all that the old one has, its jobs too; the old one ends after a while."""
    with changing(path):
        keys = read_keys(path)
        old = next((key for key in keys if key.id == arguments.id), None)
        if old is None:
            raise ConfigError(f"{path} has no key {arguments.id}; {called('service.keys', 'list')}")
        new, token = new_key(
            old.name,
            old.scopes,
            old.per_minute,
            expires=_after(arguments.days),
            owner=old.owner or old.id,
        )
        end = _after(arguments.overlap_days)
        assert end is not None
        ending = old.model_copy(update={"expires": min(end, old.expires or end)})
        write_keys(path, (*(ending if key is old else key for key in keys), new))
    return token


def _list(path: Path, _: argparse.Namespace) -> str:
    return "\n".join(
        f"{key.id}  {key.created}  {_end_of(key)}  {','.join(key.scopes)}  {key.name}"
        for key in read_keys(path)
    )


def _end_of(key: Key) -> str:
    if key.expires is None:
        return "no end"
    return f"{'ended' if key.has_expired else 'until'} {key.expires:%Y-%m-%d %H:%M} UTC"


def _remove(path: Path, arguments: argparse.Namespace) -> str:
    with changing(path):
        keys = read_keys(path)
        kept = [key for key in keys if key.id != arguments.id]
        if len(kept) == len(keys):
            raise ConfigError(f"{path} has no key {arguments.id}; {called('service.keys', 'list')}")
        write_keys(path, kept)
    return f"removed {arguments.id}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when it is done, 2 when a user must repair something."""
    parser = argparse.ArgumentParser(
        prog=called("service.keys"),
        description="API keys: add, rotate, list and remove them. The file holds hashes alone.",
    )
    parser.add_argument(
        "--file",
        type=path_named,
        metavar="FILE",
        default=os.environ.get("SEG_KEYS_FILE", "keys.json"),
    )
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("add", help="print a new key; it is shown this once")
    add.add_argument("name", type=_name, metavar="NAME", help="whom it is for")
    add.add_argument("--scopes", type=_scopes, default=("segment",), help=",".join(SCOPES))
    add.add_argument("--per-minute", type=count, help="most requests a minute")
    add.add_argument("--days", type=_days, help="after which it ends by itself")
    add.set_defaults(run=_add)
    rotate = commands.add_parser(
        "rotate", help="print a key that replaces another; both are taken for a while"
    )
    rotate.add_argument("id")
    rotate.add_argument("--overlap-days", type=_days, default=7.0, help="the old one stays: 7")
    rotate.add_argument("--days", type=_days, help="after which the new one ends by itself")
    rotate.set_defaults(run=_rotate)
    commands.add_parser("list", help="ids, scopes and names").set_defaults(run=_list)
    remove = commands.add_parser("remove", help="a key that is not taken from now on")
    remove.add_argument("id")
    remove.set_defaults(run=_remove)
    options = parser.parse_args(arguments)

    def run() -> int:
        sys.stdout.write(f"{options.run(options.file, options)}\n")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
