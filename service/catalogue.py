"""The items of a bundle and what changed since: rows and ids, records, availability, vectors.

A live record (`ItemChange.record`) is one flat mapping: the attributes by name (`title` included), and optionally
the reserved keys `available` (bool, default true) and `created_at` (ms since the epoch). It replaces the whole
record of the item; None deletes the item.
"""
