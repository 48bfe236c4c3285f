"""``plan.yaml``: a plan that people can read and edit."""

from pathlib import Path
from typing import Any

import yaml

from seg.errors import ConfigError
from seg.files import replace_file
from seg.verbs import called
from training.run.plan import Plan, validated


def write_plan(plan: Plan, path: Path) -> None:
    """Write ``plan.yaml`` with a comment at every field."""
    lines = [
        f"# Edit it and run: {called('training.fit', '--plan', 'plan.yaml')}",
        "",
    ]
    for name, value in plan.model_dump(mode="json").items():
        nested = isinstance(value, list) and bool(value) and isinstance(value[0], list | dict)
        comment = f"  # {Plan.model_fields[name].description}"
        if nested:
            lines += [f"{name}:{comment}", *(f"  - {_inline(entry)}" for entry in value)]
        else:
            lines.append(f"{name}: {_inline(value)}{comment}")
    replace_file(path, ("\n".join(lines) + "\n").encode())


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def read_plan(path: Path) -> Plan:
    """Read a plan back.

    Raises:
        ConfigError: the file is missing, or a field is unknown or cannot be.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold one field a line, like plan.yaml of a finished run")
    return validated(raw, str(path))
