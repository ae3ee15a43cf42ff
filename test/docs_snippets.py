"""Checks that what the pages quote is what the programs say.

A page quotes a tagged region of a source file with a comment above a fenced block:

    <!-- snippet: docs/examples/echo.cpp handler -->
    ```cpp
    ...
    ```

The region lies between the lines `// [handler]` and `// [/handler]` (or `# [handler]`), other tags in it left out, and
is compared without its common indentation. Links between pages are checked too, and the tests that a page names:
`unit/log_test.cpp` "control characters" must have a case with these words.

usage: docs_snippets.py ROOT [--update]
With --update the blocks are rewritten from the sources.
"""

import pathlib
import re
import sys
import textwrap

SNIPPET = re.compile(r"<!-- snippet: (\S+) (\S+) -->\n(```\w*\n)((?:(?!```).*\n)*)```")
TAG = re.compile(r"^\s*(?://|#) \[/?\w+\]\s*$")
TEST = re.compile(r'`((?:unit|integration)/[\w*]+\.[ch]pp)`((?: "[^"]+",?)*)')
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def region(source, tag):
    lines = source.read_text().splitlines()
    inside = []
    found = active = False
    for line in lines:
        if re.fullmatch(rf"\s*(?://|#) \[{re.escape(tag)}\]\s*", line):
            found = active = True
        elif re.fullmatch(rf"\s*(?://|#) \[/{re.escape(tag)}\]\s*", line):
            active = False
        elif active and not TAG.match(line):
            inside.append(line)
    if not found or active:
        raise LookupError(f"{source} has no region [{tag}]")
    return textwrap.dedent("\n".join(inside)).strip("\n") + "\n"


def check_page(root, page, update):
    problems = []

    def quote(match):
        source, tag, fence, quoted = match.groups()
        try:
            text = region(root / source, tag)
        except (LookupError, FileNotFoundError) as error:
            problems.append(f"{page}: {error}")
            return match.group(0)
        if text == quoted:
            return match.group(0)
        if not update:
            problems.append(f"{page}: [{tag}] of {source} is quoted as it is not; run {sys.argv[0]} ROOT --update")
        return f"<!-- snippet: {source} {tag} -->\n{fence}{text}```"

    before = page.read_text()
    after = SNIPPET.sub(quote, before)
    if update and after != before:
        page.write_text(after)
    announced = after.count("<!-- snippet:")
    quoted = len(SNIPPET.findall(after))
    if announced != quoted:
        problems.append(f"{page}: {announced - quoted} snippets have no block behind them")
    for source, names in TEST.findall(after):
        # A test that a page names is there, with cases that have these words in their names.
        files = [path for path in root.glob(f"test/{source}") if path.is_file()]
        cases = "".join(path.read_text() for path in files)
        if not files:
            problems.append(f"{page}: there is no test/{source}")
        for name in re.findall(r'"([^"]+)"', names):
            if not re.search(rf'TEST_CASE[^"]*"[^"]*{re.escape(name)}', cases):
                problems.append(f"{page}: test/{source} has no case {name!r}")
    for target in LINK.findall(re.sub(r"```.*?```", "", after, flags=re.DOTALL)):
        if "://" not in target and not (page.parent / target).exists():
            problems.append(f"{page}: the link to {target} leads nowhere")
    return problems, quoted


def main():
    root = pathlib.Path(sys.argv[1])
    update = "--update" in sys.argv[2:]
    pages = sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("bench/*.md")])
    problems, snippets = [], 0
    for page in pages:
        found, count = check_page(root, page, update)
        problems += found
        snippets += count
    print("\n".join(problems) or f"{len(pages)} pages, {snippets} snippets: all as they should be")
    return 1 if problems or snippets == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
