"""Signing in to the studio: passwords, a provider (OpenID Connect), sessions."""
