"""The governance service: the only program that writes agreements, consents, accounts and tokens on a cluster."""
