"""A process that writes behind: what it is told on stdin, it does, and says so on stdout.

Arguments: the journal, the folder of what it has saved, and options as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from escala.caching.write import Write
from escala.caching.write_behind import WriteBehind

URL, SAVED, OPTIONS = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])


def save_many(writes: list[Write]) -> None:
    for write in writes:
        (SAVED / write.key).write_text(json.dumps([write.value, write.sequence]))


writes = WriteBehind(save_many, journal=URL, **OPTIONS)
sys.stdout.write("ready\n")
sys.stdout.flush()
for line in sys.stdin:
    verb, *words = line.split()
    try:
        if verb == "set":
            said = str(writes.set(words[0], words[1]))
        elif verb == "leave":
            break  # and let the end of the program drain
        else:
            said = str(getattr(writes, verb)())
    except Exception as error:  # noqa: BLE001  whoever asked is told
        said = f"{type(error).__name__}: {error}"
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
