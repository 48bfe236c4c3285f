"""``python -m service.hosting.compiled``: write the bytecode of all that serving imports.

An image whose root cannot be written would compile it anew at each start; the bytecode of all that
is installed would weigh twice as much.
"""

import argparse
import importlib
import pkgutil
from collections.abc import Iterator

import seg
import service
from seg.verbs import called

IMPORTED_LATER = (
    *("bentoml_cli.cli", "_bentoml_impl.server.serving", "_bentoml_impl.server.app"),
    *(
        "_bentoml_impl.worker.service",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.httptools_impl",
    ),
    *(
        "uvloop",
        "onnxruntime",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.postgresql.pg8000",
    ),
    *("opentelemetry.exporter.otlp.proto.http.trace_exporter", "highdicom.seg", "zarr.codecs"),
)
"""What BentoML and others import when they run."""
SERVING = ("service.bento", "service.app", "seg.inference", "seg.images", "seg.objects")
"""What no answer can do without."""


def main() -> None:
    """The command."""
    argparse.ArgumentParser(
        prog=called("service.hosting.compiled"),
        description="Write the bytecode of all that serving imports.",
    ).parse_args()
    for name in (*SERVING, *IMPORTED_LATER):  # an image without them would not start: say so now
        importlib.import_module(name)
    for name in modules():
        try:
            importlib.import_module(name)
        except ImportError:  # it needs torch, or what only a developer has
            continue


def modules() -> Iterator[str]:
    """Of the library and the service."""
    for room in (seg, service):
        for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}.", lambda _: None):
            if not found.name.endswith("__main__"):
                yield found.name


if __name__ == "__main__":
    main()
