"""What everything stands on: runtime, policy and stack, context, events, configuration."""
