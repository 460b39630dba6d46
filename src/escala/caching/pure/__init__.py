"""The decisions of caching: no clock, no lock, no I/O."""
