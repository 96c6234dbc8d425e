"""Learners: what turns experience on the network into a policy."""
