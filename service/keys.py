"""API keys: ``python -m service.keys add NAME --scopes segment,jobs``.

The file holds salted SHA-256 hashes. A slow hash protects passwords, which people choose and others
guess; these keys are 256 random bits, which nobody guesses at any speed, and a slow hash would only
make each request pay.
"""

import argparse
import os
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from seg.errors import ConfigError, SegError
from service.middleware.key_file import SCOPES, Scope, new_key, read_keys, write_keys


def _scopes(text: str) -> tuple[Scope, ...]:
    try:
        return TypeAdapter(tuple[Scope, ...]).validate_python(text.split(","))
    except ValidationError:
        raise argparse.ArgumentTypeError(f"scopes are of {', '.join(SCOPES)}") from None


def _add(path: Path, arguments: argparse.Namespace) -> str:
    key, token = new_key(arguments.name, arguments.scopes, arguments.per_minute)
    write_keys(path, (*read_keys(path), key))
    return token


def _list(path: Path, _: argparse.Namespace) -> str:
    return "\n".join(
        f"{key.id}  {key.created}  {','.join(key.scopes)}  {key.name}" for key in read_keys(path)
    )


def _remove(path: Path, arguments: argparse.Namespace) -> str:
    keys = read_keys(path)
    kept = [key for key in keys if key.id != arguments.id]
    if len(kept) == len(keys):
        raise ConfigError(f"{path} has no key {arguments.id}; python -m service.keys list")
    write_keys(path, kept)
    return f"removed {arguments.id}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m service.keys", description=__doc__)
    parser.add_argument("--file", type=Path, default=os.environ.get("SEG_KEYS_FILE", "keys.json"))
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("add", help="print a new key; it is shown this once")
    add.add_argument("name", help="whom it is for")
    add.add_argument("--scopes", type=_scopes, default=("segment",), help=",".join(SCOPES))
    add.add_argument("--per-minute", type=int, help="most requests a minute")
    add.set_defaults(run=_add)
    commands.add_parser("list", help="ids, scopes and names").set_defaults(run=_list)
    remove = commands.add_parser("remove", help="a key that is not taken from now on")
    remove.add_argument("id")
    remove.set_defaults(run=_remove)
    arguments = parser.parse_args()
    try:
        sys.stdout.write(f"{arguments.run(arguments.file, arguments)}\n")
    except SegError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
