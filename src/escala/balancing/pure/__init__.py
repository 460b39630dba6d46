"""Who is next and who is well, as arithmetic: no clock, no lock, no loop, no randomness."""
