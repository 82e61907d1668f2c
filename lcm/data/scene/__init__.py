"""Pairs of images: scenes that an SCM drives, rendered by a simulator; published sets and folders; large files."""
