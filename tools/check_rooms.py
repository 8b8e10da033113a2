#!/usr/bin/env python3
"""Checks who includes whom. usage: tools/check_rooms.py [ROOT]

Each room may include its own files and those of the rooms listed for it, and only the named outside libraries.
Prints one line per forbidden include and exits 1 when there is one."""
import pathlib
import re
import sys

# Room -> rooms whose headers it may include. A file belongs to the longest room that is a prefix of its path.
ROOMS = {
    "sdk/include": [],
    "sdk/modelkit": ["sdk/include"],
    "sdk/template": ["sdk/include", "sdk/modelkit"],
    "core/include": [],
    "core/util": ["core/include"],
    "core/ir": ["core/include", "core/util"],
    "core/reader": ["core/include", "core/util", "core/ir"],
    "core/optimizer": ["core/include", "core/util", "core/ir"],
    "core/evaluator": ["core/include", "core/util", "core/ir", "core/optimizer"],
    "core/hub": ["core/include", "core/util"],
    "core/backends": ["core/include", "core/util", "core/hub", "sdk/include"],
    "host": ["core/include", "sdk/modelkit/include"],
    "plugins/cpu_ref": ["sdk/include", "sdk/modelkit/include"],
    "plugins/mistralrs": ["sdk/include", "sdk/modelkit/include"],
    "plugins/mistralrs/ops": ["sdk/include", "sdk/modelkit/include"],
    "plugins/mistralrs/cache": ["plugins/mistralrs/ops", "sdk/include", "sdk/modelkit/include"],
    "plugins/mistralrs/model": ["plugins/mistralrs/ops", "plugins/mistralrs/cache", "sdk/include", "sdk/modelkit/include"],
    "plugins/mistralrs/engine": ["plugins/mistralrs/ops", "plugins/mistralrs/cache", "plugins/mistralrs/model",
                                 "sdk/include", "sdk/modelkit/include"],
}
# The plugin's own top folder may see all of its inner rooms.
ROOMS["plugins/mistralrs"] += [room for room in ROOMS if room.startswith("plugins/mistralrs/")]

# Folders that an #include "x/y.h" is looked up in, besides the including file's own.
INCLUDE_ROOTS = ["sdk/include", "sdk/modelkit/include", "sdk/modelkit/src", "core/include", "core", "host",
                 "plugins/cpu_ref", "plugins/mistralrs"]

# Outside headers by first path component -> rooms that may use them. Unlisted <...> headers are the standard library's.
LIBRARIES = {
    "torch": ["plugins/mistralrs"], "ATen": ["plugins/mistralrs"], "c10": ["plugins/mistralrs"],
    "boost": ["core", "host"],
    "rapidjson": ["core", "host", "sdk/modelkit"],
    "curl": ["core/hub"], "yaml-cpp": ["core/reader"], "pcre2.h": ["sdk/modelkit"],
    "dlfcn.h": ["core/backends", "plugins/mistralrs"], "omp.h": [],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def room_of(path):
    return max((room for room in ROOMS if path.startswith(room + "/")), key=len, default=None)


def find(root, including, name):
    """The repository path that an include names, or None when it is an outside header."""
    for folder in [str(pathlib.PurePosixPath(including).parent), *INCLUDE_ROOTS]:
        candidate = (root / folder / name).resolve()
        if candidate.is_file() and root in candidate.parents:
            return candidate.relative_to(root).as_posix()
    return None


def problems(root):
    for path in sorted(root.rglob("*")):
        if path.suffix not in (".h", ".hpp", ".cpp", ".c"):
            continue
        name = path.relative_to(root).as_posix()
        room = room_of(name)
        if room is None:
            continue
        for quote, included in INCLUDE.findall(path.read_text(encoding="utf-8")):
            target = find(root, name, included)
            if target is None:
                library = included.split("/")[0]
                allowed = LIBRARIES.get(library)
                if quote == '"':
                    yield f'{name}: "{included}" is found nowhere'
                elif allowed is not None and not any(name.startswith(prefix + "/") for prefix in allowed):
                    yield f"{name}: <{included}> is not for {room}"
                continue
            target_room = room_of(target)
            if target_room == room or any(target.startswith(allowed + "/") for allowed in ROOMS[room]):
                continue
            yield f"{name}: {room} may not include {target}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(problems(root))
    print("\n".join(found) if found else "rooms: every include is allowed")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
