"""A primary and its replicas: watched, read, failed over, and never confused with another."""
