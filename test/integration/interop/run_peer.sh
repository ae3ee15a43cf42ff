#!/bin/sh
# Runs a peer's script against skein-server: run_peer.sh python|node SERVER. Exits with 77, which ctest takes for "skipped", if
# the interpreter or the module is not there.
set -eu
here=${0%/*}

skip() {
  echo "skipped: $*"
  exit 77
}

case $1 in
  python)
    # Debian's package belongs to Debian's interpreter, which need not be the first in PATH.
    for python in /usr/bin/python3 python3; do
      if "$python" -c 'import websockets' 2>/dev/null; then exec "$python" "$here/python_client.py" "$2"; fi
    done
    skip "no Python with the module websockets (Debian: python3-websockets)"
    ;;
  node)
    NODE_PATH=${NODE_PATH:+$NODE_PATH:}/usr/share/nodejs
    export NODE_PATH
    if node -e 'require("ws")' 2>/dev/null; then exec node "$here/node_client.js" "$2"; fi
    skip "no Node with the module ws (Debian: node-ws)"
    ;;
  *)
    echo "usage: $0 python|node SERVER" >&2
    exit 2
    ;;
esac
