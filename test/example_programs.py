"""Starts an example program, talks to it over a socket, and ends it.

usage: example_programs.py PROGRAM PATH SAY HEAR
Connects to PATH, sends the text SAY, and expects the text HEAR; then SIGTERM must end the program with status 0.
"""

import base64
import os
import signal
import socket
import subprocess
import sys


def exactly(stream, count):
    data = stream.read(count)
    if len(data) != count:
        raise SystemExit(f"the connection ended after {data!r}")
    return data


def frame(opcode, payload):
    """A client's frame, masked with zeros (RFC 6455 section 5.3)."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def main(program, path, say, hear):
    environment = dict(os.environ, WEBSOCKET_PORT="0")
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline().strip()
            host, _, port = line.removeprefix("listening on ").rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as peer, peer.makefile("rb") as stream:
                key = base64.b64encode(os.urandom(16)).decode()
                peer.sendall(
                    f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
                )
                status = stream.readline().decode().strip()
                if " 101 " not in status + " ":
                    raise SystemExit(f"the handshake was answered with {status!r}")
                while stream.readline().strip():
                    pass
                peer.sendall(frame(1, say.encode()))
                opcode, length = exactly(stream, 2)
                heard = exactly(stream, length).decode()
                if (opcode, heard) != (0x81, hear):
                    raise SystemExit(f"expected {hear!r}, heard {heard!r}")
                process.send_signal(signal.SIGTERM)
                opcode, length = exactly(stream, 2)
                code = exactly(stream, length)[:2]
                if opcode != 0x88 or int.from_bytes(code, "big") != 1001:
                    raise SystemExit(f"expected a close frame with 1001, got {opcode:#x} {code!r}")
                peer.sendall(frame(8, code))
            status = process.wait(timeout=30)
            if status != 0:
                raise SystemExit(f"the program ended with status {status}")
        finally:
            process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
