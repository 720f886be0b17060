"""A service's credential file, as the control plane writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from os import PathLike
from typing import Union


@dataclass(frozen=True)
class Credentials:
    """What a service needs to join the mesh. The seed is a secret: it is kept out of `repr`."""

    service: str
    seed: str = field(repr=False)


def read_credentials(path: Union[str, "PathLike[str]"]) -> Credentials:
    """Reads a credential file. @raise OSError, or ValueError that says what is wrong but not what the file holds."""
    with open(path, encoding="utf-8") as file:
        try:
            parsed = json.load(file)
        except ValueError:
            parsed = None
    if not isinstance(parsed, dict) or not all(isinstance(parsed.get(each), str) for each in ("service", "seed")):
        raise ValueError(f"{path} is no mesh credential (JSON with service and seed): generate it again")
    return Credentials(parsed["service"], parsed["seed"])
