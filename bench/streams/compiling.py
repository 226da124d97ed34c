"""C programs of the benchmark, compiled when it runs: no binary is kept, and no build is needed before."""

import shutil
import subprocess
from pathlib import Path

_OPTIONS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")


def compiler() -> str | None:
    """The path of the machine's C compiler, or None where there is none."""
    return shutil.which("cc")


def compiled(source: Path, directory: Path) -> Path:
    """Compile one file into a program in `directory`, and return its path.

    Raises FileNotFoundError without a compiler, and CalledProcessError if it refuses the source.
    """
    program = directory / source.stem
    path = compiler()
    if path is None:
        raise FileNotFoundError("there is no C compiler: cc is not on PATH")
    subprocess.run([path, *_OPTIONS, "-o", str(program), str(source)], check=True)
    return program
