"""Memory of the service with idle connections."""

import socket

CONNECTIONS = 10_000
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def run(bench):
    service = bench.service
    service.stop()
    service.start()
    before, sockets = service.resident_bytes(), []
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", service.port))
        connection.sendall(REQUEST)
        sockets.append(connection)
    for connection in sockets:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    idle = service.resident_bytes() / 1e6
    bench.report.add(f"resident memory with {CONNECTIONS:,} idle connections", idle, 150, "MB", at_most=True)
    bench.report.add("resident memory without connections", before / 1e6, unit="MB")
    for connection in sockets:
        connection.close()
