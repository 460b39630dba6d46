"""The gateway that `escala serve` runs: routes with policies in front of HTTP services."""
