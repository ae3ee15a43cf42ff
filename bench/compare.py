#!/usr/bin/env python3
"""Measures Skein beside other servers: what a message, a delivery or a resting connection costs each of them.

The server runs on one core, the load generator on another. What is fit for it is measured with all servers running and
a load that goes from one to the next every few hundredths of a second: its multiples repeat within a few
hundredths. In the rest servers take turns within a round, and one run may differ from the next by a quarter on a shared
machine: take no difference below a tenth for one. Figures are medians over the rounds. The result is a page,
BUILD-DIR/bench/comparison.html, with all figures beside it as JSON.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from report import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"


@dataclasses.dataclass(frozen=True)
class Server:
    """A program that prints `listening on ADDRESS:PORT` and serves /echo and /broadcast until SIGTERM."""

    name: str
    label: str
    program: str = ""  # an executable of the build directory
    script: str = ""  # or a script in peers/, for an interpreter in which a module must be found
    interpreters: tuple = ()
    probe: tuple = ()
    arguments: tuple = ("--port", "0")
    usual: bool = True  # takes part unless --servers says otherwise
    pinned: bool = True  # to one core, with the load on the other; else both run on all cores

    def command(self, build):
        """The command line, or None where it cannot be run."""
        if self.program:
            return [str(build / self.program)] if (build / self.program).exists() else None
        for interpreter in self.interpreters:
            found = shutil.which(interpreter)
            if found and subprocess.run([found, *self.probe], stdin=subprocess.DEVNULL, capture_output=True,
                                        env=environment()).returncode == 0:
                return [found, str(PEERS / self.script)]
        return None

    def missing(self):
        return f"{self.program} is not built" if self.program else f"{' '.join(self.probe)} fails"


def environment():
    """Debian keeps Node's modules where only its own node looks for them."""
    path = os.environ.get("NODE_PATH")
    return {**os.environ, "NODE_PATH": f"{path}:/usr/share/nodejs" if path else "/usr/share/nodejs"}


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    mode: str
    title: str = ""
    group: str = "core"  # where the page shows it
    x: float = 0  # its place on the axis of its group
    path: str = "/echo"
    arguments: tuple = ()
    metric: str = "server_cpu_us_per_message"
    rate: str = "messages_per_s"  # empty where there is none
    unit: str = "us/message"
    timed: bool = True  # has a window, and so takes --seconds and --warmup
    longer: float = 1  # times --seconds
    rounds: int = 1000  # at most
    latency: str = ""  # the name of its distribution in the report
    only: tuple = ()  # the servers that can do it; empty for all
    all_cores: bool = False  # those that use all cores take part
    not_run: tuple = ()  # servers too slow for it
    server_arguments: tuple = ()
    needs: str = ""  # an option that the load generator must have
    baseline: str = ""  # the scenario that this one is a variant of, on the same server
    by_turns: bool = False  # all servers run, and the load goes from one to the next; a variant's from its baseline to it

    def takes(self, server):
        if self.only:
            return server.name in self.only
        return (server.pinned or self.all_cores) and server.name not in self.not_run


SKEIN = ("--port", "0", "--address", "127.0.0.1", "--bench-routes", "--max-connections", "15000", "--examples=false",
         "--shards")

SERVERS = (
    Server("raw", "bare epoll loop", "bench-raw-epoll"),
    Server("skein", "Skein, 1 shard", "skein-server", arguments=(*SKEIN, "1")),
    Server("skein-all", "Skein, all cores", "skein-server", arguments=(*SKEIN, "0"), pinned=False),
    Server("textbook", "Beast, textbook", "bench-textbook-beast"),
    Server("textbook-whole", "Beast, whole messages", "bench-textbook-beast", usual=False,
           arguments=("--port", "0", "--whole-messages")),
    Server("websocketpp", "WebSocket++", "bench-websocketpp"),
    Server("libwebsockets", "libwebsockets", "bench-libwebsockets"),
    Server("gorilla", "gorilla (Go)", "bench-gorilla"),
    Server("gorilla-all", "gorilla, all cores", "bench-gorilla", usual=False, pinned=False),
    Server("ws", "ws (Node)", script="ws.js", interpreters=("node",), probe=("-e", "require('ws')")),
    Server("websockets", "websockets (Python)", script="websockets_server.py",
           interpreters=("python3", "/usr/bin/python3"), probe=("-c", "import websockets")),
)


def echo(name, about, connections, size, depth, **more):
    arguments = ("--connections", str(connections), "--size", str(size), "--depth", str(depth))
    return Scenario(name, about, "echo", arguments=arguments, latency="latency", by_turns=True, **more)


def fanout(name, about, window, subscribers=1000, **more):
    more.setdefault("path", "/broadcast")
    arguments = ("--subscribers", str(subscribers), "--window", str(window),
                 *more.pop("arguments", ("--size", "128")))
    return Scenario(name, about, "fanout", arguments=arguments, metric="server_cpu_us_per_delivery",
                    rate="deliveries_per_s", unit="us/delivery", latency="last_delivery", **more)


# A socket of 4 KiB and 64 messages of 1 KiB are full after two seconds of a stall; the kernel's usual megabytes would
# hide for a minute what the server does then.
SHORT_QUEUES = ("--write-buffer-size", "4KiB", "--send-queue-messages", "64")


def slow(name, about, subscribers, size, rate, stall, **more):
    arguments = ("--subscribers", subscribers, "--size", size, "--rate", rate, "--stall", stall, "--seconds", "1",
                 "--warmup", "0.3")
    return Scenario(name, about, "slow", group="slow", arguments=arguments, metric="server_cpu_us_per_delivery",
                    rate="deliveries_per_s", unit="us/delivery", timed=False, needs="slow", latency="during", **more)


JSON_1K = ("--size", "1024", "--json-payload")
SIZES = {16: "16", 64: "64", 256: "256", 1024: "1k", 4096: "4k", 16384: "16k", 65536: "64k"}

SCENARIOS = (
    echo("echo", "echo 64 B, 100 clients, 1 outstanding", 100, 64, 1, title="Echo, one at a time", all_cores=True),
    echo("echo-depth-16", "echo 64 B, 100 clients, 16 outstanding each", 100, 64, 16, title="Echo, 16 outstanding",
         all_cores=True),
    fanout("fanout", "1,000 subscribers, 128 B, 1 outstanding", 1, title="Fan-out, one at a time", all_cores=True,
           by_turns=True),
    fanout("fanout-window-64", "1,000 subscribers, 128 B, 64 outstanding", 64, title="Fan-out, 64 outstanding",
           all_cores=True, by_turns=True),
    fanout("fanout-rate", "1,000 subscribers, 128 B, 40 messages a second on a timetable", 1, all_cores=True,
           title="Fan-out, 40 messages a second", group="rate", needs="fanout --rate", longer=2,
           arguments=("--size", "128", "--rate", "40")),
    Scenario("idle", "anonymous memory of each of 10,000 idle connections", "idle", title="An idle connection",
             group="idle", arguments=("--connections", "10000"), metric="server_bytes_per_connection",
             rate="handshakes_per_s", unit="B/connection", timed=False, rounds=2),
    *(echo(f"echo-{name}", f"echo {size:,} B, 16 clients, 1 outstanding", 16, size, 1, group="size", x=size, rounds=2,
           longer=0.6, title=f"Echo of {size:,} B") for size, name in SIZES.items()),
    *(fanout(f"fanout-{subscribers}", f"{subscribers:,} subscribers, 128 B, 1 outstanding", 1, subscribers,
             group="subscribers", x=subscribers, rounds=2, by_turns=subscribers < 10000,
             longer=1 if subscribers == 10000 else 0.6, title=f"{subscribers:,} subscribers")
      for subscribers in (10, 100, 10000)),
    Scenario("churn", "connect, one echo, close: 64 at a time, as often as they can", "churn",
             title="Connect, one echo, close", group="life", arguments=("--connections", "64"),
             metric="server_cpu_us_per_connection", rate="connections_per_s", unit="us/connection", needs="churn",
             latency="served", rounds=2),
    Scenario("storm", "1,000 connections are cut and return, each with one echo", "storm", title="1,000 return at once",
             group="life", arguments=("--connections", "1000", "--rounds", "3", "--pause", "0.2"),
             metric="server_cpu_us_per_return", rate="", unit="us/return", timed=False, needs="storm", rounds=2,
             latency="return"),
    slow("slow", "100 subscribers, 8 KiB, 250 messages a second; 10 of them do not read for 3 s", "100", "8192", "250",
         "3", title="A tenth does not read", path="/broadcast", rounds=2),
    *(slow(f"slow-{policy}", f"1,000 subscribers, 1 KiB, 40 messages a second; 100 of them do not read for 4 s: {what}",
           "1000", "1024", "40", "4", title=f"100 of 1,000: {policy}", path=path, only=("skein",), rounds=1,
           server_arguments=SHORT_QUEUES)
      for policy, path, what in (("evict", "/broadcast", "they are closed"),
                                 ("drop", "/broadcast-drop", "they miss what has no room"),
                                 ("conflate", "/broadcast-conflate", "they get the newest of 16 things"))),
    fanout("fanout-json", "1,000 subscribers, 1 KiB of JSON, 1 outstanding", 1, arguments=JSON_1K, title="JSON",
           only=("skein",), group="variant"),
    fanout("fanout-json-deflate", "the same, compressed", 1, arguments=(*JSON_1K, "--deflate"), title="compressed",
           only=("skein",), server_arguments=("--compression",), baseline="fanout-json", group="variant"),
    fanout("fanout-awaited", "as fanout, each broadcast awaited", 1, path="/broadcast-awaited", title="awaited",
           only=("skein",), baseline="fanout", group="variant", by_turns=True),
    fanout("fanout-awaited-window-64", "as fanout-window-64, each broadcast awaited", 64, title="awaited, 64",
           path="/broadcast-awaited", only=("skein",), baseline="fanout-window-64", group="variant",
           by_turns=True),
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


def prepared(cores):
    """What a child does before it becomes the program: it goes to its cores, and may open as many files as it can."""
    def prepare():
        os.sched_setaffinity(0, cores)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return prepare


def cores_of(server):
    """Of the server and of the load."""
    available = sorted(os.sched_getaffinity(0))
    if not server.pinned or len(available) < 2:
        return set(available), set(available)
    return {available[0]}, {available[1]}


class RunningServer:
    """Starts a server, and ends it whatever happens in between."""

    def __init__(self, server, command, extra):
        self.command = [*command, *server.arguments, *extra]
        self.cores = cores_of(server)[0]

    def __enter__(self):
        # A file rather than a pipe: a server that logs much would stop at a full pipe.
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, env=environment(),
                                        preexec_fn=prepared(self.cores))
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


def run_load(scenario, targets, options, cores, servers=1):
    """One run of the load generator against the servers that its `targets` name; returns its report."""
    command = [str(options.build_dir / "skein-bench"), scenario.mode, *scenario.arguments, "--json", *targets]
    patience_s = 60 * servers
    if scenario.timed:
        seconds = options.seconds * scenario.longer
        warmup = options.warmup / (4 if servers > 1 else 1)  # in turns it is that of a few of them
        command += ["--seconds", str(seconds), "--warmup", str(warmup)]
        patience_s += 2 * servers * (seconds + warmup)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=patience_s, preexec_fn=prepared(cores))
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(command)} did not end in {patience_s} s") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise Failure(f"{' '.join(command)} failed: {done.stderr.strip()}") from None


def checked(report, scenario, running):
    report.setdefault("load_was_bottleneck", False)
    if "--deflate" in scenario.arguments and not report["deflate"]:
        report["ok"] = False  # or the figure would be that of another scenario
    if running.process.poll() is not None:
        report["ok"] = False
        report["notes"].append("the server ended during the run")
    return report


def run_alone(scenario, server, command, options):
    """Returns the server's report."""
    with RunningServer(server, command, scenario.server_arguments) as running:
        targets = ["--url", f"ws://{running.address}{scenario.path}", "--pid", str(running.process.pid)]
        return {server.name: checked(run_load(scenario, targets, options, cores_of(server)[1]), scenario, running)}


def run_by_turns(scenario, servers, commands, options):
    """Returns a report for each server. Multiples are of the first: the raw loop, or of a variant its baseline."""
    seats = [(server.name, server, scenario) for server in servers]
    if scenario.baseline:
        seats.insert(0, ("baseline", servers[0], named(scenario.baseline)))
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(RunningServer(server, commands[server.name], what.server_arguments))
                   for name, server, what in seats}
        targets = [argument for name, _, what in seats for argument in
                   ("--server", f"{name}={running[name].process.pid}@ws://{running[name].address}{what.path}")]
        together = run_load(scenario, targets, options, cores_of(servers[0])[1], len(seats))
        parts = together.pop("servers", {})
        reports = {}
        for server in servers:
            report = checked({**together, **parts[server.name]}, scenario, running[server.name])
            report[scenario.metric] = report.pop(f"{scenario.metric}_by_turns", None) or report[scenario.metric]
            multiple = report.pop("server_cpu_multiple_by_turns", None)
            if multiple and (scenario.baseline or servers[0].name == "raw" != server.name):
                report["multiple"] = multiple
            reports[server.name] = report
        return reports


def named(scenario):
    return next(s for s in SCENARIOS if s.name == scenario)


def median(reports, key):
    values = [report[key] for report in reports if key in report]
    return statistics.median(values) if values else None


class Results:
    def __init__(self):
        self.reports = {}  # (scenario, server) -> reports, in the order of the rounds
        self.stopped = False

    def add(self, scenario, server_name, report):
        self.reports.setdefault((scenario.name, server_name), []).append(report)

    def of(self, scenario_name, server_name):
        return self.reports.get((scenario_name, server_name), [])

    def all_ok(self):
        return all(report["ok"] for reports in self.reports.values() for report in reports)

    def multiple(self, scenario, server_name):
        """Of the variant's baseline, or else of the raw loop. One that ran by itself has none of those that took
        turns."""
        reports = self.of(scenario.name, server_name)
        if scenario.by_turns:
            return median(reports, "multiple")
        other = named(scenario.baseline) if scenario.baseline else scenario
        reference = median(self.of(other.name, server_name if scenario.baseline else "raw"), other.metric)
        value = median(reports, scenario.metric)
        return value / reference if value and reference and (scenario.baseline or server_name != "raw") else None

    def cell(self, scenario, server_name):
        reports = self.of(scenario.name, server_name)
        value = median(reports, scenario.metric)
        if value is None:
            return "failed" if reports else "-"
        text = f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
        multiple = self.multiple(scenario, server_name)
        if multiple:
            text += f" ({multiple:.2f}x)" if multiple >= 0.1 else f" ({multiple:.3f}x)"
        if any(report["load_was_bottleneck"] for report in reports):
            text += " *"
        if not all(report["ok"] for report in reports):
            text += " !"
        return text

    def rate(self, scenario, server_name):
        value = median(self.of(scenario.name, server_name), scenario.rate) if scenario.rate else None
        return "-" if value is None else f"{value:,.0f}"

    def as_json(self, scenarios, servers, options, quiet):
        latencies = {scenario.name: f"{scenario.latency}_histogram_us" for scenario in scenarios}
        return {
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": shlex.join(["bench/compare.py", *sys.argv[1:]]),
            "machine": {**machine.describe(), "own_weight": quiet},
            "versions": machine.versions(options.build_dir),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "warmup": options.warmup,
            "servers": [{"name": server.name, "label": server.label, "pinned": server.pinned} for server in servers],
            "scenarios": [
                {**dataclasses.asdict(scenario), "seconds": options.seconds * scenario.longer,
                 "rounds": min(options.rounds, scenario.rounds)} for scenario in scenarios
            ],
            "results": [
                {"scenario": scenario, "server": server, **with_merged_histogram(reports, latencies[scenario])}
                for (scenario, server), reports in self.reports.items()
            ],
        }


def with_merged_histogram(reports, wanted):
    """The distribution of all rounds together. Those of single rounds, and of other latencies, are long and nobody asks
    for them."""
    counts = {}
    for report in reports:
        for edge, count in report.get(wanted, ()):
            counts[edge] = counts.get(edge, 0) + count
    return {
        "reports": [{key: value for key, value in report.items() if not key.endswith("_histogram_us")}
                    for report in reports],
        "histogram_us": sorted(counts.items()),
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


def plan(scenarios, servers, rounds):
    """Servers take turns within a scenario, scenarios within a round. Each run has the servers that are in it."""
    return [(turn, scenario, group) for turn in range(1, rounds + 1) for scenario in scenarios
            if turn <= scenario.rounds for group in groups(scenario, [s for s in servers if scenario.takes(s)])]


def groups(scenario, servers):
    together = [server for server in servers if scenario.by_turns and server.pinned]
    return ([together] if together else []) + [[server] for server in servers if server not in together]


def run_all(runs, commands, options):
    results = Results()
    begin = time.monotonic()
    for done, (turn, scenario, servers) in enumerate(runs):
        names = ", ".join(server.name for server in servers)
        spent = time.monotonic() - begin
        left = f", about {spent / done * (len(runs) - done) / 60:.0f} min left" if done >= 20 else ""
        print(f"{done + 1} of {len(runs)}{left}: round {turn}, {scenario.name}, {names}", file=sys.stderr)
        try:
            if scenario.by_turns and servers[0].pinned:
                reports = run_by_turns(scenario, servers, commands, options)
            else:
                reports = run_alone(scenario, servers[0], commands[servers[0].name], options)
        except Failure as failure:
            print(failure, file=sys.stderr)
            failed = {"ok": False, "load_was_bottleneck": False, "notes": [str(failure)]}
            reports = {server.name: failed for server in servers}
        except KeyboardInterrupt:
            print("stopped: what follows is of the runs so far", file=sys.stderr)
            results.stopped = True
            break
        for name, report in reports.items():
            if not report["ok"]:
                problem = report.get("first_problem", "; ".join(report["notes"]))
                print(f"  not everything arrived: {name}: {problem}", file=sys.stderr)
            results.add(scenario, name, report)
    return results


def help_of(build, *mode):
    return subprocess.run([str(build / "skein-bench"), *mode, "--help"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True).stdout


def chosen_scenarios(names, build):
    """In the order of the table, with the baselines of those that are variants."""
    wanted = set(names or (scenario.name for scenario in SCENARIOS))
    wanted |= {scenario.baseline for scenario in SCENARIOS if scenario.name in wanted and scenario.baseline}
    chosen = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    able = {}
    for needed in sorted({scenario.needs for scenario in chosen if scenario.needs}):
        mode, *option = needed.split()
        modes, described = help_of(build), help_of(build, mode)
        able[needed] = bool(re.search(rf"^ +{mode}\b", modes, re.MULTILINE)) and all(o in described for o in option)
        if not able[needed]:
            print(f"this skein-bench has no {needed}", file=sys.stderr)
    return [scenario for scenario in chosen if able.get(scenario.needs, True)]


def chosen_servers(names, build):
    """Those asked for must be there; of the usual ones, those that were built. With the commands that start them."""
    chosen = [server for server in SERVERS if (server.name in names if names else server.usual)]
    commands = {server.name: server.command(build) for server in chosen}
    missing = [server for server in chosen if not commands[server.name]]
    for server in missing:
        print(f"{server.name} is left out: {server.missing()}", file=sys.stderr)
    if names and missing or not (build / "skein-bench").exists():
        sys.exit("build it first, with -DSKEIN_BUILD_BENCH=ON")
    return [server for server in chosen if server not in missing], commands


def write_page(results_file, page, svg):
    """In a Python that has matplotlib: the one that runs this may be another than the system's."""
    command = [str(ROOT / "bench" / "report" / "page.py"), str(results_file)]
    if page:
        command += ["--output", str(page)]
    if svg:
        command += ["--svg", str(svg)]
    for interpreter in dict.fromkeys((sys.executable, "/usr/bin/python3")):
        if os.access(interpreter, os.X_OK) and subprocess.run(
                [interpreter, "-c", "import matplotlib"], capture_output=True).returncode == 0:
            return subprocess.run([interpreter, *command]).returncode == 0
    print("no page: no Python with matplotlib (Debian: python3-matplotlib)", file=sys.stderr)
    return True


def command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "release",
                        help="where the executables are (default: build/release)")
    parser.add_argument("--scenario", action="append", metavar="NAME", choices=[s.name for s in SCENARIOS],
                        help="only this one; repeatable")
    parser.add_argument("--servers", help="comma-separated, of: " + ", ".join(s.name for s in SERVERS))
    parser.add_argument("--seconds", type=float, default=1, help="length of each measured window (default: 1)")
    parser.add_argument("--warmup", type=float, default=0.4, help="load before it, in seconds (default: 0.4)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is run (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="write every report of every run there")
    parser.add_argument("--output", metavar="PAGE", type=pathlib.Path,
                        help="the page, or a folder for it (default: BUILD-DIR/bench/comparison.html; a run of "
                             "chosen scenarios or servers writes one only when this is given)")
    parser.add_argument("--svg", metavar="FOLDER", type=pathlib.Path, help="write the main plots there, one SVG each")
    parser.add_argument("--from-json", metavar="FILE", type=pathlib.Path,
                        help="measure nothing: make the page of earlier results")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    options = parser.parse_args()
    options.servers = options.servers.split(",") if options.servers else []
    unknown = set(options.servers) - {server.name for server in SERVERS}
    if unknown:
        parser.error("no such server: " + ", ".join(sorted(unknown)))
    if options.rounds < 1 or not 0.1 <= options.seconds <= 3600 or not 0 <= options.warmup <= 600:
        parser.error("--rounds from 1, --seconds from 0.1 to 3600, --warmup from 0 to 600")
    return options


def page_path(options):
    path = options.output
    if path is None:
        return None if options.scenario or options.servers or (options.from_json and options.svg) else options.build_dir / "bench" / "comparison.html"
    return path if path.suffix in (".html", ".htm") else path / "comparison.html"


def main():
    options = command_line()
    if options.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:26} {scenario.about}")
        return 0
    page = page_path(options)
    if options.from_json:
        return 0 if write_page(options.from_json, page, options.svg) else 1
    servers, commands = chosen_servers(options.servers, options.build_dir)
    scenarios = [scenario for scenario in chosen_scenarios(options.scenario, options.build_dir)
                 if any(scenario.takes(server) for server in servers)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended on the way out
    quiet = move_to_own_session()
    if not quiet:
        print("no right to a higher weight: expect more noise", file=sys.stderr)
    results = run_all(plan(scenarios, servers, options.rounds), commands, options)
    print_results(results, scenarios, servers, options.rounds)
    text = json.dumps(results.as_json(scenarios, servers, options, quiet)) + "\n"
    if options.json:
        pathlib.Path(options.json).write_text(text)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        beside = page.with_suffix(".json")
        beside.write_text(text)
        if not write_page(beside, page, options.svg):
            return 1
        print(f"\nfile://{page.resolve()}")
    if results.stopped:
        return 130
    return 0 if results.all_ok() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
