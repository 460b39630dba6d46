"""Subscribers to events; nothing else in Escala writes a log or a metric."""

from __future__ import annotations

from escala.observe.log import log_events

__all__ = ["log_events"]
