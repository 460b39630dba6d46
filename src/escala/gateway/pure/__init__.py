"""The decisions of the gateway: which route, whose address; nothing that waits."""
