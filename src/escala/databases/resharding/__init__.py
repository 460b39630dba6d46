"""Slots that move to another shard while their rows are written."""
