"""Tables of any shape -> the canonical data set, told by a mapping in TOML:

    name = "shop"
    event_kinds = { viewed = "view", bought = "buy" }   # optional: theirs -> ours, others are bad rows
    default_event = "view"                              # optional: where a row has no event
    order = "time"                                      # optional: see models.data.dataset

    [events]                                            # canonical column = column of the file
    user_id = "customer"
    item_id = "sku"
    event = "action"
    timestamp = "at"
    time_unit = "iso"                                   # ms (default), s or iso

    [items]
    item_id = "sku"
    created_at = "listed"
    time_unit = "s"
    [items.attributes]
    title = { column = "name", kind = "text" }
    colours = { kind = "set", separator = "," }         # the column has the attribute's name
    price = { kind = "number" }

`[users]` (`user_id`, attributes), `[impressions]`, `[queries]` and `[relations]` work alike; the canonical
columns are listed in `models.data.dataset`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from models.data.columns import Dataset
from models.data.mapping import parse_mapping
from models.data.problems import DataError, Problems
from models.data.reader import read_dataset


def import_dataset(files: Mapping[str, Path], mapping_file: Path, problems: Problems) -> Dataset:
    """Read `files` (`events`, perhaps the other tables of `models.data.dataset`) as the mapping says.

    Bad rows are left out and noted in `problems`: refuse or report them, as the caller was asked to.

    Raises:
        DataError: the mapping is wrong, a file or a mapped column is missing, or no usable event is left.
    """
    try:
        raw = tomllib.loads(mapping_file.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{mapping_file}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{mapping_file}: {error}") from error
    return read_dataset(parse_mapping(raw, str(mapping_file)), files, problems)
