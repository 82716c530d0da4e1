"""The port that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avish.errors import UnavailableError


def serve(where: tuple[str, int], collector: Any) -> Callable[[], None]:
    """Answer scrapes in a thread of its own; what it returns ends that. UnavailableError when the port is taken."""
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.process_collector import ProcessCollector

    address, port = where
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise UnavailableError(
            f"metrics cannot be served at {address} port {port}: {error.strerror or error}"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
