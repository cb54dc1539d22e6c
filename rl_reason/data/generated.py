"""temporary"""
import json
from pathlib import Path
def read_generated(folder, key):
    for f in sorted(Path(folder).glob("*.jsonl")):
        for line in f.read_text().splitlines():
            yield json.loads(line)
