"""The client of Python's websockets against skein-server, without and with permessage-deflate and TLS."""

import asyncio
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile

import websockets

LIMIT = 64 * 1024
# Names of the module's parameters differ between versions; these are common to all.
OPTIONS = {"max_size": 2 * LIMIT, "open_timeout": 20, "close_timeout": 20, "ping_interval": None}


class Server:
    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, "--bench-routes", "--port", "0", *options], stdout=subprocess.PIPE,
                                        text=True)
        scheme = "wss" if "--tls-key" in options else "ws"
        for line in self.process.stdout:
            found = re.search(r"listening on (\S+)", line)
            if found:
                self.url = f"{scheme}://{found.group(1)}/echo"
                return
        raise SystemExit("the server said no address")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        if status != 0:
            raise SystemExit(f"the server's exit status was {status}")


def payloads():
    random.seed(1)
    words = ["order", "price", "buy", "sell", "ünïcödé", "\U0001f600"]
    prose = " ".join(random.choice(words) for _ in range(9_000))
    whole = prose.encode()[:LIMIT].decode(errors="ignore")
    return ["", "text", "grüße \u20ac \U0001f600", prose[:300], "x" * LIMIT, whole,
            b"", b"\x00\xff\x80", bytes(LIMIT), random.randbytes(LIMIT), random.randbytes(LIMIT - 1), prose.encode()[:40_000]]


async def expect(ws, payload):
    answer = await asyncio.wait_for(ws.recv(), 20)
    assert type(answer) is type(payload), (type(answer), type(payload))
    assert answer == payload, f"{len(answer)} bytes came back for {len(payload)}"


def pieces(payload):
    third = len(payload) // 3
    return [payload[:third], payload[third : 2 * third], payload[2 * third : 2 * third], payload[2 * third :]]


async def converse(url, compression, tls):
    async with websockets.connect(url, compression=compression, ssl=tls, **OPTIONS) as ws:
        extensions = str(ws.extensions if hasattr(ws, "extensions") else ws.protocol.extensions)
        assert ("PerMessageDeflate" in extensions) == (compression == "deflate"), extensions
        for payload in payloads():
            await ws.send(payload)
            await expect(ws, payload)
            if payload:
                await ws.send(pieces(payload))  # a fragmented message
                await expect(ws, payload)
        # Many at once, in order.
        for i in range(200):
            await ws.send(f"{i} " + "y" * (i * 7))
        for i in range(200):
            await expect(ws, f"{i} " + "y" * (i * 7))
        for i in range(5):
            await asyncio.wait_for(await ws.ping(b"ping %d" % i), 20)
        await ws.close(4001, "done")
    assert ws.close_code == 4001, ws.close_code


async def past_the_limit(url, compression, tls):
    async with websockets.connect(url, compression=compression, ssl=tls, **OPTIONS) as ws:
        await ws.send("x" * (LIMIT + 1))
        try:
            await asyncio.wait_for(ws.recv(), 20)
        except websockets.ConnectionClosed:
            pass
    assert ws.close_code == 1009, ws.close_code


async def conversations(url, compression, tls=None):
    await asyncio.gather(*(converse(url, compression, tls) for _ in range(8)))
    await past_the_limit(url, compression, tls)


def over_tls(program):
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "1", "-subj", "/CN=skein", "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate,
                        "-keyout", key], check=True, capture_output=True)
        trusting = ssl.create_default_context(cafile=certificate)
        with Server(program, "--compression", "--tls-certificate", certificate, "--tls-key", key) as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                trusting.minimum_version = ssl.TLSVersion.TLSv1_2
                trusting.maximum_version = version
                asyncio.run(conversations(server.url, None, trusting))
                asyncio.run(conversations(server.url, "deflate", trusting))


def main():
    program = os.path.abspath(sys.argv[1])
    with Server(program) as server:
        asyncio.run(conversations(server.url, None))
    with Server(program, "--compression") as server:
        asyncio.run(conversations(server.url, None))
        asyncio.run(conversations(server.url, "deflate"))
    if shutil.which("openssl"):
        over_tls(program)
    print("websockets", getattr(websockets, "__version__", "?"), "and skein-server understand each other")


if __name__ == "__main__":
    main()
