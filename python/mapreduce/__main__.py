"""`python -m mapreduce`: the command line, which is a Rust program."""

import os
import sys

from mapreduce._program import find_program

program = find_program()
os.execv(program, [program, *sys.argv[1:]])
