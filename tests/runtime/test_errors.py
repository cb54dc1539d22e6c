"""How commands end whose output nobody reads any more."""

import subprocess
import sys

TALKS = """
import os
from rl_reason.errors import run_command

def main():
    {before}
    for _ in range(100000):
        print("a line")

run_command(main)
"""
OWN_PIPE = "reads, writes = os.pipe(); os.close(reads); os.write(writes, b'x')"


def run(before: str, shell: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", TALKS.format(before=before)]
    return subprocess.run(["bash", "-c", f'"$@" {shell}', "bash", *command], capture_output=True, text=True)


def test_output_that_is_read_no_further_ends_a_command_without_a_word():
    done = run("pass", "| head -1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stdout, done.stderr) == (141, "a line\n", "")


def test_another_pipe_that_breaks_is_an_error():
    done = run(OWN_PIPE, "| cat; exit ${PIPESTATUS[0]}")
    assert done.returncode == 1 and done.stderr.rstrip().endswith("BrokenPipeError: [Errno 32] Broken pipe")
