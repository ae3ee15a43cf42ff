#!/usr/bin/env python3
"""What a flood costs a server once its limit has struck: CPU and memory, and what an honest client notices.

Starts a skein-server with one shard for each flood, attacks it over loopback for a while, reads its CPU time and memory from
/proc, and meanwhile measures the echoes of a client that does nothing wrong. Every offender comes again a second after it was
thrown out, as a real one would.
"""

import argparse
import asyncio
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import zlib

REQUEST = (
    "GET {} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{}\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
MASK = bytes(4)  # a mask of zeros leaves the payload as it is
PAUSE = 1.0  # seconds until an offender that was thrown out comes again
CLOSE_TIMEOUT = 2  # seconds that the server waits for a peer to close
HONEST = "127.0.0.2"  # has limits by address of its own


def request(path="/echo", headers=""):
    return REQUEST.format(path, headers).encode()


def frame(first, payload=b""):
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + MASK + payload


def bomb(inflated):
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    squeezed = squeezer.compress(bytes(inflated)) + squeezer.flush(zlib.Z_SYNC_FLUSH)
    return frame(0xC2, squeezed[:-4])


class Target:
    """The server under attack."""

    def __init__(self, program, options, files=None):
        room = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        fixed = ["--port", "0", "--shards", "1", "--log-level", "error", "--bench-routes", "--examples=false"]
        self.process = subprocess.Popen(
            [program, *fixed, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=room
        )
        self.port = None
        for line in self.process.stdout:
            if found := re.search(r"listening on .*:(\d+)", line):
                self.port = int(found[1])
                break
        if self.port is None:
            raise RuntimeError(f"{program} did not start: status {self.process.wait()}")
        self.ends = 0  # connections that the server has ended

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) * 1024

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    async def connect(self, **more):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self.port, **more)
            except OSError:
                await asyncio.sleep(PAUSE)

    async def until_end(self, reader):
        """Reads until the server ends the connection."""
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        self.ends += 1


def reset(writer):
    sock = writer.get_extra_info("socket")
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def offends(target, payload, first=b""):
    """Says `first`, waits for an answer, sends the payload, and comes again when it is thrown out."""
    while True:
        reader, writer = await target.connect()
        try:
            if first:
                writer.write(first)
                await reader.readuntil(b"\r\n\r\n")
            writer.write(payload)
            await target.until_end(reader)
        except (OSError, asyncio.IncompleteReadError):
            target.ends += 1
        reset(writer)
        await asyncio.sleep(PAUSE)


async def trickles(target, payload):
    """One byte a second, and again when it is thrown out."""
    while True:
        reader, writer = await target.connect()
        end = asyncio.ensure_future(target.until_end(reader))
        for byte in payload:
            if end.done():
                break
            writer.write(bytes([byte]))
            await asyncio.wait([end], timeout=1)
        await end
        reset(writer)
        await asyncio.sleep(PAUSE)


async def renews(target, patience):
    """Begins a request, and another on a new connection before anybody has lost patience with the first."""
    while True:
        reader, writer = await target.connect()
        writer.write(b"GET")
        end = asyncio.ensure_future(target.until_end(reader))
        await asyncio.wait([end], timeout=patience)
        if end.done():
            await asyncio.sleep(PAUSE)
        else:
            end.cancel()
        reset(writer)


async def never_reads(target):
    while True:
        reader, writer = await target.connect(limit=1024)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(request())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        try:
            while True:
                writer.write(frame(0x82, bytes(4096)))
                await writer.drain()
        except OSError:
            target.ends += 1
        reset(writer)
        await asyncio.sleep(PAUSE)


async def never_closes(target):
    """Has itself closed with 1002, and neither answers nor ends the connection before the server must have."""
    while True:
        reader, writer = await target.connect()
        writer.write(request() + frame(0xF2))
        await target.until_end(reader)
        await asyncio.sleep(CLOSE_TIMEOUT + PAUSE)
        reset(writer)


async def comes_and_goes(target, rate, steps):
    """So many connections a second, each left with a reset after another step."""
    began = time.monotonic()
    turn = 0
    while True:
        _, writer = await target.connect()
        writer.write(steps[turn % len(steps)])
        if turn % 2:
            await asyncio.sleep(0)
        reset(writer)
        turn += 1
        await asyncio.sleep(max(0, began + turn / rate - time.monotonic()))


async def asks(target, rate):
    """So many requests to upgrade a second, each on a connection of its own; the server ends them, or it does not."""

    async def ask():
        reader, writer = await target.connect()
        writer.write(request())
        await target.until_end(reader)
        reset(writer)

    began = time.monotonic()
    turn = 0
    running = set()
    while True:
        task = asyncio.ensure_future(ask())
        running.add(task)
        task.add_done_callback(running.discard)
        turn += 1
        await asyncio.sleep(max(0, began + turn / rate - time.monotonic()))


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = ssl._create_unverified_context().wrap_bio(incoming, outgoing)
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def certificate(folder):
    names = [str(folder / name) for name in ("key.pem", "certificate.pem")]
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost".split()
        + ["-keyout", names[0], "-out", names[1]],
        check=True,
        capture_output=True,
    )
    return names


async def floods(number, call):
    await asyncio.gather(*(call() for _ in range(number)))


HEADERS = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 64) for i in range(4000))
EMPTY = frame(0x02) + frame(0x00) * 2000
RESET_STEPS = [
    b"",
    b"G",
    request()[:60],
    request(),
    request() + frame(0x82, b"half of it")[:8],
    request() + frame(0x02, b"one part of two"),
    request() + frame(0x88, b"\x03\xe8"),
]
FAR_PAST = ["--handshake-timeout", "5s"]

# What attacks, with which options of the server, and how. `tls`: the server speaks TLS.
FLOODS = {
    "slow-handshakes": (
        "500 handshakes of one byte a second",
        FAR_PAST,
        lambda t: floods(500, lambda: trickles(t, request())),
    ),
    "slow-tls": (
        "500 TLS handshakes of one byte a second",
        FAR_PAST,
        lambda t: floods(500, lambda: trickles(t, client_hello())),
    ),
    "places": (
        "500 clients of one address trickle their handshakes, which leaves none of 100 places to others; 10 of them may",
        ["--max-handshakes", "100", "--handshakes-per-address", "10"],
        lambda t: floods(500, lambda: trickles(t, request())),
    ),
    "renewed": (
        "the same 500, each of which gives up after 1.5 s and connects anew at once",
        ["--max-handshakes", "100", "--handshakes-per-address", "10"],
        lambda t: floods(500, lambda: renews(t, 1.5)),
    ),
    "handshakes": (
        "1,000 requests to upgrade a second from one address, 10 of them may",
        ["--handshake-rate", "10/s"],
        lambda t: asks(t, 1000),
    ),
    "headers": ("50 clients send 300 KB of header fields", [], lambda t: floods(50, lambda: offends(t, HEADERS))),
    "messages": (
        "50 clients send 100 messages at a time",
        ["--message-rate", "10/s:20"],
        lambda t: floods(50, lambda: offends(t, frame(0x82, b"x" * 64) * 100, request())),
    ),
    "pings": (
        "50 clients send 60 pings at a time",
        ["--max-pings-per-second", "10"],
        lambda t: floods(50, lambda: offends(t, frame(0x89) * 60, request())),
    ),
    "fragments": (
        "50 clients send 2,000 empty fragments at a time",
        [],
        lambda t: floods(50, lambda: offends(t, EMPTY, request())),
    ),
    "bombs": (
        "50 clients send 10 KB that inflate to 10 MB",
        ["--compression"],
        lambda t: floods(50, lambda: offends(t, bomb(10_000_000), request(headers=DEFLATE))),
    ),
    "never-read": ("100 clients send and never read", [], lambda t: floods(100, lambda: never_reads(t))),
    "never-close": (
        "100 clients are closed with 1002 and do not go",
        ["--close-timeout", f"{CLOSE_TIMEOUT}s"],
        lambda t: floods(100, lambda: never_closes(t)),
    ),
    "resets": (
        "200 connections a second, reset at seven steps, 10 of them may",
        ["--handshake-rate", "10/s"],
        lambda t: comes_and_goes(t, 200, RESET_STEPS),
    ),
    "descriptors": (
        "500 clients want one of 64 descriptors",
        ["--max-connections", "10000"],
        lambda t: floods(500, lambda: offends(t, b"", request())),
    ),
}
FILES = {"descriptors": 64}
TLS = {"slow-tls"}


class Refused(RuntimeError):
    pass


class Honest:
    """A client of another address that sends a message eight times a second, which every limit allows, and waits for its echo."""

    def __init__(self, target, tls):
        self.target = target
        self.tls = ssl._create_unverified_context() if tls else None
        self.latencies = []
        self.joined = asyncio.Event()

    async def join(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target.port, local_addr=(HONEST, 0), ssl=self.tls)
        try:
            writer.write(request())
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 101"):
                raise Refused(f"an honest client is refused: {answer[:60]}")
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    async def run(self):
        reader, writer = await self.join()
        self.joined.set()
        while True:
            began = time.monotonic()
            writer.write(frame(0x82, b"x" * 16))
            await self.echo(reader, writer)
            self.latencies.append(time.monotonic() - began)
            await asyncio.sleep(0.12)

    async def echo(self, reader, writer):
        while True:
            first, size = await reader.readexactly(2)
            payload = await reader.readexactly(size)
            if first == 0x82:
                return
            if first != 0x89:
                raise RuntimeError(f"an honest client gets a frame {first:#x}")
            writer.write(frame(0x8A, payload))


class Newcomers:
    """Clients of that other address that come one after the other, three a second, and go once they are welcome."""

    def __init__(self, honest):
        self.honest = honest
        self.waits = []
        self.refused = 0

    async def run(self):
        while True:
            began = time.monotonic()
            try:
                _, writer = await asyncio.wait_for(self.honest.join(), 10)
                self.waits.append(time.monotonic() - began)
                writer.transport.abort()
            except (OSError, EOFError, Refused, asyncio.TimeoutError):
                self.refused += 1
            await asyncio.sleep(0.33)

    def told(self):
        slowest = f"{max(self.waits) * 1000:.0f} ms" if self.waits else "-"
        return slowest + (f", {self.refused} of {self.refused + len(self.waits)} turned away" if self.refused else "")


async def measure(target, attack, tls, seconds):
    honest = Honest(target, tls)
    echoes = asyncio.ensure_future(honest.run())
    joined = asyncio.ensure_future(honest.joined.wait())
    await asyncio.wait([echoes, joined], return_when=asyncio.FIRST_COMPLETED)
    flood = asyncio.ensure_future(attack(target))
    newcomers = Newcomers(honest)
    arrivals = asyncio.ensure_future(newcomers.run())
    await asyncio.sleep(3)  # until the limit has struck, and what it takes has been taken
    for task in (flood, echoes):
        if task.done():
            task.result()
    cpu, memory, ends, since = target.cpu(), target.memory(), target.ends, time.monotonic()
    honest.latencies.clear()
    newcomers.waits.clear()  # at the beginning it is this process that keeps them waiting
    newcomers.refused = 0
    await asyncio.wait([flood, echoes], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in (flood, echoes):
        if task.done():
            task.result()
            raise RuntimeError("a task has ended by itself")
    took = time.monotonic() - since
    figures = {
        "cpu": (target.cpu() - cpu) / took * 100,
        "ends": (target.ends - ends) / took,
        "memory": target.memory(),
        "grown": target.memory() - memory,
        "echoes": len(honest.latencies),
        "slowest": max(honest.latencies) * 1000,
        "newcomers": newcomers.told(),
    }
    tasks = (flood, echoes, arrivals)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures


async def quiet(what):
    """Tasks that are cancelled in the middle of a connection have nothing to say."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    return await what


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("floods", nargs="*", metavar="FLOOD", help=f"one of {', '.join(FLOODS)} (default: each)")
    parser.add_argument("--server", default="build/release/skein-server", help="the program (default: %(default)s)")
    parser.add_argument("--engine", default="native", help="native or beast (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default: %(default)s)")
    parser.add_argument("--most", type=float, help="fail if a flood takes more than so many percent of a core")
    chosen = parser.parse_args()
    if unknown := set(chosen.floods) - set(FLOODS):
        parser.error(f"no flood {', '.join(sorted(unknown))}; there are {', '.join(FLOODS)}")
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

    failed = []
    print("| flood | ended by the server, 1/s | CPU of one core | memory, KiB | grown by, KiB | slowest honest echo | slowest honest newcomer |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        key, chain = certificate(pathlib.Path(folder))
        for name in chosen.floods or FLOODS:
            text, options, attack = FLOODS[name]
            secure = ["--tls-certificate", chain, "--tls-key", key] if name in TLS else []
            target = Target(chosen.server, [*options, *secure, "--engine", chosen.engine], FILES.get(name))
            try:
                got = asyncio.run(quiet(measure(target, attack, name in TLS, chosen.seconds)))
            finally:
                target.stop()
            print(
                f"| {text} | {got['ends']:.0f} | {got['cpu']:.1f} % | {got['memory'] / 1024:.0f} "
                f"| {got['grown'] / 1024:.0f} | {got['slowest']:.1f} ms | {got['newcomers']} |",
                flush=True,
            )
            if chosen.most is not None and got["cpu"] > chosen.most:
                failed.append(name)
    if failed:
        sys.exit(f"more than {chosen.most} % of a core: {', '.join(failed)}")


main()
