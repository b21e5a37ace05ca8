"""LitServe serving a network, as its guide to faster serving has it: photos as base64 in JSON, batches on.

``python -m benchmarks.litserve_side JSON --port N`` serves until it is told to stop, in an environment of its own.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import litserve

from benchmarks.serving_sides import Network, Serving, opened, tensor_of


class Photos(litserve.LitAPI):  # type: ignore[misc]
    """What LitServe asks about each request; it stands here so that its workers can be given one."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked, self.settings = asked, Serving(**asked["settings"])
        super().__init__(max_batch_size=self.settings.max_batch, batch_timeout=self.settings.wait_ms / 1000)

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the network."""
        self.network = Network(self.asked["network"], self.asked["output"], self.settings)

    def decode_request(self, request: dict[str, str]) -> Any:
        """Decode a photo."""
        photo = opened(base64.b64decode(request["image"]))
        return tensor_of(photo, self.asked["preprocessing"], self.settings)

    def batch(self, inputs: Any) -> Any:
        """Leave them as they are; the network stacks them."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Answer a batch."""
        return self.network.labels(x, self.asked["labels"])

    def unbatch(self, output: Any) -> Any:
        """Leave them as they are."""
        return output

    def encode_response(self, output: str) -> dict[str, str]:
        """Answer one."""
        return {"label": output}


def main() -> None:
    """Serve."""
    asked = json.loads(sys.argv[1])
    server = litserve.LitServer(
        Photos(asked), accelerator="cpu", workers_per_device=asked["settings"]["n_workers"]
    )
    port = int(sys.argv[sys.argv.index("--port") + 1])
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main()
