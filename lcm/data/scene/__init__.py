"""Pairs of images: scenes that an SCM drives, rendered by a simulator or by a formula."""
