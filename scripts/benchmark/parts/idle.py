"""Memory of the service with idle connections."""

import socket
from contextlib import contextmanager

CONNECTIONS = 10_000
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def run(bench):
    service = bench.service
    service.stop()
    service.start()
    before = service.resident_bytes()
    with hold_connections(service.port, CONNECTIONS):
        idle = service.resident_bytes() / 1e6
    bench.report.add(f"resident memory with {CONNECTIONS:,} idle connections", idle, 150, "MB", at_most=True)
    bench.report.add("resident memory without connections", before / 1e6, unit="MB")


@contextmanager
def hold_connections(port, count):
    """Keeps connections open that have had an answer."""
    sockets = []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            sockets.append(connection)
            connection.sendall(REQUEST)
        for connection in sockets:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        yield
    finally:
        for connection in sockets:
            connection.close()
