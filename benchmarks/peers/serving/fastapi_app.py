"""The endpoint that one writes in an afternoon: ``uvicorn fastapi_app:app``.

``THREADS=1`` gives a run one thread, so that requests run side by side; without it onnxruntime
takes all cores for each.
"""

import os

from codec import decode, encode, session
from fastapi import FastAPI, Response, UploadFile

app = FastAPI()
network = session(int(os.environ.get("THREADS", "0")) or None)


@app.get("/readyz")
def ready() -> str:
    """Loaded before the port opens."""
    return "ready"


@app.post("/segment")
def segment(image: UploadFile) -> Response:
    """Image in, mask out, in a thread of Starlette's pool."""
    logits, *_ = network.run(None, {"patches": decode(image.file.read())})
    return Response(encode(logits[0]), media_type="image/png")
