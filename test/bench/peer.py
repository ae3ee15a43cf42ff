"""A WebSocket server that misbehaves as told: it drops, repeats, swaps or spoils what it sends, pauses, or vanishes.

It serves /echo and /broadcast in a thread of its own, on a port that the system picks, and speaks just enough of
RFC 6455 for short unfragmented messages.
"""

import asyncio
import base64
import hashlib
import threading
import time


def accept_value(key):
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def frame(opcode, payload):
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + payload


class Peer:
    """`fault(who, count, data)` gets each frame that is to be sent to connection `who`, its count-th, and returns the
    frames that are sent instead."""

    def __init__(self, fault=None, pause_every=0, pause_s=0.0, refuse=False, mute=False, vanish_after=0,
                 close_frames=True, tls=None):
        self.fault = fault or (lambda who, count, data: [data])
        self.pause_every = pause_every
        self.pause_s = pause_s
        self.refuse = refuse
        self.mute = mute
        self.vanish_after = vanish_after
        self.close_frames = close_frames
        self.tls = tls
        self.received = 0
        self.kinds = set()
        self.audience = {}  # writer -> number of the next frame to it
        self.ready = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self.thread.start()
        if not self.ready.wait(10):
            raise RuntimeError("the server does not start")
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join(10)

    def url(self, path, host="127.0.0.1"):
        return f"{'wss' if self.tls else 'ws'}://{host}:{self.port}{path}"

    async def serve(self):
        self.loop = asyncio.get_running_loop()
        self.stopped = asyncio.Event()
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, ssl=self.tls, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def connection(self, reader, writer):
        try:
            path = await self.handshake(reader, writer)
            if path:
                await self.messages(path, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.audience.pop(writer, None)
            writer.close()

    async def handshake(self, reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        if self.mute:
            await asyncio.sleep(3600)
        if self.refuse:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return None
        key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        self.audience[writer] = 0
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + accept_value(key) + b"\r\n\r\n")
        return request.split(b" ")[1].decode()

    async def messages(self, path, reader, writer):
        while True:
            head = await reader.readexactly(2)
            size = head[1] & 0x7F
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            mask = await reader.readexactly(4)
            masked = await reader.readexactly(size)
            payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(masked))
            opcode = head[0] & 0x0F
            if opcode == 8:
                if self.close_frames:
                    writer.write(frame(8, payload[:2]))
                    await writer.drain()
                return
            self.kinds.add(opcode)
            self.take(path, writer, frame(opcode, payload))
            await writer.drain()

    def take(self, path, writer, data):
        self.received += 1
        if self.vanish_after and self.received >= self.vanish_after:
            for other in list(self.audience):
                other.transport.abort()
            return
        if self.pause_every and self.received % self.pause_every == 0:
            time.sleep(self.pause_s)  # the whole server stands still
        for other in [writer] if path == "/echo" else list(self.audience):
            count = self.audience[other] = self.audience[other] + 1
            for sent in self.fault(id(other), count, data):
                other.write(sent)


def drop(every):
    return lambda who, count, data: [] if count % every == 0 else [data]


def repeat(every):
    return lambda who, count, data: [data] * (2 if count % every == 0 else 1)


def spoil(every):
    return lambda who, count, data: [data[:-1] + b"#"] if count % every == 0 else [data]


class Swap:
    """Sends every so-manyth frame to a connection after the one that follows it."""

    def __init__(self, every):
        self.every = every
        self.held = {}

    def __call__(self, who, count, data):
        if who in self.held:
            return [data, self.held.pop(who)]
        if count % self.every == 0:
            self.held[who] = data
            return []
        return [data]
