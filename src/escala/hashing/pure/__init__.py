"""The arithmetic of hashing: digests, points, tables and shares."""
