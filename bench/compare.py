#!/usr/bin/env python3
"""Measures Skein beside other servers: what a message, a delivery or a resting connection costs each of them.

The server runs on one core, the load generator on another. Servers take turns within a round and the figures are
medians over the rounds, because on a shared machine one run may differ from the next by a quarter. Compare
ratios, and take no difference below a tenth for one.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Server:
    """A program that prints `listening on ADDRESS:PORT` and serves /echo and /broadcast until SIGTERM."""

    name: str
    program: str
    arguments: tuple = ("--port", "0")
    usual: bool = True  # takes part unless --servers says otherwise


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    mode: str
    path: str = "/echo"
    arguments: tuple = ()
    metric: str = "server_cpu_us_per_message"
    rate: str = "messages_per_s"
    unit: str = "us/message"
    timed: bool = True  # has a window, and so takes --seconds and --warmup
    only: tuple = ()  # the servers that can do it; empty for all
    server_arguments: tuple = ()
    baseline: str = ""  # the scenario that this one is a variant of, on the same server


SERVERS = (
    Server("raw", "bench-raw-epoll"),
    Server(
        "skein",
        "skein-server",
        ("--port", "0", "--address", "127.0.0.1", "--shards", "1", "--bench-routes",
         "--max-connections", "15000", "--examples=false"),
    ),
    Server("textbook", "bench-textbook-beast"),
    Server("textbook-whole", "bench-textbook-beast", ("--port", "0", "--whole-messages"), usual=False),
)


def fanout(name, about, window, **more):
    more.setdefault("path", "/broadcast")
    arguments = ("--subscribers", "1000", "--window", str(window), *more.pop("arguments", ("--size", "128")))
    return Scenario(name, about, "fanout", arguments=arguments, metric="server_cpu_us_per_delivery",
                    rate="deliveries_per_s", unit="us/delivery", **more)


JSON_1K = ("--size", "1024", "--json-payload")

SCENARIOS = (
    Scenario("echo", "echo 64 B, 100 clients, 1 outstanding", "echo",
             arguments=("--connections", "100", "--size", "64", "--depth", "1")),
    Scenario("echo-depth-16", "echo 64 B, 100 clients, 16 outstanding each", "echo",
             arguments=("--connections", "100", "--size", "64", "--depth", "16")),
    Scenario("echo-16k", "echo 16 KiB, 16 clients, 1 outstanding", "echo",
             arguments=("--connections", "16", "--size", "16384", "--depth", "1")),
    fanout("fanout", "1,000 subscribers, 128 B, 1 outstanding", 1),
    fanout("fanout-window-64", "1,000 subscribers, 128 B, 64 outstanding", 64),
    Scenario("idle", "anonymous memory of each of 10,000 idle connections", "idle",
             arguments=("--connections", "10000"), metric="server_bytes_per_connection",
             rate="handshakes_per_s", unit="B/connection", timed=False),
    fanout("fanout-json", "1,000 subscribers, 1 KiB of JSON, 1 outstanding", 1, arguments=JSON_1K,
           only=("skein",)),
    fanout("fanout-json-deflate", "the same, compressed", 1, arguments=(*JSON_1K, "--deflate"),
           only=("skein",), server_arguments=("--compression",), baseline="fanout-json"),
    fanout("fanout-awaited", "as fanout, each broadcast awaited", 1, path="/broadcast-awaited",
           only=("skein",), baseline="fanout"),
    fanout("fanout-awaited-window-64", "as fanout-window-64, each broadcast awaited", 64,
           path="/broadcast-awaited", only=("skein",), baseline="fanout-window-64"),
)


class Failure(Exception):
    """A server that does not start, or a run that gives no figures."""


def move_to_own_session():
    """The kernel shares CPU time between sessions, so a session of its own with the highest weight is disturbed
    least by whatever else runs here. Without the right to that weight the figures are only noisier."""
    try:
        os.setsid()
    except PermissionError:  # leads a process group, as when it is started from a terminal
        child = os.fork()
        if child:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda signum, _: os.kill(child, signum))
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
        os.setsid()
    try:
        pathlib.Path("/proc/self/autogroup").write_text("-20")
        return True
    except OSError:
        return False


def pinned_to(core):
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


class RunningServer:
    """Starts a server, and ends it whatever happens in between."""

    def __init__(self, server, build, extra, core):
        self.command = [str(build / server.program), *server.arguments, *extra]
        self.core = core

    def __enter__(self):
        # A file rather than a pipe: a server that logs much would stop at a full pipe.
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, preexec_fn=pinned_to(self.core))
        try:
            self.address = self.wait_for_address()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_for_address(self, patience_s=10):
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = re.search(r"listening on ([\w.\[\]:]+:\d+)\s", self.said())
            if found:
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failure(f"{' '.join(self.command)} did not say where it listens:\n{self.said()[-2000:]}")

    def said(self):
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), size, 0).decode(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()

    def __exit__(self, *_):
        self.stop()


def run_load(scenario, server, build, options, core):
    """One run of the load generator; returns its report."""
    command = [str(build / "skein-bench"), scenario.mode, *scenario.arguments, "--json",
               "--url", f"ws://{server.address}{scenario.path}", "--pid", str(server.process.pid)]
    patience_s = 60
    if scenario.timed:
        command += ["--seconds", str(options.seconds), "--warmup", str(options.warmup)]
        patience_s += options.seconds + options.warmup
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=patience_s, preexec_fn=pinned_to(core))
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(command)} did not end in {patience_s} s") from None
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise Failure(f"{' '.join(command)} failed: {done.stderr.strip()}") from None
    if "--deflate" in scenario.arguments and not report["deflate"]:
        report["ok"] = False  # or the figure would be that of another scenario
    if server.process.poll() is not None:
        report["ok"] = False
        report["notes"].append("the server ended during the run")
    return report


def median(reports, key):
    values = [report[key] for report in reports if key in report]
    return statistics.median(values) if values else None


class Results:
    def __init__(self):
        self.reports = {}  # (scenario, server) -> reports, in the order of the rounds

    def add(self, scenario, server, report):
        self.reports.setdefault((scenario.name, server.name), []).append(report)

    def of(self, scenario_name, server_name):
        return self.reports.get((scenario_name, server_name), [])

    def all_ok(self):
        return all(report["ok"] for reports in self.reports.values() for report in reports)

    def reference(self, scenario, server_name):
        """What the figure is a multiple of: the variant's baseline, or else the raw loop."""
        if scenario.baseline:
            other = next(s for s in SCENARIOS if s.name == scenario.baseline)
            return median(self.of(other.name, server_name), other.metric)
        return median(self.of(scenario.name, "raw"), scenario.metric) if server_name != "raw" else None

    def cell(self, scenario, server_name):
        reports = self.of(scenario.name, server_name)
        value = median(reports, scenario.metric)
        if value is None:
            return "failed" if reports else "-"
        text = f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
        reference = self.reference(scenario, server_name)
        if reference and value:
            text += f" ({value / reference:.2f}x)"
        if any(report["load_was_bottleneck"] for report in reports):
            text += " *"
        if not all(report["ok"] for report in reports):
            text += " !"
        return text

    def rate(self, scenario, server_name):
        value = median(self.of(scenario.name, server_name), scenario.rate)
        return "-" if value is None else f"{value:,.0f}"

    def as_json(self, options, quiet):
        return {
            "machine": {"kernel": platform.release(), "processors": os.cpu_count(), "own_weight": quiet},
            "rounds": options.rounds,
            "seconds": options.seconds,
            "results": [
                {"scenario": scenario, "server": server, "reports": reports}
                for (scenario, server), reports in self.reports.items()
            ],
        }


def print_table(title, header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{title}")
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())


def print_results(results, scenarios, servers, rounds):
    names = [server.name for server in servers]
    print_table(
        f"Cost to the server, median of {rounds}; in brackets the multiple of the raw loop, or for a variant of "
        "its baseline",
        ["scenario", "unit", *names],
        [[s.name, s.unit, *(results.cell(s, name) for name in names)] for s in scenarios])
    print_table("Rate for each second", ["scenario", "of", *names],
                [[s.name, s.rate.removesuffix("_per_s"), *(results.rate(s, name) for name in names)]
                 for s in scenarios])
    print()
    for scenario in scenarios:
        print(f"{scenario.name}: {scenario.about}" +
              (f"; baseline {scenario.baseline}" if scenario.baseline else ""))
    reports = [report for of_pair in results.reports.values() for report in of_pair]
    if any(report["load_was_bottleneck"] for report in reports):
        print("* the load generator was the bottleneck: the cost holds, the rate is the load generator's")
    if not results.all_ok():
        print("! messages or connections were lost: the figure is not one to rely on")


def run_all(scenarios, servers, options, cores):
    results = Results()
    for turn in range(1, options.rounds + 1):
        for scenario in scenarios:
            for server in servers:
                if scenario.only and server.name not in scenario.only:
                    continue
                print(f"round {turn} of {options.rounds}: {scenario.name}, {server.name}", file=sys.stderr)
                try:
                    with RunningServer(server, options.build_dir, scenario.server_arguments, cores[0]) as running:
                        report = run_load(scenario, running, options.build_dir, options, cores[1])
                except Failure as failure:
                    print(failure, file=sys.stderr)
                    report = {"ok": False, "load_was_bottleneck": False, "notes": [str(failure)]}
                if not report["ok"]:
                    problem = report.get("first_problem", "; ".join(report["notes"]))
                    print(f"  not everything arrived: {problem}", file=sys.stderr)
                results.add(scenario, server, report)
    return results


def chosen_scenarios(names):
    """In the order of the table, with the baselines of those that are variants."""
    wanted = set(names or (scenario.name for scenario in SCENARIOS))
    wanted |= {scenario.baseline for scenario in SCENARIOS if scenario.name in wanted and scenario.baseline}
    return [scenario for scenario in SCENARIOS if scenario.name in wanted]


def chosen_servers(names, build):
    """Those asked for must be there; of the usual ones, those that were built."""
    chosen = [server for server in SERVERS if (server.name in names if names else server.usual)]
    missing = [server for server in chosen if not (build / server.program).exists()]
    for server in missing:
        print(f"{server.name}: {build / server.program} is not built", file=sys.stderr)
    if names and missing or not (build / "skein-bench").exists():
        sys.exit("build it first, with -DSKEIN_BUILD_BENCH=ON")
    return [server for server in chosen if server not in missing]


def command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "release",
                        help="where the executables are (default: build/release)")
    parser.add_argument("--scenario", action="append", metavar="NAME", choices=[s.name for s in SCENARIOS],
                        help="only this one; repeatable")
    parser.add_argument("--servers", help="comma-separated, of: " + ", ".join(s.name for s in SERVERS))
    parser.add_argument("--seconds", type=float, default=3, help="length of each measured window (default: 3)")
    parser.add_argument("--warmup", type=float, default=1, help="load before it, in seconds (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is run (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="write every report of every run there")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    options = parser.parse_args()
    options.servers = options.servers.split(",") if options.servers else []
    unknown = set(options.servers) - {server.name for server in SERVERS}
    if unknown:
        parser.error("no such server: " + ", ".join(sorted(unknown)))
    if options.rounds < 1 or not 0.1 <= options.seconds <= 3600 or not 0 <= options.warmup <= 600:
        parser.error("--rounds from 1, --seconds from 0.1 to 3600, --warmup from 0 to 600")
    return options


def main():
    options = command_line()
    if options.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:26} {scenario.about}")
        return 0
    servers = chosen_servers(options.servers, options.build_dir)
    scenarios = [scenario for scenario in chosen_scenarios(options.scenario)
                 if not scenario.only or any(server.name in scenario.only for server in servers)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended on the way out
    quiet = move_to_own_session()
    if not quiet:
        print("no right to a higher weight: expect more noise", file=sys.stderr)
    available = sorted(os.sched_getaffinity(0))
    cores = available[:2] if len(available) >= 2 else (None, None)
    results = run_all(scenarios, servers, options, cores)
    print_results(results, scenarios, servers, options.rounds)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results.as_json(options, quiet), indent=1) + "\n")
    return 0 if results.all_ok() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
