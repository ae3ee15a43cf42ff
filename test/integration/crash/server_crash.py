#!/usr/bin/env python3
"""Kills skein-server with SIGKILL at random moments while what it keeps is being acknowledged, and looks afterwards
whether all of it is there: publications to a durable topic, messages stored for a user, and acknowledgements of those.

    server_crash.py SKEIN_SERVER [ROUNDS [SEED]]
"""

import base64
import itertools
import json
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 30  # seconds; past it something hangs


class Gone(Exception):
    """The server has ended in the middle of it."""


class Client:
    """A client of the JSON protocol, as small as can be."""

    def __init__(self, port, target="/ws"):
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
            key = base64.b64encode(os.urandom(16)).decode()
            self.socket.sendall(
                f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
            self.buffer = b""
            while b"\r\n\r\n" not in self.buffer:
                self.more()
        except OSError as error:
            raise Gone from error
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        welcome = self.receive()
        assert welcome["type"] == "welcome", welcome

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise Gone
        self.buffer += got

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, what):
        payload = json.dumps(what).encode()
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        try:
            self.socket.sendall(b"\x81" + size + b"\0\0\0\0" + payload)
        except OSError as error:
            raise Gone from error

    def receive(self):
        try:
            while True:
                first, size = self.take(2)
                size &= 0x7F
                if size >= 126:
                    size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
                payload = self.take(size)
                if first == 0x88:
                    raise Gone
                if first == 0x81:
                    return json.loads(payload)
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone from error

    def close(self):
        self.socket.close()


class Server:
    def __init__(self, program, options):
        self.command = [program, "--port", "0", *options]

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process.stdout.close()


def work(server, jobs, moment):
    """Runs the jobs, each in a thread, until the server is killed after `moment` seconds."""
    failures = []

    def run(job):
        try:
            job()
        except Gone:
            pass
        except BaseException as error:  # told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    threading.Event().wait(moment)  # the moment is what is being tried
    server.kill()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a client hangs"
    if failures:
        raise failures[0]


def publications(server, rounds, chance):
    """Every publication that was answered is in the history, once, in order, with the offset that was said."""
    acknowledged = {}
    epoch = None
    numbers = itertools.count(1)
    for _ in range(rounds):
        server.start()
        reader = Client(server.port)
        since, seen = {"epoch": epoch or "", "offset": 0}, {}
        while True:
            reader.send({"type": "history", "id": 1, "channel": "news", "limit": 1000, "since": since})
            page = reader.receive()
            assert page["type"] == "history", page
            assert epoch in (None, page["epoch"]), "the epoch has changed"
            for each in page["publications"]:
                assert each["offset"] == len(seen) + 1, "a hole"
                seen[each["offset"]] = each["n"]
            if not page["more"]:
                break
            since = {"epoch": page["epoch"], "offset": page["publications"][-1]["offset"]}
        epoch = page["epoch"] if seen else epoch
        missing = {at: n for at, n in acknowledged.items() if seen.get(at) != n}
        assert not missing, f"acknowledged and lost: {missing}"
        acknowledged = seen
        reader.close()

        def publish():
            client = Client(server.port)
            while True:
                number = next(numbers)
                client.send({"type": "publish", "id": 2, "channel": "news", "data": {"n": number}})
                answer = client.receive()
                assert answer["type"] == "published", answer
                acknowledged[answer["offset"]] = number

        work(server, [publish] * 3, chance.uniform(0, 0.08))
    return len(acknowledged)


def notes(server, rounds, chance):
    """What was stored for bob is there until he has acknowledged it, in order, and not after that was answered."""
    stored, acked, asked = set(), set(), set()
    total = 0
    for _ in range(rounds):
        server.start()
        bob = Client(server.port, "/ws?user=bob")
        bob.send({"type": "ping", "id": 1})
        waiting = []
        while (got := bob.receive())["type"] != "pong":
            if "message_id" in got:
                waiting.append(got["message_id"])
        assert waiting == sorted(set(waiting)), "out of order"
        lost = stored - asked - set(waiting)
        assert not lost, f"stored and lost: {lost}"
        back = acked & set(waiting)
        assert not back, f"acknowledged, and there again: {back}"
        stored = set(waiting)
        asked.clear()
        bob.close()

        def notify():
            nonlocal total
            client = Client(server.port, "/ws?user=alice")
            while True:
                client.send({"type": "notify", "id": 2, "user": "bob", "text": "call back"})
                answer = client.receive()
                if answer["type"] == "market_data":
                    continue
                assert answer["type"] == "notified", answer
                stored.add(answer["message_id"])
                total += 1

        def acknowledge():
            client = Client(server.port, "/ws?user=bob")
            while True:
                got = client.receive()
                if got["type"] == "acked":
                    acked.update(got["id"])
                elif "message_id" in got and got["message_id"] % 3:
                    asked.add(got["message_id"])
                    client.send({"type": "ack", "id": [got["message_id"]]})

        work(server, [notify, acknowledge], chance.uniform(0, 0.08))
    return total, len(acked)


def integrity(path):
    with sqlite3.connect(path) as database:
        return database.execute("PRAGMA integrity_check").fetchone()[0]


def main():
    program = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else time.time_ns()
    chance = random.Random(seed)
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "publications.db")
        of_publications = Server(program, ["--examples=false", "--store", path, "--topic",
                                           "news history=10000000 bytes=1GiB durable publish=everybody"])
        kept = publications(of_publications, rounds, chance)
        assert integrity(path) == "ok"
        print(f"{rounds} times SIGKILL: {kept} publications kept, none of those that were acknowledged is missing")

        path = os.path.join(folder, "notes.db")
        of_notes = Server(program, ["--store", path, "--offline-messages", "1000000", "--offline-bytes", "1GiB"])
        told, acked = notes(of_notes, rounds, chance)
        assert integrity(path) == "ok"
        print(f"{rounds} times SIGKILL: {told} notes stored, {acked} acknowledged, none lost and none back")


if __name__ == "__main__":
    main()
