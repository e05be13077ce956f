"""Contrastive learning for text."""
