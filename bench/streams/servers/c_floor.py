"""Compiles the floor in C into the current directory and becomes it."""

import os
from pathlib import Path

from bench.streams.compiling import compiled

if __name__ == "__main__":
    program = compiled(Path(__file__).with_name("floor.c"), Path.cwd())
    os.execv(program, [str(program)])  # noqa: S606 - the process that is measured is the program itself
