"""The page of runs: one HTML file with everything in it, that needs neither a server nor a network.

folders    what a folder holds: a run, a pipeline, an evaluation, generated samples
tables     what stands in tiles and tables: figures, evaluations before and after, the config and its differences
samples    the lines of samples.jsonl as columns, and what is known of their tokens
page       all of that in one file: template, style and scripts of `assets/`, data in compressed blocks
server     the same on localhost, made anew when the files have changed
"""

from rl_reason.runtime.report.page import make_page, write_report

__all__ = ["make_page", "write_report"]
