"""The libraries that speak HTTP: prediction from files does without them."""

import importlib
import logging
from functools import cache
from typing import Any

from seg.errors import ConfigError
from seg.version import installed_with


@cache
def needed(name: str) -> Any:
    """A module of the extra ``client``, silenced: its lines would hold addresses, and so UIDs.

    Raises:
        ConfigError: it is not installed.
    """
    for logger in ("httpx", "httpcore", "python_multipart", "python_multipart.multipart"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"DICOMweb needs {name.partition('.')[0]}: {installed_with('client')}"
        ) from None
