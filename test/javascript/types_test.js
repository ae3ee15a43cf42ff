// The types of skein.js: types_test.ts compiles. Exits with 77, which ctest takes for "skipped", if there is no TypeScript.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import * as skein from "../../src/http/web/skein.js";

const here = dirname(fileURLToPath(import.meta.url));
const types = readFileSync(join(here, "../../src/http/web/skein.d.ts"), "utf8");

// What is exported is declared, and the other way round.
const declared = [...types.matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
assert.deepEqual(declared.sort(), Object.keys(skein).sort());
console.log(`${declared.length} classes, declared and exported`);

let compiler;
try {
  const description = createRequire(import.meta.url).resolve("typescript/package.json");
  compiler = join(dirname(description), JSON.parse(readFileSync(description, "utf8")).bin.tsc);
} catch {
  console.log("skipped: no TypeScript to compile with (Debian: node-typescript)");
  process.exit(77);
}
const options = ["--noEmit", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--lib", "es2022,dom"];
const modules = ["--module", "nodenext", "--moduleResolution", "nodenext"];
const compiled = spawnSync(process.execPath, [compiler, ...options, ...modules, join(here, "types_test.ts")], { encoding: "utf8" });
assert.equal(compiled.status, 0, compiled.stdout + compiled.stderr);
console.log("types_test.ts compiles");
