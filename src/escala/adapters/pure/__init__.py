"""What adapters decide and write, without a clock, a socket or a client library."""
