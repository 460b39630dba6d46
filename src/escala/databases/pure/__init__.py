"""Topology, maps, merges and ids, as arithmetic: no clock, no lock, no loop, no randomness."""
