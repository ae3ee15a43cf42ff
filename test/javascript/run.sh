#!/bin/sh
# Runs a test of the JavaScript client: run.sh SCRIPT [ARGUMENT...]. Exits with 77, which ctest takes for "skipped", if there is
# no Node, or not what a script needs beside it: the module ws, TypeScript, npm.
set -eu
here=${0%/*}
script=$1
shift

skip() {
  echo "skipped: $*"
  exit 77
}

command -v node >/dev/null || skip "no Node (Debian: nodejs)"
NODE_PATH=${NODE_PATH:+$NODE_PATH:}/usr/share/nodejs
export NODE_PATH
case $script in
  client_test.js) exec node --test "$here/$script" ;;
  types_test.js | package_test.js) exec node "$here/$script" ;;
esac
node -e 'require("ws")' 2>/dev/null || skip "no Node with the module ws (Debian: node-ws)"
exec node "$here/$script" "$@"
