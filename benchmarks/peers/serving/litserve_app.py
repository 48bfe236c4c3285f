"""The same endpoint on LitServe, one worker a core: ``python litserve_app.py PORT WORKERS``."""

import sys

import litserve
from codec import decode, encode, session
from fastapi import Request, Response


class Segmenter(litserve.LitAPI):
    """Decode, run, encode; a run has one thread, since each worker is a process."""

    def setup(self, device: str) -> None:
        """Once a worker."""
        self.network = session(threads=1)

    def decode_request(self, request: Request):
        """A form has been parsed already."""
        return decode(request["image"].file.read())

    def predict(self, patches):
        """Logits of one image."""
        return self.network.run(None, {"patches": patches})[0][0]

    def encode_response(self, logits) -> Response:
        """A PNG."""
        return Response(encode(logits), media_type="image/png")


if __name__ == "__main__":
    port, workers = map(int, sys.argv[1:])
    server = litserve.LitServer(
        Segmenter(api_path="/segment"),
        accelerator="cpu",
        workers_per_device=workers,
        healthcheck_path="/readyz",
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")
