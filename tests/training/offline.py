"""What is in the file of an offline run of W&B."""

import json
from pathlib import Path
from typing import Any


def written_by_wandb(file: Path) -> list[Any]:
    """Read the records of an offline run of W&B, whose format is that of the log of LevelDB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, content, found = file.read_bytes(), 7, b"", []  # behind the header of the file
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        content += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last of several parts
            record = Record()
            record.ParseFromString(content)
            found.append(record)
            content = b""
    return found


def values(items: Any) -> dict[str, Any]:
    """Return the values of a history or summary record, those inside others by their path."""
    return {"/".join([item.key, *item.nested_key]).strip("/"): json.loads(item.value_json) for item in items}
