#!/usr/bin/env python3
"""Checks that every repository path that README, CONTRIBUTING and docs/ name exists. usage: tools/check_docs.py [ROOT]"""
import pathlib
import re
import sys

ROOMS = ("core/", "sdk/", "host/", "plugins/", "tests/", "tools/", "docs/", "packaging/", "cmake/")
PATH = re.compile(r"[`(]((?:" + "|".join(ROOMS) + r")[\w./-]+)[`)]")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]
    missing = [f"{page.relative_to(root)}: {name} does not exist" for page in pages
               for name in PATH.findall(page.read_text(encoding="utf-8")) if not (root / name).exists()]
    print("\n".join(missing) if missing else "docs: every path exists")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
