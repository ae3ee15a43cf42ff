"""Tests of skein-bench: what it measures of skein-server, and that it notices what a bad server does.

usage: bench_test.py SKEIN_BENCH SKEIN_SERVER [unittest's arguments]
"""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import peer

LIMIT_S = 60


@contextlib.contextmanager
def skein_server(*arguments, at="127.0.0.1"):
    """Yields its address and process id."""
    command = [SERVER, "--port", "0", "--address", at, "--shards", "1", "--bench-routes",
               "--examples=false", *arguments]
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + 10
            found = None
            while not found and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
                output.seek(0)
                found = re.search(r"listening on ([\d.]+:\d+|\[[\da-f:]+\]:\d+)", output.read())
            if not found:
                raise RuntimeError("skein-server does not start")
            yield found.group(1), process.pid
        finally:
            process.kill()


def bench(*arguments):
    return subprocess.run([BENCH, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT_S, check=False)


class Case(unittest.TestCase):
    def figures(self, *arguments, status=0):
        done = bench(*arguments, "--json")
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        figures = json.loads(done.stdout)
        self.assertEqual(figures["ok"], status == 0)
        return figures

    def assert_rising(self, figures, name):
        values = [figures[f"{name}_{point}_us"] for point in ("p50", "p90", "p99", "p99_9", "max")]
        self.assertEqual(values, sorted(values))
        self.assertGreater(values[0], 0)
        edges = [edge for edge, _ in figures[f"{name}_histogram_us"]]
        self.assertEqual(edges, sorted(set(edges)))


QUICK = ("--seconds", "0.4", "--warmup", "0.1", "--drain", "1")


class Modes(Case):
    """Against skein-server, which does everything right."""

    @classmethod
    def setUpClass(cls):
        context = skein_server("--compression", "--compression-threshold", "1B", "--max-connections", "2000")
        address, pid = cls.enterClassContext(context)
        cls.echo = ("--url", f"ws://{address}/echo", "--pid", str(pid))
        cls.broadcast = ("--url", f"ws://{address}/broadcast", "--pid", str(pid))

    def test_echo(self):
        got = self.figures("echo", *self.echo, *QUICK, "--connections", 10, "--depth", 4)
        self.assertEqual((got["mode"], got["connections"], got["depth"]), ("echo", 10, 4))
        self.assertGreater(got["messages"], 100)
        self.assertAlmostEqual(got["messages_per_s"], got["messages"] / got["seconds"], delta=got["messages"] / 50)
        self.assert_rising(got, "latency")
        self.assertAlmostEqual(sum(count for _, count in got["latency_histogram_us"]), got["messages"], delta=80)
        for name in ("server_cpu_us_per_message", "server_voluntary_switches_per_s", "server_anonymous_bytes",
                     "server_rss_bytes", "load_cpu_us_per_message"):
            self.assertGreater(got[name], 0, name)
        self.assertIn("server_involuntary_switches_per_s", got)
        self.assertGreater(got["server_rss_bytes"], got["server_anonymous_bytes"])
        self.assertEqual(got["connections_opened"], 10)
        self.assertNotIn("first_problem", got)

    def test_echo_on_several_threads(self):
        got = self.figures("echo", *self.echo, *QUICK, "--connections", 7, "--threads", 3)
        self.assertEqual((got["threads"], got["connections_opened"]), (3, 7))
        self.assertGreaterEqual(got["load_cpu_percent"], got["load_cpu_percent_of_busiest_thread"])

    def test_echo_with_a_rate(self):
        got = self.figures("echo", *self.echo, *QUICK, "--connections", 10, "--rate", 1000, "--threads", 2)
        self.assertAlmostEqual(got["messages"], 400, delta=40)
        self.assertAlmostEqual(sum(count for _, count in got["latency_histogram_us"]), 400, delta=40)
        self.assert_rising(got, "latency")
        self.assert_rising(got, "service")
        self.assertGreaterEqual(got["latency_p50_us"], got["service_p50_us"])

    def test_echo_of_compressed_messages(self):
        self.assertTrue(self.figures("echo", *self.echo, *QUICK, "--size", 600, "--deflate")["deflate"])

    def test_echo_of_large_binary_messages(self):
        got = self.figures("echo", *self.echo, *QUICK, "--size", 60000, "--binary", "--connections", 2)
        self.assertEqual(got["message_kind"], "binary")

    def test_fanout(self):
        for threads in (1, 2):
            got = self.figures("fanout", *self.broadcast, *QUICK, "--subscribers", 20, "--window", 4, "--threads",
                               threads)
            self.assertGreater(got["publications"], 10)
            self.assertAlmostEqual(got["deliveries"], got["publications"] * 21, delta=21 * 5)
            self.assert_rising(got, "last_delivery")
            self.assert_rising(got, "delivery")
            self.assertGreater(got["server_cpu_us_per_delivery"], 0)

    def test_fanout_with_a_rate(self):
        got = self.figures("fanout", *self.broadcast, *QUICK, "--subscribers", 20, "--rate", 200, "--threads", 2)
        self.assertAlmostEqual(got["publications"], 80, delta=10)
        self.assert_rising(got, "last_delivery_service")

    def test_fanout_of_compressed_messages(self):
        arguments = ("--subscribers", 10, "--size", 1024, "--json-payload", "--deflate")
        self.assertTrue(self.figures("fanout", *self.broadcast, *QUICK, *arguments)["deflate"])

    def test_idle(self):
        # A server that has had connections before has memory left over from them.
        with skein_server() as (address, pid):
            got = self.figures("idle", "--url", f"ws://{address}/echo", "--pid", pid, "--connections", 300, "--exchange",
                               "--hold", 0.2, "--threads", 2)
        self.assertEqual(got["connections_opened"], 300)
        self.assertGreater(got["handshakes_per_s"], 50)
        self.assertGreater(got["server_bytes_per_connection"], 500)
        self.assertIn("server_cpu_percent_held", got)
        self.assert_rising(got, "handshake")

    def test_churn(self):
        got = self.figures("churn", *self.echo, *QUICK, "--connections", 8)
        self.assertGreater(got["cycles"], 20)
        self.assertGreater(got["server_cpu_us_per_connection"], 0)
        self.assertGreaterEqual(got["cycle_p50_us"], got["open_p50_us"])

    def test_churn_with_a_rate(self):
        got = self.figures("churn", *self.echo, *QUICK, "--rate", 100, "--threads", 2)
        self.assertAlmostEqual(got["cycles"], 40, delta=10)
        # By when they were due: those that came behind the window are among them.
        self.assertAlmostEqual(sum(count for _, count in got["served_histogram_us"]), 40, delta=1)

    def test_churn_with_a_rate_beside_a_server_that_stands_still(self):
        with skein_server() as (address, pid):
            command = [BENCH, "churn", "--url", f"ws://{address}/echo", "--rate", "100", "--seconds", "1.5", "--warmup",
                       "0.2", "--json"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                time.sleep(0.9)  # in the window
                os.kill(pid, signal.SIGSTOP)
                time.sleep(0.6)
                os.kill(pid, signal.SIGCONT)
                out, _ = process.communicate(timeout=LIMIT_S)
        got = json.loads(out)
        self.assertEqual(process.returncode, 0)
        # A third of them was due meanwhile, and all of them count.
        self.assertAlmostEqual(sum(count for _, count in got["served_histogram_us"]), 150, delta=3)
        self.assertGreater(got["served_max_us"], 500_000)
        self.assertGreater(got["served_p90_us"], 250_000)

    def test_churn_with_a_rate_counts_what_never_came(self):
        with skein_server() as (address, pid):
            command = [BENCH, "churn", "--url", f"ws://{address}/echo", "--rate", "100", "--connections", "10",
                       "--seconds", "1", "--warmup", "0.2", "--drain", "0.3", "--json"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                time.sleep(0.7)
                os.kill(pid, signal.SIGSTOP)
                out, err = process.communicate(timeout=LIMIT_S)
        got = json.loads(out)
        self.assertEqual((process.returncode, got["connections_unfinished"]), (1, 10))
        self.assertGreater(got["connections_unstarted"], 20)
        self.assertAlmostEqual(sum(count for _, count in got["served_histogram_us"]), 100, delta=3)
        self.assertGreater(got["served_p99_us"], 500_000)
        self.assertIn("never left", err)

    def test_a_rate_that_nobody_can_keep(self):
        for mode, url in (("echo", self.echo), ("churn", self.echo), ("fanout", self.broadcast)):
            extra = ("--subscribers", 5, "--window", 64) if mode == "fanout" else ("--connections", 10)
            begin = time.monotonic()
            done = bench(mode, *url, "--seconds", 0.3, "--warmup", 0.1, "--drain", 0.2, "--rate", "1e9", *extra, "--json")
            self.assertLess(time.monotonic() - begin, 20)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertRegex(done.stderr, r"keep the rate|rate was not kept")

    def test_a_load_generator_that_is_the_bottleneck(self):
        # It spins on a timetable that nobody can keep, and the process that is said to be the server does nothing.
        with subprocess.Popen(["sleep", "60"]) as idle:
            try:
                for _ in range(5):
                    done = bench("echo", *self.echo[:2], "--pid", idle.pid, "--rate", "1e9", "--connections", 50,
                                 "--seconds", 0.3, "--warmup", 0.1, "--drain", 0.1, "--json")
                    got = json.loads(done.stdout)
                    busy = got["load_cpu_percent_of_busiest_thread"] > 95
                    self.assertEqual(got["load_was_bottleneck"], busy)
                    self.assertEqual("bottleneck" in " ".join(got["notes"]), busy)
                    if busy:
                        self.assertIn("the load generator did not keep the rate", done.stderr)
                        return
            finally:
                idle.kill()
        self.skipTest("other processes took the cores")

    def test_storm(self):
        got = self.figures("storm", *self.echo, "--connections", 200, "--rounds", 2, "--pause", 0, "--threads", 2)
        self.assertEqual((got["rounds"], len(got["rounds_ms"])), (2, 2))
        self.assertEqual(got["connections_not_back"], 0)
        self.assertEqual(sum(count for _, count in got["return_histogram_us"]), 400)
        self.assertLessEqual(got["return_max_us"], 1000 * sum(got["rounds_ms"]))

    def test_slow_subscribers_that_the_server_closes(self):
        with skein_server("--send-queue-messages", "64", "--write-buffer-size", "4KiB") as (address, _):
            got = self.figures("slow", "--url", f"ws://{address}/broadcast", *QUICK, "--subscribers", 20, "--stall",
                               1, "--slow-percent", 20, "--size", 8192, "--rate", 200)
        self.assertEqual((got["slow_subscribers"], got["slow_closed_by_server"]), (4, 4))
        self.assertEqual((got["slow_caught_up"], got["slow_not_caught_up"]), (0, 0))
        self.assertEqual(got["slow_close_codes"], {"4008": 4})
        self.assertEqual(got["connections_lost"], 0)
        self.assert_rising(got, "before")
        self.assert_rising(got, "during")

    def test_slow_subscribers_that_catch_up(self):
        got = self.figures("slow", *self.broadcast, *QUICK, "--subscribers", 20, "--stall", 0.3, "--rate", 50,
                           "--threads", 2)
        self.assertEqual((got["slow_subscribers"], got["slow_closed_by_server"]), (2, 0))
        self.assertEqual((got["slow_caught_up"], got["slow_not_caught_up"]), (2, 0))
        self.assertEqual((got["slow_deliveries_skipped"], got["slow_deliveries_outstanding"]), (0, 0))

    def test_slow_subscribers_that_miss_messages(self):
        small = ("--send-queue-messages", "16", "--write-buffer-size", "4KiB")
        for policy in ("drop", "conflate"):
            with skein_server(*small) as (address, _):
                done = bench("slow", "--url", f"ws://{address}/broadcast-{policy}", "--seconds", 0.4, "--warmup", 0.1,
                             "--subscribers", 20, "--stall", 1, "--slow-percent", 20, "--size", 16384, "--rate", 100,
                             "--json")
            got = json.loads(done.stdout)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual((got["slow_subscribers"], got["slow_closed_by_server"]), (4, 0))
            self.assertEqual((got["slow_caught_up"], got["slow_not_caught_up"]), (4, 0))
            self.assertGreater(got["slow_deliveries_skipped"], 0)
            self.assertEqual(got["slow_deliveries_outstanding"], 0)
            self.assertIn("not given everything", " ".join(got["notes"]))

    def test_who_has_not_caught_up_is_told_of(self):
        with skein_server("--send-queue-messages", "10000", "--send-queue-bytes", "1GiB") as (address, pid):
            command = [BENCH, "slow", "--url", f"ws://{address}/broadcast", "--seconds", "0.4", "--warmup", "0.1",
                       "--drain", "0.3", "--subscribers", "10", "--slow-percent", "20", "--stall", "2", "--rate", "100",
                       "--json"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                time.sleep(1.7)  # within the stall
                os.kill(pid, signal.SIGSTOP)
                out, err = process.communicate(timeout=LIMIT_S)
        got = json.loads(out)
        self.assertEqual((process.returncode, got["slow_not_caught_up"]), (1, 2))
        self.assertIn("had not caught up", err)

    def test_a_server_that_dies_ends_a_storm(self):
        with skein_server() as (address, pid):
            command = [BENCH, "storm", "--url", f"ws://{address}/echo", "--connections", "20", "--rounds", "100",
                       "--round-limit", "0.5", "--pause", "0.1", "--json"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                time.sleep(0.8)
                os.kill(pid, signal.SIGKILL)
                begin = time.monotonic()
                out, err = process.communicate(timeout=LIMIT_S)
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual((process.returncode, err.count("\n")), (1, 1), err)
        self.assertIn("the storm was over", " ".join(json.loads(out)["notes"]))

    def test_compression_that_is_agreed_on_or_declined(self):
        with skein_server("--compression=false") as (address, _):
            for mode in ("echo", "idle", "churn", "storm", "fanout"):
                path = "broadcast" if mode == "fanout" else "echo"
                window = () if mode in ("idle", "storm") else QUICK
                few = ("--subscribers", 4) if mode == "fanout" else ("--connections", 4)
                plain = self.figures(mode, "--url", f"ws://{address}/{path}", "--deflate", *window, *few)
                self.assertFalse(plain["deflate"])
                self.assertIn("declined permessage-deflate", " ".join(plain["notes"]))
                agreed = self.figures(mode, *(self.broadcast if mode == "fanout" else self.echo), "--deflate", *window, *few)
                self.assertTrue(agreed["deflate"])
                self.assertNotIn("declined", " ".join(agreed["notes"]))

    def test_csv_has_the_names_of_a_run_that_failed(self):
        tables = []
        for url in (self.echo[1], "ws://127.0.0.1:9/"):
            done = bench("echo", *self.echo[2:], "--url", url, *QUICK, "--csv")
            tables.append(list(csv.reader(io.StringIO(done.stdout))))
            self.assertEqual([len(row) for row in tables[-1]], [len(tables[0][0])] * 2)
        self.assertEqual(tables[0][0], tables[1][0])
        row = dict(zip(*tables[0]))
        self.assertEqual((row["mode"], row["ok"], row["first_problem"]), ("echo", "true", ""))
        self.assertGreater(float(row["latency_p99_us"]), 0)

    def beside(self, another, address, path="/echo"):
        """Options for the server of these tests and another, by turns."""
        url, pid = self.echo[1].replace("/echo", path), self.echo[3]
        return "--server", f"ours={pid}@{url}", "--server", f"other={another}@ws://{address}{path}"

    def test_servers_by_turns(self):
        with skein_server() as (address, pid):
            for mode, path, what, size in (("echo", "/echo", "message", ("--connections", 10, "--depth", 3)),
                                           ("fanout", "/broadcast", "delivery", ("--subscribers", 10, "--threads", 2))):
                got = self.figures(mode, *self.beside(pid, address, path), *size, "--seconds", 0.2, "--warmup", 0.05,
                                   "--turn", 0.02)
                self.assertEqual((got["mode"], got["turn_s"], list(got["servers"])), (mode, 0.02, ["ours", "other"]))
                for name, part in got["servers"].items():
                    self.assertTrue(part["ok"], name)
                    self.assertEqual(part["turns"], 10)
                    self.assertGreater(part[f"server_cpu_us_per_{what}_by_turns"], 0)
                    # Only its own turns count, and what came back after their time.
                    self.assertGreaterEqual(part["seconds"], 0.2)
                    self.assertGreater(part["server_cpu_us_per_" + what], 0)
                    self.assert_rising(part, "latency" if mode == "echo" else "delivery")
                self.assertEqual(got["servers"]["ours"]["server_cpu_multiple_by_turns"], 1)
                self.assertGreater(got["servers"]["other"]["server_cpu_multiple_by_turns"], 0)

    def test_servers_by_turns_in_other_forms(self):
        with skein_server() as (address, pid):
            arguments = ("echo", *self.beside(pid, address), "--seconds", 0.1, "--warmup", 0)
            header, *rows = csv.reader(io.StringIO(bench(*arguments, "--csv").stdout))
            self.assertEqual([(row[0], len(row)) for row in rows], [("ours", len(header)), ("other", len(header))])
            self.assertEqual([dict(zip(header, row))["turns"] for row in rows], ["4", "4"])
            table = bench(*arguments).stdout
            self.assertRegex(table, r"(?m)^ +ours +other$")
            self.assertRegex(table, r"(?m)^server_cpu_multiple_by_turns +1\.0000 +\d+\.\d{4}$")
            self.assertNotIn("histogram", table)

    def test_one_of_the_servers_by_turns_does_wrong(self):
        with peer.Peer(peer.drop(every=10)) as server:
            arguments = self.beside(os.getpid(), server.url("").removeprefix("ws://"))
            got = self.figures("echo", *arguments, "--seconds", 0.2, "--warmup", 0, "--drain", 0.2, "--connections", 2,
                               "--depth", 4, status=1)
        self.assertGreater(got["servers"]["other"]["messages_lost"], 0)
        self.assertFalse(got["servers"]["other"]["ok"])
        self.assertTrue(got["servers"]["ours"]["ok"])
        self.assertEqual(got["servers"]["ours"]["turns"], 7)

    def test_one_of_the_servers_by_turns_is_not_there(self):
        done = bench("echo", *self.beside(os.getpid(), "127.0.0.1:9"), "--seconds", 0.1, "--warmup", 0, "--json")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "other: no connection could be opened")
        parts = json.loads(done.stdout)["servers"]
        self.assertEqual([parts[name]["ok"] for name in ("ours", "other")], [True, False])

    def test_a_table_for_people(self):
        done = bench("echo", *self.echo, *QUICK)
        self.assertRegex(done.stdout, r"(?m)^messages_per_s +\d+$")
        self.assertNotIn("histogram", done.stdout)

    def test_an_interrupted_run_says_what_it_has(self):
        command = [BENCH, "echo", *self.echo, "--warmup", "0", "--seconds", "60", "--progress", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(3.3)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT_S)
        figures = json.loads(out)
        self.assertEqual(process.returncode, 0)
        self.assertTrue(figures["interrupted"])
        self.assertGreater(figures["messages"], 0)
        self.assertRegex(err, r"measuring, \d\.\d of 60\.0 s, \d+ so far")


class Faults(Case):
    """Against a server that does something wrong."""

    def test_a_lost_echo(self):
        with peer.Peer(peer.drop(every=10)) as server:
            got = self.figures("echo", "--url", server.url("/echo"), *QUICK, "--connections", 2, "--depth", 4, status=1)
        self.assertGreater(got["messages_lost"], 0)

    def test_a_repeated_echo(self):
        with peer.Peer(peer.repeat(every=10)) as server:
            got = self.figures("echo", "--url", server.url("/echo"), *QUICK, "--connections", 2, status=1)
        self.assertGreater(got["messages_wrong"], 0)

    def test_swapped_echoes(self):
        with peer.Peer(peer.Swap(every=10)) as server:
            got = self.figures("echo", "--url", server.url("/echo"), *QUICK, "--connections", 2, "--depth", 4, status=1)
        self.assertGreater(got["messages_wrong"], 0)

    def test_a_spoilt_echo(self):
        with peer.Peer(peer.spoil(every=1)) as server:
            got = self.figures("echo", "--url", server.url("/echo"), *QUICK, "--connections", 2, status=1)
        self.assertGreater(got["messages_wrong"], 0)

    def test_an_echo_of_another_kind(self):
        as_binary = lambda who, count, data: [b"\x82" + data[1:] if data[0] == 0x81 else data]
        with peer.Peer(as_binary) as server:
            for mode in ("echo", "churn"):
                got = self.figures(mode, "--url", server.url("/echo"), *QUICK, "--connections", 2, status=1)
                self.assertGreater(got["messages_wrong"], 0)

    def fanout(self, fault, window, threads):
        with peer.Peer(fault) as server:
            return self.figures("fanout", "--url", server.url("/broadcast"), *QUICK, "--subscribers", 4, "--window",
                                window, "--threads", threads, status=1)

    def test_a_delivery_that_is_missing(self):
        for threads in (1, 2):
            got = self.fanout(peer.drop(every=20), 4, threads)
            self.assertGreater(got["deliveries_missing"], 0)
            self.assertEqual((got["deliveries_duplicate"], got["deliveries_out_of_order"]), (0, 0))

    def test_the_last_delivery_is_missing(self):
        got = self.fanout(lambda who, count, data: [data] if count < 10 else [], 1, 1)
        self.assertEqual(got["deliveries_missing"], 5)

    def test_a_delivery_that_comes_twice(self):
        for window in (1, 4):
            got = self.fanout(peer.repeat(every=20), window, 2)
            self.assertGreater(got["deliveries_duplicate"], 0)
            self.assertEqual((got["deliveries_missing"], got["deliveries_out_of_order"]), (0, 0))

    def test_deliveries_out_of_order(self):
        got = self.fanout(peer.Swap(every=20), 8, 2)
        self.assertGreater(got["deliveries_out_of_order"], 0)
        self.assertEqual(got["deliveries_duplicate"], 0)

    def test_a_delivery_that_is_spoilt(self):
        # Only the publisher's own copies are looked at as a whole.
        got = self.fanout(peer.spoil(every=1), 1, 1)
        self.assertGreater(got["deliveries_corrupt"], 0)

    def test_a_pause_shows_in_the_latency_of_an_open_load(self):
        # 200 messages a second; the server stands still for 200 ms after every 100th of them, so that about two in five
        # come late, though only those that wait inside the server show it in the service time.
        with peer.Peer(pause_every=100, pause_s=0.2) as server:
            got = self.figures("echo", "--url", server.url("/echo"), "--seconds", 1, "--warmup", 0.2, "--rate", 200,
                               "--connections", 1, "--depth", 1)
        self.assertGreater(got["latency_max_us"], 180_000)
        self.assertGreater(got["latency_p99_us"], 150_000)
        self.assertGreater(got["latency_p90_us"], 60_000)
        self.assertLess(got["service_p90_us"], 60_000)

    def test_a_pause_shows_in_a_fanout_with_a_rate(self):
        with peer.Peer(pause_every=100, pause_s=0.2) as server:
            got = self.figures("fanout", "--url", server.url("/broadcast"), "--seconds", 1, "--warmup", 0.2, "--rate",
                               200, "--subscribers", 3, "--window", 1, "--threads", 2)
        self.assertGreater(got["last_delivery_p99_us"], 150_000)
        self.assertGreater(got["delivery_p99_us"], 150_000)
        self.assertLess(got["last_delivery_service_p90_us"], 60_000)

    def test_connections_that_end_without_a_close_frame(self):
        with peer.Peer(close_frames=False) as server:
            got = self.figures("churn", "--url", server.url("/echo"), *QUICK, "--connections", 2, status=1)
        self.assertGreater(got["connections_closed_improperly"], 0)


class Ends(Case):
    """Runs that cannot be made, or not to their end."""

    def test_a_wrong_command_line(self):
        for arguments in ((), ("nonsense",), ("echo", "--size", "1"), ("echo", "--json", "--csv"), ("idle", "--rate", "1"),
                          ("echo", "--url", "http://127.0.0.1/"), ("echo", "--connections", "900000"),
                          ("echo", "--rate", "nan"), ("echo", "--rate", "inf"), ("echo", "--seconds", "nan"),
                          ("slow", "--rate", "nan"), ("slow", "--slow-percent", "nan"), ("storm", "--pause", "-nan"),
                          ("echo", "--time-limit", "nan"), ("idle", "--hold", "inf"), ("echo", "--pid", "0"),
                          ("echo", "--pid", "-1"), ("echo", "--pid", "nan"), ("echo", "--rate", "0"),
                          ("echo", "--turn", "1"), ("idle", "--server", "a=1@ws://127.0.0.1/"),
                          *(("echo", "--server", server) for server in
                            ("", "a", "a=1", "=1@ws://127.0.0.1/", "a=0@ws://127.0.0.1/", "a=x@ws://127.0.0.1/",
                             "a=1@http://127.0.0.1/")),
                          *(("echo", "--server", "a=1@ws://127.0.0.1/", *more) for more in
                            (("--rate", "1"), ("--url", "ws://127.0.0.1/"), ("--pid", "1"), ("--turn", "0"),
                             ("--turn", "nan"), ("--server", "a=2@ws://127.0.0.2/"))),
                          *(("echo", "--url", url) for url in
                            ("ws://127.0.0.1:/", "ws://127.0.0.1:0/", "ws://127.0.0.1:65536/", "ws://127.0.0.1:http/",
                             "ws://127.0.0.1:-1/", "ws://127.0.0.1:80x/", "ws://", "ws:///path", "ws://:80/", "ws://[::1/",
                             "ws://[::1]80/", "ws://[]:80/", "ws://::1/", "ws://user@127.0.0.1/", "ws://127.0.0.1/#part",
                             "w://127.0.0.1/")),
                          ("echo", "--url", "wss://127.0.0.1:9/", "--ca", "/nonexistent")):
            done = bench(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertNotEqual(done.stderr, "")
            self.assertEqual(done.stdout, "")

    def test_each_mode_has_its_help(self):
        for mode in ("echo", "fanout", "idle", "churn", "storm", "slow"):
            done = bench(mode, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("--threads", done.stdout)
            self.assertIn("seconds", done.stdout)

    def test_nobody_listens(self):
        for mode in ("echo", "fanout", "idle", "churn", "storm", "slow"):
            done = bench(mode, "--url", "ws://127.0.0.1:9/")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertEqual(done.stderr, "skein-bench: no connection could be opened: connect: Connection refused\n")

    def test_urls_of_every_form(self):
        with skein_server() as (address, _):
            for url in (f"WS://{address}/echo", f"wS://{address}/echo?x=1"):
                self.assertGreater(self.figures("echo", "--url", url, *QUICK, "--connections", 2)["messages"], 0)
            # Without a path there is nothing, but it is asked for, with its query.
            for url in (f"ws://{address}?x=1", f"ws://{address}"):
                done = bench("echo", "--url", url, *QUICK, "--connections", 1)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, "40[04]|426")

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 here")
        with skein_server(at="::1") as (address, _):
            self.assertTrue(address.startswith("[::1]:"))
            for mode in ("echo", "churn"):
                self.figures(mode, "--url", f"ws://{address}/echo", *QUICK, "--connections", 4, "--threads", 2)

    def test_figures_that_cannot_be_written(self):
        with skein_server() as (address, _), open("/dev/full", "w", encoding="ascii") as full:
            for form in ((), ("--json",), ("--csv",)):
                done = subprocess.run([BENCH, "echo", "--url", f"ws://{address}/echo", *QUICK, *form], stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertIn("could not be written", done.stderr)

    def test_a_server_that_refuses(self):
        with peer.Peer(refuse=True) as server:
            done = bench("echo", "--url", server.url("/echo"), *QUICK)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        self.assertIn("503", done.stderr)

    def test_a_server_that_does_not_answer(self):
        with peer.Peer(mute=True) as server:
            done = bench("echo", "--url", server.url("/echo"), *QUICK, "--handshake-timeout", 0.3)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))

    def test_a_server_that_vanishes(self):
        for mode, path in (("echo", "/echo"), ("fanout", "/broadcast"), ("slow", "/broadcast")):
            extra = ("--subscribers", 10) if path == "/broadcast" else ("--connections", 10)
            with peer.Peer(vanish_after=100) as server:
                begin = time.monotonic()
                done = bench(mode, "--url", server.url(path), "--seconds", 20, *extra, "--threads", 2)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertLess(time.monotonic() - begin, 15)

    def test_a_run_has_a_time_limit(self):
        with peer.Peer() as server:
            begin = time.monotonic()
            got = self.figures("echo", "--url", server.url("/echo"), "--seconds", 60, "--time-limit", 0.8, status=1)
        self.assertLess(time.monotonic() - begin, 10)
        self.assertIn("time limit", " ".join(got["notes"]))


@unittest.skipUnless(shutil.which("openssl"), "no openssl to make a certificate with")
class Tls(Case):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.certificate = f"{folder}/certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2", "-keyout",
                        f"{folder}/key.pem", "-out", cls.certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cls.certificate, f"{folder}/key.pem")
        cls.server = cls.enterClassContext(peer.Peer(tls=context))
        cls.url = cls.server.url("/echo", "localhost")

    def test_echo_with_the_right_authority(self):
        got = self.figures("echo", "--url", self.url, "--ca", self.certificate, *QUICK, "--connections", 10, "--depth", 8,
                           "--threads", 2)
        self.assertTrue(got["tls"])
        self.assertGreater(got["messages"], 50)

    def test_messages_of_several_records(self):
        self.figures("echo", "--url", self.url, "--insecure", *QUICK, "--connections", 2, "--size", 60000)

    def test_fanout(self):
        self.figures("fanout", "--url", self.server.url("/broadcast"), "--insecure", *QUICK, "--subscribers", 5)

    def test_churn_and_storm(self):
        self.figures("churn", "--url", self.url, "--insecure", *QUICK, "--connections", 4)
        self.figures("storm", "--url", self.url, "--insecure", "--connections", 20, "--rounds", 1)

    def test_an_unknown_authority_and_another_host(self):
        for url, trust, reason in ((self.url, (), "self-signed certificate"),
                                   (self.server.url("/echo"), ("--ca", self.certificate), "IP address mismatch")):
            done = bench("echo", "--url", url, *trust, *QUICK)
            self.assertEqual(done.returncode, 1)
            self.assertIn(reason, done.stderr)


if __name__ == "__main__":
    BENCH, SERVER = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
