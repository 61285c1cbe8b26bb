"""Makes a virtual environment that has the clients of clients.txt, and prints its interpreter.

Usage: python3 install.py FOLDER

What is there already is left alone. Whoever comes while it is made waits until it is ready.
"""

import fcntl
import pathlib
import shutil
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
FILES = [HERE / "clients.txt", HERE / "libraries.txt"]

folder = pathlib.Path(sys.argv[1]).resolve()
python = folder / "bin" / "python"
# Written last: what it says is there.
ready = folder / "installed.txt"
wanted = "".join(file.read_text() for file in FILES)


def install(*arguments):
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(pip, check=True, stdout=sys.stderr)


folder.parent.mkdir(parents=True, exist_ok=True)
with open(folder.parent / f"{folder.name}.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (ready.exists() and ready.read_text() == wanted and python.exists()):
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        clients, libraries = FILES
        install("--requirement", libraries)
        install("--no-deps", "--requirement", clients)
        ready.write_text(wanted)
print(python)
