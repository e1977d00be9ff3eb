"""Asking a language model at an endpoint: what is asked, how fast, what it costs, and what the replies mean."""
