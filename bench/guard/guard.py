#!/usr/bin/env python3
"""Guards what a message costs: counts the instructions of fixed workloads and compares them with figures.json.

A count does not depend on how busy the machine is, so a small regression shows that no timed run could prove. It
says nothing about caches, system calls and the kernel: for those there are compare.py and skein-micro. The exit
status is 1 when an operation costs more than the stored figure and the tolerance allow.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FIGURES = HERE / "figures.json"
TOLERANCE = 3.0  # per cent
TRANSPORT = "::memory_transport::"  # stands for the socket

# glibc picks its memcpy by the processor; from 4 KiB on that may be one instruction that repeats for each byte.
# Every machine shall copy in the same way.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_rep_stosb_threshold=1073741824"


def environment():
    # Nothing of the caller's: the size of the environment moves the stack, and with it what copying costs.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "GLIBC_TUNABLES": TUNABLES}


def output_of(command):
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"guard: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def describe(program):
    """What the program was built with, and its workloads."""
    built, workloads = {}, {}
    for line in output_of([program]).splitlines():
        what, _, rest = line.partition(" ")
        if what == "workload":
            name, _, operation = rest.partition(" ")
            workloads[name] = operation
        else:
            built[what] = rest
    built["valgrind"] = output_of(["valgrind", "--version"]).strip().removeprefix("valgrind-")
    with open("/proc/cpuinfo", encoding="ascii") as info:
        built["avx2"] = bool(re.search(r"^flags\s*:.*\bavx2\b", info.read(), re.MULTILINE))
    return built, workloads


def instructions(out):
    """What was counted, less what the peers' memory does in place of a kernel."""
    names, total, theirs = {}, 0, 0
    function = called = ""
    after_call = False

    def name_of(text):
        # The first mention of a name gives it a number, the others have only that.
        number, _, name = text.partition(" ")
        return names.setdefault(number, name)

    with open(out, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("fn="):
                function = name_of(line[3:].strip())
            elif line.startswith("cfn="):
                called = name_of(line[4:].strip())
            elif line.startswith("calls="):
                after_call = True
            elif after_call:
                after_call = False
                if TRANSPORT in called and TRANSPORT not in function:
                    theirs += int(line.split()[1])
            elif line.startswith("totals: "):
                total = int(line.split()[1])
    if total == 0:
        raise SystemExit("guard: nothing was counted")
    if theirs == 0:
        raise SystemExit(f"guard: nothing was sent or received; is {TRANSPORT} still its name?")
    return total - theirs


def count(program, workload, out):
    """Instructions for each operation."""
    said = output_of(["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={out}", "-q",
                      program, workload])
    operations = int(re.search(r"^operations (\d+)$", said, re.MULTILINE)[1])
    return instructions(out) / operations


def measure(program, workloads, repeat):
    """The counts of each workload: their median and their spread in per cent."""
    figures, spreads = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind.out")
        for name in workloads:
            counts = sorted(count(program, name, out) for _ in range(repeat))
            figures[name] = round(counts[len(counts) // 2], 1)
            spreads[name] = (counts[-1] - counts[0]) / counts[0] * 100
    return figures, spreads


def short_name(function):
    """Without parameters and template arguments, so that all instances of a template are one."""
    function = re.sub(r"::_Z\w*\.Frame\*", "", function).replace("(anonymous namespace)::", "")
    function = re.sub(r"\boperator(?:\(\)|<<?|>>?|->)", lambda found: found[0].translate(str.maketrans("()<>", "{}[]")),
                      function)
    depth, kept = 0, []
    for character in function:
        if character in "<(":
            depth += 1
        if depth == 0:
            kept.append(character)
        if character in ">)":
            depth = max(0, depth - 1)
    name = "".join(kept).translate(str.maketrans("{}[]", "()<>"))
    name = re.sub(r"'\d+$", "", name.replace(" const", "").strip())
    coroutine = " (coroutine)" if ".actor" in function or "clone .actor" in function else ""
    return re.sub(r"^.* (?=[\w:~]+$)", "", re.sub(r" ?<clone .*$", "", name)) + coroutine


def annotated(out, *options):
    """The instructions of each function, by callgrind_annotate, which has one row for each file that a function
    has lines from. Rows are added up; with callees only the largest counts."""
    inclusive = "--inclusive=yes" in options
    costs = {}
    text = output_of(["callgrind_annotate", "--auto=no", "--threshold=100", *options, out])
    for cost, where in re.findall(r"^\s*([\d,]+) \([ \d.]+%\)\s+(.*)$", text, re.MULTILINE):
        if where.startswith("PROGRAM TOTALS"):
            continue
        where = re.sub(r" \[/[^]]*\]$", "", where)
        name = short_name(re.sub(r"^[^ :]*:(?!:)", "", where))
        before, cost = costs.get(name, 0), int(cost.replace(",", ""))
        costs[name] = max(before, cost) if inclusive else before + cost
    return sorted(costs.items(), key=lambda item: -item[1])


def profile(program, workload, rows):
    """Prints where the instructions of a workload go."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind.out")
        each = count(program, workload, out)
        own = annotated(out)
        total = sum(cost for _, cost in own)
        operations = instructions(out) / each
        print(f"{workload}: {each:,.0f} instructions for each operation, and {total / operations - each:,.0f} in the "
              "memory transport")
        for title, costs in (("by themselves", own), ("with what they call", annotated(out, "--inclusive=yes"))):
            print(f"\n{title}:")
            # What encloses everything says nothing.
            for name, cost in [(name, cost) for name, cost in costs if cost < 0.99 * total][:rows]:
                print(f"{cost / total * 100:6.1f} %  {cost / operations:9,.0f}  {name[:140]}")
        print()


def compare(figures, spreads, workloads, stored, tolerance):
    """Prints the table; returns the names of what got worse and of what got better."""
    worse, better = [], []
    print(f"{'workload':18} {'instructions':>12} {'stored':>10} {'difference':>10}   an operation is")
    for name, figure in figures.items():
        before = stored.get(name)
        if before is None:
            difference, verdict = "new", ""
        else:
            change = (figure - before) / before * 100
            difference = f"{change:+.2f} %"
            verdict = "  WORSE" if change > tolerance else "  better" if change < -tolerance else ""
            if change > tolerance:
                worse.append(name)
            elif change < -tolerance:
                better.append(name)
        spread = f"  (runs differ by {spreads[name]:.3f} %)" if spreads[name] > 0 else ""
        shown = f"{before:,.0f}" if before is not None else "-"
        print(f"{name:18} {figure:12,.0f} {shown:>10} {difference:>10}   {workloads[name]}{spread}{verdict}")
    return worse, better


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", nargs="*", help="default: all")
    parser.add_argument("--program", default=str(HERE.parent.parent / "build/release/skein-guard"),
                        help="default: the one in build/release")
    parser.add_argument("--update", action="store_true", help="store what was counted")
    parser.add_argument("--repeat", type=int, default=1, metavar="N",
                        help="count N times, take the median, and say how far the runs differ")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="PERCENT", help="default: %(default)s")
    parser.add_argument("--profile", action="store_true", help="print where the instructions go; compare nothing")
    parser.add_argument("--rows", type=int, default=15, metavar="N", help="of a profile; default: %(default)s")
    options = parser.parse_args()
    if not os.path.exists(options.program):
        raise SystemExit(f"guard: there is no {options.program}; build it with -DSKEIN_BUILD_BENCH=ON, and valgrind "
                         "installed")

    built, workloads = describe(options.program)
    for name in options.workload:
        if name not in workloads:
            parser.error(f"there is no workload {name}; there are {', '.join(workloads)}")
    chosen = options.workload or list(workloads)

    if options.profile:
        for name in chosen:
            profile(options.program, name, options.rows)
        return 0

    stored = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"made_with": {}, "instructions": {}}
    figures, spreads = measure(options.program, chosen, max(1, options.repeat))
    worse, better = compare(figures, spreads, workloads, stored["instructions"], options.tolerance)
    changed = [f"{what} {value} (stored: {stored['made_with'].get(what)})" for what, value in built.items()
               if stored["made_with"].get(what, value) != value]
    if changed:
        print("\nThe stored figures were made with something else: " + "; ".join(changed))

    if options.update:
        kept = {name: value for name, value in stored["instructions"].items() if name in workloads}
        if changed and set(chosen) != set(workloads):
            raise SystemExit("guard: figures made with different things cannot be mixed; update all workloads")
        new = {"made_with": built, "instructions": {**kept, **figures}}
        FIGURES.write_text(json.dumps(new, indent=2) + "\n")
        print(f"\nStored in {FIGURES.name}.")
        return 0
    if better:
        print(f"\nBetter than stored: {', '.join(better)}. Keep it: guard.py --update, and commit {FIGURES.name}.")
    if worse:
        print(f"\nWorse than stored: {', '.join(worse)}. Where it went: guard.py --profile {worse[0]}. If it is worth it: "
              "guard.py --update, and say why in the commit.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
