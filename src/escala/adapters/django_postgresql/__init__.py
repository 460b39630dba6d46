"""An `ENGINE` of Django that leads to the primary: see `ReplicaRouter`."""
