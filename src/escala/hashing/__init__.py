"""Which node has a key: maps that many processes agree on, and that change little.

Arithmetic only: no I/O, no lock, no clock. The same nodes, hash and seed give the same places in
every process and on every machine; Python's own `hash` is nowhere in it.
"""

from __future__ import annotations

from escala.hashing.hash_ring import HashRing
from escala.hashing.jump import jump_hash
from escala.hashing.maglev import Maglev
from escala.hashing.rendezvous import Rendezvous
from escala.hashing.slot_map import SlotMap
from escala.hashing.slot_move import SlotMove

__all__ = ["HashRing", "Maglev", "Rendezvous", "SlotMap", "SlotMove", "jump_hash"]
