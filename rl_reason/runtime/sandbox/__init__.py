"""Runs programs that nobody has read: `jail.py` outside, all else inside, importing the standard library only.

What is kept from a program by bubblewrap's walls (`jail._walls`): all files but the interpreter's and the system's
libraries, the environment, the net, all other processes. By what it gives up before it starts (`confine.py`): new
processes and programs, memory, disk and time beyond limits, and the doors of the kernel that others came through.
By standing in a process apart from the tests (`candidate.py`, `examiner.py`): the tests and the verdict. What crosses
between the two is data (`codec.py`).

Not kept: a fault of the kernel that is reached by the calls that are left; what can be told from time; the processor,
for as long as the limit lets it run. A program may return and raise what it likes, so tests that check little can still
be met by a program that does little.
"""
