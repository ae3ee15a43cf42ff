"""What was measured on what: the machine, and the version of everything that took part."""

import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def said(*command):
    """The first line of what a command prints; empty where it cannot be run."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().split("\n")[0] if done.returncode == 0 else ""


def field(path, pattern):
    try:
        found = re.search(pattern, pathlib.Path(path).read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1).strip() if found else ""


def debian(package):
    return said("dpkg-query", "-W", "-f=${Version}\n", package)


def describe():
    kib = field("/proc/meminfo", r"^MemTotal:\s*(\d+)")
    return {
        "processor": field("/proc/cpuinfo", r"^model name\s*:\s*(.+)$") or platform.machine(),
        "processors": os.cpu_count(),
        "hypervisor": bool(field("/proc/cpuinfo", r"^flags\s*:.*\b(hypervisor)\b")),
        "memory_gib": round(int(kib) / 1024 ** 2, 1) if kib else None,
        "kernel": platform.release(),
        "system": field("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)'),
    }


def compiler(build):
    """As the build knows it, with its flags."""
    cache = build / "CMakeCache.txt"
    path = field(cache, r"^CMAKE_CXX_COMPILER:\w+=(.+)$") or "c++"
    kind = field(cache, r"^CMAKE_BUILD_TYPE:\w+=(.*)$")
    flags = field(cache, rf"^CMAKE_CXX_FLAGS_{kind.upper()}:\w+=(.*)$") if kind else ""
    return f"{said(path, '--version')} {flags}".strip()


def skein(build):
    commit = said("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10")
    return " ".join(part for part in (said(str(build / "skein-server"), "--version"), commit) if part)


def versions(build):
    boost = field("/usr/include/boost/version.hpp", r'#define BOOST_LIB_VERSION "([^"]+)"').replace("_", ".")
    found = {
        "Skein": skein(build),
        "C++ compiler": compiler(build),
        "Boost (Skein, Beast, WebSocket++)": boost,
        "WebSocket++": debian("libwebsocketpp-dev"),
        "libwebsockets": debian("libwebsockets-dev"),
        "gorilla/websocket": debian("golang-github-gorilla-websocket-dev"),
        "Go": said("go", "version").removeprefix("go version "),
        "ws": debian("node-ws"),
        "Node": said("node", "--version"),
        "websockets": debian("python3-websockets"),
        "uvloop": debian("python3-uvloop"),
        "Python (of websockets)": said("/usr/bin/python3", "--version"),
    }
    return {name: version for name, version in found.items() if version}
