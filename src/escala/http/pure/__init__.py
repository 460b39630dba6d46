"""The decisions of HTTP: bytes and times in, verdicts out, nothing that waits."""
