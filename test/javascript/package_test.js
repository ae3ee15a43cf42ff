// What npm makes of src/http/web: the client, its types and its page, and nothing else. Exits with 77, which ctest takes for
// "skipped", if there is no npm.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const web = join(root, "src/http/web");

const description = JSON.parse(readFileSync(join(web, "package.json"), "utf8"));
const [, version] = /^project\([^)]*VERSION ([\d.]+)/ms.exec(readFileSync(join(root, "CMakeLists.txt"), "utf8"));
assert.equal(description.version, version);

const { error, status, stdout, stderr } = spawnSync("npm", ["pack", "--dry-run", "--json", "--offline"], { cwd: web, encoding: "utf8" });
if (error?.code === "ENOENT") {
  console.log("skipped: no npm");
  process.exit(77);
}
assert.equal(status, 0, stderr);
const [{ files }] = JSON.parse(stdout);
assert.deepEqual(files.map(({ path }) => path).sort(), ["README.md", "package.json", "skein.d.ts", "skein.js"]);
console.log(`the package has ${files.length} files`);
