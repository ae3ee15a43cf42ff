"""A WebSocket server on Python's websockets, as its documentation teaches it: asyncio, a coroutine for each
connection, and websockets.broadcast(), its most efficient way to send to many. Compression is off. The event loop is
uvloop where it is installed, as the documentation on performance recommends. One process, one thread."""

import argparse
import asyncio
import os
import signal

import websockets

try:
    import uvloop
except ImportError:
    uvloop = None

MAX_MESSAGE_BYTES = 1024 * 1024

everyone = set()


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def publish(connection):
    everyone.add(connection)
    try:
        async for message in connection:
            websockets.broadcast(everyone, message)
    finally:
        everyone.discard(connection)


async def serve(connection):
    routes = {"/echo": echo, "/broadcast": publish}
    try:
        if connection.path in routes:
            await routes[connection.path](connection)
        else:
            await connection.close(1008, "no such path")
    except websockets.ConnectionClosed:
        pass


async def run(port):
    ended = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set_result, None)
    # TCP_NODELAY is asyncio's default, and uvloop's.
    server = await websockets.serve(serve, "127.0.0.1", port, compression=None, max_size=MAX_MESSAGE_BYTES,
                                    backlog=4096)
    address, port = server.sockets[0].getsockname()[:2]
    print(f"listening on {address}:{port}", flush=True)
    await ended


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks one")
    port = parser.parse_args().port
    loop = uvloop.new_event_loop() if uvloop else asyncio.new_event_loop()
    task = loop.create_task(run(port))
    loop.run_until_complete(task)
    os._exit(0)  # closing thousands of connections one by one proves nothing here


main()
