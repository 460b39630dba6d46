"""Where processes share what they know: links to the engines, opened by URL."""
